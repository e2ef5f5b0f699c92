"""What becomes of candidates on trial, under load: they take over, are taken back, or the alias
leaves them. Played with the program as it is, and with bugs planted in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from pipeline.artifact.names import LATEST
from pipeline.artifact.registry import Registry
from tests.faults.arena import Arena, is_true_within, swap_count
from tests.faults.oracle.networks import NAME, Flaw
from tests.flow.process import Headrace

_MOST_WAITING = 200
_CANARY_FRAMES = "HEADRACE_MODEL__CANARY_FRAMES"

AS_CANARY = {
    "HEADRACE_MODEL__ROLLOUT": "canary",
    "HEADRACE_MODEL__WATCH_INTERVAL_S": "0.1",
    "HEADRACE_MODEL__SHADOW_FRAMES": "100",
    "HEADRACE_MODEL__SHADOW_SHARE": "1",
    "HEADRACE_MODEL__CANARY_SHARE": "0.5",
    # By far more than it has scored until somebody sees that it does.
    _CANARY_FRAMES: "1000",
    "HEADRACE_MODEL__MAX_DISAGREEMENT": "0.1",
    "HEADRACE_MODEL__MAX_SLOWDOWN": "1000",  # the machine may be busy, and networks are tiny
}


def canaries(arena: Arena, *, drain_s: float = 60) -> Headrace:
    """One takes over; one that gives no numbers and one that differs are taken back; the alias
    moves on from one to the next, back to what scores, and to that next one again."""
    worker = arena.start(env=AS_CANARY)
    worker.until_ready()
    good = arena.publish(18)
    _feed_until_taken(arena, worker, 1)
    _take_back(arena, worker, 19, "fails_late")
    _take_back(arena, worker, 20, "differs_late")
    _feed_until_canary(arena, arena.publish(21), worker)
    _feed_until_canary(arena, next_one := arena.publish(22), worker)
    there = Registry(arena.registry)
    there.set_alias(NAME, LATEST, good)
    is_true_within(lambda: _trial(worker) is None, 60)  # it ends without frames, too
    there.set_alias(NAME, LATEST, next_one)
    _feed_until_canary(arena, next_one, worker)
    _feed_until_taken(arena, worker, 2)
    arena.feeder.feed(500)
    is_true_within(arena.is_all_done, drain_s)
    return worker


def wandering_canaries(arena: Arena, *, drain_s: float = 60) -> Headrace:
    """A second worker comes in the middle of the first one's trial, and begins with what is on
    trial there; the next version is on trial at both when the first one drains."""
    first = arena.start(env=AS_CANARY | {_CANARY_FRAMES: "1000000"})  # it waits for the second
    first.until_ready()
    _feed_until_canary(arena, arena.publish(18), first)
    second = arena.start(env=AS_CANARY)
    second.until_ready()
    _feed_until_canary(arena, arena.publish(19), first, second)
    arena.stop(first)
    _feed_until_taken(arena, second, 1)
    arena.feeder.feed(500)
    is_true_within(arena.is_all_done, drain_s)
    return second


def canary_taken_back(arena: Arena, *, drain_s: float = 30) -> None:
    """One that gives no numbers for some frames, once it scores streams."""
    worker = arena.start(env=AS_CANARY)
    worker.until_ready()
    _take_back(arena, worker, 19, "fails_late")
    arena.feeder.feed(500)
    is_true_within(arena.is_all_done, drain_s)


def _take_back(arena: Arena, worker: Headrace, constant: int, flaw: Flaw) -> None:
    """The frames that it is bad on come when it scores streams."""
    before = swap_count(worker, "canary")
    _feed_until_canary(arena, arena.publish(constant, flaw), worker)
    _feed_until(arena, lambda: swap_count(worker, "canary") > before, are_late=True)


def _feed_until_canary(arena: Arena, version: int, *workers: Headrace) -> None:
    """Until this version has scored frames of its streams, at each of these workers."""
    _feed_until(arena, lambda: all(_is_canary(each, version) for each in workers))


def _feed_until_taken(arena: Arena, worker: Headrace, count: int) -> None:
    """Until so many versions have taken over."""
    _feed_until(arena, lambda: swap_count(worker, "swapped") == count, at_once=500)


def _feed_until(
    arena: Arena,
    predicate: Callable[[], object],
    *,
    at_once: int = 100,
    are_late: bool = False,
    within_s: float = 60,
) -> None:
    """Keeps the worker's hands full until it is so, or that didn't happen in time."""
    pause, end = threading.Event(), time.monotonic() + within_s
    while not predicate() and time.monotonic() < end:
        if len(arena.feeder.log) - arena.scored() < _MOST_WAITING:
            arena.feeder.feed(at_once, are_late=are_late)
        else:
            pause.wait(0.01)


def _is_canary(worker: Headrace, version: int) -> bool:
    trial = _trial(worker)
    if trial is None or trial["frames"] == 0:
        return False
    return (trial["version"], trial["rollout"]) == (version, "canary")


def _trial(worker: Headrace) -> dict[str, Any] | None:
    """The trial that is under way, as the page shows it."""
    return httpx.get(f"{worker.url()}live.json").json()["view"]["trial"]
