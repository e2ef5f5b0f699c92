"""The metrics as text, made at most ten times a second however often somebody asks."""

from __future__ import annotations

import threading
from typing import TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from pipeline.clock import Clock

_KEPT_S = 0.1
_NONE = (0.0, b"")
_MOST_FORMS = 4
"""Forms of the text that are kept: a client names one, and may name any version of it."""

Answer: TypeAlias = tuple[bytes, str]
"""The text and its content type."""


class Scrapes:
    """What ``/metrics`` answers. Encoding takes a millisecond of the interpreter, which the stages
    need as well; so an answer is given again for a tenth of a second, and those who ask meanwhile
    wait for the one that is being made. Thread-safe."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, bytes]] = {}

    def kept(self, accept: str) -> Answer | None:
        """The answer to a request with this ``Accept``, if one is kept; at once."""
        content_type = choose_encoder(accept)[1]
        made_mono_s, text = self._kept.get(content_type, _NONE)
        is_fresh = text and self._clock.monotonic() - made_mono_s <= _KEPT_S
        return (text, content_type) if is_fresh else None

    def answer(self, accept: str) -> Answer:
        """The text and its content type, for what a request's ``Accept`` asks for."""
        encode, content_type = choose_encoder(accept)
        with self._lock:
            if (kept := self.kept(accept)) is not None:
                return kept
            if len(self._kept) >= _MOST_FORMS:
                self._kept.clear()
            text = encode(self._registry)
            # The time it was ready: who waited for it finds it fresh, however long it took.
            self._kept[content_type] = self._clock.monotonic(), text
            return text, content_type
