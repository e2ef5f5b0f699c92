"""Where a canary is taken back the active model goes on as it was: under an epoch below."""

from __future__ import annotations

from pipeline.engine.active import ActiveModel, ActiveSlot
from pipeline.engine.canary import Canary
from tests.faults.planted import replace


def _withdraw(self: ActiveSlot, canary: Canary) -> ActiveModel:
    if self._canary is canary:
        self._canary = None
    return self._model


def plant() -> None:
    replace(ActiveSlot, "withdraw", _withdraw)
