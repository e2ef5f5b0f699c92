from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from pipeline.service import page_url
from tests.artifacts import publish_tiny
from tests.flow.process import Headrace, samples, total
from tests.pictures import encode, with_size
from tests.support import noise_jpeg, wait_until

ENDLESS = "synthetic:digits?streams=3&cycle=20"


@pytest.fixture
def registry(tmp_path: Path) -> str:
    publish_tiny(str(tmp_path / "registry"), "tiny")
    return str(tmp_path / "registry")


def worker(registry: str, *more: str) -> Headrace:
    return Headrace("worker", "--model", "tiny", "--registry", registry, "--port", "0", *more)


def test_a_clip_from_the_command_line(registry: str, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    clip = str(clips / "bikes.mp4")
    with worker(registry, "--source", clip, "--sink", f"jsonl:{out}", "--json") as run:
        assert run.end() == 0, run.said()
        summary = run.summary()
    assert len(run.out) == 1
    assert summary["received"] == summary["scored"] == 250
    assert (summary["shed"], summary["rejected"], summary["in_flight"]) == (0, 0, 0)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["source"]["offset"] for row in rows] == list(range(250))


def test_closed_standard_streams_do_not_get_into_the_results(registry: str, tmp_path: Path) -> None:
    folder, out = tmp_path / "pictures", tmp_path / "out.jsonl"
    folder.mkdir()
    (folder / "broken.png").write_bytes(encode(np.zeros((48, 64, 3), np.uint8), ".png")[:-30])
    command = [sys.executable, "-m", "pipeline", "worker", "--source", f"dir:{folder}"]
    command += ["--sink", f"jsonl:{out}", "--no-server", "--model", "tiny", "--registry", registry]
    ran = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command],
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert ran.returncode == 0
    assert [json.loads(line)["outcome"] for line in out.read_text().splitlines()] == ["rejected"]


def test_a_full_standard_output_is_told_without_a_traceback(registry: str) -> None:
    command = [sys.executable, "-m", "pipeline", "models", "list", "--json", "--registry", registry]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            command,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            check=False,
        )
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == ["headrace: no space left: free some and start again"]


def test_an_ipv6_page_has_an_address_that_a_browser_takes() -> None:
    assert page_url("::1", 8080) == "http://[::1]:8080/"
    assert page_url("127.0.0.1", 8080) == "http://127.0.0.1:8080/"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_the_exit_code_is_zero(
    registry: str, tmp_path: Path, number: int
) -> None:
    out = tmp_path / "out.jsonl"
    with worker(registry, "--source", ENDLESS, "--sink", f"jsonl:{out}", "--json") as run:
        run.until_ready()
        wait_until(lambda: out.exists() and out.stat().st_size > 10_000)
        run.signal(number)
        assert run.end() == 0, run.said()
        summary = run.summary()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert summary["in_flight"] == 0
    assert summary["received"] == summary["scored"] == len(rows)
    assert len({row["frame_id"] for row in rows}) == len(rows)
    assert "Traceback" not in run.said()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_torch_is_imported_ends_with_zero(registry: str, number: int) -> None:
    with worker(registry, "--source", ENDLESS, "--sink", "null:", "--json") as run:
        maps = Path(f"/proc/{run.pid}/maps")
        wait_until(lambda: "libtorch" in maps.read_text(), 60)
        run.signal(number)
        assert run.end(20) == 0, run.said()
        summary = run.summary()
    assert len(run.out) == 1
    assert summary["received"] == summary["in_flight"] == 0
    assert "Traceback" not in run.said()


def test_a_signal_while_the_settings_are_read_ends_with_zero(registry: str, tmp_path: Path) -> None:
    """A settings file that is a pipe holds the worker at its very start."""
    fifo = tmp_path / "headrace.toml"
    os.mkfifo(fifo)
    with worker(registry, "-c", str(fifo), "--json") as run:
        writers: list[int] = []

        def is_being_read() -> bool:
            with contextlib.suppress(OSError):  # nobody reads it yet
                writers.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
            return bool(writers)

        wait_until(is_being_read, 60)
        run.signal(signal.SIGTERM)
        assert run.end(20) == 0, run.said()
        os.close(writers[0])
        assert run.summary()["received"] == 0
    assert run.said() == "stopped before the first frame, as asked\n"


def test_a_second_signal_does_not_wait_for_a_dead_sink(registry: str) -> None:
    with worker(registry, "--source", ENDLESS, "--sink", "jsonl:/dev/full", "--json") as run:
        url = run.until_ready()
        wait_until(lambda: "No space left" in run.said())
        run.signal(signal.SIGTERM)
        # Two of a kind at once are one to the kernel: the second must come after the first.
        wait_until(lambda: "draining" in httpx.get(url + "readyz").text)
        assert total(samples(httpx.get(url + "metrics").text), "headrace_ready") == 0
        run.signal(signal.SIGTERM)
        assert run.end(20) == 1
    assert "Traceback" not in run.said()


