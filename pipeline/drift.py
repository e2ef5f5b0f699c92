"""How far counts have moved from those of a reference. Pure.

The population stability index over shares r of the reference and l of what is live is
``sum((l - r) * ln(l / r))``: 0 where they are the same. Below 0.1 is customarily taken for no
change, above 0.25 for much (Siddiqi, Credit Risk Scorecards, 2006). Of few samples it is large by
chance alone: about ``(B - 1) * (1/n + 1/m)`` over B bins (Yurdakul, Statistical Properties of
Population Stability Index, 2018), which is why what chance gives is said beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

LEAST_SAMPLES = 100
"""Of either side. Below it, chance alone gives an index as large as a change does."""

_SMOOTHING = 0.5
"""Added to each bin that either side has something in, else an empty one's logarithm has no end.
Jeffreys' prior; a larger one hides what is new, a smaller one makes a single sample an alarm."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far live counts are from a reference. ``psi`` is the index, ``by_chance`` what it would
    be on average had nothing changed. The shares add up to 1, bin by bin as they were given."""

    psi: float
    by_chance: float
    reference_shares: tuple[float, ...]
    live_shares: tuple[float, ...]

    @property
    def excess(self) -> float:
        """What chance doesn't explain, 0 or more: what an alarm is to be set on."""
        return max(0.0, self.psi - self.by_chance)


class DriftState(NamedTuple):
    """How far live frames are from what the model was published with, by the statistic's name:
    those of which there are enough. ``frames`` were looked at, the newest of all."""

    frames: int
    moved: Mapping[str, Drift]


def drift(
    reference: Sequence[int], live: Sequence[int], least_samples: int = LEAST_SAMPLES
) -> Drift | None:
    """Compares counts in the same bins; None where either side has too few to say anything.

    Raises:
        ValueError: the bins aren't as many.
    """
    if len(reference) != len(live):
        raise ValueError(f"{len(live)} live bins, expected the reference's {len(reference)}")
    seen, expected = sum(live), sum(reference)
    if min(seen, expected) < max(1, least_samples):
        return None
    bins = sum(1 for pair in zip(reference, live, strict=True) if any(pair))
    psi = 0.0
    for before, now in zip(reference, live, strict=True):
        if before or now:
            was = (before + _SMOOTHING) / (expected + bins * _SMOOTHING)
            share = (now + _SMOOTHING) / (seen + bins * _SMOOTHING)
            psi += (share - was) * math.log(share / was)
    return Drift(
        psi=psi,
        by_chance=(bins - 1) * (1 / expected + 1 / seen),
        reference_shares=tuple(each / expected for each in reference),
        live_shares=tuple(each / seen for each in live),
    )
