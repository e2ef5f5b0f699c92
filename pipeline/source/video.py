"""Frames of a video file, decoded by OpenCV's FFmpeg."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.clock import Clock
from pipeline.errors import ConfigError, SourceExhausted, SourceUnavailable
from pipeline.opencv import cv2
from pipeline.source.base import SourceInfo
from pipeline.source.pacing import Pace
from pipeline.types import Frame, ImageHwc, Position

_LOG = logging.getLogger(__name__)

_POLL_BYTES = 32 * 1024 * 1024
"""Decoded frames of one poll: five of 1080p. The intake's credits in bytes are taken after it."""

_SHORT_POLL_S = 0.02
"""A poll with a shorter time-out still goes on for so long while frames are there to be had."""

_SNIFFED_BYTES = 4096
_FRAMES_IN_DOUBT = 2
_SECONDS_IN_DOUBT = 0.25
_PART_IN_DOUBT = 0.02
"""A container's count of frames is often its duration times a rounded rate: one frame off, or two,
or a few in a hundred where the rate varies. Only what both count and time say is missing counts."""


class VideoSource:
    """A video file as one stream: offset ``k`` is its frame ``k``, the payload is BGR.

    With ``fps`` frame ``k`` is due ``k / fps`` seconds after the opening; without, frames come as
    fast as they are decoded. A file that ends before its container says so gives its good frames
    and then one with ``defect`` set, so that the loss is counted. Reopening starts at frame 0.
    Owned by: one intake thread.
    """

    def __init__(self, name: str, path: Path, clock: Clock, fps: float | None = None) -> None:
        self._info = SourceInfo(name=name, delivery="lossless", is_finite=True)
        self._path = path
        self._clock = clock
        self._fps = fps
        self._capture: cv2.VideoCapture | None = None
        self._pace = Pace(clock, fps)
        self._ahead: ImageHwc | None = None
        self._defect: str | None = None
        self._next = 0
        self._claimed_frames = 0
        self._claimed_fps = 0.0

    @property
    def info(self) -> SourceInfo:
        """See ``Source.info``."""
        return self._info

    @property
    def frames_per_s(self) -> float:
        """Its own rate by what its container says, known once it was opened; 0 if that doesn't."""
        return self._claimed_fps

    @property
    def is_paced(self) -> bool:
        """Whether its frames come at a rate, and not as fast as they are read."""
        return self._fps is not None

    def open(self) -> None:
        """See ``Source.open``; decodes the first frame, to know that it is a video."""
        self.close()
        _refuse_what_is_no_video(self._path)
        capture = cv2.VideoCapture(_whole_path(self._path), cv2.CAP_FFMPEG)
        self._capture = capture
        self._claimed_frames = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self._claimed_fps = max(0.0, capture.get(cv2.CAP_PROP_FPS))
        self._ahead = self._read()
        if self._ahead is None:
            self.close()
            raise ConfigError(
                f"{self._path} isn't a video that FFmpeg can decode, or is cut off before its"
                " first frame; expected MP4, MKV, AVI, TS or the like. A folder of pictures is"
                " dir:PATH"
            )
        self._next = 0
        self._pace = Pace(self._clock, self._fps)

    def poll(self, room: int, timeout_s: float) -> Sequence[Frame]:
        """See ``Source.poll``. Decoding one frame may outlast a short time-out."""
        if self._capture is None:
            raise SourceUnavailable(f"{self._info.name} isn't open")
        if self._is_over():
            raise SourceExhausted(f"{self._info.name} gave all its frames")
        frames: list[Frame] = []
        held_bytes = 0
        until_mono_s = self._clock.monotonic() + max(timeout_s, _SHORT_POLL_S)
        while len(frames) < room and not self._is_over():
            if not self._pace.wait(self._next, 0.0 if frames else timeout_s):
                break
            frames.append(self._take())
            held_bytes += frames[-1].size_bytes
            if held_bytes >= _POLL_BYTES or self._clock.monotonic() >= until_mono_s:
                break
        return frames

    def commit(self, next_offsets: Mapping[tuple[str, int], int]) -> None:
        """See ``Source.commit``: nothing to remember."""

    def close(self) -> None:
        """See ``Source.close``."""
        if self._capture is not None:
            self._capture.release()
        self._capture = None
        self._ahead = None
        self._defect = None

    def _is_over(self) -> bool:
        return self._ahead is None and self._defect is None

    def _read(self) -> ImageHwc | None:
        if self._capture is None:
            return None
        try:
            is_read, image_hwc = self._capture.read()
        except cv2.error as cause:
            _LOG.warning("%s: frame %d: %s", self._info.name, self._next, cause)
            return None
        return image_hwc if is_read else None  # pyright: ignore[reportReturnType]  stubs: any array

    def _take(self) -> Frame:
        """The frame that was read ahead, or the one that stands for what is missing."""
        payload: bytes | ImageHwc = b"" if self._ahead is None else self._ahead
        offset, defect = self._next, self._defect
        self._next += 1
        frame = Frame(
            position=Position(self._info.name, 0, offset),
            stream=Path(self._info.name).stem,
            payload=payload,
            captured_at=self._pace.captured_at(offset),
            received_mono_s=self._clock.monotonic(),
            defect=defect,
        )
        if defect is None:
            self._ahead = self._read()
            self._defect = self._what_is_missing() if self._ahead is None else None
        else:
            _LOG.warning("%s: %s", self._info.name, defect)
            self._defect = None
        return frame

    def _what_is_missing(self) -> str | None:
        """What is missing at the end, in words; None where the file is whole."""
        missing = self._claimed_frames - self._next
        if self._capture is None or missing <= max(
            _FRAMES_IN_DOUBT, _PART_IN_DOUBT * self._claimed_frames
        ):
            return None
        last_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        if last_s > 0 and self._claimed_fps > 0:
            claimed_s = self._claimed_frames / self._claimed_fps
            if claimed_s - last_s <= max(_SECONDS_IN_DOUBT, _PART_IN_DOUBT * claimed_s):
                return None
        return (
            f"the video ends after {self._next} frames, its container says"
            f" {self._claimed_frames}: the rest is cut off or can't be decoded"
        )


def _refuse_what_is_no_video(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(_SNIFFED_BYTES)
    except OSError as cause:
        raise ConfigError(f"{path} can't be read: {cause.strerror}; expected a video") from cause
    # FFmpeg plays a text file as a teletype, and a text playlist may name other machines.
    if not head or (b"\x00" not in head and _is_text(head)):
        raise ConfigError(f"{path} isn't a video: it is {'text' if head else 'empty'}")


def _whole_path(path: Path) -> str:
    """A relative path like "tcp:1.mp4" would be a protocol to FFmpeg."""
    whole = str(path.resolve())
    try:
        whole.encode()
    except UnicodeEncodeError as cause:  # OpenCV 5.0 ends the process at one
        raise ConfigError(
            f"{whole!a} isn't UTF-8, and FFmpeg can't open it: rename the file or its folder"
        ) from cause
    return whole


def _is_text(head: bytes) -> bool:
    try:
        head[:-3].decode()  # a character of up to four bytes may be cut at the end
    except UnicodeDecodeError:
        return False
    return True
