"""Has a rate risen above what is allowed? An answer that may be asked for after every frame.

A test that is made for a fixed number of frames and looked at all the time raises false alarms in
nearly a third of all cases. A bet doesn't: who bets against "the rate is at most p0" with a fair
stake multiplies their money by 100 at any time with a probability of at most 1 in 100, if it is so
(Ville's inequality; Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
betting", 2020). Pure.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_STAKES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7)
"""Shares of the money on each that a frame which isn't so takes; one that is so gives 1/p0 times as
much. Small ones find small differences, large ones large differences soon."""


class _Purse:
    """The logarithms of the money on each stake, and the most that all of it ever was."""

    def __init__(self, p0: float, alpha: float) -> None:
        if not (0 < p0 < 1 and 0 < alpha < 1):
            raise ValueError(f"p0 {p0} and alpha {alpha}, expected both between 0 and 1")
        self._limit = math.log(1 / alpha)
        self._highest = 0.0
        self.logs = [0.0] * len(_STAKES)

    def turn(self, gains: list[float]) -> None:
        """Each stake gained so much, as a logarithm."""
        self.logs = [log + gain for log, gain in zip(self.logs, gains, strict=True)]
        top = max(self.logs)
        mean = sum(math.exp(log - top) for log in self.logs) / len(self.logs)
        self._highest = max(self._highest, top + math.log(mean))

    @property
    def is_won(self) -> bool:
        return self._highest >= self._limit


class Bet:
    """Against "at most a share ``p0`` of the frames is so". Owned by: one thread.

    ``alpha`` is the probability of a false alarm, however long it goes on.
    """

    def __init__(self, p0: float, alpha: float = 0.01) -> None:
        self._purse = _Purse(p0, alpha)
        # What a frame does to the logarithm of the money on each stake, where it is so and not.
        self._won = [math.log1p(stake / p0 * (1 - p0)) for stake in _STAKES]
        self._lost = [math.log1p(-stake) for stake in _STAKES]
        self.frames = 0
        self.so = 0

    def note(self, frames: int, so: int) -> None:
        """``so`` of the next ``frames`` are so."""
        self.frames += frames
        self.so += so
        self._purse.turn(
            [
                so * won + (frames - so) * lost
                for won, lost in zip(self._won, self._lost, strict=True)
            ]
        )

    @property
    def is_won(self) -> bool:
        """Whether the share is above ``p0``, so surely as ``alpha`` says."""
        return self._purse.is_won

    @property
    def share(self) -> float:
        """Of the frames so far that are so, 0 without any."""
        return self.so / self.frames if self.frames else 0.0


class MeanBet:
    """Against "the mean of what is seen is at most ``most``", of numbers from -1 to 1. The same
    bet, with as much won or lost as a number is above or below. Owned by: one thread.
    """

    def __init__(self, most: float, alpha: float = 0.01) -> None:
        self._p0 = (1 + most) / 2
        self._purse = _Purse(self._p0, alpha)
        self._sum = 0.0
        self.count = 0

    def note(self, values: NDArray[np.floating]) -> None:
        """These are the next ones."""
        self.count += len(values)
        self._sum += float(values.sum())
        above_n = ((1 + values.astype(np.float64)) / 2 - self._p0) / self._p0
        gains = np.log1p(np.multiply.outer(_STAKES, above_n)).sum(axis=1)
        self._purse.turn(gains.tolist())

    @property
    def is_won(self) -> bool:
        """Whether the mean is above ``most``, so surely as ``alpha`` says."""
        return self._purse.is_won

    @property
    def mean(self) -> float:
        """Of all so far, 0 without any."""
        return self._sum / self.count if self.count else 0.0
