"""What a replay reads: ranges, and the marks that say what was put through before. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.errors import ConfigError
from pipeline.kafka.lag import Bounds

EARLIEST = "earliest"


@dataclass(frozen=True, slots=True)
class Edge:
    """An end of a range: an offset, or the first record that was written at ``unix_s`` or later;
    0 is the log's start."""

    offset: int | None = None
    unix_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """What is asked for: of one partition or all, from ``begin`` up to ``end`` without it."""

    partition: int | None = None
    begin: Edge | None = None
    end: Edge | None = None

    @property
    def is_range(self) -> bool:
        """Whether a range was asked for; else what wasn't put through before is."""
        return (self.partition, self.begin, self.end) != (None, None, None)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far dead letters of one partition were put through: all before ``done``, and those of a
    reason before ``ahead[reason]``, where a replay asked for that reason alone."""

    done: int = 0
    ahead: Mapping[str, int] = field(default_factory=dict[str, int])

    def is_done(self, offset: int, reason: str) -> bool:
        """Whether a dead letter was put through before."""
        return offset < max(self.done, self.ahead.get(reason, 0))

    def begin(self, reasons: Collection[str]) -> int:
        """The first offset that may hold news for these reasons; without any, for all."""
        return max(self.done, min((self.ahead.get(reason, 0) for reason in reasons), default=0))

    def after(self, next_offset: int, reasons: Collection[str]) -> Mark:
        """The mark when those of ``reasons`` before ``next_offset`` were put through; without any,
        all. A mark never moves back."""
        ahead = {**self.ahead}
        done = self.done
        if reasons:
            ahead |= {reason: max(next_offset, ahead.get(reason, 0)) for reason in reasons}
        else:
            done = max(done, next_offset)
        return Mark(done, {reason: at for reason, at in sorted(ahead.items()) if at > done})

    def note(self) -> str:
        """What isn't in ``done``, as text to be committed beside it."""
        return ",".join(f"{reason}:{at}" for reason, at in self.ahead.items())


def mark_of(offset: int, note: str) -> Mark:
    """Reads a mark. A note that isn't one of ours says nothing."""
    ahead: dict[str, int] = {}
    for part in note.split(","):
        reason, colon, at = part.rpartition(":")
        if colon and at.isascii() and at.isdigit():
            ahead[reason] = int(at)
    return Mark(offset, {reason: at for reason, at in ahead.items() if at > offset})


def known_marks(
    committed: Mapping[int, tuple[int, str]], bounds: Mapping[int, Bounds]
) -> dict[int, Mark]:
    """The marks of what was committed as offsets and notes. What is beyond a log is of a topic that
    was deleted and made anew, and counts as nothing."""
    marks: dict[int, Mark] = {}
    for number, (offset, note) in committed.items():
        end = bounds[number].end
        mark = mark_of(offset, note)
        if mark.done <= end:
            ahead = {reason: at for reason, at in mark.ahead.items() if at <= end}
            marks[number] = Mark(mark.done, ahead)
    return marks


def parse_edge(text: str) -> Edge:
    """Reads an offset, a moment (ISO 8601 with its zone) or ``earliest``.

    Raises:
        ConfigError: it is none of these.
    """
    if text == EARLIEST:
        return Edge()
    if text.isascii() and text.isdigit():
        return Edge(offset=int(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as cause:
        raise ConfigError(
            f"got {text!r}, expected an offset, a moment such as 2026-01-31T23:59:00Z, or earliest"
        ) from cause
    if moment.tzinfo is None:
        raise ConfigError(f"{text!r} has no zone; add Z for UTC, or an offset such as +01:00")
    return Edge(unix_s=max(0.0, moment.timestamp()))


def check_choice(choice: Choice, partitions: Collection[int]) -> None:
    """Refuses what can't be meant.

    Raises:
        ConfigError: an offset without a partition, a partition without an end of a range, or one
            that isn't there.
    """
    edges = (choice.begin, choice.end)
    if choice.partition is not None and edges == (None, None):
        raise ConfigError("a partition alone is no range: add --from or --to")
    if choice.partition is None and any(edge and edge.offset is not None for edge in edges):
        raise ConfigError("an offset is of one partition: add --partition N, or give moments")
    if choice.partition is not None and choice.partition not in partitions:
        raise ConfigError(
            f"there is no partition {choice.partition}, expected 0 to {len(partitions) - 1}"
        )


def plan(
    bounds: Mapping[int, Bounds],
    choice: Choice,
    firsts: Mapping[Edge, Mapping[int, int]],
) -> dict[int, Bounds]:
    """The ranges of a choice, cut to what the logs hold now: what comes later isn't read, so that
    a replay into its own topic ends. Empty ones are left out.

    ``firsts`` says for each edge that is a moment the first offset of each partition, -1 for none.
    """
    ranges: dict[int, Bounds] = {}
    for number, log in bounds.items():
        if choice.partition not in (None, number):
            continue
        start = _place(choice.begin, number, log, firsts, log.start)
        end = _place(choice.end, number, log, firsts, log.end)
        if start < end:
            ranges[number] = Bounds(start, end)
    return ranges


def plan_news(
    bounds: Mapping[int, Bounds], marks: Mapping[int, Mark], reasons: Collection[str]
) -> dict[int, Bounds]:
    """The ranges that weren't put through before."""
    ranges: dict[int, Bounds] = {}
    for number, log in bounds.items():
        start = max(log.start, marks.get(number, Mark()).begin(reasons))
        if start < log.end:
            ranges[number] = Bounds(start, log.end)
    return ranges


def _place(
    edge: Edge | None,
    partition: int,
    log: Bounds,
    firsts: Mapping[Edge, Mapping[int, int]],
    otherwise: int,
) -> int:
    if edge is None:
        return otherwise
    if edge.offset is not None:
        place = edge.offset
    elif edge.unix_s == 0:
        place = log.start
    else:
        first = firsts[edge].get(partition, -1)
        place = log.end if first < 0 else first
    return min(max(place, log.start), log.end)
