"""Every metric: its name, help, labels and buckets. The only place where metrics are defined."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.histogram import Histogram
from pipeline.types import ModelIdentity, RefusalReason

AGE_BUCKETS_S = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 60)
"""From one bare forward pass to a minute: the range in which `live` deadlines are set."""

STAGE_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2)
PAUSE_BUCKETS_S = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SWAP_RESULTS = ("swapped", "rolled_back", *get_args(RefusalReason), "quarantined", "error")
MAX_STREAM_LABELS = 256
"""Streams beyond these are counted together as ``other``: names come from outside, and each one
costs a series in every scrape."""


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """All frame counters of one moment, taken under one lock, by stream or (stream, reason)."""

    received: dict[str, int]
    scored: dict[str, int]
    shed: dict[tuple[str, str], int]
    rejected: dict[tuple[str, str], int]
    in_flight: int


class Metrics:
    """The metrics of one worker, on a registry of its own. Thread-safe."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        on = self.registry
        ProcessCollector(registry=on)
        self.stage_duration = Histogram(
            "headrace_stage_duration_seconds",
            "Time that a frame (queue, decode, batch) or batch (infer, sink) spent in a stage",
            STAGE_BUCKETS_S,
            on,
            label="stage",
        )
        self.frame_age = Histogram(
            "headrace_frame_age_seconds",
            "From a frame's capture to its score",
            AGE_BUCKETS_S,
            on,
        )
        self.frame_latency = Histogram(
            "headrace_frame_latency_seconds",
            "From a frame's arrival in the worker to its acknowledged score",
            AGE_BUCKETS_S,
            on,
        )
        self.batch_size = Histogram("headrace_batch_size", "Frames in a batch", SIZE_BUCKETS, on)
        self.batch_close = Counter(
            "headrace_batch_close_total", "Batches, by what closed them", ["reason"], registry=on
        )
        self.channel_depth = Gauge(
            "headrace_channel_depth", "Items waiting between two stages", ["channel"], registry=on
        )
        self.model_info = Gauge(
            "headrace_model_info",
            "1 for the model that scores now",
            ["model", "version", "sha256"],
            registry=on,
        )
        self.model_swaps = Counter(
            "headrace_model_swaps_total",
            "Tries to swap the model, by result",
            ["result"],
            registry=on,
        )
        for result in SWAP_RESULTS:  # a first refusal is seen by `increase()` only from a 0 on
            self.model_swaps.labels(result)
        self.trials = TrialMetrics(on)
        self.drift_psi = Gauge(
            "headrace_drift_psi",
            "How far live frames are from what the active model was published with: population"
            " stability index beyond what chance gives, none before there are enough frames",
            ["statistic"],
            registry=on,
        )
        self.model_swap_pause = Histogram(
            "headrace_model_swap_pause_seconds",
            "How much longer than usual a batch took while a swap was under way, at the most",
            PAUSE_BUCKETS_S,
            on,
        )
        self.source_up = Gauge(
            "headrace_source_up", "1 while a source is connected", ["source"], registry=on
        )
        self.source_reconnects = Counter(
            "headrace_source_reconnects_total",
            "Connections of a source made again",
            ["source"],
            registry=on,
        )
        self.consumer = ConsumerMetrics(on)
        self.dead_letters = Counter(
            "headrace_dead_letters_total",
            "Rejected frames that the dead-letter sink took, by reason",
            ["reason"],
            registry=on,
        )
        self.producer_in_flight = Gauge(
            "headrace_producer_in_flight_bytes",
            "Rows and dead letters handed to a Kafka producer and not acknowledged",
            ["sink"],
            registry=on,
        )
        self.ready = Gauge("headrace_ready", "1 while the worker takes frames", registry=on)
        self.sink_retries = Counter(
            "headrace_sink_retries_total",
            "Writes to a sink that failed and were tried again",
            registry=on,
        )

    def show_model(self, before: ModelIdentity | None, now: ModelIdentity) -> None:
        """Sets ``headrace_model_info``: exactly one series, that of the active model."""
        if before is not None:
            self.model_info.remove(before.name, str(before.version), before.sha256)
        self.model_info.labels(now.name, str(now.version), now.sha256).set(1)

    def watch_depths(self, **depths: Callable[[], int]) -> None:
        """Exports each channel's depth, read whenever the metrics are made."""
        for channel, depth in depths.items():
            self.channel_depth.labels(channel).set_function(depth)

    def watch_frames(
        self, counts: Callable[[], FrameCounts], unready: Callable[[], str | None] = lambda: None
    ) -> None:
        """Exports the frame counters from ``counts``, and whether frames are taken: if there is no
        reason why not. Both are read whenever the metrics are made."""
        self.registry.register(_FrameCollector(counts))
        self.ready.set_function(lambda: unready() is None)


