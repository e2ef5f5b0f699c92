"""What every engine owes, whoever runs its network."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from pipeline.artifact.artifact import Artifact
from pipeline.artifact.registry import Registry
from pipeline.artifact.verify import check_golden
from pipeline.batch import buckets
from pipeline.engine.backends import load_backend
from pipeline.engine.base import Engine, EngineFailed
from pipeline.errors import ArtifactRefused
from pipeline.types import Backend
from tests.artifacts import expected_logits, golden_inputs, tiny_draft, with_onnx

BACKENDS: tuple[Backend, ...] = ("torchscript", "onnxruntime")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param


@pytest.fixture
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(str(tmp_path_factory.mktemp("registry")))


def published(registry: Registry, bias: float = 0.0) -> Artifact:
    version = registry.publish(with_onnx(tiny_draft(bias=bias), bias=bias)).version
    return registry.read("tiny", version)


def engine_of(registry: Registry, backend: Backend, bias: float = 0.0) -> Engine:
    return load_backend(backend, published(registry, bias), "cpu", threads=1)


def test_scores_are_the_networks_own_for_every_batch_size(
    registry: Registry, backend: Backend
) -> None:
    engine = engine_of(registry, backend)
    engine.warm(buckets(8), (24, 24, 3))
    for count in range(1, 9):
        batch_nhwc = golden_inputs(count=count)
        given_nhwc = batch_nhwc.copy()
        got_nk = engine.score(batch_nhwc)
        assert got_nk.dtype == np.float32
        assert np.abs(got_nk - expected_logits(batch_nhwc)).max() < 1e-4
        assert (batch_nhwc == given_nhwc).all()
    engine.close()


def test_what_it_gave_stays_as_it_is(registry: Registry, backend: Backend) -> None:
    engine = engine_of(registry, backend)
    first_nk = engine.score(golden_inputs(count=4))
    kept_nk = first_nk.copy()
    engine.score(golden_inputs(count=4, seed=1))
    assert (first_nk == kept_nk).all()
    engine.close()


def test_it_is_held_to_its_golden_outputs(registry: Registry, backend: Backend) -> None:
    artifact = published(registry)
    check_golden(load_backend(backend, artifact, "cpu"), artifact)
    other = published(registry, bias=0.5)
    with pytest.raises(ArtifactRefused, match="off, expected at most") as refused:
        check_golden(load_backend(backend, artifact, "cpu"), other)
    assert refused.value.reason == "wrong_on_golden"


def test_it_names_its_device_and_closes_twice(registry: Registry, backend: Backend) -> None:
    engine = engine_of(registry, backend)
    assert engine.device == "cpu"
    engine.close()
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.score(golden_inputs())


def test_a_network_that_fails_on_a_batch_says_so(registry: Registry, backend: Backend) -> None:
    engine = engine_of(registry, backend)
    with pytest.raises(EngineFailed):
        engine.score(np.zeros((2, 24, 24), np.uint8))
    engine.close()


def test_two_engines_score_side_by_side(registry: Registry, backend: Backend) -> None:
    engines = [engine_of(registry, backend, bias) for bias in (0.0, 0.5)]
    batch_nhwc = golden_inputs(count=8)
    wrong: list[int] = []

    def score(which: int) -> None:
        for _ in range(50):
            got_nk = engines[which].score(batch_nhwc)
            if np.abs(got_nk - expected_logits(batch_nhwc, bias=which / 2)).max() > 1e-4:
                wrong.append(which)

    threads = [threading.Thread(target=score, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong
    for engine in engines:
        engine.close()
