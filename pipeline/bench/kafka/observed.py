"""What is made of results on a topic and of a process's CPU time, seen from outside. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.bench.rounds import Run, percentile
from pipeline.errors import StageFailed

WARM_SHARE = 0.1
"""The first results of a run aren't counted: first calls compile, fetches and windows fill."""
DRY_SHARE = 0.1
"""Nor are the last ones at full speed: a system may wait for company that doesn't come any more, as
arroyo does for a second."""
_LEAST_DURATION_S = 0.001  # timestamps have milliseconds


@dataclass(frozen=True, slots=True)
class Result:
    """A record of the results' topic: whose result, and when the broker appended it (Unix ms). That
    is the broker's clock for every system, and a result that isn't on the topic isn't done."""

    frame_id: str
    appended_ms: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A process's CPU seconds since its start when there were so many results."""

    results: int
    cpu_s: float


def first_results(results: Sequence[Result], frame_ids: Sequence[str]) -> list[Result]:
    """The first result of each frame, oldest first; what is written twice counts once.

    Raises:
        StageFailed: a frame has none, or there is one of a frame that was never sent.
    """
    first: dict[str, Result] = {}
    for each in sorted(results, key=lambda result: result.appended_ms):
        first.setdefault(each.frame_id, each)
    missing = set(frame_ids) - set(first)
    foreign = set(first) - set(frame_ids)
    if missing or foreign:
        raise StageFailed(
            f"of {len(frame_ids)} frames {len(missing)} have no result, and {len(foreign)} results"
            " are of no frame; nothing can be said of its speed"
        )
    return list(first.values())


def at_full_speed(results: Sequence[Result], samples: Sequence[Sample]) -> Run:
    """The run between the result that ends the warm-up and the one after which it runs dry.

    Args:
        results: One a frame, oldest first; at least three.
        samples: Of the process, oldest first; at least two.
    """
    skipped = max(1, round(WARM_SHARE * len(results)))
    until = len(results) - round(DRY_SHARE * len(results))
    frames = until - skipped
    duration_s = (results[until - 1].appended_ms - results[skipped - 1].appended_ms) / 1000
    cpu_s = cpu_s_per_result(samples, skipped, until) * frames
    return Run(frames, max(duration_s, _LEAST_DURATION_S), cpu_s)


def at_pace(
    results: Sequence[Result], sent_ms: Mapping[str, int], samples: Sequence[Sample]
) -> Run:
    """The run of a paced stream, with its latencies from ``send`` to the result's append.

    Args:
        results: One a frame, oldest first; those that aren't in ``sent_ms`` warmed the system up.
        sent_ms: When each frame was sent (Unix ms), in the order of sending.
        samples: As for ``at_full_speed``.
    """
    skipped = round(WARM_SHARE * len(sent_ms))
    counted = set(list(sent_ms)[skipped:])
    latencies_s = [
        (each.appended_ms - sent_ms[each.frame_id]) / 1000
        for each in results
        if each.frame_id in counted
    ]
    start_ms = next(ms for frame_id, ms in sent_ms.items() if frame_id in counted)
    duration_s = max((results[-1].appended_ms - start_ms) / 1000, _LEAST_DURATION_S)
    cpu_s = cpu_s_per_result(samples, len(results) - len(counted), len(results)) * len(counted)
    return Run(
        len(counted),
        duration_s,
        cpu_s,
        age_p50_s=percentile(latencies_s, 0.5),
        age_p99_s=percentile(latencies_s, 0.99),
    )


def cpu_s_per_result(samples: Sequence[Sample], skipped: int, count: int) -> float:
    """CPU seconds for one result between the first sample after ``skipped`` results and the last
    one before all ``count`` were there, as what follows is the process's end. Over all samples,
    its start included, where results came too fast for that."""
    inner = [each for each in samples if skipped <= each.results < count]
    if len(inner) < 2 or inner[-1].results == inner[0].results:
        inner = list(samples)
    first, last = inner[0], inner[-1]
    return (last.cpu_s - first.cpu_s) / max(1, last.results - first.results)
