"""What samples and scores are like in bulk: counts in fixed bins, of bounded memory.

The trainer counts held-out data and writes it into the manifest
(``pipeline.artifact.reference``); a worker counts its frames by the same functions, so that the two
can be compared (``pipeline.drift``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.opencv import cv2
from pipeline.types import BatchNhwc, LogitsNk

_LEAST_WIDTH, _MOST_WIDTH = 1e-6, 1e9
"""Of all bins together: what they may hold is far within, and no arithmetic with a width overflows.
Manifests may come from strangers."""


@dataclass(frozen=True, slots=True)
class Bins:
    """``count`` bins of equal width from ``low`` to ``high``; what lies outside is in the end ones.

    Raises:
        ValueError: there is none, ``high`` isn't above ``low``, or they are too narrow or too wide
            to count in.
    """

    low: float
    high: float
    count: int

    def __post_init__(self) -> None:
        if self.count < 1 or not _LEAST_WIDTH <= self.high - self.low <= _MOST_WIDTH:
            raise ValueError(
                f"{self} has no bins, expected one or more from low up to high, "
                f"{_LEAST_WIDTH:g} to {_MOST_WIDTH:g} apart"
            )

    def counts(self, values_n: NDArray[np.floating]) -> NDArray[np.int64]:
        """How many of ``values_n`` are in each bin, ``[count]``; those that aren't finite in none.

        A bin holds its lower end.
        """
        finite_n = values_n[np.isfinite(values_n)].astype(np.float64)
        places_n = (finite_n - self.low) * (self.count / (self.high - self.low))
        places_n = places_n.clip(0, self.count - 1).astype(np.int64)
        return np.bincount(places_n, minlength=self.count)


CONFIDENCE_BINS = Bins(0.0, 1.0, 20)
BRIGHTNESS_BINS = Bins(0.0, 256.0, 32)
CONTRAST_BINS = Bins(0.0, 128.0, 32)
SHARPNESS_BINS = Bins(0.0, 8.0, 32)


@dataclass(frozen=True, slots=True)
class InputStatistics:
    """Of each sample of a batch, ``[N]`` float32, from its grey levels of 0 to 255.

    ``brightness_n`` is their mean and ``contrast_n`` their standard deviation; ``sharpness_n`` is
    ``log2(1 + d)``, 0 to 8, where d is the mean difference of neighbours, across and down: half as
    sharp is a step as wide at any sharpness.
    """

    brightness_n: NDArray[np.float32]
    contrast_n: NDArray[np.float32]
    sharpness_n: NDArray[np.float32]


def input_statistics(batch_nhwc: BatchNhwc) -> InputStatistics:
    """Looks at samples as the network gets them, ``[N, H, W, 3]`` uint8 RGB."""
    n, height, width, _ = batch_nhwc.shape
    if not n:
        none = np.empty(0, np.float32)
        return InputStatistics(none, none, none)
    # One picture as high as all of them: one call of OpenCV, of which each costs a microsecond.
    rows = cv2.cvtColor(batch_nhwc.reshape(n * height, width, 3), cv2.COLOR_RGB2GRAY)
    pictures = rows.reshape(n, height * width)
    mean_n = _means(rows, n)
    square_n = np.array([cv2.norm(each, cv2.NORM_L2SQR) for each in pictures]) / pictures.shape[1]
    difference_n = np.zeros(n)
    if width > 1:
        difference_n += _means(cv2.absdiff(rows[:, 1:], rows[:, :-1]), n) / 2
    if height > 1:
        down = cv2.absdiff(pictures[:, width:], pictures[:, :-width])
        difference_n += _means(down.reshape(-1, width), n) / 2
    return InputStatistics(
        brightness_n=mean_n.astype(np.float32),
        contrast_n=np.sqrt((square_n - mean_n**2).clip(0)).astype(np.float32),
        sharpness_n=np.log2(1 + difference_n).astype(np.float32),
    )


def _means(rows: NDArray[Any], n: int) -> NDArray[np.float64]:
    """Of ``n`` pictures' rows one below the other. By rows first: a picture's sum may be more than
    32 bits hold."""
    sums = cv2.reduce(rows, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S).reshape(n, -1)
    return sums.sum(axis=1, dtype=np.int64) / (rows.size // n)


@dataclass(frozen=True, slots=True)
class ScoreStatistics:
    """Of each row of a batch, ``[N]``: the best class's confidence, float64, and its number, int64;
    NaN and -1 of a row with numbers that aren't finite."""

    confidence_n: NDArray[np.float64]
    label_n: NDArray[np.int64]


