"""A transaction whose commit never returns, the fifth one: kafka-python has no time-out for it."""

from __future__ import annotations

import itertools
import threading

from kafka import KafkaProducer

from tests.faults.planted import replace

_commit = KafkaProducer.commit_transaction
_count = itertools.count(1)


def _wedged(self: KafkaProducer) -> None:
    if next(_count) == 5:
        threading.Event().wait()
    _commit(self)


def plant() -> None:
    replace(KafkaProducer, "commit_transaction", _wedged)
