"""Which backend runs a network the fastest here: a race, beside pictures that are decoded as they
will be while it scores."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np

from pipeline.artifact.artifact import Artifact
from pipeline.artifact.verify import check_golden
from pipeline.clock import Clock
from pipeline.engine.backends import load_backend
from pipeline.engine.base import Engine, EngineFailed, EngineOutOfMemory
from pipeline.engine.device import use_threads
from pipeline.engine.laps import Lap, Runner
from pipeline.errors import ArtifactRefused, StopRequested
from pipeline.opencv import cv2
from pipeline.preprocess import PreprocessSpec, load_sample

_PASSES = 2
"""A shared machine has slow seconds: what is kept of a runner is its better pass."""

_RUNS = 5
_SHORTEST_S = 1e-6
_LONG_S = 0.25
"""A larger batch than one of this length says nothing new, and takes time to start."""

_PICTURE_HW = (360, 640)


@dataclass(frozen=True, slots=True)
class Race:
    """What it is run with: the batch ``sizes``, up to one that takes ``long_s``, and
    ``decode_threads`` that decode meanwhile."""

    device: str
    sizes: tuple[int, ...]
    decode_threads: int
    clock: Clock
    is_stopping: Callable[[], bool] = lambda: False
    passes: int = _PASSES
    long_s: float = _LONG_S

    def run(self, artifact: Artifact, runners: Sequence[Runner]) -> list[Lap]:
        """Has each load the network, compute its golden inputs and run batches of all sizes. One
        after the other: only one network is in memory at a time. Blocks for seconds; sets torch's
        threads for the process.

        Raises:
            StopRequested: the worker is ending.
            RestartNeeded: the device is lost.
        """
        laps: dict[Runner, Lap] = {}
        with _decoding(artifact.manifest.contract.preprocess, self.decode_threads):
            for runner in [*runners] * self.passes:
                before = laps.get(runner)
                if before is None or not before.problem:
                    laps[runner] = _better(before, self._lap(artifact, runner))
        return [laps[runner] for runner in runners]

    def _lap(self, artifact: Artifact, runner: Runner) -> Lap:
        use_threads(runner.threads)
        try:
            engine = load_backend(runner.backend, artifact, self.device, threads=runner.threads)
            with closing(engine):
                check_golden(engine, artifact)
                shape_hwc = artifact.manifest.contract.preprocess.sample_shape_hwc
                return Lap(runner, self._timed(engine, shape_hwc))
        except (ArtifactRefused, EngineFailed, EngineOutOfMemory) as cause:
            return Lap(runner, {}, str(cause))

    def _timed(self, engine: Engine, shape_hwc: tuple[int, int, int]) -> dict[int, float]:
        batch_s: dict[int, float] = {}
        for size in self.sizes:
            if self.is_stopping():
                raise StopRequested("the worker is ending")
            engine.warm((size,), shape_hwc)
            batch_nhwc = np.zeros((size, *shape_hwc), np.uint8)
            taken_s: list[float] = []
            while len(taken_s) < _RUNS and sum(taken_s) < self.long_s:
                started = self.clock.monotonic()
                engine.score(batch_nhwc)
                taken_s.append(self.clock.monotonic() - started)
            batch_s[size] = max(statistics.median(taken_s), _SHORTEST_S)
            if batch_s[size] > self.long_s:
                break
        return batch_s


def _better(before: Lap | None, lap: Lap) -> Lap:
    if before is None or lap.problem:
        return lap
    common = before.batch_s.keys() & lap.batch_s.keys()
    return Lap(lap.runner, {n: min(before.batch_s[n], lap.batch_s[n]) for n in sorted(common)})


@contextmanager
def _decoding(spec: PreprocessSpec, threads: int) -> Iterator[None]:
    """As many threads as a worker's decode one and the same picture meanwhile."""
    picture = _picture()
    ended = threading.Event()

    def decode() -> None:
        while not ended.is_set():
            load_sample(picture, spec)

    running = [threading.Thread(target=decode, name=f"race-{n}") for n in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in running:
            thread.join()


def _picture() -> bytes:
    """A JPEG with as much in it as a camera's: smooth noise."""
    coarse = np.random.default_rng(0).integers(0, 256, (45, 80, 3), np.uint8)
    height, width = _PICTURE_HW
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", smooth)[1].tobytes()
