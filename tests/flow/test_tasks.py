"""A network of each task: trained a little, published, and scored by a worker as it was trained."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import torch

from pipeline.artifact.manifest import Contract
from pipeline.digits import Scene
from pipeline.preprocess import load_sample
from pipeline.types import Task
from tests.digit_tasks import LABELS_OF, SPEC, digits_of
from tests.flow.rig import Rig
from tests.support import wait_until
from trainer.calibration import calibrate
from trainer.export import About, golden_samples, make_draft
from trainer.fit import fit
from trainer.run_folder import RunFolder
from trainer.served import CalibratedNetwork
from trainer.settings import FitSettings
from trainer.train import figures_of

SCHEMA = jsonschema.Draft202012Validator(
    json.loads(files("pipeline.schema").joinpath("result.schema.json").read_text())
)
STREAMED = 12


def published(rig: Rig, task: Task) -> CalibratedNetwork:
    """Trains for two epochs and publishes; gives what was published, uncompiled."""
    data = digits_of(task, train=600)
    settings = FitSettings(epochs=2, optimizer="adam", lr=0.002)
    result = fit(data, settings, RunFolder(rig.folder / "run"))
    calibration = calibrate(result.predictions)
    served = CalibratedNetwork(result.served, calibration.temperature).eval()
    contract = Contract.of(data.labels, data.spec, data.task)
    about = About(task, contract, metrics=figures_of(calibration))
    manifest = rig.registry.publish(make_draft(served, golden_samples(data.heldout), about))
    assert (manifest.contract.task, manifest.contract.labels) == (task, LABELS_OF[task])
    assert manifest.metrics == pytest.approx(figures_of(calibration))
    return served


def pictures(folder: Path) -> list[Path]:
    folder.mkdir()
    scene = Scene(0)
    for number in range(STREAMED):
        (folder / f"{number:02}.jpg").write_bytes(scene.jpeg(46 * number))
    return sorted(folder.iterdir())


@pytest.mark.parametrize("task", list(LABELS_OF))
def test_a_worker_says_what_the_network_says(rig: Rig, task: Task) -> None:
    served = published(rig, task)
    streamed = pictures(rig.folder / "stream")
    rig.model = task
    summary = rig.worker(f"dir:{rig.folder / 'stream'}").run()
    assert (summary.received, summary.scored, summary.in_flight) == (STREAMED, STREAMED, 0)
    samples_nhwc = torch.stack(
        [torch.from_numpy(load_sample(each.read_bytes(), SPEC)) for each in streamed]
    )
    with torch.inference_mode():
        outputs_nk = served(samples_nhwc)
    for outputs_k, row in zip(outputs_nk, rig.rows(), strict=True):
        SCHEMA.validate(row)
        if task == "regression":
            expected = dict(zip(LABELS_OF[task], outputs_k.tolist(), strict=True))
            assert row["values"] == pytest.approx(expected, abs=1e-4)
            assert list(row["values"]) == list(LABELS_OF[task])
            continue
        confidences_k = outputs_k.softmax(0) if task == "single-label" else outputs_k.sigmoid()
        best = confidences_k.topk(min(5, len(confidences_k)))
        assert "values" not in row
        assert [each["class_id"] for each in row["predictions"]] == best.indices.tolist()
        got = [each["confidence"] for each in row["predictions"]]
        assert got == pytest.approx(best.values.tolist(), abs=1e-4)
        assert row["top"] == LABELS_OF[task][int(best.indices[0])]
        assert row["confidence"] == got[0]


def test_a_version_of_another_task_never_takes_over(rig: Rig) -> None:
    """Labels and preprocessing are the same: the task alone says that it means something else."""
    served = published(rig, "multi-label")
    contract = Contract.of(LABELS_OF["multi-label"], SPEC)
    draft = make_draft(
        served, golden_samples(digits_of("multi-label", 1).heldout), About("multi-label", contract)
    )
    streamed = [each.read_bytes() for each in pictures(rig.folder / "stream")]
    rig.model = "multi-label"
    worker = rig.worker(sources=[rig.memory(streamed, 10**9)])
    rig.start(worker)
    wait_until(lambda: worker.summary().scored > 10)
    rig.registry.publish(draft)
    wait_until(lambda: worker.live.snapshot()["swaps"])
    (refusal,) = worker.live.snapshot()["swaps"]
    assert (refusal["result"], refusal["version"]) == ("incompatible", 2)
    assert "task 'single-label', expected 'multi-label'" in refusal["detail"]
    worker.stop()
    wait_until(lambda: not rig.threads[0].is_alive())
    assert {row["model"]["version"] for row in rig.rows()} == {1}
