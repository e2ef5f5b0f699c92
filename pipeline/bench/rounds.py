"""Rounds of runs, and what may be said of them. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

T = TypeVar("T")

AGES: Mapping[float, str] = {0.5: "p50", 0.9: "p90", 0.99: "p99", 1.0: "longest"}
"""The quantiles of ages that reports have, by the share that isn't older."""


@dataclass(frozen=True, slots=True)
class Run:
    """One contender's run. ``cpu_s`` is the whole process's over the same ``duration_s``; the ages
    (capture to score, in seconds) are None where there is nothing to measure them by. ``batches``
    and ``infer_s``, the engine's time for all of them, are the worker's alone."""

    frames: int
    duration_s: float
    cpu_s: float
    age_p50_s: float | None = None
    age_p99_s: float | None = None
    batches: int | None = None
    infer_s: float | None = None

    @property
    def frames_per_s(self) -> float:
        """Throughput."""
        return self.frames / self.duration_s

    @property
    def cpu_ms_per_frame(self) -> float:
        """CPU time of all threads, in milliseconds for one frame."""
        return 1000 * self.cpu_s / self.frames

    @property
    def frames_per_batch(self) -> float | None:
        """The mean batch."""
        return self.frames / self.batches if self.batches else None

    @property
    def infer_ms_per_frame(self) -> float | None:
        """The engine's time, in milliseconds for one frame."""
        return None if self.infer_s is None else 1000 * self.infer_s / self.frames


Round: TypeAlias = Mapping[str, Run]
"""The runs of one round, by contender; they ran one right after the other."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of several rounds' values, and how far they lay apart."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Sums up one value a round.

    Raises:
        ValueError: there is none.
    """
    if not values:
        raise ValueError("no values: expected one a round")
    return Spread(statistics.median(values), min(values), max(values))


def spread_of(
    rounds: Sequence[Round], contender: str, value: Callable[[Run], float | None]
) -> Spread | None:
    """Sums up one value of a contender's runs; None where it has none."""
    values = [value(each[contender]) for each in rounds]
    known = [each for each in values if each is not None]
    return spread(known) if known else None


def ratio(rounds: Sequence[Round], over: str, under: str) -> Spread:
    """How many times as fast ``over`` is as ``under``.

    Each round's ratio is taken first: what slows the whole machine for seconds slows both, so
    ratios hold where frames a second don't.
    """
    return spread([each[over].frames_per_s / each[under].frames_per_s for each in rounds])


def rotated(contenders: Sequence[T], number: int) -> tuple[T, ...]:
    """The order of round ``number``: each contender is first, second, … equally often."""
    shift = number % len(contenders)
    return (*contenders[shift:], *contenders[:shift])


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0 to 1) of the values don't exceed.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values: expected at least one")
    rank = math.ceil(share * len(values))
    return sorted(values)[max(0, rank - 1)]


def bucket_quantile(cumulative: Sequence[tuple[float, float]], share: float) -> float | None:
    """Estimates a quantile from a histogram's ``(upper bound, count up to it)`` pairs, rising.

    Linear within the bucket, as Prometheus's ``histogram_quantile`` does it. Beyond the last finite
    bound it is that bound; None for an empty histogram.
    """
    if not cumulative or not cumulative[-1][1]:
        return None
    wanted = share * cumulative[-1][1]
    below, count_below = 0.0, 0.0
    for bound, count in cumulative:
        if count >= wanted and count > count_below:
            if math.isinf(bound):
                return below
            return below + (bound - below) * (wanted - count_below) / (count - count_below)
        below, count_below = bound, count
    return below
