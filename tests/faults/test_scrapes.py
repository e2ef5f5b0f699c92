"""Row 23 of the matrix: too many scrapes, clients that never finish, and streams without end."""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import psutil
import pytest

from pipeline.metrics import MAX_STREAM_LABELS
from tests.faults.arena import VERDICTS, Arena, metric, series_count
from tests.faults.feeder import Message
from tests.faults.scenarios import is_alive
from tests.faults.scraping import decoy, storm

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(600)]

ROUNDS, ROUND_S = 7, 4.0
NAMES = 100_000
SLACK_BYTES = 64 << 20
LORIS = 300
FRAMES_PER_S = 100


def p99_ms(arena: Arena, seconds: float) -> float:
    """The age, at their score, below which 99 % of the frames of the next seconds are."""
    already = arena.scored()
    threading.Event().wait(seconds)
    return statistics.quantiles(arena.ages_ms()[already:], n=100)[-1]


def test_23_a_storm_of_scrapes_holds_nothing_up(arena: Arena) -> None:
    """The figures are kept, for people: on a machine with other work they prove nothing. What
    scrapers, broker and feeder take of the same cores they also take while a decoy is scraped."""
    enough, codes = threading.Event(), Counter[int]()
    url = arena.start().until_ready()
    feeding = arena.feeder.keep_feeding(FRAMES_PER_S, enough)
    figures: list[tuple[float, float, float]] = []
    try:
        arena.until_scored(300)
        with decoy() as elsewhere:
            for _ in range(ROUNDS):
                quiet_ms = p99_ms(arena, ROUND_S)
                with storm(elsewhere, Counter()):
                    elsewhere_ms = p99_ms(arena, ROUND_S)
                scored = arena.scored()
                with storm(url, codes):
                    figures.append((quiet_ms, elsewhere_ms, p99_ms(arena, ROUND_S)))
                assert arena.scored() > scored
    finally:
        enough.set()
        feeding.join()
    assert set(codes) == {200}
    arena.until_all_done()
    arena.stop_all()
    verdict = arena.verdict("23-scrapes", has_all_summaries=True, most_gap_s=5.0)
    kept = {
        "storm_over_quiet_median": statistics.median(here / quiet for quiet, _, here in figures),
        "storm_over_decoy_median": statistics.median(here / there for _, there, here in figures),
        "p99_ms_quiet_decoy_and_storm": figures,
        "scrapes": sum(codes.values()),
    }
    (VERDICTS / "23-scrapes-figures.json").write_text(json.dumps(kept, indent=2) + "\n")
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
