"""What the sink stage depends on in a sink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipeline.types import Outcome


class Sink(Protocol):
    """Where outcomes go. Owned by: the sink thread, which makes all the calls.

    Obligations:
      - outcomes become visible in the order they were written, per stream;
      - an outcome is collected only when it is durable (acknowledged, not handed over);
      - after ``SinkUnavailable`` nothing of that call was taken, or writing it again is harmless;
      - memory is bounded: ``write`` blocks or raises rather than buffer without limit.
    """

    @property
    def name(self) -> str:
        """Shown in logs and errors: never with a password in it."""
        ...

    def open(self) -> None:
        """Connects.

        Raises:
            ConfigError: it can never work (a folder that isn't there).
            SinkUnavailable: it may work later.
        """
        ...

    def write(self, outcomes: Sequence[Outcome]) -> None:
        """Takes over outcomes, in this order.

        Raises:
            SinkUnavailable: none of them was taken.
        """
        ...

    def collect(self, timeout_s: float) -> Sequence[Outcome]:
        """Gives back the outcomes that became durable since the last call.

        Waits up to ``timeout_s`` for the first if any is outstanding; returns at once if none is.

        Raises:
            SinkUnavailable: outstanding outcomes failed; the caller writes them again.
        """
        ...

    def close(self) -> None:
        """Lets everything go. Never raises; closing twice is harmless."""
        ...
