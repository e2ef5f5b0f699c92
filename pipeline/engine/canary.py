"""A candidate that scores a share of the streams for real, before it may score them all.

The active model scores every row all the same. So each of a canary's batches says how the two
compare, and where the candidate fails the active model's answer is there already: no frame is lost
by it. It costs the share of the frames twice, for as long as the trial takes.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from pipeline.batch import bucket_for
from pipeline.clock import Clock
from pipeline.engine.active import ActiveModel, ActiveSlot
from pipeline.engine.trial import Comparison, Judge, TrialLimits, Verdict
from pipeline.errors import DeviceFull
from pipeline.sample import Sample
from pipeline.types import BatchNhwc, LogitsNk, ModelIdentity

ScoreRows: TypeAlias = Callable[[ActiveModel, BatchNhwc], LogitsNk]

_LOOK_AT_FRAMES = 100
"""After so many frames of other streams alone, one of those becomes the canary's: so many of each,
where one was chosen before, which is silent then and not only slower than they are."""

_MOST_REMEMBERED = 4096
"""Streams. Names come from outside; what was forgotten is reckoned again."""


class StreamShare:
    """Which streams are a canary's: those whose hash with ``seed`` falls below ``share``, and at
    least one that is alive: where those that were chosen are silent, a further one is. A stream
    that was chosen stays chosen. All workers choose alike, but for those of a worker that has none
    below. Owned by: the engine thread."""

    def __init__(self, share: float, seed: str) -> None:
        self._share = share
        self._seed = seed.encode()
        self._places: dict[str, float] = {}
        self._further: set[str] = set()
        self._has_any = False
        self._others: set[str] = set()
        self._frames_of_others = 0

    def rows(self, samples: Sequence[Sample]) -> list[int]:
        """The places of those samples whose streams are chosen."""
        share, further = self._share, self._further
        chosen: list[int] = []
        for row, sample in enumerate(samples):
            stream = sample.frame.stream
            if self._place(stream) < share or stream in further:
                chosen.append(row)
        if chosen:
            self._has_any = True
            self._others.clear()
            self._frames_of_others = 0
        else:
            self._look_at_others(samples)
        return chosen

    def _look_at_others(self, samples: Sequence[Sample]) -> None:
        """Chooses one of them, if they have been alone for long enough."""
        if len(self._others) < _MOST_REMEMBERED:
            self._others.update(sample.frame.stream for sample in samples)
        self._frames_of_others += len(samples)
        wait = _LOOK_AT_FRAMES * (len(self._others) if self._has_any else 1)
        if self._frames_of_others >= wait and len(self._further) < _MOST_REMEMBERED:
            self._further.add(min(self._others, key=lambda each: (self._place(each), each)))
            self._has_any = True
            self._others.clear()
            self._frames_of_others = 0

    def _place(self, stream: str) -> float:
        """Where a stream stands between 0 and 1, evenly and for good."""
        place = self._places.get(stream)
        if place is None:
            name = stream.encode("utf-8", "surrogatepass")
            digest = hashlib.blake2b(name, key=self._seed[:64], digest_size=8).digest()
            place = int.from_bytes(digest) / 2**64
            if len(self._places) >= _MOST_REMEMBERED:
                self._places.clear()
            self._places[stream] = place
        return place


class Turn(NamedTuple):
    """A batch as the active model scored it: all its rows, the samples in them, the logits of
    these, and the seconds that all rows took."""

    rows_nhwc: BatchNhwc
    samples: Sequence[Sample]
    active: ActiveModel
    logits_nk: LogitsNk
    taken_s: float


class Canary:
    """One candidate's. Thread-safe: the engine thread scores, the swap thread asks for a verdict.

    ``decided`` is set as soon as there is one. ``sizes`` are the buckets, the smallest first.
    """

    def __init__(
        self,
        candidate: ActiveModel,
        limits: TrialLimits,
        share: float,
        sizes: tuple[int, ...],
        clock: Clock,
    ) -> None:
        self.candidate = candidate
        self.judge = Judge(candidate, limits)
        self.verdict: Verdict = "goes on"
        self.seen = Comparison()
        self._has_no_room = False
        self.decided = threading.Event()
        self._limits = limits
        new = candidate.identity
        self._streams = StreamShare(share, f"{new.name}@{new.version}")
        self._sizes = sizes
        self._clock = clock
        shape_hwc = candidate.contract.preprocess.sample_shape_hwc
        self._rows_nhwc: BatchNhwc = np.zeros((sizes[-1], *shape_hwc), np.uint8)

    @property
    def reason(self) -> str:
        """Why it is refused, where it is."""
        if self._has_no_room:
            return "no_room"
        return "too_slow" if self.judge.is_only_slow else "canary"

    def rows(self, turn: Turn) -> list[int]:
        """The places of those of its samples that are the candidate's."""
        return self._streams.rows(turn.samples)

    def score(self, turn: Turn, rows: list[int], score: ScoreRows) -> LogitsNk | None:
        """What the candidate makes of these samples; None where it failed.

        Raises:
            RestartNeeded: the device is lost.
        """
        size = bucket_for(len(rows), self._sizes)
        part_nhwc = self._rows_nhwc[:size]
        # "clip" writes into `out` itself, "raise" into a buffer first.
        places = [turn.samples[row].row for row in rows]
        np.take(turn.rows_nhwc, places, axis=0, out=part_nhwc[: len(rows)], mode="clip")
        began = self._clock.monotonic()
        try:
            theirs_nk = score(self.candidate, part_nhwc)
        except DeviceFull as error:
            self._has_no_room = True
            self.judge.broken = str(error)
            self._decide()
            return None
        if self.judge.has_shape(theirs_nk, size):
            self._compare(turn.logits_nk[rows], theirs_nk[: len(rows)])
        self._note_time(turn, size, self._clock.monotonic() - began)
        self._decide()
        return None if self.judge.broken or self.judge.late else theirs_nk[: len(rows)]

    def _decide(self) -> None:
        """Here and not by who asks: between two batches all numbers are of the same frames."""
        self.verdict = self.judge.verdict
        if self.verdict != "goes on":
            self.decided.set()

    def _compare(self, ours_nk: LogitsNk, theirs_nk: LogitsNk) -> None:
        found = self.judge.compare(ours_nk, theirs_nk)
        self.seen = Comparison(self.seen.agree + found.agree, self.seen.differ + found.differ)

    def _note_time(self, turn: Turn, size: int, taken_s: float) -> None:
        usual_s = turn.taken_s * _times_as_long(turn.active, size, len(turn.rows_nhwc))
        self.judge.note_time(usual_s, taken_s)
        deadline_s = self._limits.deadline_s
        if deadline_s is not None and taken_s > deadline_s:
            self.judge.late = (
                f"it took {taken_s:.2f} s for a batch, and frames are stale after {deadline_s:g} s"
            )


