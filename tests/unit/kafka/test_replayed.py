from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kafka.record import MAX_RECORD_BYTES, ORIGIN, captured_at, origin_of
from pipeline.kafka.replayed import Letter, again, letter_of
from pipeline.sink.records import dead_letter_record, result_record
from pipeline.source.kafka.frames import frame_of
from pipeline.types import Frame, Rejected
from tests.frames import scored
from tests.unit.kafka.records import Arrived

TOPICS = {"frames": range(4), "elsewhere": range(2)}
RECORDS = st.builds(
    Arrived,
    partition=st.integers(0, 3),
    offset=st.integers(0, 1 << 40),
    timestamp=st.integers(-1, 4_000_000_000_000),
    key=st.none() | st.binary(max_size=20),
    value=st.none() | st.binary(max_size=50),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["ce_time", "traceparent", "hr-sha256", "content-type", "x", ORIGIN]),
            st.none() | st.binary(max_size=40) | st.just(b"2026-01-31T10:00:00.5Z"),
        ),
        max_size=6,
    ),
)


def received(record: Arrived) -> Frame:
    return frame_of(record, 0, 0.0, None)


def rejected_at(record: Arrived, offset: int = 0) -> Arrived:
    """The dead letter of a record, as a worker writes it and a consumer reads it."""
    sent = dead_letter_record(Rejected(received(record), "corrupt", "it is", 1_700_000_100.25))
    return Arrived(
        "frames.dlq", 0, offset, 1_700_000_100_900, sent.key, sent.value, list(sent.headers)
    )


def put_back(record: Arrived, offset: int = 99, to_topic: str | None = None) -> Arrived:
    """The record that a replay makes of one, as a worker reads it."""
    sent = again(record, letter_of(record), to_topic, TOPICS)
    partition = 0 if sent.partition is None else sent.partition
    return Arrived(
        sent.topic, partition, offset, 1_800_000_000_000, sent.key, sent.value, list(sent.headers)
    )


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"cam", bytes(MAX_RECORD_BYTES), []),
        (b"cam", bytes(MAX_RECORD_BYTES - 70_000), [("x", bytes(10_000))]),
        (bytes(MAX_RECORD_BYTES), b"", []),
    ],
)
def test_what_is_more_than_can_be_sent_is_left_out_of_a_dead_letter(
    key: bytes, value: bytes, headers: list[tuple[str, bytes | None]]
) -> None:
    letter = rejected_at(Arrived("frames", 0, 7, 1_700_000_000_000, key, value, headers))
    assert len(letter.key or b"") + len(letter.value or b"") < 1000
    read = letter_of(letter)
    assert read is not None
    assert (read.is_empty_shell, read.topic, read.offset) == (True, "frames", 7)
    small = letter_of(rejected_at(Arrived("frames", 0, 7, 0, b"cam", b"no picture", [])))
    assert small is not None
    assert not small.is_empty_shell


@given(RECORDS)
def test_a_frame_comes_back_from_the_dead_letters_as_it_was(record: Arrived) -> None:
    before, after = received(record), received(put_back(rejected_at(record)))
    assert after.frame_id == before.frame_id
    assert (after.stream, after.payload) == (before.stream, before.payload)
    assert (after.sha256, after.trace_id) == (before.sha256, before.trace_id)
    assert after.position.topic == "frames"
    assert after.position.partition == record.partition
    assert [n for n, _ in after.headers if n.startswith("hr-dlq-")] == []


@given(RECORDS)
def test_a_frame_of_a_range_keeps_its_identity_however_often(record: Arrived) -> None:
    before, after = received(record), received(put_back(put_back(record), offset=500))
    assert after.frame_id == before.frame_id
    assert (after.stream, after.payload) == (before.stream, before.payload)
    assert [n for n, _ in after.headers].count(ORIGIN) == 1
    assert result_record(scored(after), 0.0).headers[1] == (
        "ce_id",
        before.frame_id.encode(),
    )


def test_what_is_rejected_again_keeps_its_first_identity() -> None:
    record = Arrived()
    second = rejected_at(put_back(rejected_at(record), offset=42), offset=8)
    assert dict(second.headers)["hr-dlq-offset"] == b"42"
    assert received(put_back(second)).frame_id == "frames/1/7"


@pytest.mark.parametrize("through", [rejected_at, lambda record: record])
def test_the_capture_stays_what_it_was(through) -> None:
    plain = Arrived(timestamp=1_650_000_000_250)
    assert received(put_back(through(plain))).captured_at == 1_650_000_000.25
    told = replace(plain, headers=[("ce_time", b"2026-01-31T10:00:00.5Z")])
    assert received(put_back(through(told))).captured_at == captured_at(told.headers[0][1], 0)


def test_a_dead_letter_that_does_not_say_when_was_captured_before_it_was_written() -> None:
    letter = rejected_at(Arrived())
    letter.headers = [each for each in letter.headers if each[0] != "hr-dlq-captured-at"]
    assert received(put_back(letter)).captured_at == letter.timestamp / 1000


@pytest.mark.parametrize("header", [b"nan", b"yesterday", b"1e300", b"-1e30"])
def test_no_capture_can_stop_a_replay(header: bytes) -> None:
    letter = rejected_at(Arrived())
    letter.headers = [
        (name, header if name == "hr-dlq-captured-at" else value) for name, value in letter.headers
    ]
    put_back(letter)


def test_a_letter_says_why_and_whence() -> None:
    assert letter_of(rejected_at(Arrived())) == Letter("corrupt", "frames", 1, 7, 1_700_000_000.0)
    assert letter_of(Arrived()) is None
    spoiled = rejected_at(Arrived())
    spoiled.headers = [
        (name, b"many" if name == "hr-dlq-offset" else value) for name, value in spoiled.headers
    ]
    assert letter_of(spoiled) is None


def test_the_partition_is_the_one_it_came_from_and_elsewhere_the_keys() -> None:
    letter = rejected_at(Arrived(partition=3))
    assert again(letter, letter_of(letter), None, TOPICS).partition == 3
    assert again(letter, letter_of(letter), "elsewhere", TOPICS).partition is None
    assert again(letter, letter_of(letter), None, {"frames": range(2)}).partition is None


def test_a_record_without_key_and_value_can_be_sent() -> None:
    sent = again(Arrived(key=None, value=None), None, None, TOPICS)
    assert (sent.key, sent.value) == (None, b"")


@pytest.mark.parametrize(
    ("header", "origin"),
    [
        (b"frames/3/17", "frames/3/17"),
        (b"rtsp://cam/live/0/5", "rtsp://cam/live/0/5"),
        ("käse.mp4/0/5".encode(), "käse.mp4/0/5"),
        (b"frames/3", None),
        (b"frames/3/x", None),
        (b"/3/17", None),
        (b"fra\nmes/3/17", None),
        (b"frames/3/17\n", None),
        ("frames/3/١".encode(), None),
        (b"\xff/3/17", None),
        (b"x" * 1001 + b"/3/17", None),
        (b"", None),
        (None, None),
    ],
)
def test_an_origin_is_an_id_or_nothing(header: bytes | None, origin: str | None) -> None:
    assert origin_of(header) == origin


@given(st.binary(max_size=60))
def test_no_origin_can_raise(header: bytes) -> None:
    origin_of(header)