def test_rows_of_a_killed_worker_are_whole_and_a_new_one_goes_on_behind_them(
    registry: str, tmp_path: Path, clips: Path
) -> None:
    out = tmp_path / "out.jsonl"
    sink = f"jsonl:{out}"
    with worker(registry, "--source", ENDLESS, "--sink", sink) as run:
        run.until_ready()
        wait_until(lambda: out.exists() and out.stat().st_size > 10_000)
        run.signal(signal.SIGKILL)
        run.end()
    before = out.read_text().count("\n")
    clip = str(clips / "bikes.mp4")
    with worker(registry, "--source", clip, "--sink", sink, "--max-frames", "7") as run:
        assert run.end() == 0, run.said()
    assert len([json.loads(line) for line in out.read_text().splitlines()]) == before + 7


def test_health_and_metrics_over_http(registry: str) -> None:
    with worker(registry, "--source", ENDLESS, "--sink", "null:") as run:
        url = run.until_ready()
        for path in ("healthz", "readyz", "v2/health/live", "v2/health/ready"):
            assert httpx.get(url + path).status_code == 200
        assert httpx.get(url + "v2/models/tiny/ready").status_code == 200
        assert httpx.get(url + "v2/models/other/ready").status_code != 200
        assert "Headrace" in httpx.get(url).text
        with httpx.Client() as client:
            for _ in range(30):
                found = samples(client.get(url + "metrics").text)
                assert total(found, "headrace_ready") == 1
                assert total(found, "headrace_frames_received_total") == (
                    total(found, "headrace_frames_scored_total")
                    + total(found, "headrace_frames_shed_total")
                    + total(found, "headrace_frames_rejected_total")
                    + total(found, "headrace_frames_in_flight")
                )
        for name in (
            "headrace_stage_duration_seconds_count",
            "headrace_frame_age_seconds_count",
            "headrace_frame_latency_seconds_count",
            "headrace_batch_size_count",
            "headrace_batch_close_total",
            "headrace_model_info",
            "headrace_source_up",
        ):
            assert total(found, name) > 0, name
        run.signal(signal.SIGTERM)
        assert run.end() == 0


def test_memory_stays_flat_over_thousands_of_frames(registry: str) -> None:
    with worker(registry, "--source", ENDLESS, "--sink", "null:") as run:
        url = run.until_ready()
        process = psutil.Process(run.pid)

        def scored() -> float:
            return total(samples(httpx.get(url + "metrics").text), "headrace_frames_scored_total")

        wait_until(lambda: scored() > 2000, 60)
        before = process.memory_info().rss
        wait_until(lambda: scored() > 8000, 90)
        assert process.memory_info().rss - before < 64 * 1024 * 1024
        run.signal(signal.SIGTERM)
        assert run.end() == 0


def test_a_bomb_costs_no_memory(registry: str, tmp_path: Path) -> None:
    picture = noise_jpeg(640, 360)
    plain, bombs = tmp_path / "plain", tmp_path / "bombs"
    for folder, data in ((plain, picture), (bombs, with_size(picture, 60_000, 60_000))):
        folder.mkdir()
        for number in range(200):
            (folder / f"{number:03}.jpg").write_bytes(data)
    usual, summary = _most_memory_bytes(registry, plain)
    assert summary["scored"] == 200
    most, summary = _most_memory_bytes(registry, bombs)
    assert summary["rejected"] == 200
    assert most < usual + 64 * 1024 * 1024


def _most_memory_bytes(registry: str, folder: Path) -> tuple[int, dict[str, Any]]:
    """What a worker on this folder needs at most, and its summary."""
    most, pause = 0, threading.Event()
    with worker(registry, "--source", f"dir:{folder}", "--sink", "null:", "--json") as run:
        process = psutil.Process(run.pid)
        while run.code is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                most = max(most, process.memory_info().rss)
            pause.wait(0.005)
        assert run.end() == 0, run.said()
        return most, run.summary()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--source", "nowhere.mp4", "--model", "tiny"], 2, "no file or folder"),
        (["--source", "ftp://x/y", "--model", "tiny"], 2, "unknown source"),
        (["--source", ENDLESS, "--model", "tiny", "--sink", "ftp:x"], 2, "jsonl:PATH"),
        (["--source", ENDLESS, "--model", "tiny", "--device", "cuda:99"], 2, "isn't there"),
        (["--source", ENDLESS, "--model", "nobody"], 1, "headrace train"),
        (["--model", "tiny"], 2, "--source"),
        (["--source", ENDLESS], 2, "--model"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    registry: str, arguments: list[str], code: int, said: str
) -> None:
    with Headrace("worker", "--registry", registry, "--port", "0", *arguments) as run:
        assert run.end() == code
    assert said in run.said()
    assert "Traceback" not in run.said()
    assert not run.out


def test_a_registry_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    with worker(nowhere, "--source", ENDLESS) as run:
        assert run.end() in (1, 2)
    assert "headrace train" in run.said()
    assert "Traceback" not in run.said()
