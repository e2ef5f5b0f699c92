"""A candidate must keep the active contract and count as its exporter did."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifact.artifact import Artifact
from pipeline.artifact.manifest import Contract
from pipeline.artifact.registry import Registry
from pipeline.artifact.verify import check_compatible, check_golden
from pipeline.engine.base import EngineFailed, EngineOutOfMemory
from pipeline.errors import ArtifactRefused
from pipeline.preprocess import PreprocessSpec
from pipeline.types import BatchNhwc, LogitsNk, Task
from tests.artifacts import LABELS, SPEC, expected_logits, publish_tiny


@dataclass
class NumpyEngine:
    """Counts as the tiny network does, plus what is wrong with it."""

    bias: float = 0.0
    classes: int = len(LABELS)
    value: float | None = None
    room: int = 1024
    fails: bool = False
    device: str = "cpu"

    def warm(self, buckets: tuple[int, ...], sample_shape_hwc: tuple[int, int, int]) -> None:
        del buckets, sample_shape_hwc

    def score(self, batch_nhwc: BatchNhwc) -> LogitsNk:
        if len(batch_nhwc) > self.room:
            raise EngineOutOfMemory("full")
        if self.fails:
            raise EngineFailed("shapes cannot be multiplied")
        logits_nk = expected_logits(batch_nhwc, self.classes, self.bias)
        if self.value is not None:
            logits_nk[-1, -1] = self.value
        return logits_nk

    def close(self) -> None:
        pass


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    publish_tiny(str(tmp_path))
    return Registry(str(tmp_path)).read("tiny", 1)


def test_an_engine_that_counts_as_the_exporter_did_passes(artifact: Artifact) -> None:
    check_golden(NumpyEngine(), artifact)
    check_golden(NumpyEngine(bias=0.0004), artifact)  # two steps of it: 0.0008, within 0.001


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        (NumpyEngine(bias=0.1), "a logit is 0.2 off, expected at most 0.001"),
        (NumpyEngine(classes=4), "shape"),
        (NumpyEngine(value=float("nan")), "aren't finite"),
        (NumpyEngine(value=float("inf")), "aren't finite"),
        (NumpyEngine(fails=True), "shapes cannot be multiplied"),
    ],
)
def test_an_engine_that_counts_otherwise_is_refused(
    artifact: Artifact, engine: NumpyEngine, says: str
) -> None:
    with pytest.raises(ArtifactRefused, match=says) as refused:
        check_golden(engine, artifact)
    assert refused.value.reason == "wrong_on_golden"
    assert "tiny@1" in str(refused.value)


def test_of_an_engine_without_room_nothing_is_said_but_that(artifact: Artifact) -> None:
    with pytest.raises(ArtifactRefused, match="no memory for the 4 golden inputs") as refused:
        check_golden(NumpyEngine(room=3), artifact)
    assert refused.value.reason == "no_room"


def test_the_tolerance_is_the_manifests(artifact: Artifact) -> None:
    wide = replace(
        artifact, manifest=artifact.manifest.model_copy(update={"golden_tolerance": 0.5})
    )
    check_golden(NumpyEngine(bias=0.1), wide)


def test_the_same_contract_is_compatible() -> None:
    check_compatible(Contract.of(LABELS, SPEC), Contract.of(LABELS, PreprocessSpec(**dict(SPEC))))


@pytest.mark.parametrize(
    ("labels", "spec", "says"),
    [
        (("dark", "mid", "white"), SPEC, "label 2 is 'white', expected 'bright'"),
        (("mid", "dark", "bright"), SPEC, "label 0 is 'mid', expected 'dark'"),
        (("dark", "mid"), SPEC, "2 labels, expected 3"),
        (LABELS, PreprocessSpec(width=32, height=24), "width 32 for 24"),
        (LABELS, SPEC.model_copy(update={"resize": "letterbox"}), "resize 'letterbox'"),
    ],
)
def test_another_contract_is_incompatible_and_says_in_what(
    labels: tuple[str, ...], spec: PreprocessSpec, says: str
) -> None:
    with pytest.raises(ArtifactRefused, match=says) as refused:
        check_compatible(Contract.of(labels, spec), Contract.of(LABELS, SPEC))
    assert refused.value.reason == "incompatible"


@pytest.mark.parametrize(
    ("changed", "says", "says_back"),
    [
        ({"grayscale": True}, "grayscale True for False", "grayscale False for True"),
        (
            {"window": (0, 1000)},
            r"window \(0, 1000\) for None",
            r"window None for \(0, 1000\)",
        ),
    ],
)
def test_what_a_manifest_leaves_out_as_usual_is_compared_too(
    changed: dict[str, object], says: str, says_back: str
) -> None:
    usual = Contract.of(LABELS, SPEC)
    other = Contract.of(LABELS, SPEC.model_copy(update=changed))
    for candidate, active, what in ((other, usual, says), (usual, other, says_back)):
        with pytest.raises(ArtifactRefused, match=what) as refused:
            check_compatible(candidate, active)
        assert refused.value.reason == "incompatible"


@pytest.mark.parametrize("task", ["multi-label", "regression"])
def test_another_task_is_incompatible_even_with_the_same_labels(task: Task) -> None:
    other, usual = Contract.of(LABELS, SPEC, task), Contract.of(LABELS, SPEC)
    check_compatible(other, Contract.of(LABELS, SPEC, task))
    for candidate, active in ((other, usual), (usual, other)):
        says = f"task '{candidate.task}', expected '{active.task}'"
        with pytest.raises(ArtifactRefused, match=says) as refused:
            check_compatible(candidate, active)
        assert refused.value.reason == "incompatible"


def test_a_single_label_contract_is_written_as_before_there_were_other_tasks() -> None:
    """What is signed, and what quarantine goes by, are these very bytes."""
    assert Contract.of(LABELS, SPEC).model_dump_json() == (
        '{"task":"single-label","labels":["dark","mid","bright"],"preprocess":{"width":24,'
        '"height":24,"resize":"stretch","interpolation":"pyramid","decode":"auto"},'
        '"preprocess_sha256":'
        '"cfb4c855a86c9d17acb1adc9cbb57bf540571dae7260e595983820652415d77f"}'
    )


def test_a_real_network_gives_its_golden_logits(artifact: Artifact) -> None:
    from pipeline.engine.torchscript import load_torchscript

    engine = load_torchscript(artifact.model, device="cpu")
    check_golden(engine, artifact)
    brighter = np.full((2, 8, 6, 3), 255, np.uint8)
    np.testing.assert_allclose(engine.score(brighter), expected_logits(brighter), atol=1e-6)
    engine.close()
