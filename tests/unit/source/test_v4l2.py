"""What a camera at this machine does is played here: CI's machines have none."""

from __future__ import annotations

import os

import pytest

from pipeline.clock import ManualClock
from pipeline.opencv import V4L2_WAIT_S
from pipeline.source.v4l2 import grab_until


class Camera:
    """Gives its frame at the given call; before that each call takes so long."""

    def __init__(self, clock: ManualClock, frame_at: int, call_s: float) -> None:
        self._clock = clock
        self._frame_at = frame_at
        self._call_s = call_s
        self.calls = 0

    def grab(self) -> bool:
        self.calls += 1
        if self.calls == self._frame_at:
            return True
        self._clock.advance(self._call_s)
        return False


@pytest.mark.parametrize(
    ("frame_at", "call_s", "comes", "calls"),
    [
        (1, V4L2_WAIT_S, True, 1),
        (4, V4L2_WAIT_S, True, 4),  # slow, and within its time
        (9, V4L2_WAIT_S, False, 5),  # within five seconds it gave none
        (9, 0.001, False, 1),  # it was unplugged
    ],
)
def test_a_camera_has_all_of_its_time_and_one_that_is_gone_none(
    frame_at: int, call_s: float, comes: bool, calls: int
) -> None:
    clock = ManualClock()
    camera = Camera(clock, frame_at, call_s)
    assert grab_until(camera.grab, clock.monotonic() + 5, clock) is comes
    assert camera.calls == calls


def test_opencv_waits_no_longer_in_one_call() -> None:
    assert os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] == str(V4L2_WAIT_S)
