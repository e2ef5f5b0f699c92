"""A worker at a part of its speed whose model is swapped again and again, and what frames felt."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pipeline.artifact.artifact import Draft
from pipeline.artifact.names import LATEST
from pipeline.artifact.registry import Registry
from pipeline.bench.conditions import resident_bytes
from pipeline.bench.felt import Ages, Felt, Pair, Span, felt
from pipeline.bench.scenario import Scenario
from pipeline.bench.stream import PacedPictures
from pipeline.clock import SystemClock
from pipeline.config import Settings
from pipeline.errors import StageFailed
from pipeline.probe.client import KEPT_S
from pipeline.sink.snapshot import SwapRow
from pipeline.worker import Worker

_AFTER_S = 0.1
"""Added to a swap: frames that came right after it may still wait behind those of it."""

_LONGEST_CALM_S = 10.0
"""Where the probe is to be there still for the next swap: in two longer ones it would end."""

_WITHIN_S = 1800.0
"""Longer than any of the networks takes on two cores, with all that the probe may rest."""

_LOOK_S = 0.02
"""How often the worker looks at the alias as well: what it waits for that is no part of a swap."""

_ENDLESS = 10**9

_SWAPS_A_PACE = 5
"""A shared machine's speed changes by a half between minutes: what was 70 % of it is 100 %."""

_SETTLED_S = 1.0
"""Frames that came at full speed are through by then."""


@dataclass(frozen=True, slots=True)
class Plan:
    """So many ``swaps`` on a stream that takes ``load`` of the worker's full speed, with
    ``apart_s`` seconds between one and the calm that the next is compared with. The full speed is
    found out with so many ``frames``, again and again."""

    load: float
    swaps: int
    apart_s: float
    frames: int


@dataclass(frozen=True, slots=True)
class Swap:
    """One: how long from the alias to the first batch of the new model, and the pause that the
    worker told; the process's resident memory after it."""

    took_s: float
    pause_s: float
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class Swapping:
    """What was measured. ``control`` is what was felt of nothing: of a second calm moment beside
    the one before it."""

    plan: Plan
    felt: Felt
    control: Felt
    swaps: tuple[Swap, ...]
    full_speed_fps: tuple[float, ...]


def swap_again_and_again(scenario: Scenario, plan: Plan, tell: Callable[[], None]) -> Swapping:
    """Runs a worker on a stream that doesn't wait and moves the alias to and fro between the
    scenario's version and a copy of it; ``tell`` is called before each swap. One more swap comes
    first and isn't counted: the probe starts in it, which swaps that follow soon don't wait for.

    Raises:
        StageFailed: the worker ended, or a swap never came.
    """
    rows = Path(scenario.folder) / "swapping.jsonl"
    rows.unlink(missing_ok=True)
    name, _, number = scenario.model.partition("@")
    registry = Registry(scenario.registry)
    first = int(number)
    copy = registry.publish(Draft.again(registry.read(name, first)), ())
    registry.set_alias(name, LATEST, first)
    stream = PacedPictures(scenario.pictures, _ENDLESS, None, SystemClock())
    worker = Worker(_settings(replace(scenario, model=name), rows), sources=[stream])
    mover = _Mover(worker, stream, registry, name, (first, copy.version))
    moving = threading.Thread(target=mover.run, args=(plan, tell), name="mover", daemon=True)
    moving.start()
    try:
        summary = worker.run()
    finally:
        mover.ended.set()
        moving.join()
    if (error := summary.error or mover.error) is not None:
        raise StageFailed(f"nothing can be said of the swaps: {error}") from error
    try:
        ages = _ages_of(rows)
        control = felt(ages, mover.controls)
        in_swaps = felt(ages, mover.pairs)
        return Swapping(plan, in_swaps, control, tuple(mover.swaps), tuple(mover.full_speed_fps))
    except ValueError as cause:
        raise StageFailed(f"nothing can be said of the swaps: {cause}") from cause


def _settings(scenario: Scenario, rows: Path) -> Settings:
    settings = scenario.settings(f"jsonl:{rows}")
    model = settings.model.model_copy(update={"watch_interval_s": _LOOK_S})
    return settings.model_copy(update={"model": model})


