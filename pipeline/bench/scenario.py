"""What all contenders are given: the same pictures, network, threads and batch size."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from pipeline.config import (
    BatchSettings,
    DecodeSettings,
    EngineSettings,
    ModelSettings,
    ServerSettings,
    Settings,
)
from pipeline.cores import default_decode_threads, default_torch_threads
from pipeline.digits import Scene
from pipeline.opencv import cv2
from pipeline.preprocess import PreprocessSpec
from pipeline.types import Backend

PICTURE_WH = (640, 360)
QUALITIES = (85, 93)
"""At 640x360 these scenes, with their sensor noise, have 28 KB at the first, which is that of
``synthetic:digits``, and 55 to 58 at the second: what a camera sends that isn't starved of bits."""
_SCENES = 4
_PICTURES_A_SCENE = 16
_APART = 9


@dataclass(frozen=True, slots=True)
class Machine:
    """How many threads the libraries take when nobody tells them, and cores that may be used."""

    cores: int
    torch_threads: int
    opencv_threads: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """One benchmark. ``network``, called ``net``, is the eager one on ``device``, uint8 NHWC to
    logits; ``model`` names its compiled artifact, with the version, in ``registry``, which
    ``backend`` runs, for ``slo_s`` if that isn't 0. ``folder`` is for results files."""

    pictures: tuple[bytes, ...]
    quality: int
    spec: PreprocessSpec
    network: Callable[[torch.Tensor], torch.Tensor]
    net: str
    device: str
    labels: tuple[str, ...]
    registry: str
    model: str
    folder: str
    machine: Machine
    frames: int
    rounds: int
    backend: Backend
    slo_s: float = 0.0

    @property
    def decode_threads(self) -> int:
        """The worker's, and the ceiling's: the worker's own default."""
        return default_decode_threads(self.machine.cores)

    @property
    def worker_torch_threads(self) -> int:
        """The worker's own choice, and the ceiling's."""
        return default_torch_threads(self.machine.cores)

    @property
    def mean_bytes(self) -> float:
        """Of an encoded picture."""
        return statistics.fmean(len(each) for each in self.pictures)

    def settings(self, sink: str) -> Settings:
        """The worker's: its defaults, without the HTTP server."""
        return Settings(
            sinks=(sink,),
            model=ModelSettings(name=self.model, registry=self.registry),
            batch=BatchSettings(slo_s=self.slo_s),
            engine=EngineSettings(device=self.device, backend=self.backend),
            decode=DecodeSettings(threads=self.decode_threads),
            server=ServerSettings(enabled=False),
        )


def make_pictures(quality: int) -> tuple[bytes, ...]:
    """64 different JPEGs of 640x360, the same at each call; ``quality`` from 1 to 100."""
    scenes = [Scene(number, width=PICTURE_WH[0], height=PICTURE_WH[1]) for number in range(_SCENES)]
    return tuple(
        scene.jpeg(k * _APART, quality) for k in range(_PICTURES_A_SCENE) for scene in scenes
    )


def use_threads(torch_threads: int, opencv_threads: int) -> None:
    """Sets the libraries' threads for the run that follows, for the whole process."""
    torch.set_num_threads(torch_threads)
    cv2.setNumThreads(opencv_threads)


@contextmanager
def threads_as_before(machine: Machine) -> Iterator[None]:
    """Gives the libraries the threads back that they had chosen, however the measuring ends."""
    try:
        yield
    finally:
        use_threads(machine.torch_threads, machine.opencv_threads)


def this_machine(cores: int) -> Machine:
    """What the libraries chose; asked before any run changes it."""
    return Machine(cores, torch.get_num_threads(), cv2.getNumThreads())
