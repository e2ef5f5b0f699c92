"""A candidate that runs in the shadow of the active model: on the same frames, for nobody's eyes.

The engine thread offers the rows of a batch and what the active model made of them, and goes on;
the swap thread runs the candidate on a copy. Where it is behind, batches are left out: no frame
waits for a trial. Its outputs reach no sink.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from pipeline.channel import Channel
from pipeline.engine.active import ActiveModel
from pipeline.engine.base import EngineFailed, EngineOutOfMemory
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
"""Before these nothing is said to be good: a stream's first frames are much alike."""


@dataclass(frozen=True, slots=True)
class TrialLimits:
    """What a candidate is held to. ``max_disagreement`` is the share of frames for which it may
    name another class than the active model; after ``frames`` without a verdict it is good.
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

    def __init__(self, candidate: ActiveModel, limits: TrialLimits) -> None:
        self._candidate = candidate
        self._limits = limits
        self._above = Bet(limits.max_disagreement, limits.false_alarm)
        self._below = Bet(1 - limits.max_disagreement, limits.false_alarm)
        self._offered: Channel[_Offer] = Channel("shadow", 1)
        self._broken = ""

    def offer(self, rows_nhwc: BatchNhwc, logits_nk: LogitsNk, places: list[int]) -> None:
        """Takes a copy of a batch and of what the active model made of it, if it has time for one.

        ``places`` are the rows that hold frames; the others fill the bucket up.
        """
        if self._offered.depth == 0:  # nobody else puts: there is room
            self._offered.put(_Offer(rows_nhwc.copy(), logits_nk.copy(), places))

    def step(self, timeout_s: float) -> Comparison:
        """Waits for a batch and runs the candidate on it.

        Raises:
            RestartNeeded: the device is lost.
        """
        try:
            offer = self._offered.get(timeout_s)
        except TimeoutError:
            return Comparison()
        began = time.monotonic()
        return self._compared(offer)._replace(taken_s=time.monotonic() - began)

    @property
    def verdict(self) -> Verdict:
        """What is known now."""
        if self._broken or self._above.is_won:
            return "bad"
        is_over = self.frames >= self._limits.frames
        is_surely_good = self._below.is_won and self.frames >= _LEAST_FRAMES
        return "good" if is_surely_good or is_over else "goes on"

    @property
    def frames(self) -> int:
        """Compared so far."""
        return self._above.frames

    def __str__(self) -> str:
        if self._broken:
            return self._broken
        most = self._limits.max_disagreement
        return (
            f"it named another class than the active model for {self._above.so} of "
            f"{self._above.frames} frames ({self._above.share:.1%}), {most:.0%} are allowed"
        )

    def _compared(self, offer: _Offer) -> Comparison:
        classes = len(self._candidate.contract.labels)
        most = self._candidate.most_frames
        parts = range(0, len(offer.rows_nhwc), most)
        try:
            scored = [self._candidate.engine.score(offer.rows_nhwc[at : at + most]) for at in parts]
        except EngineOutOfMemory:
            return Comparison()  # the active model needs it: that says nothing of this one
        except EngineFailed as error:
            self._broken = f"it failed on frames that the active model scores: {error}"
            return Comparison()
        if any(each.shape[1:] != (classes,) for each in scored):
            self._broken = f"it gave {scored[0].shape}, expected {(len(scored[0]), classes)}"
            return Comparison()
        theirs_nk, ours_nk = np.concatenate(scored)[offer.places], offer.logits_nk[offer.places]
        usable = np.isfinite(ours_nk).all(axis=1)
        bad = int((usable & ~np.isfinite(theirs_nk).all(axis=1)).sum())
        if bad:
            self._broken = f"it gave no numbers for {bad} of {int(usable.sum())} frames"
            return Comparison()
        frames = int(usable.sum())
        differ = int((usable & (theirs_nk.argmax(axis=1) != ours_nk.argmax(axis=1))).sum())
        self._above.note(frames, differ)
        self._below.note(frames, frames - differ)
        return Comparison(frames - differ, differ)