def score_statistics(logits_nk: LogitsNk) -> ScoreStatistics:
    """Looks at the answers of a network of one class in K."""
    is_usable_n = np.asarray(np.isfinite(logits_nk).all(axis=1))
    usable_nk = np.where(is_usable_n[:, None], logits_nk, 0).astype(np.float64)
    best_n1 = usable_nk.max(axis=1, keepdims=True)
    confidence_n = 1 / np.exp(usable_nk - best_n1).sum(axis=1)
    return ScoreStatistics(
        confidence_n=np.where(is_usable_n, confidence_n, np.nan),
        label_n=np.where(is_usable_n, usable_nk.argmax(axis=1), -1),
    )


def label_counts(label_n: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """How often each of ``classes`` is in ``label_n``; -1 is none of them."""
    return np.bincount(label_n[label_n >= 0], minlength=classes)


class Tally:
    """Counts values in bins. Owned by: one thread."""

    def __init__(self, bins: Bins) -> None:
        self.bins = bins
        self._counts = np.zeros(bins.count, np.int64)

    def add(self, values_n: NDArray[np.floating]) -> None:
        """Counts all of ``values_n`` that are finite."""
        self._counts += self.bins.counts(values_n)

    def merge(self, other: Tally) -> None:
        """Counts what ``other`` counted.

        Raises:
            ValueError: it has other bins.
        """
        if other.bins != self.bins:
            raise ValueError(f"the counts are in {other.bins}, expected {self.bins}")
        self._counts += other._counts

    @property
    def counts(self) -> tuple[int, ...]:
        """So far, bin by bin."""
        return tuple(self._counts.tolist())


class InputTally:
    """Counts samples by what they look like, in the bins of a reference or in these. Owned by: one
    thread."""

    def __init__(
        self,
        brightness: Bins = BRIGHTNESS_BINS,
        contrast: Bins = CONTRAST_BINS,
        sharpness: Bins = SHARPNESS_BINS,
    ) -> None:
        self.samples = 0
        self.brightness = Tally(brightness)
        self.contrast = Tally(contrast)
        self.sharpness = Tally(sharpness)

    def add(self, batch_nhwc: BatchNhwc) -> None:
        """Counts a batch, ``[N, H, W, 3]`` uint8 RGB."""
        seen = input_statistics(batch_nhwc)
        self.samples += len(batch_nhwc)
        self.brightness.add(seen.brightness_n)
        self.contrast.add(seen.contrast_n)
        self.sharpness.add(seen.sharpness_n)

    def merge(self, other: InputTally) -> None:
        """Counts what ``other`` counted."""
        self.samples += other.samples
        self.brightness.merge(other.brightness)
        self.contrast.merge(other.contrast)
        self.sharpness.merge(other.sharpness)


class ScoreTally:
    """Counts answers of a network of K classes: how sure, and which. Owned by: one thread."""

    def __init__(self, classes: int, confidence: Bins = CONFIDENCE_BINS) -> None:
        self.confidence = Tally(confidence)
        self._predicted_k = np.zeros(classes, np.int64)

    def add(self, logits_nk: LogitsNk) -> None:
        """Counts the answers to a batch; a row with numbers that aren't finite is none."""
        seen = score_statistics(logits_nk)
        self.confidence.add(seen.confidence_n)
        self._predicted_k += label_counts(seen.label_n, len(self._predicted_k))

    def merge(self, other: ScoreTally) -> None:
        """Counts what ``other`` counted.

        Raises:
            ValueError: it is of another number of classes.
        """
        if len(other._predicted_k) != len(self._predicted_k):
            got, expected = len(other._predicted_k), len(self._predicted_k)
            raise ValueError(f"the counts are of {got} classes, expected {expected}")
        self.confidence.merge(other.confidence)
        self._predicted_k += other._predicted_k

    @property
    def predicted(self) -> tuple[int, ...]:
        """How often each class was the answer."""
        return tuple(self._predicted_k.tolist())
