"""The model that scores now, and its one point of exchange."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.artifact.manifest import Contract
from pipeline.engine.base import Engine
from pipeline.types import ModelIdentity


@dataclass(frozen=True, slots=True)
class ActiveModel:
    """An engine with everything that its scores mean: labels can't be parted from the network.

    ``infer_s`` is the measured time of one batch, in seconds, for each bucket that was warmed;
    ``content`` all that its artifact promises (``Manifest.content``).
    """

    identity: ModelIdentity
    engine: Engine
    contract: Contract
    infer_s: Mapping[int, float]
    content: str = ""

    @property
    def most_frames(self) -> int:
        """Of its largest bucket: what it may be given at once."""
        return max(self.infer_s)


class ActiveSlot:
    """Holds the active model. The engine thread takes it once a batch: one batch, one model.

    The old model is let go with the last batch that runs on it. Thread-safe.
    """

    def __init__(self, first: ActiveModel) -> None:
        self._lock = threading.Lock()
        self._model = first
        self._running: ActiveModel | None = None

    @property
    def model(self) -> ActiveModel:
        """The model for the next batch."""
        return self._model

    @contextmanager
    def for_batch(self) -> Iterator[ActiveModel]:
        """The model for a batch that runs within the block. Owned by: the engine thread."""
        with self._lock:
            model = self._running = self._model
        try:
            yield model
        finally:
            self._running = None

    @property
    def is_one_leaving(self) -> bool:
        """Whether a batch still runs on a model that was exchanged."""
        with self._lock:
            return self._running is not None and self._running is not self._model

    def exchange(self, model: ActiveModel) -> ActiveModel:
        """Makes ``model`` the active one and gives the one before.

        Raises:
            ValueError: its epoch isn't above the active one's.
        """
        with self._lock:
            before = self._model
            if model.identity.epoch <= before.identity.epoch:
                raise ValueError(
                    f"epoch {model.identity.epoch} after {before.identity.epoch}: epochs must rise"
                )
            self._model = model
            return before
