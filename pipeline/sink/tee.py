"""Several sinks as one."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.sink.base import Sink
from pipeline.types import Outcome, Position


class TeeSink:
    """Writes to all its sinks; an outcome is durable when it is durable in each. See ``Sink``.

    Where one sink fails, only those that haven't taken the outcomes get them again.

    Owned by: the sink thread.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)
        self._behind: dict[Position, int] = {}
        self._durable: list[Outcome] = []
        self._written_to = 0

    @property
    def name(self) -> str:
        """See ``Sink.name``."""
        return " + ".join(sink.name for sink in self._sinks)

    def open(self) -> None:
        """See ``Sink.open``."""
        for sink in self._sinks:
            sink.open()

    def write(self, outcomes: Sequence[Outcome]) -> None:
        """See ``Sink.write``. After an error the caller writes the same outcomes again."""
        while self._written_to < len(self._sinks):
            self._sinks[self._written_to].write(outcomes)
            self._written_to += 1
        self._written_to = 0
        for outcome in outcomes:
            self._behind[outcome.frame.position] = len(self._sinks)

    def collect(self, timeout_s: float) -> Sequence[Outcome]:
        """See ``Sink.collect``."""
        for sink in self._sinks:
            for outcome in sink.collect(timeout_s):
                position = outcome.frame.position
                behind = self._behind.get(position)
                if behind is None:  # written again after a loss, and acknowledged twice
                    continue
                self._behind[position] = behind - 1
                if behind == 1:
                    del self._behind[position]
                    self._durable.append(outcome)
        # Kept till here: what one sink acknowledged isn't forgotten when the next one raises.
        durable, self._durable = self._durable, []
        return durable

    def close(self) -> None:
        """See ``Sink.close``."""
        for sink in self._sinks:
            sink.close()
