"""A network of each family: trained on real pictures, exported, published, scored by a worker."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.artifact.manifest import Contract
from pipeline.opencv import cv2
from pipeline.preprocess import PreprocessSpec, load_sample
from tests.flow.rig import Rig
from trainer.data import SplitData
from trainer.export import About, golden_samples, make_draft
from trainer.fit import Training
from trainer.image_folder import image_folder
from trainer.progress import PlainProgress
from trainer.served import ServedNetwork
from trainer.settings import FitSettings

STREAMED = 6


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """Frames of two real clips: ``train/CLASS``, ``val/CLASS`` and, of both, ``stream``."""
    folder = tmp_path_factory.mktemp("pictures")
    for clip in ("bikes", "carphone_pristine"):
        video = cv2.VideoCapture(str(clips / f"{clip}.mp4"))
        for number in range(9):
            is_read, image_hwc = video.read()
            assert is_read
            part = ("train", "val", "stream")[number % 3]
            path = folder / part / ("" if part == "stream" else clip) / f"{clip}-{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), image_hwc)
        video.release()
    return folder


def trained(pictures: Path, net: str, side: int) -> tuple[ServedNetwork, SplitData]:
    """One step of training: the network as it is served, and its data."""
    data, skipped = image_folder(pictures, PreprocessSpec(width=side, height=side))
    assert not skipped
    training = Training(data, FitSettings(net=net, batch_size=6, lr=0.001))
    before = {name: value.clone() for name, value in training.network.named_parameters()}
    assert math.isfinite(training.learn(1, PlainProgress()).loss)
    assert any(
        not torch.equal(value, before[name]) for name, value in training.network.named_parameters()
    )
    return training.served.eval(), data


def expected_confidences(served: ServedNetwork, picture: Path, spec: PreprocessSpec) -> list[float]:
    sample_hwc = torch.from_numpy(load_sample(picture.read_bytes(), spec))
    with torch.inference_mode():
        return served(sample_hwc[None]).softmax(1)[0].tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "side"),
    [
        # vgg11 itself has 129 million parameters, and takes 5.5 GB from training to worker.
        ("tests.flow.small_vgg:small_vgg11", 32),
        ("resnet18", 32),
        ("inception_v3", 75),
        ("mobilenet_v3_small", 32),
        ("efficientnet_b0", 32),
        ("convnext_tiny", 32),
    ],
)
def test_a_worker_gives_the_scores_of_the_network_that_was_trained(
    rig: Rig, pictures: Path, net: str, side: int
) -> None:
    served, data = trained(pictures, net, side)
    about = About("family", Contract.of(data.labels, data.spec))
    rig.registry.publish(make_draft(served, golden_samples(data.heldout), about))
    rig.model = "family"
    summary = rig.worker(f"dir:{pictures / 'stream'}").run()
    assert (summary.received, summary.scored, summary.in_flight) == (STREAMED, STREAMED, 0)
    streamed = sorted((pictures / "stream").iterdir())
    for picture, row in zip(streamed, rig.rows(), strict=True):
        assert row["model"]["name"] == "family"
        got = {each["class_id"]: each["confidence"] for each in row["predictions"]}
        expected = expected_confidences(served, picture, data.spec)
        assert np.abs([got[k] - expected[k] for k in range(2)]).max() < 1e-4
