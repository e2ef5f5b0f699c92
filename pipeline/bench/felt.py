"""What frames felt of swaps: their ages while one went on beside those of calm moments. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.bench.rounds import AGES

_SHARES = tuple(AGES)
_DRAWN = 500
_SURE = 0.9

AgesN: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when, in seconds of the wall clock."""

    begins_at: float
    ends_at: float


@dataclass(frozen=True, slots=True)
class Pair:
    """A swap, and the calm moment of about the same length before it; or two calm ones, where it is
    to be known how much a ratio is off by itself."""

    swap: Span
    calm: Span


class Ages:
    """Frames' ages when they were scored, by when they were captured. Both ``[N]``, in seconds."""

    def __init__(self, captured_at_n: Sequence[float], ages_s_n: Sequence[float]) -> None:
        order = np.argsort(captured_at_n, kind="stable")
        self._captured_at_n = np.asarray(captured_at_n, np.float64)[order]
        self._ages_s_n = np.asarray(ages_s_n, np.float64)[order]

    def within(self, span: Span) -> AgesN:
        """Of the frames that were captured in it."""
        first, last = np.searchsorted(self._captured_at_n, (span.begins_at, span.ends_at))
        return self._ages_s_n[first:last]


@dataclass(frozen=True, slots=True)
class Between:
    """A ratio, and between what it lies in nine of ten cases."""

    ratio: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Felt:
    """Quantiles of the ages in seconds by share (1.0 is the longest), of all swaps' frames together
    and of all calm moments', and for each how many times as long it was in the swaps. ``usual`` is
    that of a swap in the middle: each compared with its own calm moment, and the median taken."""

    swap_s: dict[float, float]
    calm_s: dict[float, float]
    together: dict[float, Between]
    usual: dict[float, Between]
    frames_in_swaps: int


def felt(ages: Ages, pairs: Sequence[Pair], seed: int = 0) -> Felt:
    """Puts the frames of all swaps together, and those of all calm moments, where one bad moment of
    the machine may outweigh all the others; and takes each pair for itself, where it can't. How far
    a ratio may be off is found by drawing pairs anew (bootstrap): frames of one swap share what
    befell it.

    Raises:
        ValueError: there is no pair with frames in both.
    """
    found = [(ages.within(each.swap), ages.within(each.calm)) for each in pairs]
    both = [(swap_n, calm_n) for swap_n, calm_n in found if swap_n.size and calm_n.size]
    if not both:
        raise ValueError("no swap with frames in it and before it: it was too short")
    swap_q, calm_q = _quantiles(both)
    each_pq = np.stack([_ratio([pair]) for pair in both])
    random = np.random.default_rng(seed)
    draws = [random.integers(len(both), size=len(both)) for _ in range(_DRAWN)]
    together = np.stack([_ratio([both[i] for i in draw]) for draw in draws])
    usual = np.stack([np.median(each_pq[draw], axis=0) for draw in draws])
    return Felt(
        swap_s=dict(zip(_SHARES, swap_q.tolist(), strict=True)),
        calm_s=dict(zip(_SHARES, calm_q.tolist(), strict=True)),
        together=_between(swap_q / calm_q, together),
        usual=_between(np.median(each_pq, axis=0), usual),
        frames_in_swaps=sum(swap_n.size for swap_n, _ in both),
    )


_Pairs: TypeAlias = Sequence[tuple[AgesN, AgesN]]


def _quantiles(both: _Pairs) -> tuple[AgesN, AgesN]:
    swaps_n, calms_n = (np.concatenate(each) for each in zip(*both, strict=True))
    at_swap, at_calm = (
        np.quantile(each, _SHARES, method="inverted_cdf") for each in (swaps_n, calms_n)
    )
    return at_swap, at_calm


def _ratio(both: _Pairs) -> AgesN:
    at_swap, at_calm = _quantiles(both)
    return at_swap / at_calm


def _between(ratio_q: AgesN, drawn_nq: NDArray[np.float64]) -> dict[float, Between]:
    low_q, high_q = np.quantile(drawn_nq, ((1 - _SURE) / 2, (1 + _SURE) / 2), axis=0)
    values = zip(ratio_q.tolist(), low_q.tolist(), high_q.tolist(), strict=True)
    return {share: Between(*each) for share, each in zip(_SHARES, values, strict=True)}
