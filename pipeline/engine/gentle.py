"""Work beside frames that are being scored, so that they hardly feel it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Made = TypeVar("_Made")

_LESS_PRIORITY = 10
"""Added to the thread's niceness: on a machine whose cores are all taken it still gets a twentieth
of one. At the lowest priority it would get a hundredth, and a swap would take minutes."""

_TIMES_WORKED = 4.0
_LONGEST_REST_S = 1.0


class Rests:
    """After each step of the work a rest, four times as long as the step computed, so that frames
    that waited for it are through before the next one. ``wait`` takes seconds, and may end sooner.

    Owned by: the thread that works.
    """

    def __init__(self, wait: Callable[[float], object]) -> None:
        self._wait = wait
        self._worked_s = time.thread_time()

    def __call__(self) -> None:
        """A step is done. Blocks for a second at the most."""
        taken_s = time.thread_time() - self._worked_s
        self._wait(min(_TIMES_WORKED * taken_s, _LONGEST_REST_S))
        self._worked_s = time.thread_time()


def at_once() -> None:
    """No rest: there are no frames that could feel it, or they can't wait."""


def gently(work: Callable[[Callable[[], None]], _Made], wait: Callable[[float], object]) -> _Made:
    """Runs ``work`` on a thread of its own that lets all others go first, gives it its rests to
    take between its steps, and blocks until it is done. Raises what it raises.

    A thread can't have its priority back: only a process with special rights may raise one.
    """
    with ThreadPoolExecutor(1, "making-ready", initializer=_give_way) as thread:
        return thread.submit(lambda: work(Rests(wait))).result()


def _give_way() -> None:
    """Elsewhere than on Linux threads have no priorities of their own, and it does nothing."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(niceness + _LESS_PRIORITY, 19))
