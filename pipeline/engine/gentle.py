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

_TIMES_WORKED = 4.0
_LONGEST_REST_S = 1.0


class Rests:
    """After each step of the work a rest, four times as long as the step computed, so that frames
    that waited for it are through before the next one. ``wait`` takes seconds, and may end sooner;
    ``check_wanted`` is called after it, and ends the work by raising.

    Owned by: the thread that works.
    """

    def __init__(
        self, wait: Callable[[float], object], check_wanted: Callable[[], None] = lambda: None
    ) -> None:
        self._wait = wait
        self._check_wanted = check_wanted
        self._thread = 0
        self._worked_s = 0.0
        self._begin()

    def __call__(self) -> None:
        """A step is done. Blocks for a second at the most."""
        if threading.get_ident() == self._thread:
            taken_s = time.thread_time() - self._worked_s
            self._wait(min(_TIMES_WORKED * taken_s, _LONGEST_REST_S))
        self._begin()
        self._check_wanted()

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
