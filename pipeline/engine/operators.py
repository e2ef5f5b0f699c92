"""Which operators a network calls, and whether they only compute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

_FORBIDDEN = {
    "aten::save": "writes files",
    "aten::from_file": "opens files",
}
_OTHER_MACHINES = frozenset(
    ("c10d", "_c10d_functional", "_c10d_functional_autograd", "symm_mem", "_dtensor", "fsdp")
)


def forbidden_operator(module: torch.jit.ScriptModule) -> str:
    """What one of a network's operators does besides computing, "" where none does more.

    All methods of all its parts are looked at, called or not, and what they call; but not what is
    called through an interface of classes that are no modules. Those that run while it is loaded
    have run already.
    """
    for kind in _kinds(module):
        namespace = kind.partition("::")[0]
        if kind in _FORBIDDEN:
            return f"calls {kind}, which {_FORBIDDEN[kind]}"
        if namespace in _OTHER_MACHINES or kind.startswith("prim::rpc"):
            return f"calls {kind}, which talks to other machines"
    return ""


def _kinds(module: torch.jit.ScriptModule) -> Iterator[str]:
    for part in (each for _, each in module.named_modules()):
        inner: Any = part._c
        for name in inner._method_names():
            yield from _kinds_of(inner._get_method(name).graph)


def _kinds_of(graph: Any) -> Iterator[str]:
    """With those of all functions and methods that it calls."""
    whole = graph.copy()
    torch._C._jit_pass_inline(whole)
    yield from _kinds_in(whole)


def _kinds_in(block: Any) -> Iterator[str]:
    for node in block.nodes():
        yield node.kind()
        for inner in node.blocks():
            yield from _kinds_in(inner)
        for name in node.attributeNames():
            if node.kindOf(name) == "g":  # what `fork` runs
                yield from _kinds_of(node.g(name))
