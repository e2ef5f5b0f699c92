"""One suite for every sink."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.clock import ManualClock, SystemClock
from pipeline.kafka.address import KafkaAddress
from pipeline.sink.base import Sink
from pipeline.sink.dead_letter import encode_dead_letter
from pipeline.sink.jsonl import JsonlSink, NullSink, StdoutSink
from pipeline.sink.kafka import KafkaSink
from pipeline.sink.labelled import LabelledSink
from pipeline.sink.live import LiveView
from pipeline.sink.records import dead_letter_record, result_record
from pipeline.sink.tee import TeeSink
from pipeline.types import Outcome
from pipeline.wire import encode_row
from tests.frames import frame, rejected, scored

_DEADLINE_S = 20.0

MAKERS: dict[str, Callable[[Path, int], Sink]] = {
    "jsonl": lambda folder, _fd: JsonlSink(folder / "out.jsonl", encode_row),
    "lazy jsonl": lambda folder, _fd: JsonlSink(
        folder / "dead.jsonl", lambda each: encode_dead_letter(rejected(each.frame)), is_lazy=True
    ),
    "stdout": lambda _folder, fd: StdoutSink(encode_row, fd),
    "null": lambda _folder, _fd: NullSink(),
    "labelled": lambda folder, _fd: LabelledSink(folder / "labelled", every=2, most=3),
    "live": lambda _folder, _fd: LiveView(ManualClock()),
    "tee": lambda folder, _fd: TeeSink([NullSink(), JsonlSink(folder / "t.jsonl", encode_row)]),
}


KAFKA_MAKERS: dict[str, Callable[[KafkaAddress], Sink]] = {
    "kafka": lambda results: KafkaSink(
        results, lambda each: result_record(each, 0.0), SystemClock(), create_partitions=2
    ),
    "lazy kafka": lambda results: KafkaSink(
        results.dead_letters,
        lambda each: dead_letter_record(rejected(each.frame)),
        SystemClock(),
        create_partitions=1,
        is_lazy=True,
    ),
}


@pytest.fixture(
    params=[*MAKERS, *(pytest.param(kind, marks=pytest.mark.kafka) for kind in KAFKA_MAKERS)]
)
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sink]:
    fd = os.open(tmp_path / "stdout", os.O_RDWR | os.O_CREAT)
    if request.param in MAKERS:
        made = MAKERS[request.param](tmp_path, fd)
    else:
        address = KafkaAddress((request.getfixturevalue("kafka"),), "contract-results")
        made = KAFKA_MAKERS[request.param](address)
    yield made
    made.close()
    os.close(fd)


def collected(sink: Sink, count: int) -> list[Outcome]:
    """What becomes durable of ``count`` outcomes; a broker acknowledges them one by one."""
    found: list[Outcome] = []
    end = time.monotonic() + _DEADLINE_S
    while len(found) < count and time.monotonic() < end:
        found += sink.collect(1.0)
    return found


def outcomes(count: int, first: int = 0) -> list[Outcome]:
    return [scored(frame(first + number)) for number in range(count)]


def test_what_was_written_is_collected_once_and_in_order(sink: Sink) -> None:
    sink.open()
    written = outcomes(3)
    sink.write(written[:2])
    sink.write(written[2:])
    assert collected(sink, 3) == written
    assert list(sink.collect(0.0)) == []


def test_nothing_is_collected_before_it_was_written(sink: Sink) -> None:
    sink.open()
    assert list(sink.collect(0.0)) == []


def test_rejected_frames_are_taken_as_well(sink: Sink) -> None:
    sink.open()
    sink.write([rejected(frame(1))])
    assert len(collected(sink, 1)) == 1


def test_closing_twice_is_harmless(sink: Sink) -> None:
    sink.open()
    sink.write(outcomes(1))
    sink.close()
    sink.close()


def test_closing_what_was_never_opened_is_harmless(sink: Sink) -> None:
    sink.close()


def test_a_sink_has_a_name(sink: Sink) -> None:
    assert sink.name
