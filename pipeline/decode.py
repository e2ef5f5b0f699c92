"""The decode pool: threads that turn frames into samples, straight into rows of a batch."""

from __future__ import annotations

import threading

from pipeline.assembler import Assembler, Row, Sample
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
from pipeline.types import Frame, ImageHwc, Outcome, Rejected, Shed
from pipeline.waiting import WaitingRoom
from pipeline.watchdog import CallWatch


class DecodePool:
    """What each decode thread runs. OpenCV lets go of the interpreter while it decodes and resizes,
    so threads scale over cores. Thread-safe: it holds no frame."""

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
        self.calls = CallWatch(clock)
        # OpenCV's own threads would fight with ours and with torch's.
        cv2.setNumThreads(1)

    def run(self) -> None:
        """Decodes until the waiting room is closed and empty."""
        while True:
            try:
                # As one step: else a later frame of a stream could join an earlier batch than the
                # frame before it, and be scored by an older model.
                with self._turn:
                    frame = self._waiting.take()
                    row = self._assembler.claim(frame)
            except ChannelClosed:
                return
            with self.calls.call("the decoding of a frame"):
                given_up = self._fill(frame, row)
            if given_up is not None:
                self._assembler.release(row)
                self._outcomes.put([given_up])

    def _fill(self, frame: Frame, row: Row) -> Outcome | None:
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
        sample = Sample(
            frame=frame,
            row=row.row,
            width=width,
            height=height,
            queue_s=started - frame.received_mono_s,
            decode_s=done - started,
            decoded_mono_s=done,
        )
        self._assembler.complete(row, sample)
        return None

    def _decode(self, frame: Frame, row_hwc: ImageHwc) -> tuple[int, int]:
        """Writes the row and gives the picture's own width and height."""
        if frame.defect is not None:
            raise FrameRejected("corrupt", frame.defect)
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
