"""How fast backends run a network by itself, and beside threads that decode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.artifact.names import parse_model
from pipeline.artifact.registry import Registry
from pipeline.bench.rounds import Spread, rotated, spread
from pipeline.bench.scenario import Scenario, threads_as_before
from pipeline.clock import SystemClock
from pipeline.engine.backends import backends_of
from pipeline.engine.laps import Lap, Runner, runners_of
from pipeline.engine.race import Race
from pipeline.errors import StageFailed

SIZES = (1, 8, 32)
_LONG_S = 10.0
"""All sizes are run, of heavy networks too, each a few times."""


@dataclass(frozen=True, slots=True)
class EngineRounds:
    """Laps of all runners, round by round: ``alone`` with nobody else, ``beside`` as many threads
    as a worker's that decode. The first runner is TorchScript's, with a worker's threads."""

    runners: tuple[Runner, ...]
    alone: tuple[Mapping[Runner, Lap], ...]
    beside: tuple[Mapping[Runner, Lap], ...]

    def frames_per_s(self, rounds: Sequence[Mapping[Runner, Lap]], by: Runner, size: int) -> Spread:
        """Of a runner, in batches of ``size``."""
        return spread([size / each[by].batch_s[size] for each in rounds])

    def ratio(self, rounds: Sequence[Mapping[Runner, Lap]], by: Runner, size: int) -> Spread:
        """How many times as fast as the first runner, each round's taken by itself."""
        first = self.runners[0]
        return spread([each[first].batch_s[size] / each[by].batch_s[size] for each in rounds])


def race_in_rounds(scenario: Scenario, tell: Callable[[], None]) -> EngineRounds:
    """Has all backends run the scenario's network; ``tell`` is called before each round.

    Raises:
        StageFailed: one of them can't.
    """
    name, selector = parse_model(scenario.model)
    registry = Registry(scenario.registry)
    artifact = registry.read(name, registry.resolve(name, selector))
    runners = runners_of(backends_of(artifact.manifest), 0, scenario.machine.cores)
    kinds: dict[int, list[Mapping[Runner, Lap]]] = {0: [], scenario.decode_threads: []}
    with threads_as_before(scenario.machine):
        for number in range(scenario.rounds):
            tell()
            for decoding, rounds in kinds.items():
                race = Race("cpu", SIZES, decoding, SystemClock(), passes=1, long_s=_LONG_S)
                laps = race.run(artifact, rotated(runners, number))
                for lap in laps:
                    if lap.problem or lap.batch_s.keys() != set(SIZES):
                        raise StageFailed(f"{lap.runner}: {lap.problem or 'it takes too long'}")
                rounds.append({lap.runner: lap for lap in laps})
    alone, beside = kinds.values()
    return EngineRounds(tuple(runners), tuple(alone), tuple(beside))
