"""A worker in this process, on a registry and files of the test's own."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.artifact.registry import Registry
from pipeline.clock import SystemClock
from pipeline.config import (
    BatchSettings,
    LifecycleSettings,
    ModelSettings,
    ServerSettings,
    Settings,
)
from pipeline.metrics import FrameCounts
from pipeline.source.base import Source
from pipeline.source.memory import MemorySource
from pipeline.summary import Summary
from pipeline.types import ImageHwc
from pipeline.worker import Worker
from tests.artifacts import publish_tiny
from tests.support import wait_until


@dataclass
class Rig:
    """Makes workers that write to ``out.jsonl``; what runs is ended with the test."""

    folder: Path
    model: str = "tiny"
    threads: list[threading.Thread] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry = Registry(str(self.folder / "registry"))
        publish_tiny(self.registry, "tiny")

    @property
    def out(self) -> Path:
        """Where results go."""
        return self.folder / "out.jsonl"

    def settings(self, *sources: str, **sections: object) -> Settings:
        """Settings without a server, on the rig's registry; its networks need no probe."""
        base: dict[str, object] = {
            "sources": sources,
            "sinks": (f"jsonl:{self.out}",),
            "model": ModelSettings(
                name=self.model, registry=self.registry.url, watch_interval_s=0.02, probe="never"
            ),
            "server": ServerSettings(enabled=False),
            "batch": BatchSettings(max_size=8),
            "lifecycle": LifecycleSettings(drain_timeout_s=20),
        }
        return Settings.model_validate({**base, **sections})

    def worker(
        self, *urls: str, sources: Sequence[Source] | None = None, **sections: object
    ) -> Worker:
        """A worker that isn't running yet."""
        return Worker(self.settings(*urls, **sections), sources=sources)

    def memory(
        self,
        payloads: Sequence[bytes | ImageHwc],
        count: int,
        *,
        name: str = "memory",
        max_age_s: float | None = None,
    ) -> MemorySource:
        """A source of pictures that are in memory."""
        return MemorySource(payloads, count, SystemClock(), name=name, max_age_s=max_age_s)

    def start(self, worker: Worker) -> list[Summary]:
        """Runs a worker in a thread; its summary is put into the list."""
        summaries: list[Summary] = []
        thread = threading.Thread(target=lambda: summaries.append(worker.run()), name="worker")
        self.workers.append(worker)
        self.threads.append(thread)
        thread.start()
        return summaries

    def end(self) -> None:
        """Ends what a failed test left running."""
        for worker in self.workers:
            worker.abandon()
        for thread in self.threads:
            thread.join(30)

    def finish(self, summaries: list[Summary]) -> Summary:
        """Waits for the summary of a worker that was started."""
        wait_until(lambda: summaries, 60)
        return summaries[0]

    def rows(self) -> list[dict]:
        """The results, parsed."""
        return [json.loads(line) for line in self.out.read_text().splitlines()]


def version_of(worker: Worker) -> int:
    """The version that scores, 0 before there is one."""
    model = worker.model()
    return 0 if model is None else model.version


def events(worker: Worker) -> list[tuple[str, int]]:
    """The swaps and refusals that the page shows, the first one first: the result, the version."""
    return [(each["result"], each["version"]) for each in worker.live.snapshot()["swaps"]]


def results(worker: Worker) -> list[str]:
    """The same, without versions."""
    return [result for result, _ in events(worker)]


def detail(worker: Worker) -> str:
    """What is said of the last one."""
    return worker.live.snapshot()["swaps"][-1]["detail"]


def metric(worker: Worker, name: str, **labels: str) -> float:
    """A metric's value, 0 where it isn't there yet."""
    return worker.metrics.registry.get_sample_value(f"headrace_{name}", labels) or 0.0


def balanced(counts: FrameCounts) -> bool:
    """Whether the identity of the counters holds."""
    done = (counts.scored, counts.shed, counts.rejected)
    return sum(counts.received.values()) == counts.in_flight + sum(
        sum(each.values()) for each in done
    )
