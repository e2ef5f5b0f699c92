"""Is a candidate worse than what it would replace? Decided on the same samples, pair by pair. Pure.

The samples on which only one of the two is right are what tells them apart: were they equally good,
each would be right on as many, as heads and tails are. The test is McNemar's, one-sided and in its
mid-p form, which is right about as often as it says where the exact one is too timid (Fagerland,
Lydersen, Laake: The McNemar test for binary matched-pairs data, BMC Medical Research Methodology
13:91, 2013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIGNIFICANT = 0.05
"""Of candidates that are as good as the incumbent, one in twenty is refused, or fewer."""


@dataclass(frozen=True, slots=True)
class GateSettings:
    """What is refused: a candidate that is surely worse, by a mean score that is lower by more than
    ``tolerance`` (0 to 1). ``even_if_worse`` publishes it all the same."""

    tolerance: float = 0.0
    even_if_worse: bool = False


DEFAULT_GATE = GateSettings()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two networks on the same samples. ``score`` and ``incumbent_score`` are means over
    ``samples`` (of right answers: accuracy); on ``gained`` samples only the candidate did better,
    on ``lost`` only the incumbent."""

    samples: int
    score: float
    incumbent_score: float
    gained: int
    lost: int

    @property
    def p_value(self) -> float:
        """How probable it is to lose so many samples or more, if both are equally good."""
        return mid_p(self.lost, self.gained + self.lost)

    def is_worse(self, tolerance: float) -> bool:
        """Whether the candidate is lower by more than ``tolerance``, and that not by chance."""
        return self.incumbent_score - self.score > tolerance and self.p_value < SIGNIFICANT


def compare(scores_n: NDArray[np.generic], incumbent_n: NDArray[np.generic]) -> Comparison:
    """Compares by what each sample scored, ``[N]``, more being better: whether the answer was
    right, or any other measure of one sample.

    Raises:
        ValueError: they aren't of the same samples, or of none.
    """
    if scores_n.shape != incumbent_n.shape or scores_n.ndim != 1 or not len(scores_n):
        raise ValueError(f"scores of {scores_n.shape} and {incumbent_n.shape} aren't pairs")
    ours_n, theirs_n = scores_n.astype(np.float64), incumbent_n.astype(np.float64)
    return Comparison(
        samples=len(ours_n),
        score=float(ours_n.mean()),
        incumbent_score=float(theirs_n.mean()),
        gained=int((ours_n > theirs_n).sum()),
        lost=int((ours_n < theirs_n).sum()),
    )


def mid_p(heads: int, tosses: int) -> float:
    """The probability of more than ``heads`` heads in ``tosses`` of a fair coin, and half of that
    of exactly as many."""
    if 2 * heads < tosses:  # from the middle outwards, the terms fall
        return 1 - mid_p(tosses - heads, tosses)
    exactly = math.exp(
        math.lgamma(tosses + 1)
        - math.lgamma(heads + 1)
        - math.lgamma(tosses - heads + 1)
        - tosses * math.log(2)
    )
    upwards = np.arange(heads, tosses, dtype=np.float64)
    more = np.cumprod((tosses - upwards) / (upwards + 1)).sum()
    return exactly * (0.5 + float(more))
