"""Which outcomes go into the next transaction of a strict sink, and which are done. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.commit import Partition
from pipeline.types import Outcome, Position, Rejected


@dataclass(frozen=True, slots=True)
class Batch:
    """One transaction: the rows of ``outcomes``, and ``next_offsets`` that cover just these.
    ``foreign`` are of partitions that were taken away since: their next owner has them."""

    outcomes: Sequence[Outcome]
    next_offsets: Mapping[Partition, int]
    foreign: Sequence[Outcome]


class Unsettled:
    """Outcomes that aren't known to be in a committed transaction, in the order of their offsets.

    Outcomes of a partition come in its frames' order and without a gap, so the next offsets of any
    beginning of the line cover its rows and no frame besides. Owned by: the sink.
    """

    def __init__(self) -> None:
        self._line: dict[Position, Outcome] = {}

    def __len__(self) -> int:
        return len(self._line)

    @property
    def partitions(self) -> frozenset[Partition]:
        """Those of all outcomes in the line."""
        return frozenset(position.topic_partition for position in self._line)

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Appends those that aren't in the line yet."""
        for outcome in outcomes:
            self._line.setdefault(outcome.frame.position, outcome)

    def next_batch(
        self, most: int, most_bytes: int, is_current: Callable[[Position], bool]
    ) -> Batch:
        """The line's beginning: up to ``most`` rows, with up to ``most_bytes`` of rejected bytes,
        or one. They stay in the line."""
        outcomes: list[Outcome] = []
        foreign: list[Outcome] = []
        next_offsets: dict[Partition, int] = {}
        left_bytes = most_bytes
        for position, outcome in self._line.items():
            if not is_current(position):
                foreign.append(outcome)
                continue
            left_bytes -= outcome.frame.size_bytes if isinstance(outcome, Rejected) else 0
            if outcomes and (len(outcomes) == most or left_bytes < 0):
                break
            outcomes.append(outcome)
            next_offsets[position.topic_partition] = position.offset + 1
        return Batch(outcomes, next_offsets, foreign)

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """Takes these out of the line."""
        for outcome in outcomes:
            del self._line[outcome.frame.position]

    def covered(self, committed: Mapping[Partition, int]) -> Sequence[Outcome]:
        """Those whose frames a group's offsets have passed: their rows are committed too, by us or
        by another owner of the partition, as in strict mode offsets and rows only go together."""
        return [
            outcome
            for position, outcome in self._line.items()
            if position.offset < committed.get(position.topic_partition, 0)
        ]
