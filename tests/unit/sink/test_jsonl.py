from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.clock import SystemClock
from pipeline.config import Settings, SinkSettings
from pipeline.errors import ConfigError, SinkUnavailable, StageFailed
from pipeline.opencv import cv2
from pipeline.sink.dead_letter import encode_dead_letter
from pipeline.sink.jsonl import JsonlSink, StdoutSink
from pipeline.sink.url import check_no_twins, make_dead_letters, make_sink
from pipeline.types import Frame, Position, Rejected
from pipeline.wire import encode_row
from tests.frames import frame, rejected, scored


def test_rows_are_appended_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    for first in (0, 2):
        sink = JsonlSink(path, encode_row)
        sink.open()
        sink.write([scored(frame(first)), scored(frame(first + 1))])
        sink.close()
    offsets = [json.loads(line)["source"]["offset"] for line in path.read_text().splitlines()]
    assert offsets == [0, 1, 2, 3]


@pytest.mark.parametrize("torn_bytes", [1, 7, 50, 100_000, 300_000])
def test_a_torn_row_of_a_killed_writer_is_cut_off(tmp_path: Path, torn_bytes: int) -> None:
    path = tmp_path / "out.jsonl"
    whole = encode_row(scored(frame(0)))
    long = encode_dead_letter(rejected(frame(1, payload=bytes(300_000))))
    path.write_bytes(whole + long[:torn_bytes])
    sink = JsonlSink(path, encode_row)
    sink.open()
    sink.write([scored(frame(1))])
    sink.close()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["source"]["offset"] for row in rows] == [0, 1]


def test_a_second_writer_of_one_file_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    """A full disk makes a writer cut off what it wrote in part: rows of another would go, too."""
    path = tmp_path / "out.jsonl"
    first, second = JsonlSink(path, encode_row), JsonlSink(path, encode_row)
    first.open()
    with pytest.raises(ConfigError, match="being written by another worker"):
        second.open()
    first.write([scored(frame(0))])
    first.close()
    second.open()
    second.write([scored(frame(1))])
    second.close()
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("sinks", "dead_letter"),
    [
        (("jsonl:a.jsonl", "jsonl:./a.jsonl"), ""),
        (("stdout:", "null:", "null:", "stdout:"), ""),
        (("jsonl:a.jsonl",), "jsonl:a.jsonl"),
        (("kafka://x:1/t?create=2", "kafka://x:1/t"), ""),
    ],
)
def test_a_sink_that_is_given_twice_is_wrong_use(sinks: tuple[str, ...], dead_letter: str) -> None:
    settings = Settings(sinks=sinks, sink=SinkSettings(dead_letter=dead_letter))
    with pytest.raises(ConfigError, match="is given twice"):
        check_no_twins(settings)


def test_somebody_elses_last_line_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text('{"mine": 1}')
    sink = JsonlSink(path, encode_row)
    sink.open()
    sink.write([scored(frame(1))])
    sink.close()
    assert path.read_text().splitlines()[0] == '{"mine": 1}'
    assert len(path.read_text().splitlines()) == 2


def test_a_pipe_whose_reader_died_fails_and_goes_on_with_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    sink = JsonlSink(path, encode_row)
    with pytest.raises(SinkUnavailable, match="start its reader first"):
        sink.open()
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink.open()
    sink.write([scored(frame(0))])
    assert b'"offset":0' in os.read(reader, 1 << 16)
    os.close(reader)
    for _ in range(2):
        with pytest.raises(SinkUnavailable, match=r"reader is gone|start its reader"):
            sink.write([scored(frame(1))])
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink.write([scored(frame(1))])
    assert [
        json.loads(row)["source"]["offset"] for row in os.read(reader, 1 << 16).splitlines()
    ] == [1]
    os.close(reader)
    sink.close()


