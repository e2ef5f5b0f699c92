"""Nobody looks at what became of a write: one that failed counts like any other."""

from __future__ import annotations

from typing import Any

import pipeline.sink.kafka as sink
from tests.faults.planted import replace

_real = sink._Answer


def _answer(round_: int, outcome: Any, _error: BaseException | None) -> Any:
    return _real(round_, outcome, None)


def plant() -> None:
    replace(sink, "_Answer", _answer)
