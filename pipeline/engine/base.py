"""What the engine stage depends on in an engine: room for more than TorchScript."""

from __future__ import annotations

from typing import Protocol

from pipeline.errors import ArtifactRefused
from pipeline.types import BatchNhwc, LogitsNk


class Engine(Protocol):
    """A loaded network. Owned by: the engine thread once active, the swap thread before.

    Obligations: ``score`` is a pure function of the pixels; it doesn't keep or change its argument.
    """

    @property
    def device(self) -> str:
        """Where it runs: ``cpu`` or ``cuda:0``."""
        ...

    def warm(self, buckets: tuple[int, ...], sample_shape_hwc: tuple[int, int, int]) -> None:
        """Runs every batch size often enough that no later call is a slow first one."""
        ...

    def score(self, batch_nhwc: BatchNhwc) -> LogitsNk:
        """Runs ``[N, H, W, C]`` uint8 RGB and gives ``[N, K]`` float32 logits.

        Raises:
            EngineOutOfMemory: the batch didn't fit; a smaller one may.
            EngineFailed: the network raised an error of its own.
            RestartNeeded: the device is lost to this process.
        """
        ...

    def close(self) -> None:
        """Frees what it holds. A model that was exchanged needs no call: it is let go with its last
        batch. Closing twice is harmless."""
        ...


class EngineFailed(Exception):
    """The network raised an error on a batch."""


class EngineOutOfMemory(Exception):
    """The device had no room for a batch; the stage halves it and tries again."""


def no_room(what: str, device: str) -> ArtifactRefused:
    """The refusal of a model that isn't wrong, but too much for the device as it is now."""
    return ArtifactRefused(
        "no_room",
        f"the device {device} has no memory for {what}: free some, or take another device "
        f"(engine.device)",
    )
