"""The worker as it is measured: whole, from outside, by its summary, its metrics and its rows."""

from __future__ import annotations

import gc
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from prometheus_client.samples import Sample

from pipeline.bench.rounds import Run, bucket_quantile, percentile
from pipeline.bench.scenario import Scenario
from pipeline.bench.stream import NAME, PacedPictures
from pipeline.clock import SystemClock
from pipeline.errors import StageFailed
from pipeline.histogram import Histogram
from pipeline.source.base import Source, SourceInfo
from pipeline.source.memory import MemorySource
from pipeline.summary import Summary
from pipeline.types import Frame
from pipeline.worker import Worker


class _MeteredSource:
    """Another source, and the process's CPU seconds when it was first opened: loading and warming
    the model is over then, as it is in the other contenders. Owned by: one intake thread."""

    def __init__(self, inner: Source) -> None:
        self._inner = inner
        self.cpu_s_at_start = 0.0

    @property
    def info(self) -> SourceInfo:
        """See ``Source.info``."""
        return self._inner.info

    def open(self) -> None:
        """See ``Source.open``."""
        self.cpu_s_at_start = time.process_time()
        self._inner.open()

    def poll(self, room: int, timeout_s: float) -> Sequence[Frame]:
        """See ``Source.poll``."""
        return self._inner.poll(room, timeout_s)

    def commit(self, next_offsets: Mapping[tuple[str, int], int]) -> None:
        """See ``Source.commit``."""
        self._inner.commit(next_offsets)

    def close(self) -> None:
        """See ``Source.close``."""
        self._inner.close()


def worker_at_full_speed(scenario: Scenario, count: int) -> Run:
    """Runs a worker on frames that are always there. Its ages are mostly the wait behind the other
    frames in flight, and come from the buckets of ``headrace_frame_age_seconds``."""
    source = MemorySource(scenario.pictures, count, SystemClock(), name=NAME)
    worker, run = _run(scenario, source, count, "null:")
    buckets = [
        (float(sample.labels["le"]), sample.value)
        for sample in _samples(worker.metrics.frame_age)
        if sample.name.endswith("_bucket")
    ]
    return replace(
        run, age_p50_s=bucket_quantile(buckets, 0.5), age_p99_s=bucket_quantile(buckets, 0.99)
    )


def worker_at_pace(scenario: Scenario, count: int, fps: float) -> Run:
    """Runs a worker on a paced stream that doesn't wait; the ages are those of its result rows."""
    rows = Path(scenario.folder) / "worker.jsonl"
    rows.unlink(missing_ok=True)
    stream = PacedPictures(scenario.pictures, count, fps, SystemClock())
    _, run = _run(scenario, stream, count, f"jsonl:{rows}")
    ages_s = scored_ages_s(rows)[NAME]
    return replace(run, age_p50_s=percentile(ages_s, 0.5), age_p99_s=percentile(ages_s, 0.99))


def run_worker(scenario: Scenario, source: Source, sink: str) -> tuple[Worker, Summary, float]:
    """Gives the worker when it has ended, what it says, and the CPU seconds of its run."""
    gc.collect()  # what runs before this one left: in the middle it would stop frames for 0.2 s
    metered = _MeteredSource(source)
    worker = Worker(scenario.settings(sink), sources=[metered])
    summary = worker.run()
    return worker, summary, time.process_time() - metered.cpu_s_at_start


def scored_ages_s(rows: Path) -> dict[str, list[float]]:
    """The ages of the scored frames in a file of result rows, in seconds, by stream."""
    ages_s: defaultdict[str, list[float]] = defaultdict(list)
    for row in map(json.loads, rows.read_text().splitlines()):
        if row["outcome"] == "scored":
            ages_s[row["stream"]].append(row["age_ms"] / 1000)
    return ages_s


def _run(scenario: Scenario, source: Source, count: int, sink: str) -> tuple[Worker, Run]:
    """Gives the worker when it has ended, and its run without the ages."""
    worker, summary, cpu_s = run_worker(scenario, source, sink)
    if summary.scored != count:
        raise StageFailed(
            f"the worker scored {summary.scored} of {count} frames"
            f" ({summary.error or 'it was stopped'}); nothing can be said of its speed"
        )
    infer_s = sum(
        sample.value
        for sample in _samples(worker.metrics.stage_duration)
        if sample.name.endswith("_sum") and sample.labels["stage"] == "infer"
    )
    batches = sum(
        int(sample.value)
        for sample in _samples(worker.metrics.batch_size)
        if sample.name.endswith("_count")
    )
    return worker, Run(count, summary.duration_s, cpu_s, batches=batches, infer_s=infer_s)


def _samples(histogram: Histogram) -> list[Sample]:
    return [sample for family in histogram.collect() for sample in family.samples]
