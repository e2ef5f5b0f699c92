"""Rows name the model that is active when they are made, not the one that scored them."""

from __future__ import annotations

from typing import Any

from pipeline.engine import stage
from pipeline.engine.active import ActiveModel
from pipeline.engine.stage import EngineStage
from pipeline.sample import Batch
from tests.faults.planted import replace

_score = EngineStage._score
_scored = stage._scored
_current: list[EngineStage] = []


def _score_noting(self: EngineStage, batch: Batch, model: ActiveModel, started: float) -> Any:
    _current[:] = [self]
    return _score(self, batch, model, started)


def _scored_by_the_newest(sample: Any, _model: ActiveModel, *rest: Any) -> Any:
    return _scored(sample, _current[0]._active.model, *rest)


def plant() -> None:
    replace(EngineStage, "_score", _score_noting)
    replace(stage, "_scored", _scored_by_the_newest)
