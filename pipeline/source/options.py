"""The options behind the question mark of a source's URL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import parse_qsl

from pipeline.durations import parse_duration
from pipeline.errors import ConfigError
from pipeline.source.base import SourceInfo

T = TypeVar("T")

DEFAULT_MAX_AGE_S = 1.0
DEFAULT_OPEN_TIMEOUT_S = 5.0
"""A local camera answers within one second; a doorbell on battery needs some."""
DEFAULT_READ_TIMEOUT_S = 5.0
"""Several key-frame intervals of a usual camera (1 to 2 s)."""


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What every camera takes: the deadline of its frames, and how long it may keep still."""

    max_age_s: float = DEFAULT_MAX_AGE_S
    open_timeout_s: float = DEFAULT_OPEN_TIMEOUT_S
    read_timeout_s: float = DEFAULT_READ_TIMEOUT_S


def live_info(name: str, options: LiveOptions) -> SourceInfo:
    """What is known of a camera before it is opened."""
    return SourceInfo(
        name,
        "live",
        is_finite=False,
        max_age_s=options.max_age_s,
        # MJPEG connects and waits for an answer; RTSP is read over until it is up to date.
        blocks_s=options.open_timeout_s + max(options.open_timeout_s, options.read_timeout_s),
    )


LIVE_OPTION_NAMES = frozenset({"max_age", "open_timeout", "read_timeout"})


class Options:
    """A URL's query, taken one option at a time. Owned by: who parses the URL.

    Each ``take`` names an option that the scheme knows; ``refuse_others`` then refuses the rest, so
    that a misspelt option is never silently without effect.
    """

    def __init__(self, scheme: str, query: str) -> None:
        self._scheme = scheme
        self._known: list[str] = []
        self._given: dict[str, str] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name in self._given:
                raise ConfigError(f"{scheme}: option {name!r} is given twice, expected once")
            self._given[name] = value

    def take(self, name: str, convert: Callable[[str], T], default: T) -> T:
        """Gives the option ``name`` through ``convert``, or ``default`` where it isn't given.

        Raises:
            ConfigError: ``convert`` refused it with a ``ValueError``.
        """
        self._known.append(name)
        if name not in self._given:
            return default
        try:
            return convert(self._given[name])
        except ValueError as cause:
            raise ConfigError(f"{self._scheme}: option {name}: {cause}") from cause

    def take_live(self) -> LiveOptions:
        """Gives ``max_age``, ``open_timeout`` and ``read_timeout``.

        Raises:
            ConfigError: one of them isn't a duration.
        """
        return LiveOptions(
            max_age_s=self.take("max_age", parse_duration, DEFAULT_MAX_AGE_S),
            open_timeout_s=self.take("open_timeout", parse_duration, DEFAULT_OPEN_TIMEOUT_S),
            read_timeout_s=self.take("read_timeout", parse_duration, DEFAULT_READ_TIMEOUT_S),
        )

    def refuse_others(self) -> None:
        """Refuses every option that wasn't taken.

        Raises:
            ConfigError: there is one; the message names those that exist.
        """
        for name in self._given:
            if name not in self._known:
                known = ", ".join(self._known)
                raise ConfigError(f"{self._scheme}: unknown option {name!r}, expected {known}")


def positive_float(text: str) -> float:
    """Raises ``ValueError`` unless ``text`` is a finite number above zero."""
    number = _number(text, float)
    if not 0 < number < float("inf"):
        raise ValueError(f"got {text!r}, expected a number above 0")
    return number


def positive_int(text: str) -> int:
    """Raises ``ValueError`` unless ``text`` is a whole number above zero."""
    number = _number(text, int)
    if number < 1:
        raise ValueError(f"got {text!r}, expected a whole number above 0")
    return number


def natural_int(text: str) -> int:
    """Raises ``ValueError`` unless ``text`` is a whole number, zero or above."""
    number = _number(text, int)
    if number < 0:
        raise ValueError(f"got {text!r}, expected a whole number, 0 or above")
    return number


def _number(text: str, kind: Callable[[str], T]) -> T:
    try:
        return kind(text)
    except ValueError as cause:
        raise ValueError(f"got {text!r}, expected a number") from cause
