"""What every source promises, asked of every source."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipeline.clock import SystemClock
from pipeline.errors import SourceExhausted, SourceUnavailable
from pipeline.source.base import Source
from pipeline.source.memory import MemorySource
from pipeline.source.url import Surroundings, make_source
from pipeline.types import Frame
from tests.clips import BIKES
from tests.kafka.topics import Topics
from tests.mjpeg import MjpegCamera
from tests.rtsp import RtspCamera
from tests.support import noise_jpeg, wait_until

_DEADLINE_S = 30.0


@dataclass(frozen=True)
class Subject:
    """A source under test: ``make`` gives a new one for the same place each time. One with a
    group goes on, once it is opened again, after what it was told to be durable."""

    make: Callable[[], Source]
    has_group: bool = False


@pytest.fixture(scope="module")
def rtsp_camera() -> Iterator[RtspCamera]:
    with RtspCamera() as camera:
        yield camera


@pytest.fixture(scope="module")
def mjpeg_camera() -> Iterator[MjpegCamera]:
    with MjpegCamera() as camera:
        yield camera


@pytest.fixture(scope="module")
def filled_topic(kafka: str) -> Topics:
    topics = Topics(kafka)
    topics.send_pictures(40, streams=0)
    return topics


def _folder(path: Path) -> str:
    for k in range(6):
        (path / f"picture{k}.jpg").write_bytes(noise_jpeg(seed=k))
    return f"dir:{path}"


_KINDS = [
    "video",
    "paced video",
    "folder",
    "paced folder",
    "digits",
    "paced digits",
    "live digits",
    "memory",
    "mjpeg",
    pytest.param("rtsp", marks=pytest.mark.camera),
    pytest.param("kafka", marks=pytest.mark.kafka),
    pytest.param("live kafka", marks=pytest.mark.kafka),
]


@pytest.fixture(params=_KINDS)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    kind: str = request.param
    if kind == "memory":
        return Subject(lambda: MemorySource([noise_jpeg()], 6, SystemClock()))
    if kind.endswith("kafka"):
        topics: Topics = request.getfixturevalue("filled_topic")
        live = "&mode=live&max_age=600s" if kind.startswith("live") else ""
        topic = f"kafka://{topics.servers}/{topics.name}?group={uuid.uuid4().hex}&session=6s{live}"
        return Subject(lambda: make_source(topic, Surroundings(SystemClock())), has_group=True)
    if kind == "mjpeg":
        url = request.getfixturevalue("mjpeg_camera").url()
    elif kind == "rtsp":
        url = request.getfixturevalue("rtsp_camera").url
    else:
        url = {
            "video": str(BIKES),
            "paced video": f"{BIKES}?fps=500",
            "folder": _folder(tmp_path),
            "paced folder": f"{_folder(tmp_path)}?fps=100",
            "digits": "synthetic:digits?streams=3&count=4&width=64&height=36",
            "paced digits": "synthetic:digits?streams=3&count=4&width=64&height=36&fps=50",
            "live digits": "synthetic:digits?streams=3&width=64&height=36&fps=50&mode=live",
        }[kind]
    return Subject(lambda: make_source(url, Surroundings(SystemClock())))


@pytest.fixture
def source(subject: Subject) -> Iterator[Source]:
    opened = subject.make()
    opened.open()
    yield opened
    opened.close()


def _take(source: Source, count: int, room: int = 4) -> list[Frame]:
    """``count`` frames or a few more; fewer where there are no more."""
    frames: list[Frame] = []
    end = time.monotonic() + _DEADLINE_S
    while len(frames) < count:
        assert time.monotonic() < end, f"{len(frames)} of {count} frames in {_DEADLINE_S} s"
        try:
            frames += source.poll(room, 0.5)
        except SourceExhausted:
            break
    return frames


def _by_partition(frames: list[Frame]) -> dict[tuple[str, int], list[Frame]]:
    groups: dict[tuple[str, int], list[Frame]] = {}
    for frame in frames:
        groups.setdefault((frame.position.topic, frame.position.partition), []).append(frame)
    return groups


def test_offsets_of_a_partition_strictly_rise_and_it_is_one_stream(source: Source) -> None:
    frames = _take(source, 12)
    assert len({frame.frame_id for frame in frames}) == len(frames) >= 6
    for group in _by_partition(frames).values():
        offsets = [frame.position.offset for frame in group]
        assert offsets == sorted(set(offsets))
        assert len({frame.stream for frame in group}) == 1
        assert [f.captured_at for f in group] == sorted(f.captured_at for f in group)


def test_no_poll_gives_more_frames_than_there_is_room_for(source: Source) -> None:
    for room in (1, 2, 3):
        assert len(source.poll(room, 5.0)) <= room


def test_without_room_nothing_is_given_and_nothing_is_lost(source: Source) -> None:
    assert len(source.poll(0, 0.01)) == 0
    assert _take(source, 1, room=1)[0].position.offset == 0
    assert len(source.poll(0, 0.01)) == 0


def test_a_frame_says_when_it_came_and_how_long_it_is_fresh(source: Source) -> None:
    frames = _take(source, 3)
    for frame in frames:
        assert frame.captured_at <= time.time() + 0.001
        assert frame.received_mono_s <= time.monotonic()
        assert frame.max_age_s == source.info.max_age_s
        assert frame.position.topic == source.info.name
    assert (source.info.delivery == "live") == (source.info.max_age_s is not None)


def test_a_payload_is_encoded_bytes_or_a_bgr_picture(source: Source) -> None:
    for frame in _take(source, 3):
        if isinstance(frame.payload, bytes):
            assert frame.payload
        else:
            assert frame.payload.dtype == np.uint8
            assert frame.payload.ndim == 3
            assert frame.payload.shape[2] == 3


def test_frames_taken_before_stay_as_they_were(source: Source) -> None:
    first = _take(source, 1, room=1)[0]
    before = np.array(first.payload, copy=True)
    _take(source, 4, room=1)
    assert np.array_equal(before, np.asarray(first.payload))


def test_a_finite_source_that_is_exhausted_says_so_each_time(source: Source) -> None:
    if not source.info.is_finite:
        assert _take(source, 5)
        return
    _take(source, 1_000_000, room=64)
    for _ in range(3):
        with pytest.raises(SourceExhausted):
            source.poll(1, 0.01)


def test_closing_twice_or_before_opening_is_harmless(subject: Subject) -> None:
    source = subject.make()
    source.close()
    source.open()
    source.close()
    source.close()


def test_committing_is_harmless(source: Source) -> None:
    frame = _take(source, 1, room=1)[0]
    source.commit({(frame.position.topic, frame.position.partition): frame.position.offset + 1})
    assert _take(source, 1)


def test_reopened_it_starts_again_and_an_endless_one_counts_on(
    subject: Subject,
) -> None:
    source = subject.make()
    source.open()
    before = _take(source, 2, room=1)
    source.close()
    is_from_memory = isinstance(source, MemorySource)
    if not is_from_memory:
        with pytest.raises(SourceUnavailable):
            source.poll(1, 0.01)
    source.open()
    after = _take(source, 2, room=1)
    source.close()
    if is_from_memory:  # it has no connection to lose, and goes on
        assert after[0].position.offset > before[-1].position.offset
    elif subject.has_group:  # nothing was said to be durable; any partition may come first
        for group in _by_partition(after).values():
            assert group[0].position.offset == 0
    elif source.info.is_finite:
        assert [f.frame_id for f in after[:2]] == [f.frame_id for f in before[:2]]
    else:
        assert not {f.frame_id for f in after} & {f.frame_id for f in before}
        for group in _by_partition(before + after).values():
            offsets = [frame.position.offset for frame in group]
            assert offsets == sorted(set(offsets))


def test_nothing_is_left_open_after_closing(subject: Subject) -> None:
    process = psutil.Process(os.getpid())

    def use() -> None:
        source = subject.make()
        source.open()
        _take(source, 3, room=1)
        source.close()

    use()  # OpenCV keeps a pool of threads from its first use on
    before = (process.num_fds(), process.num_threads())
    use()
    wait_until(lambda: process.num_fds() <= before[0] and process.num_threads() <= before[1])
