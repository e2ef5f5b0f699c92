"""Frames whose truth is known, kept as a folder to learn from."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.labelled_folder import keep_labelled, kept_pictures
from pipeline.types import Outcome, Scored

log = logging.getLogger(__name__)


class LabelledSink:
    """Keeps one in ``every`` scored frames that is encoded and whose truth the source knows, and
    the newest ``most`` of them. It is there to learn from: what can't be written is left out, and
    no frame waits for it. See ``Sink``.

    Owned by: the sink thread.
    """

    def __init__(self, folder: Path, every: int, most: int) -> None:
        self._folder = folder
        self._every = every
        self._most = most
        self._kept: deque[Path] = deque()
        self._written: list[Outcome] = []
        self._is_failing = False

    @property
    def name(self) -> str:
        """See ``Sink.name``."""
        return f"labelled pictures in {self._folder}"

    def open(self) -> None:
        """See ``Sink.open``. What an earlier one kept counts."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._kept = deque(kept_pictures(self._folder))
        except OSError as cause:
            raise ConfigError(f"{self._folder} can't be used: {cause.strerror}") from cause

    def write(self, outcomes: Sequence[Outcome]) -> None:
        """See ``Sink.write``."""
        for outcome in outcomes:
            if isinstance(outcome, Scored) and self._is_chosen(outcome.frame.frame_id):
                self._keep(outcome)
        self._written += outcomes

    def collect(self, timeout_s: float) -> Sequence[Outcome]:
        """See ``Sink.collect``."""
        durable, self._written = self._written, []
        return durable

    def close(self) -> None:
        """See ``Sink.close``."""

    def _is_chosen(self, frame_id: str) -> bool:
        """By lot and not by turns: with four cameras every twelfth frame is of one of them."""
        lot = hashlib.blake2b(frame_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(lot) % self._every == 0

    def _keep(self, outcome: Scored) -> None:
        label, payload = outcome.frame.truth, outcome.frame.payload
        if label is None or not isinstance(payload, bytes):
            return
        try:
            self._kept.append(keep_labelled(self._folder, label, outcome.frame.frame_id, payload))
            while len(self._kept) > self._most:
                self._kept.popleft().unlink(missing_ok=True)
        except OSError as error:
            if not self._is_failing:
                log.warning("%s: %s; frames go on without it", self.name, error)
            self._is_failing = True
        else:
            self._is_failing = False
