"""What workers say of drift, on their pages."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from trainer.watch.rules import Drift

log = logging.getLogger(__name__)

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
        moved = (said["view"]["drift"] or {}).get("moved", {})
        return [Drift(statistic, float(each["excess"])) for statistic, each in moved.items()]
    except (URLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s says nothing of drift: %s", page, error)
        return []
