"""The assembler: decode threads fill rows of preallocated batches, the engine thread takes them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from pipeline.batch import BatchLimits, BatchPolicy, OpenBatch
from pipeline.channel import ChannelClosed
from pipeline.clock import Clock
from pipeline.sample import Batch, Row, Sample, Slot
from pipeline.types import BatchNhwc, Frame

_MOST_GIVEN_UP = 4
"""Rows out of use at one time: behind each of them a thread hangs, and may burn a core."""


class Assembler:
    """Hands out rows in the order of claims and closed batches in the order they were opened.

    Batches are computed from rows in place: nothing is stacked or copied. A row whose frame was
    rejected is handed out again while its batch is open. Thread-safe.
    """

    def __init__(
        self,
        slots: Sequence[BatchNhwc],
        policy: BatchPolicy,
        clock: Clock,
        waiting: Callable[[], int],
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._waiting = waiting
        self._slots = [Slot(number, rows) for number, rows in enumerate(slots)]
        self._idle = deque(self._slots)
        self._filled: deque[Slot] = deque()
        self._capacity = len(slots[0])
        self._infer_s = 0.0
        self._engine_waits = False
        self._draining = False
        lock = threading.Lock()
        self._has_room = threading.Condition(lock)
        self._has_batch = threading.Condition(lock)

    def claim(self, frame: Frame) -> Row:
        """Gives a row for ``frame``, waiting for a free one.

        Raises:
            ChannelClosed: the pipeline was abandoned.
        """
        with self._has_room:
            while True:
                slot = self._open_slot()
                if slot is not None:
                    break
                self._has_room.wait()
            now = self._clock.monotonic()
            is_first = not slot.samples and not slot.decoding
            if is_first:
                slot.oldest_mono_s, slot.deadline_mono_s = now, None
            slot.decoding += 1
            is_urgent = self._note_deadline(slot, frame, now)
            if self._engine_waits and (is_first or is_urgent):
                self._wake()  # it reckoned how long it may wait without this frame
            return slot.rows[slot.free.pop()]

    def complete(self, row: Row, sample: Sample) -> None:
        """The row holds its frame's pixels."""
        with self._has_batch:
            slot = self._slots[row.slot]
            slot.samples.append(sample)
            slot.decoding -= 1
            self._wake_engine(slot)

    def release(self, row: Row) -> None:
        """The row's frame was given up: the row is free again."""
        with self._has_batch:
            slot = self._slots[row.slot]
            slot.free.append(row.row)
            slot.decoding -= 1
            self._has_room.notify()
            self._wake_engine(slot)

    def give_up(self, row: Row) -> None:
        """The decoding into the row doesn't end: its batch goes on without it. Nobody gets the row
        before ``take_back``, as the call that hangs may still write there."""
        with self._has_batch:
            slot = self._slots[row.slot]
            slot.given_up.add(row.row)
            slot.decoding -= 1
            self._has_room.notify()
            self._wake_engine(slot)

    def can_give_up(self, row: Row) -> bool:
        """Whether enough rows are left without it: half of each batch."""
        with self._has_batch:
            slot = self._slots[row.slot]
            rows_left = len(slot.rows) - len(slot.given_up) - 1
            lost = sum(len(each.given_up) for each in self._slots)
            return 2 * rows_left >= len(slot.rows) and lost < _MOST_GIVEN_UP

    def take_back(self, row: Row) -> None:
        """The decoding into a row that was given up has ended after all: the row is free again."""
        with self._has_batch:
            slot = self._slots[row.slot]
            slot.given_up.remove(row.row)
            slot.free.append(row.row)
            self._has_room.notify()

    def next_batch(self) -> Batch:
        """Waits for a closed batch and gives it to the engine thread.

        Raises:
            ChannelClosed: the assembler is closed and every batch was given out.
        """
        with self._has_batch:
            while True:
                slot = self._filled[0] if self._filled else None
                if slot is not None and self._is_ready(slot):
                    self._filled.popleft()
                    if slot.samples:
                        reason = slot.closed_by or "drain"
                        return Batch(slot.rows_nhwc, tuple(slot.samples), reason, slot.number)
                    self._free(slot)
                    continue
                if self._draining and slot is None:
                    raise ChannelClosed("assembler")
                self._engine_waits = True
                self._has_batch.wait(self._wait_s(slot))
                self._engine_waits = False

    def recycle(self, batch: Batch, infer_s: float | None) -> None:
        """Takes a batch's rows back; ``infer_s`` is what the engine took for it, if it ran it."""
        with self._has_batch:
            if infer_s is not None:
                self._infer_s = 0.8 * self._infer_s + 0.2 * infer_s
            self._free(self._slots[batch.slot])

    def limit(self, limits: BatchLimits) -> None:
        """Sets the most frames a batch may hold from now on, at most the slots' rows, and how long
        it may wait for them, at most what the policy says by itself."""
        with self._has_batch:
            self._capacity = min(limits.most_frames, len(self._slots[0].rows))
            self._policy = replace(self._policy, most_wait_s=limits.most_wait_s)

    def close(self) -> None:
        """Nothing more will be claimed: what is decoded is given out, then the end."""
        with self._has_batch:
            self._draining = True
            self._has_batch.notify_all()

    def abandon(self) -> None:
        """Closes and forgets everything: for a failure."""
        with self._has_batch:
            self._draining = True
            self._filled.clear()
            self._idle.clear()
            self._has_batch.notify_all()
            self._has_room.notify_all()

    @property
    def depth(self) -> int:
        """Batches that are filling or wait for the engine."""
        return len(self._filled)

    @property
    def engine_waits(self) -> bool:
        """Whether the engine waits for a batch, and nobody has woken it."""
        return self._engine_waits

    def _open_slot(self) -> Slot | None:
        """The batch that takes frames, opening one if there is an idle slot."""
        last = self._filled[-1] if self._filled else None
        if last is not None and last.closed_by is None:
            if len(last.samples) + last.decoding < self._capacity_of(last):
                return last
            # For good: rows that are released later stay empty. Were it open again behind a newer
            # batch, nothing would ever join it, and the engine would wait for it for ever.
            last.closed_by = "full"
        if not self._idle:
            if self._draining:
                raise ChannelClosed("assembler")
            return None
        slot = self._idle.popleft()
        slot.reset()
        self._filled.append(slot)
        return slot

    def _capacity_of(self, slot: Slot) -> int:
        return min(self._capacity, len(slot.rows) - len(slot.given_up))

    def _view(self, slot: Slot) -> OpenBatch:
        return OpenBatch(
            decoded=len(slot.samples),
            decoding=slot.decoding,
            capacity=self._capacity_of(slot),
            oldest_mono_s=slot.oldest_mono_s,
            deadline_mono_s=slot.deadline_mono_s,
        )

    def _is_ready(self, slot: Slot) -> bool:
        if slot.closed_by is None:
            slot.closed_by = self._policy.close_reason(
                self._view(slot),
                now_mono_s=self._clock.monotonic(),
                waiting=self._waiting(),
                draining=self._draining,
            )
        if slot.closed_by is None and self._draining and not slot.decoding:
            slot.closed_by = "drain"
        return slot.closed_by is not None and not slot.decoding

    def _wake_engine(self, slot: Slot) -> None:
        """Wakes the engine thread only where it will find a batch: a wake-up costs a turn of the
        interpreter lock, and decode threads come by a thousand times a second."""
        if slot.decoding or not self._engine_waits:
            return  # what closes a batch that is still being decoded is a timer's or a claim's work
        if self._filled and self._filled[0] is slot and self._is_ready(slot):
            self._wake()

    def _wake(self) -> None:
        self._engine_waits = False
        self._has_batch.notify()

    def _wait_s(self, slot: Slot | None) -> float | None:
        if slot is None or slot.closed_by is not None or not (slot.samples or slot.decoding):
            return None
        wake_at = self._policy.wake_at_mono_s(self._view(slot), self._waiting())
        return max(0.0, wake_at - self._clock.monotonic())

    def _note_deadline(self, slot: Slot, frame: Frame, now_mono_s: float) -> bool:
        """Whether the batch must start earlier because of this frame."""
        if frame.max_age_s is None:
            return False
        left_s = frame.captured_at + frame.max_age_s - self._clock.now()
        if left_s < 0:  # it will be shed: no reason to close the batch of the others
            return False
        start_by = now_mono_s + left_s - 2 * self._infer_s
        if slot.deadline_mono_s is not None and start_by >= slot.deadline_mono_s:
            return False
        slot.deadline_mono_s = start_by
        return True

    def _free(self, slot: Slot) -> None:
        slot.samples = []
        self._idle.append(slot)
        self._has_room.notify_all()
