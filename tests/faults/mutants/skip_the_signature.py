"""Whoever may write to the registry is taken at their word."""

from __future__ import annotations

from pipeline.artifact.signature import TrustedKeys
from tests.faults.planted import replace


def plant() -> None:
    replace(TrustedKeys, "check", lambda *_: None)
