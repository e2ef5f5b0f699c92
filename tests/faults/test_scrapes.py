"""Row 23 of the matrix: too many scrapes, clients that never finish, and streams without end."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import psutil
import pytest

from pipeline.metrics import MAX_STREAM_LABELS
from tests.faults.arena import VERDICTS, Arena, metric, series_count
from tests.faults.feeder import Message
from tests.faults.scenarios import is_alive
from tests.flow.process import samples

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(400)]

SCRAPES_PER_S = 200
SCRAPERS = 4
STORM_S = 20
NAMES = 100_000
SLACK_BYTES = 64 << 20
LORIS = 300
FRAMES_PER_S = 100


class Storm:
    """Scrapes at a steady rate from some threads, each with a connection of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._scrape) for _ in range(SCRAPERS)]
        self._lock = threading.Lock()
        self.codes: dict[int, int] = {}

    def _scrape(self) -> None:
        every_s = SCRAPERS / SCRAPES_PER_S
        with httpx.Client() as client:
            while not self._enough.is_set():
                started = time.monotonic()
                code = client.get(f"{self._url}metrics").status_code
                with self._lock:
                    self.codes[code] = self.codes.get(code, 0) + 1
                self._enough.wait(max(0.0, every_s - (time.monotonic() - started)))

    def __enter__(self) -> Storm:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()


def p99_s(url: str, before: dict[str, float]) -> float:
    """The bucket's end below which 99 % of the frames' latencies since ``before`` are."""
    now = samples(httpx.get(f"{url}metrics").text)
    buckets = {
        float(series.partition('le="')[2].partition('"')[0]): count - before.get(series, 0)
        for series, count in now.items()
        if series.startswith("headrace_frame_latency_seconds_bucket")
    }
    most = max(buckets.values())
    return min(end for end, count in buckets.items() if count >= 0.99 * most)


def scrape(url: str) -> dict[str, float]:
    return samples(httpx.get(f"{url}metrics").text)


def test_23_a_storm_of_scrapes_holds_nothing_up(arena: Arena) -> None:
    """The figures are kept, for people: on a machine with other work they prove nothing."""
    enough, pause = threading.Event(), threading.Event()
    url = arena.start().until_ready()
    feeding = arena.feeder.keep_feeding(FRAMES_PER_S, enough)
    try:
        arena.until_scored(300)
        before = scrape(url)
        pause.wait(STORM_S)
        quiet_s = p99_s(url, before)
        before = scrape(url)
        scored = arena.scored()
        with Storm(url) as storm:
            pause.wait(STORM_S)
        figures = {"p99_quiet_s": quiet_s, "p99_storm_s": p99_s(url, before), "codes": storm.codes}
    finally:
        enough.set()
        feeding.join()
    assert set(storm.codes) == {200}
    assert arena.scored() > scored
    arena.until_all_done()
    arena.stop_all()
    verdict = arena.verdict("23-scrapes", has_all_summaries=True, most_gap_s=5.0)
    (VERDICTS / "23-scrapes-figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    assert verdict.broken == []


def test_23_clients_that_never_finish_shut_nobody_out(arena: Arena) -> None:
    """Each sends a byte of its request every half second, for half a minute."""
    worker = arena.start()
    url = worker.until_ready()
    used = psutil.Process(worker.pid).memory_info().rss
    arena.feeder.feed(300)
    with lorises(url) as drip:
        for _ in range(60):
            drip()
            assert is_alive(url)
        arena.feeder.feed(300)
        arena.until_all_done()
        assert metric(url, "headrace_frames_scored_total") == 600
    assert psutil.Process(worker.pid).memory_info().rss < used + SLACK_BYTES
    arena.stop_all()
    assert arena.verdict("23-slow-loris", has_all_summaries=True).broken == []


@contextlib.contextmanager
def lorises(url: str) -> Iterator[Callable[[], None]]:
    """Connections that send a request byte by byte; one that the server ended is made anew."""
    host, _, port = url.removeprefix("http://").rstrip("/").partition(":")
    address = (host, int(port))
    pause = threading.Event()
    made = [socket.create_connection(address, 5) for _ in range(LORIS)]

    def drip() -> None:
        for place, each in enumerate(made):
            try:
                each.send(b"G")
            except OSError:
                each.close()
                made[place] = socket.create_connection(address, 5)
        pause.wait(0.5)

    try:
        yield drip
    finally:
        for each in made:
            each.close()


def test_23_a_hundred_thousand_streams_are_a_bounded_number_of_series(arena: Arena) -> None:
    """And cost no memory when they are gone. Each name has one frame, which isn't a picture."""
    worker = arena.start()
    url = worker.until_ready()
    process = psutil.Process(worker.pid)

    def send(numbers: range) -> int:
        arena.feeder.send(
            Message(b"no picture", f"stream-{number}".encode(), must_be="rejected")
            for number in numbers
        )
        arena.until_all_done(200)
        return process.memory_info().rss

    half = send(range(NAMES // 2))
    assert send(range(NAMES // 2, NAMES)) < half + SLACK_BYTES
    for name in ("received", "rejected"):
        assert series_count(url, f"headrace_frames_{name}_total") <= MAX_STREAM_LABELS + 1
    assert metric(url, "headrace_frames_received_total") == NAMES
    arena.stop_all()
    assert arena.verdict("23-streams", has_all_summaries=True).broken == []
