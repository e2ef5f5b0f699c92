"""The model that scores now, and its one point of exchange."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from msgspec import structs

from pipeline.artifact.manifest import Contract
from pipeline.artifact.reference import Reference
from pipeline.engine.base import Engine
from pipeline.types import ModelIdentity

if TYPE_CHECKING:  # it is made of active models
    from pipeline.engine.canary import Canary


@dataclass(frozen=True, slots=True)
class ActiveModel:
    """An engine with everything that its scores mean: labels can't be parted from the network.

    ``infer_s`` is the measured time of one batch, in seconds, for each bucket that was warmed;
    ``content`` all that its artifact promises (``Manifest.content``). ``took_over_as`` is the epoch
    under which it became the active one, where it has another now; ``reference`` what held-out data
    looked like to it, where its artifact says so.
    """

    identity: ModelIdentity
    engine: Engine
    contract: Contract
    infer_s: Mapping[int, float]
    content: str = ""
    took_over_as: int = 0
    reference: Reference | None = None

    @property
    def first_epoch(self) -> int:
        """Under which it became the active one: what is known of its outputs is noted under it."""
        return self.took_over_as or self.identity.epoch

    def under(self, epoch: int) -> ActiveModel:
        """The same model, under another epoch."""
        identity = structs.replace(self.identity, epoch=epoch)
        return replace(self, identity=identity, took_over_as=self.first_epoch)

    @property
    def most_frames(self) -> int:
        """Of its largest bucket: what it may be given at once."""
        return max(self.infer_s)


class ActiveSlot:
    """Holds the active model, and a canary while there is one. The engine thread takes them once a
    batch: in one batch, one model scores a stream.

    The old model is let go with the last batch that runs on it. Thread-safe.
    """

    def __init__(self, first: ActiveModel) -> None:
        self._lock = threading.Lock()
        self._model = first
        self._canary: Canary | None = None
        self._running: ActiveModel | None = None

    @property
    def model(self) -> ActiveModel:
        """The model for the next batch."""
        return self._model

    @property
    def canary(self) -> Canary | None:
        """What scores a share of the streams in the next batch."""
        return self._canary

    @contextmanager
    def for_batch(self) -> Iterator[tuple[ActiveModel, Canary | None]]:
        """The model for a batch that runs within the block, and the canary, of the same moment.
        Owned by: the engine thread."""
        with self._lock:
            model, canary = self._model, self._canary
            self._running = model
        try:
            yield model, canary
        finally:
            self._running = None

    @property
    def is_one_leaving(self) -> bool:
        """Whether a batch still runs on a model that was exchanged."""
        with self._lock:
            return self._running is not None and self._running is not self._model

    def exchange(self, model: ActiveModel) -> ActiveModel:
        """Makes ``model`` the active one and gives the one before. A canary has ended with it.

        Raises:
            ValueError: its epoch isn't above the active one's.
        """
        with self._lock:
            before = self._model
            if model.identity.epoch <= before.identity.epoch:
                raise ValueError(
                    f"epoch {model.identity.epoch} after {before.identity.epoch}: epochs must rise"
                )
            self._model, self._canary = model, None
            return before

    def begin(self, canary: Canary) -> None:
        """From the next batch on its streams are the candidate's."""
        with self._lock:
            self._canary = canary

    def withdraw(self, canary: Canary) -> ActiveModel:
        """Ends a canary, if it is still there: all streams are the active model's again, and that
        goes on under an epoch above the candidate's, as no stream's epoch may ever fall. Gives the
        model that scores from now on: where the candidate took over meanwhile, that."""
        with self._lock:
            if self._canary is canary:
                self._canary = None
                self._model = self._model.under(canary.candidate.identity.epoch + 1)
            return self._model
