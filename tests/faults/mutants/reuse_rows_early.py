"""A batch's rows are given back to the decoders before the network has read them."""

from __future__ import annotations

import time
from typing import Any

from pipeline.assembler import Assembler
from pipeline.sample import Batch
from tests.faults.planted import replace

_next = Assembler.next_batch
_recycle = Assembler.recycle


def _next_given_back(self: Assembler) -> Batch:
    batch = _next(self)
    _recycle(self, batch, None)
    time.sleep(0.003)  # a network of some size
    return batch


def plant() -> None:
    replace(Assembler, "next_batch", _next_given_back)
    replace(Assembler, "recycle", _nothing)


def _nothing(*_: Any) -> None:
    pass
