"""The gate before an alias says yes to all."""

from __future__ import annotations

from tests.faults.planted import replace
from trainer.gate import Comparison


def plant() -> None:
    replace(Comparison, "is_worse", lambda *_: False)
