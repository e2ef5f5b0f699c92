"""Time, as an argument: stages take a ``Clock``, so tests can hold time still."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from. Thread-safe."""

    def now(self) -> float:
        """Unix time in seconds. May jump; only for what is written out or compared to a capture."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start. Never goes back; every duration is made of these."""
        ...


class SystemClock:
    """The machine's clock. Thread-safe."""

    def now(self) -> float:
        """See ``Clock.now``."""
        return time.time()

    def monotonic(self) -> float:
        """See ``Clock.monotonic``."""
        return time.monotonic()


class ManualClock:
    """A clock that moves when told to. Thread-safe."""

    def __init__(self, now: float = 1_700_000_000.0, monotonic: float = 1000.0) -> None:
        self._lock = threading.Lock()
        self._now = now
        self._monotonic = monotonic

    def now(self) -> float:
        """See ``Clock.now``."""
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        """See ``Clock.monotonic``."""
        with self._lock:
            return self._monotonic

    def advance(self, seconds: float) -> None:
        """Moves both clocks on."""
        with self._lock:
            self._now += seconds
            self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Makes the wall clock jump, as an NTP correction does; the monotonic one stays."""
        with self._lock:
            self._now += seconds
