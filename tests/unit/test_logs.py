from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

from pipeline.logs import MaskingFormatter

ROOT = Path(__file__).parents[2]

SAY = """
import logging
from pipeline.logs import configure_logs
configure_logs("info")
configure_logs({level!r})
logging.getLogger("pipeline.intake").debug("ours in detail")
logging.getLogger("pipeline.intake").info("from rtsp://me:secret@cam/live")
logging.getLogger("uvicorn.error").info("theirs in detail")
logging.getLogger("uvicorn.error").warning("theirs")
logging.getLogger("kafka.cluster").error("topic frames not found, ten times a second")
"""


def _said(level: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-c", SAY.format(level=level)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert ran.stdout == ""
    return ran.stderr.splitlines()


def test_lines_are_plain_and_masked_where_there_is_no_terminal() -> None:
    ours, theirs = _said("info")  # and nothing of kafka-python, whose exceptions say it all
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO pipeline\.intake: "
        r"from rtsp://\*\*\*@cam/live",
        ours,
    )
    assert theirs.endswith("WARNING uvicorn.error: theirs")


def test_debug_is_ours_alone() -> None:
    said = _said("debug")
    assert said[0].endswith("DEBUG pipeline.intake: ours in detail")
    assert not any("theirs in detail" in line for line in said)


def test_a_secret_in_a_traceback_is_masked() -> None:
    try:
        raise OSError("no route to rtsp://me:secret@cam/live")
    except OSError:
        record = logging.getLogger("pipeline.test").makeRecord(
            "pipeline.test", logging.ERROR, "", 0, "failed", (), sys.exc_info()
        )
    text = MaskingFormatter("%(message)s").format(record)
    assert "no route to rtsp://***@cam/live" in text
    assert "me:" not in text
