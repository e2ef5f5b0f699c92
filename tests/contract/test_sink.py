"""One suite for every sink."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.clock import ManualClock
from pipeline.sink.base import Sink
from pipeline.sink.dead_letter import encode_dead_letter
from pipeline.sink.jsonl import JsonlSink, NullSink, StdoutSink
from pipeline.sink.live import LiveView
from pipeline.sink.tee import TeeSink
from pipeline.types import Outcome
from pipeline.wire import encode_row
from tests.frames import frame, rejected, scored

MAKERS: dict[str, Callable[[Path, int], Sink]] = {
    "jsonl": lambda folder, _fd: JsonlSink(folder / "out.jsonl", encode_row),
    "lazy jsonl": lambda folder, _fd: JsonlSink(
        folder / "dead.jsonl", lambda each: encode_dead_letter(rejected(each.frame)), is_lazy=True
    ),
    "stdout": lambda _folder, fd: StdoutSink(encode_row, fd),
    "null": lambda _folder, _fd: NullSink(),
    "live": lambda _folder, _fd: LiveView(ManualClock()),
    "tee": lambda folder, _fd: TeeSink([NullSink(), JsonlSink(folder / "t.jsonl", encode_row)]),
}


@pytest.fixture(params=list(MAKERS))
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sink]:
    fd = os.open(tmp_path / "stdout", os.O_RDWR | os.O_CREAT)
    made = MAKERS[request.param](tmp_path, fd)
    yield made
    made.close()
    os.close(fd)


def outcomes(count: int, first: int = 0) -> list[Outcome]:
    return [scored(frame(first + number)) for number in range(count)]


def test_what_was_written_is_collected_once_and_in_order(sink: Sink) -> None:
    sink.open()
    written = outcomes(3)
    sink.write(written[:2])
    sink.write(written[2:])
    assert list(sink.collect(1.0)) == written
    assert list(sink.collect(0.0)) == []


def test_nothing_is_collected_before_it_was_written(sink: Sink) -> None:
    sink.open()
    assert list(sink.collect(0.0)) == []


def test_rejected_frames_are_taken_as_well(sink: Sink) -> None:
    sink.open()
    sink.write([rejected(frame(1))])
    assert len(sink.collect(1.0)) == 1


def test_closing_twice_is_harmless(sink: Sink) -> None:
    sink.open()
    sink.write(outcomes(1))
    sink.close()
    sink.close()


def test_closing_what_was_never_opened_is_harmless(sink: Sink) -> None:
    sink.close()


def test_a_sink_has_a_name(sink: Sink) -> None:
    assert sink.name