def serve(slot: ActiveSlot, canary: Canary, turn: Turn, score: ScoreRows) -> list[ModelIdentity]:
    """Puts the candidate's answers for its streams in place of the active model's in
    ``turn.logits_nk``; gives who answered for each sample. Where the candidate fails, the active
    model's answers are kept for all its samples, and it is over with the canary.

    Raises:
        RestartNeeded: the device is lost.
    """
    by = [turn.active.identity] * len(turn.samples)
    rows = canary.rows(turn)
    if not rows:
        return by
    identity = canary.candidate.identity
    theirs_nk = canary.score(turn, rows, score)
    if theirs_nk is not None:
        turn.logits_nk[rows] = theirs_nk
    else:
        now = slot.withdraw(canary)
        identity = now.identity
        if now.engine is not turn.active.engine:
            # It took over in this very moment: what isn't its own can't go out in its name.
            turn.logits_nk[rows] = np.nan
    for row in rows:
        by[row] = identity
    return by


def _times_as_long(active: ActiveModel, size: int, of: int) -> float:
    """What part of the time for a batch of ``of`` rows a model takes for one of ``size``, from what
    was measured when it was warmed; all of it, where that wasn't."""
    measured = active.infer_s
    return measured[size] / measured[of] if size in measured and of in measured else 1.0
