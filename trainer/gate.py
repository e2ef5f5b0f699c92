"""Is a candidate worse than what it would replace? Decided on the same samples, pair by pair. Pure.

Were the two equally good, what a sample is worth more to one than to the other might as well be
the other's. The test is therefore Fisher's, which changes the signs of the differences at random
(The Design of Experiments, 1935): one-sided, of their sum, in its mid-p form. Of right and wrong
answers it is McNemar's, which needs no random numbers, and in this form is right about as often as
it says, where the exact one is too timid (Fagerland, Lydersen, Laake: The McNemar test for binary
matched-pairs data, BMC Medical Research Methodology 13:91, 2013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Measure: TypeAlias = Literal["accuracy", "f1", "mse"]
"""What is compared: the share of right answers, each sample's F1 over its labels, or the squared
error."""

SIGNIFICANT = 0.05
"""Of candidates that are as good as the incumbent, one in twenty is refused, or fewer."""


FARTHEST = 1e100
"""What an infinite error counts as. Squares of float32 don't come near it, they are below 1e78."""
_FINITE = 1e80
"""A mean from here on has an infinite error among its samples."""

_FLIPS = 10_000
"""At a p of 0.05 the standard error is then 0.002."""
_FLIPS_BYTES = 64 * 1024**2
"""Of float64 signs in memory at a time."""
_SEED = 0
"""Always the same: a verdict doesn't change when it is asked for again."""


@dataclass(frozen=True, slots=True)
class GateSettings:
    """What is refused: a candidate that is surely worse, by a mean score that is lower by more than
    ``tolerance`` (0 to 1; see ``Comparison.is_worse``). ``even_if_worse`` publishes it all the
    same."""

    tolerance: float = 0.0
    even_if_worse: bool = False


DEFAULT_GATE = GateSettings()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two networks on the same samples.

    Attributes:
        measure: Of what ``score`` and ``incumbent_score`` are means, over ``samples``; of errors
            below zero, an infinite one being ``FARTHEST``.
        gained: Samples on which the candidate did better.
        lost: Samples on which the incumbent did.
        p_value: How probable it is that the incumbent is as much ahead or more, if both are
            equally good.
    """

    measure: Measure
    samples: int
    score: float
    incumbent_score: float
    gained: int
    lost: int
    p_value: float

    def is_worse(self, tolerance: float) -> bool:
        """Whether the candidate is lower by more than ``tolerance``, and that not by chance. Of
        errors it is a share of the incumbent's."""
        allowed = tolerance * (abs(self.incumbent_score) if self.measure == "mse" else 1.0)
        return self.incumbent_score - self.score > allowed and self.p_value < SIGNIFICANT

    @property
    def means(self) -> tuple[float | None, float | None]:
        """The candidate's and the incumbent's, errors above zero; None of infinite ones."""
        return self._mean(self.score), self._mean(self.incumbent_score)

    def _mean(self, score: float) -> float | None:
        if self.measure != "mse":
            return score
        return -score if -score < _FINITE else None


def compare(
    scores_n: NDArray[np.generic],
    incumbent_n: NDArray[np.generic],
    measure: Measure = "accuracy",
) -> Comparison:
    """Compares by what each sample scored, ``[N]``, more being better: 0 or 1 of ``accuracy``,
    from 0 to 1 of ``f1``, and of ``mse`` the error below zero, which may be infinite.

    Raises:
        ValueError: they aren't of the same samples, or of none.
    """
    if scores_n.shape != incumbent_n.shape or scores_n.ndim != 1 or not len(scores_n):
        raise ValueError(f"scores of {scores_n.shape} and {incumbent_n.shape} aren't pairs")
    ours_n, theirs_n = (
        each_n.astype(np.float64).clip(-FARTHEST, FARTHEST) for each_n in (scores_n, incumbent_n)
    )
    gained, lost = int((ours_n > theirs_n).sum()), int((ours_n < theirs_n).sum())
    return Comparison(
        measure=measure,
        samples=len(ours_n),
        score=float(ours_n.mean()),
        incumbent_score=float(theirs_n.mean()),
        gained=gained,
        lost=lost,
        p_value=(
            mid_p(lost, gained + lost) if measure == "accuracy" else flipped_p(theirs_n - ours_n)
        ),
    )


def flipped_p(differences_n: NDArray[np.float64]) -> float:
    """How probable a larger sum is, and half of as large a one, with each sign as likely as not.

    By signs at random, always the same ones for as many differences, and those that are there
    (Phipson, Smyth: Permutation p-values should never be zero, Statistical Applications in Genetics
    and Molecular Biology 9:39, 2010). A difference that grows never makes it more probable.
    """
    rng = np.random.default_rng(_SEED)
    count = len(differences_n)
    rows = max(1, _FLIPS_BYTES // (8 * count))
    smaller, equal = 0, 1  # nothing changed: as large
    for start in range(0, _FLIPS, rows):
        size = min(rows, _FLIPS - start), -(-count // 8)
        packed = np.frombuffer(rng.bytes(size[0] * size[1]), np.uint8).reshape(size)
        is_flipped = np.unpackbits(packed, axis=1, count=count)
        # The sum is larger where that of the changed ones is below zero: beside a huge difference
        # that isn't changed, small ones are still told apart.
        sums = is_flipped.astype(np.float64) @ differences_n
        smaller += int((sums < 0).sum())
        equal += int((sums == 0).sum())
    return (smaller + equal / 2) / (_FLIPS + 1)


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
