"""A camera at this machine: V4L2 ends a wait for a frame in its own time, not in the camera's."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.clock import Clock
from pipeline.opencv import V4L2_WAIT_S

_WAITED = 0.9
"""A call that took this share of V4L2's time ended for want of a frame."""


def grab_until(grab: Callable[[], bool], until_mono_s: float, clock: Clock) -> bool:
    """Asks for a frame until one is there or the time has passed; whether there is one. A camera
    that is gone says so at once, and isn't asked again."""
    while True:
        asked_mono_s = clock.monotonic()
        if grab():
            return True
        now = clock.monotonic()
        if now - asked_mono_s < _WAITED * V4L2_WAIT_S or now >= until_mono_s:
            return False
