"""A camera that OpenCV reads: RTSP through FFmpeg, or one on this machine through V4L2."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.clock import Clock
from pipeline.errors import ConfigError, SourceUnavailable
from pipeline.opencv import cv2
from pipeline.source.base import SourceInfo
from pipeline.source.lateness import Lateness
from pipeline.source.options import LiveOptions, live_info
from pipeline.source.v4l2 import grab_until
from pipeline.types import Frame, ImageHwc, Position

_CAUGHT_UP_S = 0.002
"""While a queue is read, frames come faster than they were made and each is less late, by up to a
frame's time; one that gains less than this came as it was made, give or take the network."""

_ON_TIME_FRAMES = 3
"""So many in a row tell that the queue is empty: a stream's first two often both say time 0."""


class CameraSource:
    """One camera as one stream: the payload is BGR, ``captured_at`` is when the frame arrived.

    Opening it includes reading over what FFmpeg queued while it studied the stream, a second or
    two's worth: nobody can say how old those frames are.

    ``device`` is an RTSP URL (with its password, which is never shown) or the index of a V4L2
    device, whose time-outs hold to the second, the read time-out for the opening too. ``poll``
    blocks up to the read time-out and gives one frame; it must be called without pauses, as FFmpeg
    queues what isn't read (``BUFFERSIZE`` does nothing there). A frame that had to wait in such a
    queue is dated back by the stream's own time. Offsets go on rising over reconnections; the
    picture's size may change with each. Owned by: one intake thread.
    """

    def __init__(self, name: str, device: str | int, options: LiveOptions, clock: Clock) -> None:
        self._info = live_info(name, options)
        self._device = device
        self._options = options
        self._clock = clock
        self._capture: cv2.VideoCapture | None = None
        self._lateness = Lateness()
        self._next = 0

    @property
    def info(self) -> SourceInfo:
        """See ``Source.info``."""
        return self._info

    def open(self) -> None:
        """See ``Source.open``. Blocks up to the open time-out and the read time-out together."""
        self.close()
        device = self._device
        is_rtsp = isinstance(device, str)
        capture = self._open_rtsp(device) if is_rtsp else self._open_v4l2(device)
        self._capture = capture
        if not capture.isOpened():
            self.close()
            raise SourceUnavailable(
                f"{self._info.name} didn't open (time-out {self._options.open_timeout_s:g} s);"
                " is the camera on, and are address, path, user and password right?"
            )
        self._lateness = Lateness()
        try:
            self._catch_up(capture)
        except SourceUnavailable:
            self.close()
            raise

    def poll(self, room: int, timeout_s: float) -> Sequence[Frame]:
        """See ``Source.poll``. Blocks up to the read time-out, whatever ``timeout_s`` is."""
        if self._capture is None:
            raise SourceUnavailable(f"{self._info.name} isn't open")
        if room < 1:
            return ()
        late_s = self._grab(self._capture)
        image_hwc = self._retrieve(self._capture)
        now_mono_s = self._clock.monotonic()
        offset = self._next
        self._next += 1
        return (
            Frame(
                position=Position(self._info.name, 0, offset),
                stream=self._info.name,
                payload=image_hwc,
                captured_at=self._clock.now() - late_s,
                received_mono_s=now_mono_s,
                max_age_s=self._options.max_age_s,
            ),
        )

    def commit(self, next_offsets: Mapping[tuple[str, int], int]) -> None:
        """See ``Source.commit``: a camera has nothing to remember."""

    def close(self) -> None:
        """See ``Source.close``."""
        if self._capture is not None:
            self._capture.release()
        self._capture = None

    def _catch_up(self, capture: cv2.VideoCapture) -> None:
        until_mono_s = self._clock.monotonic() + self._options.read_timeout_s
        smallest_s = math.inf
        on_time = 0
        while on_time < _ON_TIME_FRAMES and self._clock.monotonic() < until_mono_s:
            self._grab(capture)
            distance_s = self._lateness.distance_s
            on_time = on_time + 1 if distance_s > smallest_s - _CAUGHT_UP_S else 0
            smallest_s = min(smallest_s, distance_s)

    def _grab(self, capture: cv2.VideoCapture) -> float:
        """Waits for the next frame; gives how late it is, in seconds."""
        # isOpened() stays true after a failure, so only reads tell. And not even they at once:
        # after a time-out FFmpeg first gives the frames that its decoder held back, one each time.
        start_mono_s = self._clock.monotonic()
        if isinstance(self._device, str):
            is_grabbed = capture.grab()
        else:
            until_mono_s = start_mono_s + self._options.read_timeout_s
            is_grabbed = grab_until(capture.grab, until_mono_s, self._clock)
        waited_s = self._clock.monotonic() - start_mono_s
        if not is_grabbed or waited_s >= self._options.read_timeout_s:
            raise SourceUnavailable(
                f"{self._info.name} gave no frame within {self._options.read_timeout_s:g} s,"
                " or closed the connection"
            )
        stream_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        return self._lateness.observe(stream_s, self._clock.monotonic())

    def _retrieve(self, capture: cv2.VideoCapture) -> ImageHwc:
        is_read, image_hwc = capture.retrieve()
        if not is_read:
            raise SourceUnavailable(f"{self._info.name} gave a frame that can't be decoded")
        return image_hwc  # pyright: ignore[reportReturnType]  cv2's stubs: of any number

    def _open_rtsp(self, url: str) -> cv2.VideoCapture:
        # As parameters of the opening and nowhere else do they work; set() comes too late.
        return cv2.VideoCapture(
            url,
            cv2.CAP_FFMPEG,
            [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
                int(self._options.open_timeout_s * 1000),
                cv2.CAP_PROP_READ_TIMEOUT_MSEC,
                int(self._options.read_timeout_s * 1000),
                # With N threads its decoder holds back N - 1 frames: half a second on 16 cores.
                cv2.CAP_PROP_N_THREADS,
                1,
            ],
        )

    def _open_v4l2(self, index: int) -> cv2.VideoCapture:
        device = Path(f"/dev/video{index}")
        # One that was there and is away may be plugged in again; one that never was is a mistake.
        if self._next == 0 and not device.exists():
            raise ConfigError(f"{self._info.name}: there is no {device} on this machine")
        capture = cv2.VideoCapture(index, cv2.CAP_V4L2)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture
