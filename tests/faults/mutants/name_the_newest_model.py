"""Rows name the model that is active when they are made, not the one that scored them."""

from __future__ import annotations

from typing import Any

from pipeline.engine import stage
from pipeline.engine.active import ActiveModel
from pipeline.engine.stage import EngineStage
from pipeline.sample import Batch
from pipeline.types import ModelIdentity
from tests.faults.planted import replace

_score = EngineStage._score
_scored = stage._scored
_current: list[EngineStage] = []


def _score_noting(self: EngineStage, batch: Batch, model: ActiveModel, *rest: Any) -> Any:
    _current[:] = [self]
    return _score(self, batch, model, *rest)


def _scored_by_the_newest(sample: Any, _model: ModelIdentity, *rest: Any) -> Any:
    return _scored(sample, _current[0]._active.model.identity, *rest)


def plant() -> None:
    replace(EngineStage, "_score", _score_noting)
    replace(stage, "_scored", _scored_by_the_newest)
