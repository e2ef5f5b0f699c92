"""The ONNX Runtime engine: a network as an ONNX graph, on the CPU."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort

from pipeline.engine.base import EngineFailed, EngineOutOfMemory, no_room
from pipeline.engine.device import reason_of
from pipeline.engine.gentle import at_once
from pipeline.engine.onnx_graph import check_graph
from pipeline.errors import ArtifactRefused
from pipeline.types import BatchNhwc, LogitsNk

_compiled: Any = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")

_OWN_ERRORS = (
    each
    for each in vars(_compiled).values()
    if isinstance(each, type) and issubclass(each, Exception)
)
"""They have no base but ``Exception``."""

_ERRORS = (*_OWN_ERRORS, RuntimeError, ValueError, MemoryError)

_FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")

_NO_ROOM = ("bad_alloc", "bad allocation", "failed to allocate")
_FATAL_ONLY = 4


class OnnxRuntimeEngine:
    """A network in an ONNX Runtime session. See ``Engine``.

    Owned by: the engine thread once active, the swap thread before.
    """

    device = "cpu"

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session: ort.InferenceSession | None = session
        self._input = session.get_inputs()[0].name

    def warm(self, buckets: tuple[int, ...], sample_shape_hwc: tuple[int, int, int]) -> None:
        """See ``Engine.warm``. Nothing is compiled: a size's first run has its memory."""
        for bucket in buckets:
            self.score(np.zeros((bucket, *sample_shape_hwc), np.uint8))

    def score(self, batch_nhwc: BatchNhwc) -> LogitsNk:
        """See ``Engine.score``."""
        if self._session is None:
            raise RuntimeError("the engine is closed")
        try:
            (logits_nk,) = self._session.run(None, {self._input: batch_nhwc})
        except _ERRORS as cause:
            if _has_no_room(cause):
                raise EngineOutOfMemory(f"no room for a batch of {len(batch_nhwc)}") from cause
            raise EngineFailed(reason_of(cause)) from cause
        return np.asarray(logits_nk, np.float32)

    def close(self) -> None:
        """See ``Engine.close``."""
        self._session = None


def load_onnxruntime(
    model: bytes, threads: int, rest: Callable[[], None] = at_once
) -> OnnxRuntimeEngine:
    """Loads an ONNX file from its bytes. With one thread it computes on the caller's. ``rest`` is
    called after the look at the graph, which holds the interpreter's lock.

    Raises:
        ArtifactRefused: ``no_room``: there is no memory for it; ``forbidden``: it needs other files
            or operators than ONNX's own; else ``corrupt``.
    """
    check_graph(model)
    rest()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY  # what fails is raised
    # Else it takes a format of its own too, which the look at the graph knows nothing of.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # A thread that waits for work by turning takes a core from decoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except _ERRORS as cause:
        if _has_no_room(cause):
            raise no_room(f"{len(model) >> 20} MiB of network", "cpu") from cause
        raise _corrupt(
            f"ONNX Runtime {ort.__version__} can't load it: {reason_of(cause)}"
        ) from cause
    takes = [each.type for each in session.get_inputs()]
    gives = [each.type for each in session.get_outputs()]
    if takes != ["tensor(uint8)"] or len(gives) != 1 or gives[0] not in _FLOATS:
        raise _corrupt(f"it takes {takes} and gives {gives}, expected one tensor(uint8) and floats")
    return OnnxRuntimeEngine(session)


def _corrupt(problem: str) -> ArtifactRefused:
    return ArtifactRefused("corrupt", f"model.onnx: {problem}; publish the model again")


def _has_no_room(error: BaseException) -> bool:
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(each in said for each in _NO_ROOM)
