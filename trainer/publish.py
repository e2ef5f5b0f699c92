"""`headrace publish`: a network of the user's own becomes an artifact."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline.artifact.manifest import Contract, Manifest
from pipeline.errors import ConfigError
from pipeline.opencv import cv2
from pipeline.preprocess import PreprocessSpec
from pipeline.types import ONE_OUTPUT, BatchNhwc, Task
from trainer.export import GOLDEN_COUNT, About, check_output, make_draft
from trainer.options import Target, read_labels
from trainer.served import Normalisation, ServedNetwork
from trainer.user_network import load_network


@dataclass(frozen=True, slots=True)
class PublishJob:
    """What `headrace publish` was asked for. See ``load_network`` for ``file`` and ``weights``."""

    file: str
    target: Target
    spec: PreprocessSpec
    normalisation: Normalisation
    weights: Path | None = None
    labels: Path | None = None
    task: Task = "single-label"


def publish(job: PublishJob) -> Manifest:
    """Wraps, compiles, compares and publishes; gives the new version's manifest.

    Raises:
        ConfigError: the network can't be loaded, run or compiled, or the labels don't fit it.
        ArtifactRefused: the registry can't be written.
    """
    labels = read_labels(job.labels) if job.labels else None
    network = load_network(job.file, job.weights)
    served = ServedNetwork(network, job.normalisation).eval()
    pictures_nhwc = make_pictures(job.spec)
    classes = check_output(served, torch.from_numpy(pictures_nhwc)).shape[1]
    if labels is None:
        labels = tuple(f"{ONE_OUTPUT[job.task]}_{index}" for index in range(classes))
    if len(labels) != classes:
        raise ConfigError(
            f"--labels {job.labels} has {len(labels)} labels and the network gives {classes}"
            " logits. Give one label for each, in the network's order."
        )
    about = About(
        name=job.target.name,
        contract=Contract.of(labels, job.spec, job.task),
        notes={"source": os.fsencode(Path(job.file).name).decode(errors="backslashreplace")},
    )
    return job.target.publish(make_draft(served, pictures_nhwc, about))


def make_pictures(spec: PreprocessSpec) -> BatchNhwc:
    """Golden inputs where there is no data: smooth noise and gradients, the same at each call."""
    rng = np.random.default_rng(0)
    pictures_nhwc = np.empty((GOLDEN_COUNT, *spec.sample_shape_hwc), np.uint8)
    for index in range(GOLDEN_COUNT):
        # From 2x2 corners (gradients in all colours) to a grid as fine as the picture (noise).
        side = 2 ** (1 + index)
        coarse = rng.integers(0, 256, (side, side, 3), np.uint8)
        pictures_nhwc[index] = cv2.resize(
            coarse, (spec.width, spec.height), interpolation=cv2.INTER_LINEAR
        )
    return pictures_nhwc
