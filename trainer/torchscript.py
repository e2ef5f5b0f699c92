"""Eager networks to TorchScript and back: the one file of the trainer that knows torch.jit."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.jit.frontend import FrontendError

from pipeline.engine.device import reason_of
from pipeline.engine.operators import forbidden_operator
from pipeline.errors import ConfigError
from trainer.compare import check_equal

ExportedBy: TypeAlias = Literal["script", "trace"]

NETWORK_ERRORS = (
    RuntimeError,
    torch.jit.Error,  # what a compiled network raises; no RuntimeError
    FrontendError,  # what scripting raises for Python that it doesn't know
    AssertionError,  # how many networks check their input's size
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OSError,  # torch.jit.script of a network whose source isn't in a file
)
"""What a network that doesn't fit raises, run or compiled: it is foreign code."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A frozen TorchScript file, and how it was made."""

    model: bytes
    exported_by: ExportedBy


def compile_network(served: nn.Module, batch_nhwc: Tensor) -> Compiled:
    """Scripts ``served``, or traces it where scripting can't, freezes it and compares it.

    Raises:
        ConfigError: neither way gives the eager network's logits at batch sizes 1, 3 and 8, or it
            does more than compute.
    """
    problems: list[str] = []
    ways: tuple[ExportedBy, ...] = ("script", "trace")
    for way in ways:
        try:
            compiled = _compiled(served, batch_nhwc, way)
            if what := forbidden_operator(compiled):
                raise ConfigError(f"the network {what}: workers refuse it. Take that out of it.")
            model = _saved(compiled)
            check_equal(served, load_torchscript(model), batch_nhwc)
        except NETWORK_ERRORS as cause:
            problems.append(f"{way}: {reason_of(cause)}")
        else:
            return Compiled(model, way)
    raise ConfigError(
        "the network can't be compiled to TorchScript. "
        + "; ".join(problems)
        + ". Take what Python alone can do out of its forward, or publish a TorchScript file."
    )


def _compiled(served: nn.Module, batch_nhwc: Tensor, way: ExportedBy) -> torch.jit.ScriptModule:
    with quietly(), torch.no_grad():
        if way == "script":
            compiled = torch.jit.script(served)
        else:
            compiled = torch.jit.trace_module(served, {"forward": batch_nhwc}, check_trace=False)
        return torch.jit.freeze(compiled.eval())


def _saved(compiled: torch.jit.ScriptModule) -> bytes:
    buffer = io.BytesIO()
    with quietly():
        torch.jit.save(compiled, buffer)
    return buffer.getvalue()


def load_torchscript(model: bytes) -> torch.jit.ScriptModule:
    """Loads a TorchScript file on the CPU.

    Raises:
        RuntimeError: it isn't one.
    """
    with quietly():
        return torch.jit.load(io.BytesIO(model), map_location="cpu")


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without warnings: torch.jit's deprecation is known (docs/decisions), and what tracing warns
    of, sizes that become constants, is checked with other batch sizes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
