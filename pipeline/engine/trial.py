"""A candidate that runs in the shadow of the active model: on the same frames, for nobody's eyes.

The engine thread offers the rows of a batch and what the active model made of them, and goes on;
the swap thread runs the candidate on a copy. Where it is behind, batches are left out: no frame
waits for a trial. Its outputs reach no sink.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from pipeline.channel import Channel
from pipeline.clock import Clock
from pipeline.engine.active import ActiveModel
from pipeline.engine.agreement import DISAGREES, agree
from pipeline.engine.base import EngineFailed, EngineOutOfMemory, no_room
from pipeline.engine.evidence import Bet
from pipeline.types import BatchNhwc, LogitsNk

Verdict: TypeAlias = Literal["goes on", "good", "bad"]


class Comparison(NamedTuple):
    """Of one batch: for how many frames both named the same class, for how many not, and how many
    seconds the candidate took."""

    agree: int = 0
    differ: int = 0
    taken_s: float = 0.0


_LEAST_FRAMES = 100
"""Before these nothing is said of classes; and so many frames that the active model has no numbers
for, and the candidate has, speak for it alone."""

_MOST_WITHOUT_ROOM = 3


@dataclass(frozen=True, slots=True)
class TrialLimits:
    """What a candidate is held to. ``max_disagreement`` is the share of frames for which it may
    name another class than the active model; after ``frames`` the share so far decides.
    ``share`` is how much of its thread's time it may take."""

    frames: int
    max_disagreement: float
    share: float
    false_alarm: float = 0.01


class _Offer(NamedTuple):
    rows_nhwc: BatchNhwc
    logits_nk: LogitsNk
    places: list[int]


class Trial:
    """One candidate's. Thread-safe: the engine thread offers, the swap thread does the rest."""

    def __init__(self, candidate: ActiveModel, limits: TrialLimits, clock: Clock) -> None:
        self._candidate = candidate
        self._clock = clock
        self._limits = limits
        self._above = Bet(limits.max_disagreement, limits.false_alarm)
        self._below = Bet(1 - limits.max_disagreement, limits.false_alarm)
        self._offered: Channel[_Offer] = Channel("shadow", 1)
        self._broken = ""
        self._error = ""
        self._rescued = 0
        self._without_room = 0

    def offer(self, rows_nhwc: BatchNhwc, logits_nk: LogitsNk, places: list[int]) -> None:
        """Takes a copy of a batch and of what the active model made of it, if it has time for one.

        ``places`` are the rows that hold frames; the others fill the bucket up.
        """
        if self._offered.depth == 0:  # nobody else puts: there is room
            self._offered.put(_Offer(rows_nhwc.copy(), logits_nk.copy(), places))

    def step(self, timeout_s: float) -> Comparison:
        """Waits for a batch and runs the candidate on it.

        Raises:
            ArtifactRefused: ``no_room``: there is no memory for the candidate beside the other.
            RestartNeeded: the device is lost.
        """
        try:
            offer = self._offered.get(timeout_s)
        except TimeoutError:
            return Comparison()
        began = self._clock.monotonic()
        found = self._compared(offer)
        return found._replace(taken_s=self._clock.monotonic() - began)

    @property
    def verdict(self) -> Verdict:
        """What is known now. Outputs that are none decide at once, classes after some frames: the
        first ones of a stream are much alike."""
        if self._broken:
            return "bad"
        if self._rescued >= _LEAST_FRAMES:
            return "good"
        if self.frames < min(_LEAST_FRAMES, self._limits.frames):
            return "goes on"
        if self._above.is_won:
            return "bad"
        is_below = self._above.share <= self._limits.max_disagreement
        if self.frames >= self._limits.frames:
            return "good" if is_below else "bad"
        return "good" if self._below.is_won and is_below else "goes on"

    @property
    def frames(self) -> int:
        """Compared so far."""
        return self._above.frames

    def __str__(self) -> str:
        if self._broken:
            return self._broken
        most = self._limits.max_disagreement
        return (
            f"it {DISAGREES[self._candidate.contract.task]} the active model for "
            f"{self._above.so} of {self._above.frames} frames ({self._above.share:.1%}), "
            f"{most:.1%} are allowed"
        )

    def _compared(self, offer: _Offer) -> Comparison:
        classes = len(self._candidate.contract.labels)
        most = self._candidate.most_frames
        parts = range(0, len(offer.rows_nhwc), most)
        try:
            scored = [self._score(offer.rows_nhwc[at : at + most]) for at in parts]
        except EngineOutOfMemory as error:
            self._without_room += 1
            if self._without_room >= _MOST_WITHOUT_ROOM:
                device = self._candidate.engine.device
                raise no_room("it beside the model that scores", device) from error
            return Comparison()
        self._without_room = 0
        if any(each.shape[1:] != (classes,) for each in scored):
            self._broken = f"it gave {scored[0].shape}, expected {(len(scored[0]), classes)}"
            return Comparison()
        theirs_nk, ours_nk = np.concatenate(scored)[offer.places], offer.logits_nk[offer.places]
        usable, has_numbers = (np.isfinite(each).all(axis=1) for each in (ours_nk, theirs_nk))
        bad = int((usable & ~has_numbers).sum())
        if bad:
            why = f": {self._error}" if self._error else ""
            self._broken = f"it gave no numbers for {bad} of {int(usable.sum())} frames{why}"
            return Comparison()
        self._rescued += int((has_numbers & ~usable).sum())
        frames = int(usable.sum())
        task = self._candidate.contract.task
        differ = int((usable & ~agree(task, ours_nk, theirs_nk)).sum())
        self._above.note(frames, differ)
        self._below.note(frames, frames - differ)
        return Comparison(frames - differ, differ)

    def _score(self, rows_nhwc: BatchNhwc) -> LogitsNk:
        """In halves where the network raises; a single row on which it does gets NaN, as the active
        model's does: a bad frame is bad for both."""
        try:
            return self._candidate.engine.score(rows_nhwc)
        except EngineFailed as error:
            if len(rows_nhwc) == 1:
                self._error = str(error)
                classes = len(self._candidate.contract.labels)
                return np.full((1, classes), np.nan, np.float32)
        half = len(rows_nhwc) // 2
        return np.concatenate([self._score(rows_nhwc[:half]), self._score(rows_nhwc[half:])])
