"""The rounds: all contenders one right after the other, in a rotating order, in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.bench.baselines import ceiling, plain_loop
from pipeline.bench.rounds import Round, Run, rotated, spread
from pipeline.bench.scenario import Scenario, threads_as_before
from pipeline.bench.subject import worker_at_full_speed, worker_at_pace

PLAIN = "plain"
PLAIN_DEFAULT = "plain_default_threads"
CEILING = "ceiling"
WORKER = "worker"
CONTENDERS = (PLAIN, CEILING, WORKER, PLAIN_DEFAULT)
PACED = (PLAIN, WORKER)

LOAD = 0.5
"""Share of a contender's full speed at which ages are measured: a stream that can be carried, with
some room for a busy neighbour."""
_PACED_S = 2.0
_LEAST_FRAMES = 20
_PLAIN_SHARE = {PLAIN: 3, PLAIN_DEFAULT: 10}
"""The plain loops get a third and a tenth of the frames: their speed doesn't depend on how many
there are, and with torch's default threads it can fall to 20 frames/s beside a busy neighbour."""


@dataclass(frozen=True, slots=True)
class AtPace:
    """Rounds on a stream of ``frames_per_s``, which is ``LOAD`` of what ``share_of`` can do."""

    share_of: str
    frames_per_s: float
    rounds: tuple[Round, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that was measured; the warm-up round isn't in it."""

    full_speed: tuple[Round, ...]
    paced: tuple[AtPace, ...]


def compare(scenario: Scenario, tell: Callable[[str], None]) -> Comparison:
    """Runs everything; ``tell`` is called before each run, and may not work beside it.

    Raises:
        StageFailed: a contender didn't score all its frames.
    """
    with threads_as_before(scenario.machine):
        tell("warm-up")
        _round(scenario, CONTENDERS, max(_LEAST_FRAMES, scenario.frames // 3), tell)
        full_speed = tuple(
            _round(scenario, rotated(CONTENDERS, number), scenario.frames, tell)
            for number in range(scenario.rounds)
        )
        paced = tuple(_at_pace(scenario, full_speed, name, tell) for name in (WORKER, PLAIN))
        return Comparison(full_speed, paced)


def runs_in_all(rounds: int) -> int:
    """How often ``compare`` calls ``tell``."""
    return 1 + len(CONTENDERS) * (rounds + 1) + 2 * len(PACED) * _paced_rounds(rounds)


def _paced_rounds(rounds: int) -> int:
    return max(1, rounds * 3 // 5)


def _round(
    scenario: Scenario, order: Sequence[str], frames: int, tell: Callable[[str], None]
) -> Round:
    runs: dict[str, Run] = {}
    for contender in order:
        tell(f"{contender}, at full speed")
        runs[contender] = _run(scenario, contender, frames)
    return runs


def _run(scenario: Scenario, contender: str, frames: int) -> Run:
    if contender in _PLAIN_SHARE:
        few = max(_LEAST_FRAMES, frames // _PLAIN_SHARE[contender])
        threads = 1 if contender == PLAIN else scenario.machine.torch_threads
        return plain_loop(scenario, few, threads)
    if contender == CEILING:
        return ceiling(scenario, frames)
    return worker_at_full_speed(scenario, frames)


def _at_pace(
    scenario: Scenario, full_speed: Sequence[Round], share_of: str, tell: Callable[[str], None]
) -> AtPace:
    fps = LOAD * spread([each[share_of].frames_per_s for each in full_speed]).median
    count = max(_LEAST_FRAMES, min(scenario.frames, round(fps * _PACED_S)))
    rounds: list[Round] = []
    for number in range(_paced_rounds(scenario.rounds)):
        runs: dict[str, Run] = {}
        for contender in rotated(PACED, number):
            tell(f"{contender}, at {fps:.0f} frames/s")
            if contender == WORKER:
                runs[contender] = worker_at_pace(scenario, count, fps)
            else:
                runs[contender] = plain_loop(scenario, count, torch_threads=1, fps=fps)
        rounds.append(runs)
    return AtPace(share_of, fps, tuple(rounds))