class _Mover:
    """Moves the alias while the worker runs. Owned by: its thread; when that has ended, by who
    started it."""

    def __init__(
        self,
        worker: Worker,
        stream: PacedPictures,
        registry: Registry,
        name: str,
        versions: tuple[int, int],
    ) -> None:
        self._worker = worker
        self._stream = stream
        self._registry = registry
        self._name = name
        self._versions = versions
        self.ended = threading.Event()
        self.pairs: list[Pair] = []
        self.controls: list[Pair] = []
        self.swaps: list[Swap] = []
        self.full_speed_fps: list[float] = []
        self.error: Exception | None = None

    def run(self, plan: Plan, tell: Callable[[], None]) -> None:
        """Swaps so often, and stops the worker."""
        try:
            self._find_pace(plan)
            took_s = self._swap(1)
            for number in range(plan.swaps):
                tell()
                if number % _SWAPS_A_PACE == 0:
                    self._find_pace(plan)
                self.ended.wait(plan.apart_s)
                calm_s = took_s + _AFTER_S
                if plan.apart_s < KEPT_S:
                    calm_s = min(calm_s, _LONGEST_CALM_S)
                before, calm = self._calm(calm_s), self._calm(calm_s)
                began_at = time.time()
                took_s = self._swap(number + 2)
                self.controls.append(Pair(calm, before))
                self.pairs.append(Pair(Span(began_at, time.time()), calm))
                pause_s = self._told()[-1]["pause_ms"] / 1000
                self.swaps.append(Swap(took_s, pause_s, resident_bytes()))
        except Exception as error:  # noqa: BLE001  (who started the thread raises it)
            self.error = error
        finally:
            self._worker.stop()

    def _find_pace(self, plan: Plan) -> None:
        """Has frames come as fast as they are taken, and then at a part of that speed."""
        self._stream.fps = None
        self._await_frames(plan.frames // 4)
        before, began = self._worker.summary().scored, time.monotonic()
        self._await_frames(plan.frames)
        full_fps = (self._worker.summary().scored - before) / (time.monotonic() - began)
        self.full_speed_fps.append(full_fps)
        self._stream.fps = plan.load * full_fps
        self.ended.wait(_SETTLED_S)

    def _await_frames(self, count: int) -> None:
        enough = self._worker.summary().scored + count
        self._await(lambda: self._worker.summary().scored >= enough, f"frame {enough}")

    def _calm(self, seconds: float) -> Span:
        """Looks at the worker meanwhile as it does in a swap, for that takes CPU too."""
        began_at, until = time.time(), time.monotonic() + seconds
        self._await(
            lambda: self._worker.summary().error is None and time.monotonic() >= until, "a calm"
        )
        return Span(began_at, time.time())

    def _swap(self, number: int) -> float:
        """Gives the seconds that it took, when frames that came right after it are through too."""
        began = time.monotonic()
        self._registry.set_alias(self._name, LATEST, self._versions[number % 2])
        self._await(lambda: self._worker.summary().swaps >= number, f"swap {number}")
        took_s = time.monotonic() - began
        self.ended.wait(_AFTER_S)
        return took_s

    def _await(self, is_there: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + _WITHIN_S
        while not is_there():
            if self.ended.wait(_LOOK_S):
                raise StageFailed(f"the worker was stopped before {what}")
            if time.monotonic() > until:
                raise StageFailed(f"{what} never came")
            if refused := self._refused():
                raise StageFailed(f"{what} was refused: {refused}")

    def _refused(self) -> str:
        """Why the worker doesn't take a version; "" if it does."""
        return "; ".join(each["detail"] for each in self._told() if each["result"] != "swapped")

    def _told(self) -> list[SwapRow]:
        """The last swaps, and versions that weren't taken, the newest one last."""
        return self._worker.live.snapshot()["swaps"]


def _ages_of(rows: Path) -> Ages:
    captured_at: list[float] = []
    ages_s: list[float] = []
    with rows.open() as lines:
        for line in lines:
            row = json.loads(line)
            captured_at.append(datetime.fromisoformat(row["captured_at"]).timestamp())
            ages_s.append(row["age_ms"] / 1000)
    return Ages(captured_at, ages_s)
