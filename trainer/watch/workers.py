"""What workers say of drift, on their pages."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from http.client import HTTPException
from typing import Any
from urllib.request import urlopen

from trainer.watch.rules import Drift

log = logging.getLogger(__name__)

_NO_ANSWER = (
    *(OSError, HTTPException),
    *(ValueError, KeyError, TypeError, AttributeError, RecursionError),
)
"""Whatever is at that address may answer anything."""

_WITHIN_S = 5.0
_MOST_BYTES = 16 << 20


def worst_drift(pages: Iterable[str], model: str) -> Drift | None:
    """The largest drift that any worker with this model sees; None where none says anything. One
    that doesn't answer is left out.

    Args:
        pages: Workers' addresses, ``http://HOST:PORT/``.
        model: The model's name: what a worker sees with another one says nothing of it.
    """
    found = [each for page in pages for each in _drifts(page, model)]
    return max(found, key=lambda each: each.index, default=None)


def _drifts(page: str, model: str) -> list[Drift]:
    try:
        with urlopen(f"{page.rstrip('/')}/live.json", timeout=_WITHIN_S) as answer:
            said: Any = json.loads(answer.read(_MOST_BYTES))
        if (said["model"] or {}).get("name") != model:
            return []
        drift = said["view"]["drift"]
        moved = {} if drift is None else drift["moved"]
        return [Drift(statistic, float(each["excess"])) for statistic, each in moved.items()]
    except _NO_ANSWER as error:
        log.warning("%s says nothing of drift: %r", page, error)
        return []
