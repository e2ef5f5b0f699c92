"""Threads that fail together: the first failure wins and is told to the owner."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.channel import ChannelClosed, remaining_s
from pipeline.errors import HeadraceError, StageFailed

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_NO_SIGNAL = 0


class Crew:
    """The stages' threads of one worker.

    Each thread that ends with an error calls ``on_failure``, as each may leave others waiting; but
    only the first error is kept, later ones are mostly its consequences. Thread-safe.
    """

    def __init__(self, on_failure: Callable[[str], None]) -> None:
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._threads: list[tuple[str, threading.Thread]] = []
        self.error: HeadraceError | None = None

    def start(self, stage: str, body: Callable[[], None], number: int = 0) -> None:
        """Runs ``body`` in a thread named after its stage."""
        thread = threading.Thread(
            target=self._run, args=(stage, body), name=f"{stage}-{number}", daemon=True
        )
        self._threads.append((stage, thread))
        thread.start()

    def join(self, stage: str, deadline_mono_s: float) -> bool:
        """Waits for a stage's threads; whether all of them ended before the deadline."""
        threads = [thread for name, thread in self._threads if name == stage]
        for thread in threads:
            thread.join(remaining_s(deadline_mono_s))
        return not any(thread.is_alive() for thread in threads)

    def _run(self, stage: str, body: Callable[[], None]) -> None:
        try:
            body()
        except ChannelClosed:
            log.debug("%s: its channel was closed", stage)
        except HeadraceError as error:
            self._fail(stage, error)
        except Exception as cause:
            # A stage's body: an error of our own or of a library must end the worker, not a thread.
            log.debug("stage %s failed", stage, exc_info=True)
            failed = StageFailed(f"the {stage} stage failed: {type(cause).__name__}: {cause}")
            failed.__cause__ = cause
            self._fail(stage, failed)

    def _fail(self, stage: str, error: HeadraceError) -> None:
        with self._lock:
            is_first = self.error is None
            if is_first:
                self.error = error
        if not is_first:
            log.info("%s ended too: %s", stage, error)
        self._on_failure(stage)


@contextmanager
def stopping_on_signals(stop: Callable[[], None], abandon: Callable[[], None]) -> Iterator[None]:
    """The first SIGTERM or SIGINT asks to stop, the second to abandon. Main thread only; in
    another thread signals are left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Python runs a handler between two instructions of the main thread: that may hold any lock, or
    # sit in a long call and not come to the next one. The signal's number is written at once.
    numbers, written = socket.socketpair()
    written.setblocking(False)

    def obey() -> None:
        reactions = iter((stop, abandon))
        while (number := numbers.recv(1)[0]) != _NO_SIGNAL:
            if number in _SIGNALS:
                next(reactions, _ignore)()

    obeying = threading.Thread(target=obey, name="signals", daemon=True)
    obeying.start()
    # Full after some hundred signals that nobody takes: what comes then says nothing new.
    wakeup_before = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
    before = {each: signal.signal(each, _ignore) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        signal.set_wakeup_fd(wakeup_before)
        written.setblocking(True)
        written.send(bytes([_NO_SIGNAL]))
        obeying.join()
        numbers.close()
        written.close()


def _ignore(*_: object) -> None:
    """As a handler: without one in Python a signal's number isn't written."""