FULL_DISK = """
import resource, sys
from pathlib import Path
from pipeline.errors import SinkUnavailable
from pipeline.sink.jsonl import JsonlSink
from pipeline.wire import encode_row
from tests.frames import frame, scored
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = 5 * len(encode_row(scored(frame(0)))) + 100
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
sink = JsonlSink(Path(sys.argv[1]), encode_row)
sink.open()
sink.write([scored(frame(k)) for k in range(4)])
try:
    sink.write([scored(frame(k)) for k in range(4, 8)])
except SinkUnavailable as error:
    print("unavailable")
assert len(sink.collect(0)) == 4
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
sink.write([scored(frame(k)) for k in range(4, 8)])
sink.close()
"""


def test_a_write_that_fails_half_way_is_taken_back_and_can_be_made_again(tmp_path: Path) -> None:
    """A file-size limit stands for a full disk: the kernel takes a part of the write."""
    path = tmp_path / "out.jsonl"
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "unavailable"
    offsets = [json.loads(line)["source"]["offset"] for line in path.read_text().splitlines()]
    assert offsets == list(range(8))


def test_a_full_device_is_unavailable_and_not_a_crash() -> None:
    sink = JsonlSink(Path("/dev/full"), encode_row)
    sink.open()
    with pytest.raises(SinkUnavailable, match="No space left"):
        sink.write([scored(frame(0))])
    assert list(sink.collect(0)) == []
    sink.close()


def test_a_missing_folder_and_a_folder_are_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        JsonlSink(tmp_path / "no" / "out.jsonl", encode_row).open()
    with pytest.raises(ConfigError, match="is a folder"):
        JsonlSink(tmp_path, encode_row).open()


def test_a_lazy_file_is_made_by_its_first_row(tmp_path: Path) -> None:
    sink = make_dead_letters("", (), (f"jsonl:{tmp_path}/out.jsonl",), SystemClock())
    sink.open()
    assert list(tmp_path.iterdir()) == []
    sink.write([rejected(frame(0, payload=b"junk"))])
    sink.close()
    (row,) = [json.loads(x) for x in (tmp_path / "out.dlq.jsonl").read_text().splitlines()]
    assert base64.b64decode(row["payload"]) == b"junk"
    assert (row["reason"], row["frame_id"]) == ("corrupt", "cam/0/0")


def test_a_picture_that_was_decoded_already_is_kept_without_loss() -> None:
    image_hwc = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    raw = Frame(Position("v", 0, 0), "v", image_hwc, 0.0, 0.0)
    row = json.loads(encode_dead_letter(Rejected(raw, "bad_output", "NaN", 1.0)))
    kept = cv2.imdecode(np.frombuffer(base64.b64decode(row["payload"]), np.uint8), 1)
    assert (kept == image_hwc).all()


def test_only_rejected_frames_are_dead_letters() -> None:
    with pytest.raises(TypeError):
        encode_dead_letter(scored(frame()))


def test_a_reader_that_left_ends_the_worker_with_its_reason() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(StageFailed, match="closed by its reader"):
        StdoutSink(encode_row, writer).write([scored(frame())])
    os.close(writer)


@pytest.mark.parametrize("url", ["", "jsonl", "jsonl:", "ftp:x", "stdout:x", "kafka:t", "out"])
def test_what_is_no_sink_is_refused_with_what_would_be(url: str) -> None:
    with pytest.raises(ConfigError, match="expected kafka://"):
        make_sink(url, SystemClock())


def test_dead_letters_go_beside_results_or_where_told(tmp_path: Path) -> None:
    assert make_dead_letters("", (), ("null:",), SystemClock()).name == "null:"
    assert make_dead_letters("null:", (), ("jsonl:x.jsonl",), SystemClock()).name == "null:"
    assert (
        make_dead_letters(f"jsonl:{tmp_path}/d", (), (), SystemClock()).name
        == f"jsonl:{tmp_path}/d"
    )
    with pytest.raises(ConfigError, match="dead-letter"):
        make_dead_letters("stdout:", (), (), SystemClock())
