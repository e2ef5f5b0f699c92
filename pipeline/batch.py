"""When a batch closes, and the sizes it is run at. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from msgspec import Struct

CloseReason: TypeAlias = Literal["full", "age", "deadline", "idle", "drain"]

_LIVE_SHARE = 0.25
"""A live batch may take a quarter of the deadline: one batch is computed while the next one fills,
so a frame waits for at most two, and half is left for decoding, the sink and a busy machine."""

_PATIENCE = 4.0
"""How many times ``max_wait_s`` a batch may wait for company that is sure to come. Frames behind it
have waited longer than those in it, so filling it is what shortens the wait: a batch of 24 runs in
the bucket of 32, which costs a backlog 5 % of its speed (docs/measurements.md). The limit is for
pictures that take so long to decode that a full batch would be a matter of seconds."""


class OpenBatch(Struct, frozen=True, gc=False):
    """What the policy must know of a batch that is being filled.

    ``oldest_mono_s`` is when its first frame joined; ``deadline_mono_s`` is the latest moment at
    which it may start, if a live frame is in it.
    """

    decoded: int
    decoding: int
    capacity: int
    oldest_mono_s: float
    deadline_mono_s: float | None = None

    @property
    def size(self) -> int:
        """Frames in it, decoded or not."""
        return self.decoded + self.decoding


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How many frames a batch may hold, and how long its oldest may wait for company."""

    most_frames: int
    most_wait_s: float = math.inf


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """Closes the batch that an idle engine waits for. While the engine is busy, batches only fill.

    ``max_wait_s`` bounds the wait of the oldest frame; a batch without live frames waits up to four
    times as long while so many frames are waiting that they will fill it, and none longer than
    ``most_wait_s``. When nothing is left to decode, an idle engine never waits. While decoding goes
    on it does: on a CPU both share the cores, and a batch of one costs three times as much per
    frame as one of eight (docs/measurements.md).
    """

    max_wait_s: float
    most_wait_s: float = math.inf

    def close_reason(
        self, batch: OpenBatch, *, now_mono_s: float, waiting: int, draining: bool
    ) -> CloseReason | None:
        """Why no further frame may join, or None. ``waiting`` frames wait for a decode thread."""
        if batch.size >= batch.capacity:
            return "full"
        if not batch.size:
            return None
        if batch.deadline_mono_s is not None and now_mono_s >= batch.deadline_mono_s:
            return "deadline"
        if now_mono_s >= batch.oldest_mono_s + self._most_wait_s(batch, waiting):
            return "age"
        if not waiting and not batch.decoding:
            return "drain" if draining else "idle"
        return None

    def wake_at_mono_s(self, batch: OpenBatch, waiting: int) -> float:
        """When ``close_reason`` can change by the mere passing of time."""
        by_age = batch.oldest_mono_s + self._most_wait_s(batch, waiting)
        return by_age if batch.deadline_mono_s is None else min(by_age, batch.deadline_mono_s)

    def _most_wait_s(self, batch: OpenBatch, waiting: int) -> float:
        will_fill = batch.deadline_mono_s is None and batch.size + waiting >= batch.capacity
        wait_s = self.max_wait_s * _PATIENCE if will_fill else self.max_wait_s
        return min(wait_s, self.most_wait_s)


MOST = 32
MOST_IF_QUICK = 64
"""Most frames in a batch where the user names no number. A quick network in batches of 64 scores a
backlog a twentieth faster (docs/measurements.md); a heavy one would only make frames wait twice as
long for each other, and take twice the memory."""


@dataclass(frozen=True, slots=True)
class BucketPlan:
    """The batch sizes that an engine is warmed for, the smallest first.

    Those above ``always`` are for networks alone that compute such a batch within ``quick_s``.
    """

    sizes: tuple[int, ...]
    always: int
    quick_s: float

    @classmethod
    def of(cls, max_size: int, max_wait_s: float) -> BucketPlan:
        """``max_size`` 0 leaves the most frames to what the network takes: then a batch of more
        than ``MOST`` must be computed in the time that its oldest frame may wait for company."""
        return cls(buckets(max_size or MOST_IF_QUICK), max_size or MOST, max_wait_s)

    def is_wanted(self, size: int, infer_s: Mapping[int, float]) -> bool:
        """Whether to warm ``size``, from the seconds that smaller buckets took: a frame is taken to
        cost no less in a larger batch."""
        if size <= self.always:
            return True
        largest = max(infer_s)
        return infer_s[largest] * size / largest <= self.quick_s


def buckets(max_size: int) -> tuple[int, ...]:
    """Powers of two up to ``max_size``, and ``max_size`` itself."""
    sizes = [1]
    while sizes[-1] * 2 < max_size:
        sizes.append(sizes[-1] * 2)
    return tuple(sizes) if max_size == 1 else (*sizes, max_size)


def bucket_for(size: int, sizes: tuple[int, ...]) -> int:
    """The smallest bucket that holds ``size`` frames."""
    return next(bucket for bucket in sizes if bucket >= size)


def live_capacity(infer_s: Mapping[int, float], max_age_s: float) -> int:
    """The largest bucket that keeps a live stream's deadline, from measured seconds per bucket."""
    fitting = [bucket for bucket, taken in infer_s.items() if taken <= max_age_s * _LIVE_SHARE]
    return max(fitting, default=min(infer_s))
