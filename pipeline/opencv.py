"""OpenCV, imported in one place so that its limits hold everywhere.

Use it as ``from pipeline.opencv import cv2``.
"""

from __future__ import annotations

import os

MAX_IMAGE_PIXELS = 64_000_000
"""64 megapixels: above any camera's frame, below a square of 8192. OpenCV reads the variable once,
when it is imported; a JPEG whose header claims 30,000 x 12,000 otherwise costs 5 GB before it fails
(docs/decisions)."""

V4L2_WAIT_S = 1
"""V4L2 knows no time-out of a camera's own: one call waits for a frame as long as this, in whole
seconds. OpenCV reads the variable at the first of them; its default is ten."""

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_IMAGE_PIXELS))
# Its log goes to stderr in its own format, once for each corrupt JPEG; outcomes say it better.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] = str(V4L2_WAIT_S)

import cv2

__all__ = ["MAX_IMAGE_PIXELS", "V4L2_WAIT_S", "cv2"]
