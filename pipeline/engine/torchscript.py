"""The TorchScript engine.

torch.jit is deprecated since torch 2.11 in favour of torch.export, and still loads and runs; that
is why it stands behind the ``Engine`` protocol (docs/decisions).
"""

from __future__ import annotations

import fcntl
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch

from pipeline.engine.base import EngineFailed, EngineOutOfMemory, no_room
from pipeline.engine.device import (
    check_device,
    copies_of,
    has_no_room,
    heed_threads,
    reason_of,
)
from pipeline.engine.gentle import at_once
from pipeline.engine.operators import forbidden_operator
from pipeline.errors import ArtifactRefused
from pipeline.types import BatchNhwc, LogitsNk

log = logging.getLogger(__name__)

_WARM_RUNS = 2
"""The profiling executor records in the first call at a new size and compiles in the second."""


class TorchScriptEngine:
    """A frozen TorchScript network on a CPU or a CUDA device. See ``Engine``.

    Owned by: the engine thread once active, the swap thread before.
    """

    def __init__(
        self,
        module: torch.jit.ScriptModule,
        device: torch.device,
        as_published: Callable[[], torch.jit.ScriptModule] | None = None,
    ) -> None:
        self._module: torch.jit.ScriptModule | None = module
        self._device = device
        # Until the first batch: torch 2.15 optimises a VGG's adaptive pooling into one of oneDNN's
        # that can't run where the sizes don't divide, as they do at 224x224 and not at 96x96.
        self._as_published = as_published
        self._copies = copies_of(device) if device.type == "cuda" else None

    @property
    def device(self) -> str:
        """See ``Engine.device``."""
        return str(self._device)

    def warm(self, buckets: tuple[int, ...], sample_shape_hwc: tuple[int, int, int]) -> None:
        """See ``Engine.warm``."""
        for bucket in buckets:
            batch_nhwc = np.zeros((bucket, *sample_shape_hwc), np.uint8)
            for _ in range(_WARM_RUNS):
                self.score(batch_nhwc)

    def score(self, batch_nhwc: BatchNhwc) -> LogitsNk:
        """See ``Engine.score``."""
        if self._module is None:
            raise RuntimeError("the engine is closed")
        heed_threads()
        try:
            with torch.inference_mode():
                logits_nk = self._module(self._to_device(torch.from_numpy(batch_nhwc)))
                scored_nk = logits_nk.float().cpu().numpy()
        except (RuntimeError, MemoryError, torch.jit.Error) as cause:
            check_device(self._device, cause)
            if has_no_room(cause):
                raise EngineOutOfMemory(f"no room for a batch of {len(batch_nhwc)}") from cause
            if self._as_published is None:
                raise EngineFailed(reason_of(cause)) from cause
            log.info("torch can't run what it optimised, it runs as published: %s", cause)
            self._module, self._as_published = self._as_published(), None
            return self.score(batch_nhwc)
        self._as_published = None
        return scored_nk

    def close(self) -> None:
        """See ``Engine.close``."""
        self._module = self._as_published = None
        if self._copies is not None:
            torch.cuda.empty_cache()

    def _to_device(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        if self._copies is None:
            return batch_nhwc
        with torch.cuda.stream(self._copies):
            on_device = batch_nhwc.to(self._device, non_blocking=True)
        compute = torch.cuda.current_stream(self._device)
        compute.wait_stream(self._copies)
        # Without this the allocator may give the memory to the next copy while it is computed on.
        on_device.record_stream(compute)
        return on_device


def load_torchscript(
    model: bytes, device: str, rest: Callable[[], None] = at_once
) -> TorchScriptEngine:
    """Loads a TorchScript file from its bytes: those that were hashed, never a path read again.
    torch holds the interpreter's lock while it reads the network, and again while it fuses it:
    ``rest`` is called between the two.

    Raises:
        ArtifactRefused: ``no_room``: the device has no memory for it; ``forbidden``: it does more
            than compute; else ``corrupt``: torch can't load it.
        RestartNeeded: the device is lost.
    """
    on = torch.device(device)
    if on.type == "cuda":
        # cuDNN rounds float32 to TF32's ten bits by default: other scores than on the CPU, and
        # further from the golden ones than their tolerance.
        torch.backends.cudnn.allow_tf32 = False
    module = _loaded(model, on)
    rest()
    with _explained(model, on):
        fused = _for_inference(module)
    return TorchScriptEngine(fused, on, lambda: _loaded(model, on))


def _loaded(model: bytes, on: torch.device) -> torch.jit.ScriptModule:
    with _explained(model, on):
        with _as_file(model) as file:
            module = torch.jit.load(file, map_location=on).eval()
        if what := forbidden_operator(module):
            raise ArtifactRefused("forbidden", f"model.pt {what}: a network only computes")
        return module


@contextmanager
def _explained(model: bytes, on: torch.device) -> Iterator[None]:
    """Says what it means for a model that torch fails in here."""
    try:
        with warnings.catch_warnings():
            # Which of the two its deprecation is depends on torch: 2.15 gives a FutureWarning.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    except (RuntimeError, MemoryError, ValueError) as cause:
        check_device(on, cause)
        if has_no_room(cause):
            raise no_room(f"{len(model) >> 20} MiB of network", str(on)) from cause
        raise ArtifactRefused(
            "corrupt",
            f"torch {torch.__version__} can't load model.pt: {reason_of(cause)}; "
            "publish it again with this torch, or a newer one here",
        ) from cause


@contextmanager
def _as_file(model: bytes) -> Iterator[str | io.BytesIO]:
    """A sealed file of these bytes, which nobody can change any more; where the system has none or
    gives none, the bytes themselves.

    torch holds the interpreter's lock while it loads, and from an object in memory it takes four
    copies: 94 ms for a ResNet-18, in which no frame goes on, beside 17 (docs/measurements.md).
    """
    with ExitStack() as closing:
        try:
            descriptor = os.memfd_create("headrace-model", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            file = closing.enter_context(os.fdopen(descriptor, "wb", buffering=0))
            left = memoryview(model)
            while left:
                left = left[file.write(left) :]
            seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
            path = f"/proc/self/fd/{file.fileno()}"
            found: str | io.BytesIO = path if Path(path).exists() else io.BytesIO(model)
        except (AttributeError, OSError):
            found = io.BytesIO(model)
        yield found


def _for_inference(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """Fused, and on a CPU with oneDNN's layouts, where torch can do that: there four times as fast
    for the reference network in batches of 32, a fifth slower for one frame; on a GPU a tenth
    faster (docs/measurements.md). Done here and not when publishing, as the result holds only for
    this machine's instructions; the golden test that follows is of what will score.
    """
    try:
        return torch.jit.optimize_for_inference(module)
    except RuntimeError as error:
        log.info("torch can't optimise this network, it runs as published: %s", error)
        return module
