"""A worker that says how many networks it has in memory, each time that one was loaded."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable

from pipeline.engine import backends
from pipeline.engine.torchscript import TorchScriptEngine
from tests.faults.planted import replace

_real = backends.load_torchscript
_engines: weakref.WeakSet[TorchScriptEngine] = weakref.WeakSet()


def _load(model: bytes, device: str, rest: Callable[[], None]) -> TorchScriptEngine:
    engine = _real(model, device, rest)
    _engines.add(engine)
    sys.stderr.write(f"networks in memory: {len(_engines)}\n")
    return engine


def plant() -> None:
    replace(backends, "load_torchscript", _load)
