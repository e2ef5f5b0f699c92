"""A canary's rows name the active model, as all others do."""

from __future__ import annotations

from pipeline.engine import stage
from pipeline.engine.active import ActiveSlot
from pipeline.engine.canary import Canary, ScoreRows, Turn
from pipeline.types import ModelIdentity
from tests.faults.planted import replace

_serve = stage.serve


def _serve_unnamed(
    slot: ActiveSlot, canary: Canary, turn: Turn, score: ScoreRows
) -> list[ModelIdentity]:
    return [turn.active.identity for _ in _serve(slot, canary, turn, score)]


def plant() -> None:
    replace(stage, "serve", _serve_unnamed)
