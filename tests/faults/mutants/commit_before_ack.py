"""A result counts as written as soon as it is handed to the client."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.sink.kafka import KafkaSink, _Answer
from pipeline.types import Outcome
from tests.faults.planted import replace

_real = KafkaSink.write


def _write(self: KafkaSink, outcomes: Sequence[Outcome]) -> None:
    _real(self, outcomes)
    for outcome in outcomes:
        self._answers.append(_Answer(self._round, outcome.frame.position, None))


def plant() -> None:
    replace(KafkaSink, "write", _write)
