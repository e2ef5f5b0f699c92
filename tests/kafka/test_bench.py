"""Systems of `headrace bench kafka` on a real broker, small: what is measured, not how much."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.bench.kafka.measure import Bench
from pipeline.bench.kafka.systems import Systems
from pipeline.cli.bench_kafka import prepare
from pipeline.errors import StageFailed
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import connect_admin
from tests.support import noise_jpeg

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
FRAMES = 20


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Systems:
    folder = tmp_path_factory.mktemp("bench")
    _, made = prepare(folder, 85, FRAMES, 1, 1.0, peers={})
    return made


def _bench(kafka: str, systems: Systems, folder: Path) -> Bench:
    return Bench((kafka,), systems, [noise_jpeg()], folder)


def _own_topics(kafka: str) -> set[str]:
    with connect_admin(KafkaAddress((kafka,), "any")) as admin:
        return {name for name in admin.list_topics() if name.startswith("headrace-bench-")}


@pytest.mark.parametrize("system", ["naive", "competent"])
def test_a_loop_scores_every_frame_of_a_backlog(
    kafka: str, systems: Systems, tmp_path: Path, system: str
) -> None:
    run = _bench(kafka, systems, tmp_path).full_speed(system, FRAMES)
    assert run.frames == FRAMES - 4
    assert run.frames_per_s > 0
    assert run.cpu_s > 0
    assert not _own_topics(kafka)


def test_the_worker_has_latencies_on_a_paced_stream(
    kafka: str, systems: Systems, tmp_path: Path
) -> None:
    run = _bench(kafka, systems, tmp_path).paced("headrace", FRAMES, fps=50.0)
    assert run.frames == FRAMES - 2
    assert run.age_p50_s is not None
    assert run.age_p99_s is not None
    assert 0 <= run.age_p50_s <= run.age_p99_s


def test_a_system_that_fails_is_named_with_its_last_words(
    kafka: str, systems: Systems, tmp_path: Path
) -> None:
    broken = replace(systems, model_file=tmp_path / "missing.pt")
    with pytest.raises(StageFailed, match=r"competent ended after 0 of 20 .*missing\.pt"):
        _bench(kafka, broken, tmp_path).full_speed("competent", FRAMES)
    assert not _own_topics(kafka)
