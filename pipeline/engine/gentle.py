"""Work beside frames that are being scored, so that they hardly feel it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_Made = TypeVar("_Made")

_LESS_PRIORITY = 10
"""Added to the thread's niceness: on a machine whose cores are all taken it still gets a twentieth
of one. At the lowest priority it would get a hundredth, and a swap would take minutes."""

_MOST_TIMES = 40.0
"""Twenty times was still felt, four times much (docs/decisions/0021)."""

_FEWEST_TIMES = 1.0
_CALM_SHARE = 0.4
_BUSY_SHARE = 0.7
"""Of its cores, that a worker computes with. Beside less there is enough left for both; a worker at
70 % of its full speed takes 80 % of them (docs/decisions/0021)."""

_LONGEST_REST_S = 1.0
"""A step that is longer than a fortieth is one of a large network, whose frames are old anyway."""

_LOOK_BACK_S = 1.0
"""Shorter ones say more of a single batch than of the worker."""


class Busy:
    """How much of its cores, of which it may have a part, this process took lately, from 0 to 1.

    Owned by: the thread that asks.
    """

    def __init__(self, cores: float, clock_s: Callable[[], float]) -> None:
        self._cores = cores
        self._clock_s = clock_s
        self._looks = [(clock_s(), time.process_time())] * 2

    def share(self) -> float:
        """Over one to two seconds until now, if it is asked that often, else since it was asked."""
        (began_s, before_s), (_, _) = self._looks
        now_s, spent_s = self._clock_s(), time.process_time()
        if now_s - self._looks[1][0] >= _LOOK_BACK_S:
            self._looks = [self._looks[1], (now_s, spent_s)]
        if now_s <= began_s:
            return 0.0
        return min((spent_s - before_s) / (now_s - began_s) / self._cores, 1.0)


def rest_times(share: float) -> float:
    """How many times as long as it worked somebody rests beside a worker that is so busy; 0 where
    it would be for a moment only."""
    part = (share - _CALM_SHARE) / (_BUSY_SHARE - _CALM_SHARE)
    times = _MOST_TIMES * min(max(part, 0.0), 1.0)
    return times if times >= _FEWEST_TIMES else 0.0


class Rests:
    """After each step of the work a rest, ``times`` as long as the step computed, so that frames
    that waited for it are through before the next one. ``times`` is asked each time: what goes on
    beside may change. ``wait`` takes seconds, and may end sooner; ``check_wanted`` is called after
    it, and ends the work by raising.

    Owned by: the thread that works, or that waits for who works.
    """

    def __init__(
        self,
        wait: Callable[[float], object],
        check_wanted: Callable[[], None] = lambda: None,
        times: Callable[[], float] = lambda: _MOST_TIMES,
    ) -> None:
        self.wait = wait
        self.check_wanted = check_wanted
        self._times = times
        self._thread = 0
        self._worked_s = 0.0
        self._begin()

    def __call__(self) -> None:
        """A step of this thread is done. Blocks for a second at the most."""
        if threading.get_ident() == self._thread:
            rest_s = self.due_s(time.thread_time() - self._worked_s)
            if rest_s > 0:
                self.wait(rest_s)
        self._begin()
        self.check_wanted()

    def due_s(self, worked_s: float) -> float:
        """How many seconds of rest are due after so many of work: one at the most, 0 for none."""
        return min(self._times() * worked_s, _LONGEST_REST_S)

    def _begin(self) -> None:
        self._thread, self._worked_s = threading.get_ident(), time.thread_time()


def at_once() -> None:
    """No rest: there are no frames that could feel it, or they can't wait."""


def gently(work: Callable[[], _Made]) -> _Made:
    """Runs ``work`` on a thread of its own that lets all others go first, and blocks until it is
    done. Raises what it raises. The process may end while it runs.

    A thread can't have its priority back: only a process with special rights may raise one. So
    nothing must run in there that holds the interpreter's lock for long: where others have all
    cores, everybody would wait with it.
    """
    done: Future[_Made] = Future()
    threading.Thread(target=_run, args=(work, done), name="warming", daemon=True).start()
    try:
        return done.result()
    finally:
        del done  # its exception holds this frame


def _run(work: Callable[[], _Made], done: Future[_Made]) -> None:
    _give_way()
    try:
        made = work()
    except BaseException as error:  # noqa: BLE001 - whatever it is, who waits for it is told
        done.set_exception(error)
    else:
        done.set_result(made)


def _give_way() -> None:
    """Elsewhere than on Linux threads have no priorities of their own, and it does nothing; nor
    where the system forbids it."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, thread)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, min(niceness + _LESS_PRIORITY, 19))
