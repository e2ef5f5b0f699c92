from __future__ import annotations

import pytest

from pipeline.bench.stream import PacedPictures
from pipeline.clock import ManualClock
from pipeline.errors import SourceExhausted


def test_a_pace_may_change_while_frames_come() -> None:
    clock = ManualClock()
    stream = PacedPictures((b"one", b"two"), 40, 10.0, clock)
    stream.open()
    clock.advance(0.45)
    first = stream.poll(100, 0.0)
    assert [frame.position.offset for frame in first] == [0, 1, 2, 3, 4]
    assert [clock.now() - frame.captured_at for frame in first] == pytest.approx(
        [0.45, 0.35, 0.25, 0.15, 0.05]
    )
    stream.fps = 2.0
    assert len(stream.poll(100, 0.0)) == 1  # the first of the new pace is due at once
    clock.advance(1.1)
    assert [frame.position.offset for frame in stream.poll(100, 0.0)] == [6, 7]
    stream.fps = None
    assert [frame.position.offset for frame in stream.poll(30, 0.0)] == list(range(8, 38))
    assert len(stream.poll(30, 0.0)) == 2
    with pytest.raises(SourceExhausted, match="all its 40 frames"):
        stream.poll(30, 0.0)