class ConsumerMetrics:
    """Those of the Kafka sources, which only such a worker has series of. Thread-safe."""

    def __init__(self, on: CollectorRegistry) -> None:
        self.lag = Gauge(
            "headrace_consumer_lag_records",
            "Records of a partition behind the last one that is finished",
            ["topic", "partition"],
            registry=on,
        )
        self.lag_seconds = Gauge(
            "headrace_consumer_lag_seconds",
            "Age of a partition's oldest record that isn't finished, at the most",
            ["topic", "partition"],
            registry=on,
        )
        self.lost_records = Counter(
            "headrace_consumer_lost_records_total",
            "Records that were deleted from the topic before the group came to them",
            ["topic", "partition"],
            registry=on,
        )
        self.pauses = Counter(
            "headrace_consumer_pauses_total",
            "Times that all partitions were paused for want of credits",
            registry=on,
        )
        self.rebalances = Counter(
            "headrace_consumer_rebalances_total", "Assignments of partitions", registry=on
        )
        self.commits = Counter(
            "headrace_commits_total", "Commits of offsets, by result", ["result"], registry=on
        )
        for result in ("done", "failed"):
            self.commits.labels(result)
        self.commit_duration = Histogram(
            "headrace_commit_duration_seconds",
            "From sending a commit of offsets to its acknowledgement",
            STAGE_BUCKETS_S,
            on,
        )
        self.rebalance_duration = Histogram(
            "headrace_consumer_rebalance_duration_seconds",
            "How long the consumer group wasn't stable, as the polls see it",
            AGE_BUCKETS_S,
            on,
        )


class TrialMetrics:
    """Those of candidates that are on trial before they take another's place. Thread-safe."""

    def __init__(self, on: CollectorRegistry) -> None:
        self.shadow_frames = Counter(
            "headrace_shadow_frames_total",
            "Frames that a candidate ran on beside the active model, by whether they agree",
            ["result"],
            registry=on,
        )
        self.canary_frames = Counter(
            "headrace_canary_frames_total",
            "Frames that a candidate scored for real, by whether the active model agrees",
            ["result"],
            registry=on,
        )
        self.running = Gauge(
            "headrace_trial_running", "1 while a candidate is on trial", ["rollout"], registry=on
        )
        self.verdicts = Counter(
            "headrace_trials_total",
            "Trials that ended, by their verdict; none where nobody wanted it any more",
            ["rollout", "verdict"],
            registry=on,
        )
        self.found = Gauge(
            "headrace_trial_found_ratio",
            "Of the last candidate on trial: the share of frames with another class, how much lower"
            " its confidence is on average, the share of slow batches",
            ["test"],
            registry=on,
        )
        self.quarantined = Gauge(
            "headrace_quarantined_models",
            "Contents that are refused as they were refused before",
            registry=on,
        )
        for result in ("agree", "differ"):
            self.shadow_frames.labels(result)
            self.canary_frames.labels(result)
        for rollout in ("shadow", "canary"):
            self.running.labels(rollout)
            for verdict in ("good", "bad", "none"):
                self.verdicts.labels(rollout, verdict)


class _FrameCollector(Collector):
    """Reads all frame counters at one moment, so that at every scrape
    ``received = scored + shed + rejected + in_flight``. Separate counters can't promise that."""

    def __init__(self, counts: Callable[[], FrameCounts]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        now = self._counts()
        received = CounterMetricFamily(
            "headrace_frames_received", "Frames that came in", labels=["stream"]
        )
        scored = CounterMetricFamily(
            "headrace_frames_scored", "Frames with a durable score", labels=["stream"]
        )
        shed = CounterMetricFamily(
            "headrace_frames_shed", "Frames given up for fresher ones", labels=["stream", "reason"]
        )
        rejected = CounterMetricFamily(
            "headrace_frames_rejected", "Frames that can never work", labels=["stream", "reason"]
        )
        for stream, count in now.received.items():
            received.add_metric([stream], count)
        for stream, count in now.scored.items():
            scored.add_metric([stream], count)
        for labels, count in now.shed.items():
            shed.add_metric(list(labels), count)
        for labels, count in now.rejected.items():
            rejected.add_metric(list(labels), count)
        yield from (received, scored, shed, rejected)
        yield GaugeMetricFamily(
            "headrace_frames_in_flight", "Frames without a durable outcome yet", value=now.in_flight
        )
