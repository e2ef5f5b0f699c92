"""Who is measured, on how many frames, and what is compared with what. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.bench.rounds import Round, Run, Spread, ratio, spread

HEADRACE = "headrace"
HEADRACE_FULL = "headrace_full"
COMPETENT = "competent"
QUIX = "quix"
ARROYO = "arroyo"
LITSERVE = "litserve"
MLSERVER = "mlserver"
OVER_HTTP = (LITSERVE, MLSERVER)
"""Servers that are asked for each frame: no topic is in their way."""
NAIVE = "naive"
CEILING = "ceiling"
CEILING_FULL = "ceiling_full"
CEILINGS = (CEILING, CEILING_FULL)

LOAD = 0.5
"""Share of a system's full speed at which latency is measured."""

_SHARE = {QUIX: 2, COMPETENT: 3, ARROYO: 2, LITSERVE: 4, MLSERVER: 6, NAIVE: 6}
"""Slower systems get a half to a sixth of the frames: all runs last about as long."""
_LEAST_FRAMES = 20


@dataclass(frozen=True, slots=True)
class Paced:
    """``system`` on a stream of ``LOAD`` times what ``share_of`` does at full speed."""

    system: str
    share_of: str

    @property
    def name(self) -> str:
        """Of this measurement, in a round."""
        return f"{self.system}_at_half_of_{self.share_of}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two measurements of the same rounds. ``goal`` is the project's: at least so much, or, of
    latencies (``is_latency``), at most."""

    name: str
    over: str
    under: str
    goal: float | None = None
    is_latency: bool = False

    def of(self, rounds: Sequence[Round]) -> Spread | None:
        """How many times as fast, or as late, ``over`` is; None where one of them didn't run. Each
        round's ratio is taken first: what slows the whole machine slows both."""
        if not rounds or any(each not in rounds[0] for each in (self.over, self.under)):
            return None
        if not self.is_latency:
            return ratio(rounds, self.over, self.under)
        return spread([_p99_s(each[self.over]) / _p99_s(each[self.under]) for each in rounds])

    def is_reached(self, value: Spread) -> bool | None:
        """Whether the median is what the goal asks for; None without one."""
        if self.goal is None:
            return None
        return value.median <= self.goal if self.is_latency else value.median >= self.goal


COMPETENT_PACE = Paced(COMPETENT, COMPETENT)
HEADRACE_AT_COMPETENT_PACE = Paced(HEADRACE, COMPETENT)

COMPARISONS = (
    Comparison("headrace_over_competent", HEADRACE, COMPETENT, 6.5),
    Comparison("headrace_over_quix", HEADRACE, QUIX, 2.6),
    Comparison("headrace_over_arroyo", HEADRACE, ARROYO),
    Comparison("headrace_over_litserve", HEADRACE, LITSERVE, 3.0),
    Comparison("headrace_over_mlserver", HEADRACE, MLSERVER, 3.0),
    Comparison("headrace_full_over_competent", HEADRACE_FULL, COMPETENT, 4.0),
    Comparison("headrace_full_over_quix", HEADRACE_FULL, QUIX, 1.6),
    Comparison("headrace_over_ceiling", HEADRACE, CEILING, 0.8),
    Comparison("headrace_full_over_ceiling_full", HEADRACE_FULL, CEILING_FULL),
    Comparison("headrace_over_naive", HEADRACE, NAIVE),
    Comparison(
        "p99_of_headrace_over_competent",
        HEADRACE_AT_COMPETENT_PACE.name,
        COMPETENT_PACE.name,
        0.5,
        is_latency=True,
    ),
)


def contenders(peers: Sequence[str]) -> tuple[str, ...]:
    """All that run at full speed, with these peers; those of a ratio stand near each other."""
    return (COMPETENT, HEADRACE, *peers, HEADRACE_FULL, NAIVE, *CEILINGS)


def paced(peers: Sequence[str]) -> tuple[Paced, ...]:
    """All that run on a paced stream. Those at the competent loop's pace can be compared; the naive
    loop, which couldn't follow it, and the worker run at half of their own speed as well. Servers
    are asked at full speed alone."""
    on_topics = tuple(each for each in peers if each not in OVER_HTTP)
    at_competent_pace = (COMPETENT, HEADRACE, *on_topics)
    return (
        *(Paced(each, COMPETENT) for each in at_competent_pace),
        Paced(NAIVE, NAIVE),
        Paced(HEADRACE, HEADRACE),
    )


def frames_of(system: str, frames: int) -> int:
    """How many frames a system gets at full speed, where the fastest get ``frames``."""
    return max(_LEAST_FRAMES, frames // _SHARE.get(system, 1))


def paced_frames(fps: float, seconds: float) -> int:
    """How many frames a paced stream has."""
    return max(_LEAST_FRAMES, round(fps * seconds))


def runs_in_all(peers: Sequence[str], rounds: int) -> int:
    """How many runs there are, that of the warm-up round included."""
    return len(contenders(peers)) * (rounds + 1) + len(paced(peers)) * rounds


def _p99_s(run: Run) -> float:
    if run.age_p99_s is None:
        raise ValueError("a run without latencies can't be compared by them")
    return run.age_p99_s
