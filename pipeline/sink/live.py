"""The live view: a sink that remembers, in bounded memory, what the page and the terminal show."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.clock import Clock
from pipeline.drift import DriftState
from pipeline.sink.picture import Picture, make_picture
from pipeline.sink.snapshot import (
    AccuracyPoint,
    AgeRow,
    CountRow,
    LiveSnapshot,
    StreamRow,
    VersionRow,
    age_s,
    drift_row,
    frame_row,
    model_row,
    swap_row,
    trial_row,
)
from pipeline.sink.window import RecentAges, RecentRate, RecentTruth
from pipeline.types import ModelIdentity, Outcome, Rejected, Scored, Shed, SwapEvent, TrialState

_SWAPS = 50
_VERSIONS = 50
_BATCHES = 512
_FRAMES_OF_ACCURACY = 1000
_FRAMES_OF_STREAM_ACCURACY = 200
_HISTORY_POINTS = 600
"""Ten minutes of one point a second."""

_GIVE_UP_ROW_AFTER_S = 30.0
"""A stream that was silent for so long gives its row to a new one, if rows are short."""


@dataclass(slots=True)
class _Counts:
    scored: int = 0
    shed: int = 0
    rejected: int = 0

    def add(self, other: _Counts) -> None:
        self.scored += other.scored
        self.shed += other.shed
        self.rejected += other.rejected

    def row(self) -> CountRow:
        return {"scored": self.scored, "shed": self.shed, "rejected": self.rejected}


@dataclass(slots=True)
class _Stream:
    seen_mono_s: float
    counts: _Counts = field(default_factory=_Counts)
    truth: RecentTruth = field(default_factory=lambda: RecentTruth(_FRAMES_OF_STREAM_ACCURACY))
    last: Scored | None = None
    last_rejection: str | None = None


@dataclass(slots=True)
class _Tally:
    """Right answers and frames of known truth: of a version, or of one second."""

    model: ModelIdentity
    right: int = 0
    frames: int = 0
    at: float = 0.0
    started_mono_s: float = 0.0


class LiveView:
    """A sink that keeps the last frame of each stream and figures of the recent past. See ``Sink``.

    It holds at most ``max_streams`` frames with their payloads; further streams are counted
    together. Pictures are encoded when somebody asks, in the asking thread: a frame costs the sink
    a few microseconds. Thread-safe: the sink thread writes, the server's threads read.
    """

    def __init__(self, clock: Clock, max_streams: int = 64) -> None:
        self._clock = clock
        self._max_streams = max_streams
        self._lock = threading.Lock()
        self._done: list[Outcome] = []
        self._streams: dict[str, _Stream] = {}
        self._counts = _Counts()
        self._other = _Counts()
        self._next_look_mono_s = 0.0
        self._model: ModelIdentity | None = None
        self._rate = RecentRate()
        self._ages = RecentAges()
        self._truth = RecentTruth(_FRAMES_OF_ACCURACY)
        self._versions: OrderedDict[tuple[str, int, str], _Tally] = OrderedDict()
        self._second: _Tally | None = None
        self._history: deque[_Tally] = deque(maxlen=_HISTORY_POINTS - 1)
        self._batches: deque[int] = deque(maxlen=_BATCHES)
        self._swaps: deque[SwapEvent] = deque(maxlen=_SWAPS)
        self._trial: TrialState | None = None
        self._drift: DriftState | None = None

    @property
    def name(self) -> str:
        """See ``Sink.name``."""
        return "live"

    def open(self) -> None:
        """See ``Sink.open``. There is nothing to connect."""

    def write(self, outcomes: Sequence[Outcome]) -> None:
        """See ``Sink.write``. Never blocks longer than a reader copies figures, and never fails."""
        now_mono_s = self._clock.monotonic()
        with self._lock:
            for outcome in outcomes:
                self._note(outcome, now_mono_s)
        self._done.extend(outcomes)

    def collect(self, timeout_s: float) -> Sequence[Outcome]:
        """See ``Sink.collect``. What was written is durable at once: it is only to be looked at."""
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        """See ``Sink.close``. What was seen can still be read."""

    def note_batch(self, size: int) -> None:
        """Remembers how many frames a batch held."""
        with self._lock:
            self._batches.append(size)

    def note_swap(self, event: SwapEvent) -> None:
        """Remembers a swap or a refusal."""
        with self._lock:
            self._swaps.append(event)

    def note_trial(self, state: TrialState | None) -> None:
        """Remembers how a candidate on trial does; None when there is none."""
        with self._lock:
            self._trial = state

    def note_drift(self, state: DriftState) -> None:
        """Remembers how far live frames are from what the active model was published with."""
        with self._lock:
            self._drift = state

    def picture(self, stream: str) -> Picture | None:
        """The last scored frame of a stream as a browser can show it; None if there is none.

        Encodes in the calling thread, outside the lock.
        """
        with self._lock:
            known = self._streams.get(stream)
            last = None if known is None else known.last
        return None if last is None else make_picture(last.frame.payload)

    def snapshot(self) -> LiveSnapshot:
        """Everything of this moment. Costs a reader about a millisecond."""
        now, now_mono_s = self._clock.now(), self._clock.monotonic()
        with self._lock:
            batches = list(self._batches)
            sizes = Counter(1 << (size - 1).bit_length() for size in batches if size > 0)
            return {
                "at": now,
                "model": None if self._model is None else model_row(self._model),
                "frames_per_s": round(self._rate.per_s(now_mono_s), 1),
                "age_ms": self._age_row(now_mono_s),
                "accuracy": self._truth.accuracy,
                "accuracy_frames": self._truth.frames,
                "outcomes": self._counts.row(),
                "streams": [
                    _stream_row(name, stream, now_mono_s)
                    for name, stream in sorted(self._streams.items())
                ],
                "other": self._other.row(),
                "versions": [_version_row(each) for each in self._versions.values()],
                "batches": [{"at_most": at, "batches": n} for at, n in sorted(sizes.items())],
                "mean_batch": round(sum(batches) / len(batches), 2) if batches else None,
                "trial": None if self._trial is None else trial_row(self._trial),
                "drift": None if self._drift is None else drift_row(self._drift),
                "swaps": [swap_row(event) for event in self._swaps],
                "history": self._history_rows(),
            }

    def _note(self, outcome: Outcome, now_mono_s: float) -> None:
        stream = self._stream_of(outcome.frame.stream, now_mono_s)
        counts = self._other if stream is None else stream.counts
        match outcome:
            case Scored():
                counts.scored += 1
                self._counts.scored += 1
                self._note_score(outcome, stream, now_mono_s)
            case Shed():
                counts.shed += 1
                self._counts.shed += 1
            case Rejected():
                counts.rejected += 1
                self._counts.rejected += 1
                if stream is not None:
                    stream.last_rejection = f"{outcome.reason}: {outcome.detail}"

    def _note_score(self, scored: Scored, stream: _Stream | None, now_mono_s: float) -> None:
        self._model = scored.model
        self._rate.add(1, now_mono_s)
        self._ages.add(age_s(scored), now_mono_s)
        if stream is not None:
            stream.last = scored
        is_right = scored.is_right
        if is_right is None:
            return
        self._truth.add(is_right)
        if stream is not None:
            stream.truth.add(is_right)
        tallies = [self._version_of(scored.model)]
        if self._trial is None or self._trial.version != scored.model.version:
            # A canary's answers come between the active model's: the line would be all gaps.
            tallies.append(self._second_of(scored.model, now_mono_s))
        for tally in tallies:
            tally.right += is_right
            tally.frames += 1

    def _stream_of(self, name: str, now_mono_s: float) -> _Stream | None:
        """The stream's row; None if all rows are taken."""
        stream = self._streams.get(name)
        if stream is not None:
            stream.seen_mono_s = now_mono_s
            return stream
        if len(self._streams) >= self._max_streams and not self._free_a_row(now_mono_s):
            return None
        self._streams[name] = stream = _Stream(now_mono_s)
        return stream

    def _free_a_row(self, now_mono_s: float) -> bool:
        """Gives up the row of the stream that was silent longest. Looks once a second at most: a
        producer that names each frame a new stream would make every write look at all rows."""
        if now_mono_s < self._next_look_mono_s:
            return False
        self._next_look_mono_s = now_mono_s + 1.0
        silent = min(self._streams, key=lambda name: self._streams[name].seen_mono_s)
        if now_mono_s - self._streams[silent].seen_mono_s < _GIVE_UP_ROW_AFTER_S:
            return False
        self._other.add(self._streams.pop(silent).counts)
        return True

    def _version_of(self, model: ModelIdentity) -> _Tally:
        key = (model.name, model.version, model.sha256)
        tally = self._versions.get(key)
        if tally is None:
            tally = self._versions[key] = _Tally(model)
            if len(self._versions) > _VERSIONS:
                self._versions.popitem(last=False)
        return tally

    def _second_of(self, model: ModelIdentity, now_mono_s: float) -> _Tally:
        second = self._second
        if (
            second is None
            or now_mono_s - second.started_mono_s >= 1.0
            or second.model.epoch != model.epoch
        ):
            if second is not None:
                self._history.append(second)
            second = self._second = _Tally(model, at=self._clock.now(), started_mono_s=now_mono_s)
        return second

    def _age_row(self, now_mono_s: float) -> AgeRow | None:
        ages_s = self._ages.quantiles_s((0.5, 0.99), now_mono_s)
        if ages_s is None:
            return None
        return {"p50": round(1000 * ages_s[0], 2), "p99": round(1000 * ages_s[1], 2)}

    def _history_rows(self) -> list[AccuracyPoint]:
        seconds = [*self._history, *([] if self._second is None else [self._second])]
        return [
            {
                "at": round(each.at, 3),
                "right": each.right,
                "frames": each.frames,
                "version": each.model.version,
            }
            for each in seconds
        ]


def _stream_row(name: str, stream: _Stream, now_mono_s: float) -> StreamRow:
    return {
        "stream": name,
        "frame": None if stream.last is None else frame_row(stream.last),
        "outcomes": stream.counts.row(),
        "accuracy": stream.truth.accuracy,
        "idle_s": round(now_mono_s - stream.seen_mono_s, 1),
        "last_rejection": stream.last_rejection,
    }


def _version_row(tally: _Tally) -> VersionRow:
    return {
        "name": tally.model.name,
        "version": tally.model.version,
        "sha256": tally.model.sha256,
        "accuracy": tally.right / tally.frames,
        "frames": tally.frames,
    }
