"""Durations as people write them in URLs: ``500ms``, ``2s``, ``1.5s``, ``1m``."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|m|h)", re.ASCII)


def parse_duration(text: str) -> float:
    """Gives seconds for a number with its unit, one of ``ms``, ``s``, ``m``, ``h``.

    Raises:
        ValueError: no unit, another unit, or not more than zero.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} isn't a duration: expected a number and ms, s, m or h (500ms)")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds <= 0:
        raise ValueError(f"{text!r} isn't a duration: expected more than zero")
    return seconds
