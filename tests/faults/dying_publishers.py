"""Publishes until it is killed: run by ``test_publish_killed`` in a process of its own.

    dying_publishers.py REGISTRY random KILLS SEED     children killed at random moments
    dying_publishers.py FOLDER steps                   one child a step, in a registry of its own
    dying_publishers.py REGISTRY count N               publishes N versions, prints their numbers

The children are forks, so that each has its imports done and all its life is publishing.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.artifact.artifact import Draft, Golden
from pipeline.artifact.manifest import Contract
from pipeline.artifact.publish import publish_version
from pipeline.artifact.registry import Registry
from pipeline.artifact.storage import Entry, Storage, open_storage
from pipeline.preprocess import PreprocessSpec

LAST_STEP = 15
"""More storage calls than a publish makes; the child that outlives them all exits by itself."""


def draft_of(size_bytes: int = 300_000) -> Draft:
    """A draft with random bytes for a model: what torch would say is not the question here."""
    spec = PreprocessSpec(width=8, height=8)
    inputs_nhwc = np.frombuffer(os.urandom(2 * 8 * 8 * 3), np.uint8).reshape(2, 8, 8, 3)
    return Draft(
        name="net",
        model=os.urandom(size_bytes),
        golden=Golden(inputs_nhwc, np.zeros((2, 2), np.float32)),
        contract=Contract.of(("a", "b"), spec),
        exported_by="script",
        torch_version="none",
        formats={"onnx": os.urandom(size_bytes)},
    )


@dataclass
class DyingStorage:
    """A storage whose process dies before its call number ``step``."""

    inner: Storage
    step: int
    calls: int = 0

    def _live_on(self) -> None:
        if self.calls == self.step:
            os.kill(os.getpid(), signal.SIGKILL)
        self.calls += 1

    def entries(self, folder: str) -> list[Entry]:
        self._live_on()
        return self.inner.entries(folder)

    def read(self, path: str, most_bytes: int) -> bytes:
        self._live_on()
        return self.inner.read(path, most_bytes)

    def write(self, path: str, content: bytes) -> None:
        self._live_on()
        self.inner.write(path, content)

    def claim(self, folder: str) -> bool:
        self._live_on()
        return self.inner.claim(folder)

    @contextlib.contextmanager
    def locked(self, folder: str) -> Iterator[None]:
        with self.inner.locked(folder):
            self._live_on()
            yield


def _publish_forever(url: str) -> None:
    registry = Registry(url)
    while True:
        registry.publish(draft_of(), aliases=("latest", "prod"))


def _random_deaths(url: str, kills: int, seed: int) -> None:
    moments = random.Random(seed)
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            _publish_forever(url)
        # Nothing to read: only the time-out ends it, at a moment that the child can't know.
        select.select([], [], [], moments.uniform(0.002, 0.08))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _deaths_at_steps(folder: str) -> None:
    for step in range(LAST_STEP + 1):
        url = str(Path(folder) / f"step{step}")
        Registry(url).publish(draft_of(1000), aliases=("latest", "prod"))
        child = os.fork()
        if child == 0:
            publish_version(DyingStorage(open_storage(url), step), draft_of(), ("latest", "prod"))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(step, "killed" if os.WIFSIGNALED(status) else "lived")


def _count(url: str, count: int) -> None:
    registry = Registry(url)
    for _ in range(count):
        print(registry.publish(draft_of(1000)).version)


if __name__ == "__main__":
    match sys.argv[1:]:
        case [url, "random", kills, seed]:
            _random_deaths(url, int(kills), int(seed))
        case [folder, "steps"]:
            _deaths_at_steps(folder)
        case [url, "count", count]:
            _count(url, int(count))
        case other:
            sys.exit(f"{other}: see this file's first lines")
