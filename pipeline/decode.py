"""The decode pool: threads that turn frames into samples, straight into rows of a batch."""

from __future__ import annotations

import logging
import threading
from queue import Empty, SimpleQueue

from msgspec import Struct
from msgspec.structs import replace

from pipeline.assembler import Assembler
from pipeline.channel import Channel, ChannelClosed
from pipeline.clock import Clock
from pipeline.errors import FrameRejected
from pipeline.opencv import cv2
from pipeline.preprocess import (
    ImageLimits,
    PreprocessSpec,
    check_digest,
    check_image,
    decode_image,
    write_bgr_sample,
    write_sample,
)
from pipeline.sample import Row, Sample
from pipeline.types import Frame, ImageHwc, Outcome, Rejected, Shed
from pipeline.waiting import WaitingRoom
from pipeline.watchdog import CallWatch

log = logging.getLogger(__name__)

_LOOK_S = 0.5
_MOST_PASSED_S = 1.0
"""What counts of the time between two looks: a process that was frozen comes back to calls that
had no time to end."""


class _Attempt(Struct, eq=False, gc=False):
    """A thread's work on one frame, and how long it has taken already."""

    frame: Frame
    row: Row
    taken_s: float = 0.0


class DecodePool:
    """Threads that decode. OpenCV lets go of the interpreter while it decodes and resizes, so they
    scale over cores.

    A call that doesn't end is given up: its frame is tried once more and then rejected, its row is
    kept from others for as long as the call may write into it, another thread takes its thread's
    place. Where that would take too many rows it is left to the watchdog.

    An attempt is in ``_attempts``, by its thread, until somebody takes it out: the thread, which
    then has the outcome, or the one who gave it up. Owned by: the thread that calls ``run``.
    """

    def __init__(
        self,
        spec: PreprocessSpec,
        limits: ImageLimits,
        clock: Clock,
        waiting: WaitingRoom,
        assembler: Assembler,
        outcomes: Channel[list[Outcome]],
    ) -> None:
        self._spec = spec
        self._limits = limits
        self._clock = clock
        self._waiting = waiting
        self._assembler = assembler
        self._outcomes = outcomes
        self._turn = threading.Lock()
        self._attempts: dict[int, _Attempt] = {}
        self._ended: SimpleQueue[Exception | None] = SimpleQueue()
        self._started = 0
        self.calls = CallWatch(clock)
        # OpenCV's own threads would fight with ours and with torch's.
        cv2.setNumThreads(1)

    def run(self, threads: int, timeout_s: float) -> None:
        """Decodes until the waiting room is closed and empty; gives up what takes ``timeout_s``."""
        for _ in range(threads):
            self._start()
        looked = self._clock.monotonic()
        while threads:
            try:
                error = self._ended.get(timeout=_LOOK_S)
            except Empty:
                pass
            else:
                if error is not None:
                    raise error
                threads -= 1
            now = self._clock.monotonic()
            self._give_up_overdue(min(now - looked, _MOST_PASSED_S), timeout_s)
            looked = now

    def _start(self) -> None:
        name = f"decode-{self._started}"
        self._started += 1
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        """What each thread runs."""
        try:
            while self._decode_next():
                pass
        except ChannelClosed:
            self._ended.put(None)
        except Exception as error:  # a stage's thread body: it ends the worker, not a thread
            log.debug("a decode thread failed", exc_info=True)
            self._ended.put(error)

    def _decode_next(self) -> bool:
        """Whether this thread goes on: not if it was replaced meanwhile."""
        thread = threading.get_ident()
        # As one step: else a later frame of a stream could join an earlier batch than the frame
        # before it, and be scored by an older model.
        with self._turn:
            frame = self._waiting.take()
            row = self._assembler.claim(frame)
        self._attempts[thread] = _Attempt(frame, row)
        with self.calls.call("the decoding of a frame"):
            done = self._fill(frame, row)
        if self._attempts.pop(thread, None) is None:
            log.info("the decoding of %s that was given up has ended", frame.frame_id)
            self._assembler.take_back(row)
            return False
        if isinstance(done, Sample):
            self._assembler.complete(row, done)
        else:
            self._assembler.release(row)
            self._outcomes.put([done])
        return True

    def _give_up_overdue(self, passed_s: float, timeout_s: float) -> None:
        for thread, attempt in list(self._attempts.items()):
            attempt.taken_s += passed_s
            if attempt.taken_s <= timeout_s or not self._assembler.can_give_up(attempt.row):
                continue
            if self._attempts.pop(thread, None) is None:
                continue  # it ended at this moment
            self.calls.forget(thread)
            self._assembler.give_up(attempt.row)
            self._try_again(attempt.frame, timeout_s)
            self._start()

    def _try_again(self, frame: Frame, timeout_s: float) -> None:
        log.warning("the decoding of %s hasn't ended in %g s", frame.frame_id, timeout_s)
        if not frame.tries:
            self._waiting.put_back(replace(frame, tries=1))
            return
        detail = f"its decoding didn't end within {timeout_s:g} s, nor did the second try"
        self._outcomes.put([Rejected(frame, "unfinished", detail, self._clock.now())])

    def _fill(self, frame: Frame, row: Row) -> Sample | Outcome:
        """Decodes into the row, or says what became of the frame instead."""
        now = self._clock.now()
        if frame.is_stale(now):
            return Shed(frame.without_payload(), "deadline", now)
        started = self._clock.monotonic()
        try:
            width, height = self._decode(frame, row.image_hwc)
        except FrameRejected as error:
            return Rejected(frame, error.reason, error.detail, now)
        done = self._clock.monotonic()
        return Sample(
            frame=frame,
            row=row.row,
            width=width,
            height=height,
            queue_s=started - frame.received_mono_s,
            decode_s=done - started,
            decoded_mono_s=done,
        )

    def _decode(self, frame: Frame, row_hwc: ImageHwc) -> tuple[int, int]:
        """Writes the row and gives the picture's own width and height."""
        if frame.defect is not None:
            raise FrameRejected(frame.defect_reason, frame.defect)
        payload = frame.payload
        if isinstance(payload, bytes):
            if frame.sha256 is not None:
                check_digest(payload, frame.sha256)
            header = check_image(payload, self._limits)
            image_hwc = decode_image(payload, header, self._spec)
            if header.kind == "jpeg":  # it may have been decoded smaller than it is
                width, height = header.width, header.height
            else:  # OpenCV turns these as EXIF says, too; their headers don't tell
                height, width = image_hwc.shape[:2]
            write_sample(image_hwc, self._spec, row_hwc)
        else:
            height, width = payload.shape[:2]
            write_bgr_sample(payload, self._spec, row_hwc)
        return width, height
