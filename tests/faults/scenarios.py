"""What is done to workers. Each is played with the program as it is, and with bugs planted in it.

A scenario ends when each frame has its row, or when that didn't happen in time: the checker judges.
"""

from __future__ import annotations

import itertools
import random
import signal
import threading
import time

import httpx

from tests.faults.arena import Arena, is_true_within
from tests.flow.process import Headrace
from tests.kafka.broker import LocalBroker
from tests.support import wait_until


def kills(arena: Arena, *, times: int = 3, seed: int = 0, drain_s: float = 60) -> None:
    """SIGKILL at random moments under load, a new worker after each."""
    rng = random.Random(seed)
    pause = threading.Event()
    arena.feeder.feed(1500)
    for _ in range(times):
        at = arena.scored() + rng.randrange(50, 400)
        worker = arena.start()
        wait_until(lambda: arena.scored() >= at or arena.is_all_done(), 60)  # noqa: B023
        arena.kill(worker)
        pause.wait(rng.random())
        arena.feeder.feed(500)
    arena.start()
    is_true_within(arena.is_all_done, drain_s)


def storm(arena: Arena, *, rounds: int = 6, every_s: float = 2.0, drain_s: float = 60) -> None:
    """Workers come and go every two seconds, the oldest always goes."""
    pause, enough = threading.Event(), threading.Event()
    workers = [arena.start()]
    workers[0].until_ready()
    feeding = arena.feeder.keep_feeding(200, enough)
    try:
        for _ in range(rounds):
            workers.append(arena.start())
            pause.wait(every_s)
            if len(workers) > 2:
                arena.stop(workers.pop(0))
    finally:
        enough.set()
        feeding.join()
    is_true_within(arena.is_all_done, drain_s)


def swaps(
    arena: Arena, *, times: int = 20, every_s: float = 0.4, drain_s: float = 60
) -> list[Headrace]:
    """Model after model under load, back to an earlier one now and then."""
    pause, enough = threading.Event(), threading.Event()
    worker = arena.start()
    worker.until_ready()
    feeding = arena.feeder.keep_feeding(400, enough)
    try:
        for number in range(times):
            arena.publish(100 + number % 7)
            pause.wait(every_s)
    finally:
        enough.set()
        feeding.join()
    is_true_within(arena.is_all_done, drain_s)
    return [worker]


def freeze(arena: Arena, worker: Headrace, seconds: float) -> None:
    """SIGSTOP, and SIGCONT after so long."""
    worker.signal(signal.SIGSTOP)
    threading.Event().wait(seconds)
    worker.signal(signal.SIGCONT)


def is_alive(url: str) -> bool:
    """Whether the worker answers that it lives."""
    return httpx.get(f"{url}healthz").status_code == 200


def longest_gap_s(moments: list[float], start: float, end: float) -> float:
    """The longest time without a result between two moments."""
    inside = [start, *sorted(each for each in moments if start < each < end), end]
    return max(after - before for before, after in itertools.pairwise(inside))


def now() -> float:
    """Unix seconds, as the records' times are."""
    return time.time()


def outage_and_kill(arena: Arena, results: LocalBroker, *, drain_s: float = 60) -> None:
    """The results' broker is frozen, and the worker is killed with all that it couldn't write."""
    worker = arena.start()
    worker.until_ready()
    arena.feeder.feed(300)
    arena.until_scored(300)
    with results.frozen():
        arena.feeder.feed(1000)
        threading.Event().wait(3)
        arena.kill(worker)
    arena.start()
    is_true_within(arena.is_all_done, drain_s)
