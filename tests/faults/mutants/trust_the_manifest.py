"""A model's bytes are taken for what its manifest says, and its golden outputs for passed."""

from __future__ import annotations

from pipeline.artifact import unpack
from pipeline.engine import loading
from tests.faults.planted import replace


def plant() -> None:
    replace(unpack, "_check_digest", lambda *_: None)
    replace(loading, "check_golden", lambda *_: None)
