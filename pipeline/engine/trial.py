"""What is found out about a candidate on frames that the active model scores too, and a candidate
that runs in its shadow: on the same frames, for nobody's eyes.

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
from pipeline.engine.evidence import Bet, MeanBet
from pipeline.engine.sureness import sureness_n
from pipeline.types import BatchNhwc, LogitsNk

Verdict: TypeAlias = Literal["goes on", "good", "bad"]


class Comparison(NamedTuple):
    """Of one batch: for how many frames both named the same class, for how many not, and how many
    seconds the candidate took."""

    agree: int = 0
    differ: int = 0
    taken_s: float = 0.0


class Findings(NamedTuple):
    """Of all frames compared so far: the share for which the candidate named another class, how
    much lower its confidence was on average, and the share of batches for which it was slow."""

    frames: int
    disagreement: float
    confidence_drop: float
    slow_batches: float


_NEXT_TO_NONE = 1e-9
_LEAST_FRAMES = 100
"""Before these nothing is said of classes; and so many frames that the active model has no numbers
for, and the candidate has, speak for it alone, where they are most of all frames."""

_MOST_WITHOUT_ROOM = 3

_TESTS = 3
"""Of classes, confidence and time: each may raise a third of the false alarms, so that all of them
together raise no more than one may."""

_MOST_SLOW_BATCHES = 0.5
"""A machine has slow moments, a slow network is slow for most batches."""

_GRACE_S = 0.02
"""A few turns at the interpreter's lock and of the scheduler, which say nothing of a network."""


@dataclass(frozen=True, slots=True)
class TrialLimits:
    """What a candidate is held to. ``max_disagreement`` is the share of frames for which it may
    name another class than the active model; ``max_confidence_drop`` is by how much its confidence
    may be lower on average; it may take ``max_slowdown`` times the active model's time for a batch,
    and no longer than ``deadline_s``, that of live frames. After ``frames`` what was seen so far
    decides; after ``sure_frames`` it may sooner, where it is surely good. ``share`` is how much of
    its thread's time it may take in the shadow; ``false_alarm`` how many of a good one's trials may
    end badly.
    """

    frames: int
    max_disagreement: float
    share: float
    false_alarm: float = 0.01
    max_confidence_drop: float = 0.2
    max_slowdown: float = 3.0
    sure_frames: int = _LEAST_FRAMES
    deadline_s: float | None = None


class Judge:
    """Holds a candidate's outputs against the active model's for the same frames. ``broken`` says
    what ends it at once for what it is, ``late`` for its time.

    Owned by: the thread that compares; what was found may be read from any.
    """

    def __init__(self, candidate: ActiveModel, limits: TrialLimits) -> None:
        self._candidate = candidate
        self._limits = limits
        each = limits.false_alarm / _TESTS
        most = min(limits.max_disagreement, 1 - _NEXT_TO_NONE)  # nobody bets against all
        self._above = Bet(most, each)
        self._below = Bet(1 - most, limits.false_alarm)
        self._drop = MeanBet(limits.max_confidence_drop, each)
        self._slow = Bet(_MOST_SLOW_BATCHES, each)
        self._rescued = 0
        self.broken = ""
        self.late = ""

    def has_shape(self, logits_nk: LogitsNk, rows: int) -> bool:
        """Whether these outputs for so many rows have the shape that was promised; else it is
        broken, and no row of them is anybody's."""
        expected = (rows, len(self._candidate.contract.labels))
        if logits_nk.shape != expected:
            self.broken = self.broken or f"it gave {logits_nk.shape}, expected {expected}"
        return logits_nk.shape == expected

    def compare(self, ours_nk: LogitsNk, theirs_nk: LogitsNk, error: str = "") -> Comparison:
        """Takes note of what the active model and the candidate made of the same frames.

        ``error`` is why the candidate may have no numbers.
        """
        usable, has_numbers = (np.isfinite(each).all(axis=1) for each in (ours_nk, theirs_nk))
        bad = int((usable & ~has_numbers).sum())
        if bad:
            why = f": {error}" if error else ""
            self.broken = f"it gave no numbers for {bad} of {int(usable.sum())} frames{why}"
            return Comparison()
        self._rescued += int((has_numbers & ~usable).sum())
        frames = int(usable.sum())
        task = self._candidate.contract.task
        differ = int((usable & ~agree(task, ours_nk, theirs_nk)).sum())
        self._above.note(frames, differ)
        self._below.note(frames, frames - differ)
        if frames:
            ours_n, theirs_n = (sureness_n(task, each[usable]) for each in (ours_nk, theirs_nk))
            self._drop.note(ours_n - theirs_n)
        return Comparison(frames - differ, differ)

    def note_time(self, usual_s: float, taken_s: float) -> None:
        """Takes note of how long a batch took the candidate, and takes the active model."""
        most_s = self._limits.max_slowdown * usual_s + _GRACE_S
        if self._limits.deadline_s is not None:
            most_s = min(most_s, self._limits.deadline_s)
        self._slow.note(1, int(taken_s > most_s))

    @property
    def verdict(self) -> Verdict:
        """What is known now. Outputs that are none decide at once, all else after some frames: the
        first ones of a stream are much alike."""
        if self.broken or self.late:
            return "bad"
        if self._rescued >= max(_LEAST_FRAMES, self._above.frames + 1):
            return "good"
        if not self._has_seen_enough:
            return "goes on"
        if self._differs or self._is_slow:
            return "bad"
        if self._is_at_its_end:
            return "good"
        is_sure = self._below.is_won and self._above.frames >= self._limits.sure_frames
        return "good" if is_sure and not any(self._exceeded) else "goes on"

    @property
    def is_only_slow(self) -> bool:
        """Whether a bad verdict is for its time alone: the machine may be the cause of that, and
        another day it may be quick enough."""
        return not self.broken and not (self._has_seen_enough and self._differs)

    @property
    def _has_seen_enough(self) -> bool:
        return self._above.frames >= min(_LEAST_FRAMES, self._limits.frames)

    @property
    def _is_at_its_end(self) -> bool:
        return self._above.frames >= self._limits.frames

    @property
    def _differs(self) -> bool:
        disagrees, is_unsure, _ = self._exceeded
        at_the_end = self._is_at_its_end and (disagrees or is_unsure)
        return self._above.is_won or self._drop.is_won or at_the_end

    @property
    def _is_slow(self) -> bool:
        return self._slow.is_won or (self._is_at_its_end and self._exceeded[2])

    @property
    def found(self) -> Findings:
        """The numbers so far."""
        above = self._above
        return Findings(above.frames, above.share, self._drop.mean, self._slow.share)

    @property
    def _exceeded(self) -> tuple[bool, bool, bool]:
        limits, found = self._limits, self.found
        return (
            found.disagreement > limits.max_disagreement,
            found.confidence_drop > limits.max_confidence_drop,
            found.slow_batches > _MOST_SLOW_BATCHES,
        )

    def __str__(self) -> str:
        """What was found, what it exceeds first."""
        if self.broken or self.late:
            return self.broken or self.late
        limits, found = self._limits, self.found
        disagrees = DISAGREES[self._candidate.contract.task]
        says = [
            f"it {disagrees} the active model for {self._above.so} of {found.frames} frames "
            f"({found.disagreement:.1%}), {limits.max_disagreement:.1%} are allowed"
        ]
        drop = found.confidence_drop
        says.append(
            f"its confidence was {'lower' if drop > 0 else 'higher'} by {abs(drop):.3f} on average,"
            f" a drop of {limits.max_confidence_drop:g} is allowed"
        )
        says.append(
            f"it took more than {limits.max_slowdown:g} times as long, or beyond a live deadline, "
            f"for {self._slow.so} of {self._slow.frames} batches, half of them are allowed"
        )
        first = sorted(zip(self._exceeded, says, strict=True), key=lambda each: not each[0])
        return "; ".join(text for _, text in first)


