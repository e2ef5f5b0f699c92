"""The rounds: all systems one right after the other, in a rotating order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.bench.baselines import ceiling
from pipeline.bench.kafka.measure import Bench
from pipeline.bench.kafka.plan import (
    CEILING,
    CEILINGS,
    LOAD,
    Paced,
    contenders,
    frames_of,
    paced,
    paced_frames,
)
from pipeline.bench.rounds import Round, Run, rotated, spread
from pipeline.bench.scenario import Scenario, use_threads

_WARM_UP = 3  # the warm-up round has a third of the frames


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run: ``frames`` of the fastest in a round, ``rounds`` of them, paced streams of
    ``paced_s`` seconds, with these ``peers``. ``auto`` and ``full`` differ in how JPEGs are
    decoded.
    """

    auto: Scenario
    full: Scenario
    frames: int
    rounds: int
    paced_s: float
    peers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """All that was measured, without the warm-up round. ``paces`` are the paced streams' frames a
    second, by measurement."""

    full_speed: tuple[Round, ...]
    paced: tuple[Round, ...]
    paces: Mapping[str, float]


def compare(plan: Plan, bench: Bench, tell: Callable[[str], None]) -> Measured:
    """Runs everything; ``tell`` is called before each run.

    Raises:
        StageFailed: a system failed, or left a frame without a result.
    """
    order = contenders(plan.peers)
    try:
        _round(plan, bench, order, max(1, plan.frames // _WARM_UP), tell)
        full_speed = [
            _round(plan, bench, rotated(order, number), plan.frames, tell)
            for number in range(plan.rounds)
        ]
        paces = {
            each.name: LOAD * spread([one[each.share_of].frames_per_s for one in full_speed]).median
            for each in paced(plan.peers)
        }
        at_pace = [_paced_round(plan, bench, paces, number, tell) for number in range(plan.rounds)]
    finally:
        machine = plan.auto.machine
        use_threads(machine.torch_threads, machine.opencv_threads)
    return Measured(tuple(full_speed), tuple(at_pace), paces)


def _round(
    plan: Plan, bench: Bench, order: Sequence[str], frames: int, tell: Callable[[str], None]
) -> Round:
    runs: dict[str, Run] = {}
    for system in order:
        tell(f"{system}, at full speed")
        count = frames_of(system, frames)
        if system in CEILINGS:
            runs[system] = ceiling(plan.auto if system == CEILING else plan.full, count)
        else:
            runs[system] = bench.full_speed(system, count)
    return runs


def _paced_round(
    plan: Plan,
    bench: Bench,
    paces: Mapping[str, float],
    number: int,
    tell: Callable[[str], None],
) -> Round:
    these: Mapping[str, Paced] = {each.name: each for each in paced(plan.peers)}
    runs: dict[str, Run] = {}
    for name in rotated(tuple(these), number):
        fps = paces[name]
        tell(f"{these[name].system}, at {fps:.0f} frames/s")
        runs[name] = bench.paced(these[name].system, paced_frames(fps, plan.paced_s), fps)
    return runs
