from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as PlainHistogram
from prometheus_client.parser import text_string_to_metric_families

from pipeline.histogram import Histogram

BOUNDS = (0.001, 0.01, 0.1, 1.0)


def exported(registry: CollectorRegistry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What a scrape gives, without prometheus_client's moments of creation."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(st.lists(st.lists(st.sampled_from([0.0, 0.001, 0.0011, 0.01, 0.5, 1.0, 7.0]), max_size=9)))
def test_a_scrape_gives_what_prometheus_clients_own_histogram_gives(
    batches: list[list[float]],
) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    many = Histogram("wait_seconds", "Waits", BOUNDS, ours)
    plain = PlainHistogram("wait_seconds", "Waits", buckets=BOUNDS, registry=theirs)
    for batch in batches:
        many.observe_many(batch)
        for value in batch:
            plain.observe(value)
    assert exported(ours) == pytest.approx(exported(theirs))


def test_a_label_has_a_series_for_each_value() -> None:
    registry = CollectorRegistry()
    stages = Histogram("stage_seconds", "Stages", BOUNDS, registry, label="stage")
    stages.series("decode").observe_many([0.002, 0.02])
    stages.series("infer").observe(0.5)
    assert stages.series("infer") is stages.series("infer")
    got = exported(registry)
    assert got["stage_seconds_count", (("stage", "decode"),)] == 2
    assert got["stage_seconds_bucket", (("le", "0.01"), ("stage", "decode"))] == 1
    assert got["stage_seconds_sum", (("stage", "infer"),)] == 0.5


def test_two_histograms_of_one_name_are_refused() -> None:
    registry = CollectorRegistry()
    Histogram("wait_seconds", "Waits", BOUNDS, registry)
    with pytest.raises(ValueError, match="Duplicated"):
        Histogram("wait_seconds", "Waits", BOUNDS, registry)


def test_threads_lose_no_value() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("wait_seconds", "Waits", BOUNDS, registry)

    def observe() -> None:
        for _ in range(2000):
            histogram.observe_many([0.002, 5.0])

    threads = [threading.Thread(target=observe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert exported(registry)["wait_seconds_count", ()] == 16_000
