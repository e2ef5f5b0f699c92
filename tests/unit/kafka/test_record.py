from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kafka.record import (
    captured_at,
    digest_of,
    first_values,
    result_headers,
    stream_of,
    trace_id_of,
)


def test_a_stream_is_the_key_or_the_partition() -> None:
    assert stream_of(b"door", "frames", 3) == "door"
    assert stream_of(None, "frames", 3) == "frames-3"
    assert stream_of(b"", "frames", 3) == "frames-3"


@given(st.binary(min_size=1, max_size=2000))
def test_any_key_makes_a_short_name_that_can_be_written(key: bytes) -> None:
    name = stream_of(key, "t", 0)
    assert 1 <= len(name) <= 256
    name.encode()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"1970-01-01T00:00:01.5Z", 1.5),
        (b"1970-01-01T01:00:00+01:00", 0.0),
        (None, 12.5),
        (b"", 12.5),
        (b"yesterday", 12.5),
        (b"\xff\xfe", 12.5),
    ],
)
def test_the_capture_is_the_headers_moment_or_the_records(
    header: bytes | None, expected: float
) -> None:
    assert captured_at(header, 12_500) == expected


def test_a_record_without_a_time_is_of_the_beginning() -> None:
    assert captured_at(None, -1) == 0.0


@given(st.binary(max_size=80))
def test_no_header_can_raise(value: bytes) -> None:
    captured_at(value, 0)
    trace_id_of(value)
    digest_of(value)


def test_a_trace_is_that_of_a_valid_traceparent() -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    assert trace_id_of(f"00-{trace}-00f067aa0ba902b7-01".encode()) == trace
    assert trace_id_of(f"cc-{trace}-00f067aa0ba902b7-01-more".encode()) == trace
    assert trace_id_of(f"00-{'0' * 32}-00f067aa0ba902b7-01".encode()) is None
    assert trace_id_of(b"00-short") is None
    assert trace_id_of(None) is None


def test_the_first_of_several_headers_of_one_name_counts() -> None:
    assert first_values([("a", None), ("a", b"1"), ("a", b"2")]) == {"a": b"1"}


def test_a_result_carries_its_frames_id_and_trace() -> None:
    headers = dict(result_headers("t/0/7", "cam ü", b"00-x"))
    assert headers["ce_id"] == b"t/0/7"
    assert headers["ce_source"] == "cam ü".encode()
    assert headers["traceparent"] == b"00-x"
    assert "traceparent" not in dict(result_headers("t/0/7", "cam", None))


def test_names_that_utf8_cannot_write_are_escaped_and_raise_nothing() -> None:
    """A folder's name of bytes that are no UTF-8 comes from Python with lone surrogates."""
    headers = dict(result_headers("fold\udcff/0/7", "fold\udcff", None))
    assert headers["ce_id"] == b"fold\\udcff/0/7"
    assert headers["ce_source"] == b"fold\\udcff"
