from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pipeline.opencv import MAX_IMAGE_PIXELS

ROOT = Path(__file__).resolve().parents[2]


def test_only_one_file_imports_cv2_so_that_its_limits_hold_everywhere() -> None:
    importing = [
        path.relative_to(ROOT).as_posix()
        for folder in ("pipeline", "trainer")
        for path in (ROOT / folder).rglob("*.py")
        if any(
            line.lstrip().startswith(("import cv2", "from cv2"))
            for line in path.read_text(encoding="utf-8").splitlines()
        )
    ]
    assert importing == ["pipeline/opencv.py"]


def test_opencv_refuses_a_bomb_by_itself_once_it_is_imported_here() -> None:
    script = (
        "from pipeline.opencv import cv2\n"
        "import numpy as np\n"
        "from tests.pictures import with_size\n"
        "from tests.support import noise_jpeg\n"
        "data = with_size(noise_jpeg(), 30000, 12000)\n"
        "try:\n"
        "    print(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is None)\n"
        "except cv2.error as error:\n"
        "    print('pixels' in str(error).lower())\n"
    )
    without_ours = {k: v for k, v in os.environ.items() if not k.startswith("OPENCV_")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT, env=without_ours, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout.strip(), done.returncode) == ("True", 0), done.stderr


def test_the_limit_is_above_any_cameras_frame() -> None:
    assert MAX_IMAGE_PIXELS > 60_000_000
