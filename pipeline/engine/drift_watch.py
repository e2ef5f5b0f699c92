"""Live frames beside what the model was published with: how far have they moved?

Frames of a camera that follow each other are nearly one picture; taken all, they would look like
drift by the mere fact that there are few scenes. So each stream gives one in some seconds.
"""

from __future__ import annotations

import heapq
import logging
import math
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.artifact.reference import Histogram, Reference
from pipeline.clock import Clock
from pipeline.drift import Drift, DriftState, drift
from pipeline.engine.active import ActiveModel
from pipeline.metrics import Metrics
from pipeline.sample import Sample
from pipeline.statistics import input_statistics, label_counts, score_statistics
from pipeline.types import BatchNhwc, LogitsNk

log = logging.getLogger(__name__)

STATISTICS = ("brightness", "contrast", "sharpness", "confidence", "labels")

_LOOK_EVERY_S = 0.25
_MOST_AT_ONCE = 2
"""Frames that are looked at between two batches: the engine waits so long."""

_COMPARE_EVERY = 10
_COMPARE_EVERY_S = 1.0
"""Of the two, what comes later: a comparison takes as long as the window is large."""

_MOST_STREAMS = 10_000
"""Whose last moment is remembered; with more, all begin anew."""


_NOTHING = DriftState(0, {})


class _Seen(NamedTuple):
    brightness: float
    contrast: float
    sharpness: float
    confidence: float
    label: int


class DriftWatch:
    """Compares a sample of the frames with the active model's reference. With another model it
    begins anew: confidence is its own.

    Args:
        metrics: Shows what is found.
        clock: Tells when a stream's next frame is due.
        every_s: Seconds between two frames of a stream.
        window: Frames that are compared, the newest.

    Owned by: the engine thread, on which ``on_state`` is told what is found.
    """

    def __init__(self, metrics: Metrics, clock: Clock, every_s: float, window: int) -> None:
        self._gauge = metrics.drift_psi
        self._clock = clock
        self._every_s = every_s
        self._seen: deque[_Seen] = deque(maxlen=window)
        self._last_mono_s: dict[str, float] = {}
        self._look_mono_s = 0.0
        self._since_compared = 0
        self._compare_mono_s = 0.0
        self._reference: Reference | None = None
        self._epoch = 0
        self._shown: set[str] = set()
        self.on_state: Callable[[DriftState], None] | None = None

    def offer(
        self,
        model: ActiveModel,
        rows_nhwc: BatchNhwc,
        logits_nk: LogitsNk,
        samples: Sequence[Sample],
    ) -> None:
        """Looks at those frames of a batch whose streams are due, on the calling thread.

        Raises nothing: where a reference can't be compared with, it is let go and that is said.
        ``rows_nhwc`` are the batch's, ``logits_nk`` [N, K] what ``model`` says of each row,
        ``samples`` those that were scored. Mostly it costs one look at the clock.
        """
        try:
            self._offer(model, rows_nhwc, logits_nk, samples)
        except Exception as error:  # noqa: BLE001  (statistics never stop scoring)
            what = model.identity.title
            log.error("%s can't be compared with its reference, drift is unknown: %r", what, error)
            self._begin(model.first_epoch, None)

    def _offer(
        self,
        model: ActiveModel,
        rows_nhwc: BatchNhwc,
        logits_nk: LogitsNk,
        samples: Sequence[Sample],
    ) -> None:
        now = self._clock.monotonic()
        if model.first_epoch != self._epoch:
            self._begin(model.first_epoch, model.reference)
        if self._reference is None or now < self._look_mono_s:
            return
        self._look_mono_s = now + min(_LOOK_EVERY_S, self._every_s)
        due = self._due(samples, now)
        if due:
            self._look(rows_nhwc[due], logits_nk[due])
        if self._since_compared >= _COMPARE_EVERY and now >= self._compare_mono_s:
            self._since_compared, self._compare_mono_s = 0, now + _COMPARE_EVERY_S
            self._show(compare(self._seen, self._reference))

    def _begin(self, epoch: int, reference: Reference | None) -> None:
        self._epoch, self._reference = epoch, reference
        self._seen.clear()
        self._since_compared = 0
        self._compare_mono_s = 0.0
        self._show(_NOTHING)

    def _due(self, samples: Sequence[Sample], now: float) -> list[int]:
        """The rows that are looked at now, of those whose streams are due: who waits longest."""
        waits: dict[str, tuple[float, int]] = {}
        for sample in samples:
            stream = sample.frame.stream
            last = self._last_mono_s.get(stream, -math.inf)
            if now >= last + self._every_s:
                waits[stream] = (last, sample.row)
        first = heapq.nsmallest(_MOST_AT_ONCE, waits, key=waits.__getitem__)
        for stream in first:
            if len(self._last_mono_s) >= _MOST_STREAMS and stream not in self._last_mono_s:
                self._last_mono_s.clear()
            self._last_mono_s[stream] = now
        return [waits[stream][1] for stream in first]

    def _look(self, rows_nhwc: BatchNhwc, logits_nk: LogitsNk) -> None:
        looks = input_statistics(rows_nhwc)
        if self._reference is None or self._reference.scores is None:
            confidence_n = np.full(len(rows_nhwc), np.nan)
            label_n = np.full(len(rows_nhwc), -1)
        else:
            answers = score_statistics(logits_nk)
            confidence_n, label_n = answers.confidence_n, answers.label_n
        self._seen.extend(
            map(
                _Seen,
                looks.brightness_n.tolist(),
                looks.contrast_n.tolist(),
                looks.sharpness_n.tolist(),
                confidence_n.tolist(),
                label_n.tolist(),
            )
        )
        self._since_compared += len(rows_nhwc)

    def _show(self, state: DriftState) -> None:
        for statistic in self._shown - state.moved.keys():
            self._gauge.remove(statistic)
        self._shown = set(state.moved)
        for statistic, found in state.moved.items():
            self._gauge.labels(statistic).set(found.excess)
        if self.on_state is not None:
            self.on_state(state)


def compare(seen: Collection[_Seen], reference: Reference) -> DriftState:
    """How far each statistic is from the reference. Pure."""
    inputs, scores = reference.inputs, reference.scores
    columns = np.array(seen, np.float64).T
    histograms: list[Histogram | None] = [inputs.brightness, inputs.contrast, inputs.sharpness]
    histograms.append(scores and scores.confidence)
    moved: dict[str, Drift] = {}
    for statistic, values_n, histogram in zip(STATISTICS, columns, histograms, strict=False):
        if histogram is not None:
            found = drift(histogram.counts, histogram.bins.counts(values_n).tolist())
            if found is not None:
                moved[statistic] = found
    if scores is not None:
        counts = label_counts(columns[-1].astype(np.int64), len(scores.predicted))
        found = drift(scores.predicted, counts.tolist())
        if found is not None:
            moved["labels"] = found
    return DriftState(len(seen), moved)
