"""Signals while a verb still imports and loads: nothing came in yet, so nothing is drained."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from pipeline.cli.terminal import say
from pipeline.errors import EXIT_DONE, EXIT_FAILED


class Stoppable(Protocol):
    """What can be told to end, from any thread: a worker."""

    def stop(self) -> None:
        """Ends gracefully."""
        ...

    def abandon(self) -> None:
        """Ends at once."""
        ...


class Starting:
    """Passes a signal on to what was made, or ends the process before that. Thread-safe."""

    def __init__(self, end_process: Callable[[], None]) -> None:
        self._end_process = end_process
        self._lock = threading.Lock()
        self._made: Stoppable | None = None

    def has_made(self, made: Stoppable) -> None:
        """From now on signals are ``made``'s."""
        with self._lock:
            self._made = made

    def stop(self) -> None:
        """The first signal."""
        with self._lock:
            if self._made is None:
                self._end_process()
            else:
                self._made.stop()

    def abandon(self) -> None:
        """The second one."""
        with self._lock:
            if self._made is not None:
                self._made.abandon()


@contextmanager
def stoppable_from_the_start(*, as_json: bool) -> Iterator[Starting]:
    """Obeys SIGTERM and SIGINT from here on; until ``has_made`` is called they end the process with
    exit code 0. Importing torch takes from a second to a minute, and a supervisor won't wait."""
    from pipeline.lifecycle import stopping_on_signals

    def end_process() -> None:
        # In a thread while the main one imports: nothing unwinds that, and nothing is open yet.
        code = EXIT_FAILED
        try:
            say_stopped_before_start(as_json=as_json)
            sys.stdout.flush()
            code = EXIT_DONE
        finally:
            os._exit(code)

    starting = Starting(end_process)
    with stopping_on_signals(starting.stop, starting.abandon):
        yield starting


def say_stopped_before_start(*, as_json: bool, **more: object) -> None:
    """The summary of a run that never began, with ``more`` fields."""
    from pipeline.metrics import FrameCounts
    from pipeline.summary import Summary

    say("stopped before the first frame, as asked")
    if as_json:
        counts = FrameCounts({}, {}, {}, {}, 0)
        summary = Summary.of(counts, swaps=0, duration_s=0.0, error=None)
        print(json.dumps({**summary.to_json(), **more}))
