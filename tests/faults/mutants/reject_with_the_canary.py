"""Where a canary gives no numbers there are none, though the active model has some."""

from __future__ import annotations

import numpy as np

from pipeline.engine.canary import Canary, ScoreRows, Turn
from pipeline.types import LogitsNk
from tests.faults.planted import replace

_score = Canary.score


def _score_alone(self: Canary, turn: Turn, rows: list[int], score: ScoreRows) -> LogitsNk:
    theirs_nk = _score(self, turn, rows, score)
    return np.full_like(turn.logits_nk[rows], np.nan) if theirs_nk is None else theirs_nk


def plant() -> None:
    replace(Canary, "score", _score_alone)
