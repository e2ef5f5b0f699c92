"""When to train anew. Pure: what was seen is passed in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """When to train anew.

    Attributes:
        least_new: Labelled pictures that must have come since the last time, whatever else.
        drift: From this population stability index on; above 0.25 it is commonly called large.
        every: And without drift after so many pictures; None: never.
        pause_s: Seconds between two trainings, at least.
    """

    least_new: int = 100
    drift: float = 0.25
    every: int | None = None
    pause_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Drift:
    """How far live frames are from what the model was published with. ``statistic`` is the one that
    has moved most, ``index`` its population stability index."""

    statistic: str
    index: float


def reason_to_train(rules: Rules, new: int, drift: Drift | None, since_s: float) -> str:
    """Why to train now, "" if there is no reason.

    Args:
        rules: See ``Rules``.
        new: Labelled pictures that have come since the last training.
        drift: The worst of what workers say; None: none says anything.
        since_s: Seconds since the last training ended, infinite before the first.
    """
    if new < rules.least_new or since_s < rules.pause_s:
        return ""
    if drift is not None and drift.index >= rules.drift:
        return f"{drift.statistic} has drifted ({drift.index:.2f}), and {new} new labels are there"
    if rules.every is not None and new >= rules.every:
        return f"{new} new labels are there"
    return ""
