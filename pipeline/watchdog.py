"""Calls that must return, and the end of a process in which one doesn't."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from pipeline.clock import Clock
from pipeline.errors import EXIT_RESTART

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_LATE_S = 5.0
"""A look that comes so late says that the whole process stood still: then no call is to blame."""
_STDERR = 2
"""A file descriptor: what ``sys.stderr`` is by then may have none."""
_LOOKS = 2
"""One after the other that find it stuck: the first may fall between two things."""


class CallWatch:
    """Which threads are in a call that may never return, and since when. Thread-safe.

    A thread is in one such call at a time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[int, tuple[str, float, float]] = {}

    def call(self, name: str, patience: float = 1.0) -> AbstractContextManager[None]:
        """Marks the block as such a call. It may take ``patience`` times as long as others."""
        return _Call(self._open, (name, self._clock.monotonic(), patience))

    def forget(self, thread: int) -> None:
        """A call of this thread (its ``ident``) isn't waited for any more."""
        self._open.pop(thread, None)

    def overdue(self, within_s: float) -> str | None:
        """None, or which call should have returned."""
        now = self._clock.monotonic()
        for name, since, patience in list(self._open.values()):
            if now - since > within_s * patience:
                return f"{name} hasn't returned for {now - since:.0f} s"
        return None


class _Call:
    """A block within a watched call; a generator for each frame's would cost twice as much.
    Owned by: the thread that runs the block."""

    __slots__ = ("_entry", "_open", "_thread")

    def __init__(
        self, calls: dict[int, tuple[str, float, float]], entry: tuple[str, float, float]
    ) -> None:
        self._open = calls
        self._entry = entry
        self._thread = threading.get_ident()

    def __enter__(self) -> None:
        self._open[self._thread] = self._entry

    def __exit__(self, *exception: object) -> None:
        self._open.pop(self._thread, None)


@contextmanager
def guarded(stuck: Callable[[], str | None], within_s: float, clock: Clock) -> Iterator[None]:
    """Ends this process with exit code 75 if ``stuck`` says so while the block runs: all threads'
    stacks go to stderr first. What wasn't durable isn't committed, and comes again.

    A thread that holds the interpreter for twice ``within_s`` is found too, by a timer that needs
    none; the exit code is 1 then.
    """
    stop = threading.Event()
    thread = threading.Thread(
        target=_watch, args=(stuck, within_s, clock, stop), name="watchdog", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch(
    stuck: Callable[[], str | None], within_s: float, clock: Clock, stop: threading.Event
) -> None:
    looked = clock.monotonic()
    judged_from, found = looked, 0
    try:
        while not stop.is_set():
            faulthandler.dump_traceback_later(2 * within_s, exit=True, file=_STDERR)
            stop.wait(_LOOK_EVERY_S)
            now = clock.monotonic()
            if now - looked > _LOOK_EVERY_S + _LATE_S:
                judged_from = now + within_s
            looked = now
            reason = stuck() if now >= judged_from else None
            found = 0 if reason is None else found + 1
            if reason is not None and found >= _LOOKS:
                _exit(reason)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _exit(reason: str) -> None:
    log.critical("%s: this process can't be mended, and ends with %d", reason, EXIT_RESTART)
    faulthandler.dump_traceback(file=_STDERR, all_threads=True)
    sys.stderr.flush()
    os._exit(EXIT_RESTART)
