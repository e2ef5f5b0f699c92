"""How long to wait before trying again. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from ``first_s`` up to ``most_s``, each shortened by up to half at random.

    The jitter keeps a hundred workers from coming back to one camera at the same moment.
    """

    first_s: float = 0.25
    most_s: float = 30.0

    def wait_s(self, failures: int, chance: random.Random) -> float:
        """Seconds to wait after the ``failures``-th failure in a row, counted from 1."""
        full_s = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return full_s * (0.5 + 0.5 * chance.random())