class _Offer(NamedTuple):
    rows_nhwc: BatchNhwc
    logits_nk: LogitsNk
    places: list[int]
    taken_s: float | None


class Trial:
    """One candidate's. Thread-safe: the engine thread offers, the swap thread does the rest."""

    def __init__(self, candidate: ActiveModel, limits: TrialLimits, clock: Clock) -> None:
        self._candidate = candidate
        self._clock = clock
        self.judge = Judge(candidate, limits)
        self._offered: Channel[_Offer] = Channel("shadow", 1)
        self._error = ""
        self._without_room = 0

    def offer(
        self,
        rows_nhwc: BatchNhwc,
        logits_nk: LogitsNk,
        places: list[int],
        taken_s: float | None = None,
    ) -> None:
        """Takes a copy of a batch and of what the active model made of it, if it has time for one.

        ``places`` are the rows that hold frames; the others fill the bucket up. ``taken_s`` is what
        the active model took for it, where that was measured.
        """
        if self._offered.depth == 0:  # nobody else puts: there is room
            self._offered.put(_Offer(rows_nhwc.copy(), logits_nk.copy(), places, taken_s))

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
        taken_s = self._clock.monotonic() - began
        if offer.taken_s is not None and not self._without_room:
            self.judge.note_time(offer.taken_s, taken_s)
        return found._replace(taken_s=taken_s)

    @property
    def verdict(self) -> Verdict:
        """What is known now."""
        return self.judge.verdict

    @property
    def frames(self) -> int:
        """Compared so far."""
        return self.judge.found.frames

    def __str__(self) -> str:
        return str(self.judge)

    def _compared(self, offer: _Offer) -> Comparison:
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
        if self.judge.broken:
            return Comparison()
        theirs_nk, ours_nk = np.concatenate(scored)[offer.places], offer.logits_nk[offer.places]
        return self.judge.compare(ours_nk, theirs_nk, self._error)

    def _score(self, rows_nhwc: BatchNhwc) -> LogitsNk:
        """In halves where the network raises; a single row on which it does gets NaN, as the active
        model's does: a bad frame is bad for both. So do rows of another shape, which break it."""
        rows = len(rows_nhwc)
        bad_nk = np.full((rows, len(self._candidate.contract.labels)), np.nan, np.float32)
        try:
            logits_nk = self._candidate.engine.score(rows_nhwc)
        except EngineFailed as error:
            if rows == 1:
                self._error = str(error)
                return bad_nk
        else:
            return logits_nk if self.judge.has_shape(logits_nk, rows) else bad_nk
        half = len(rows_nhwc) // 2
        return np.concatenate([self._score(rows_nhwc[:half]), self._score(rows_nhwc[half:])])
