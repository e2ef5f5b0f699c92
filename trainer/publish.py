"""`headrace publish`: a network of the user's own becomes an artifact."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline.artifact.manifest import Contract
from pipeline.engine.device import reason_of
from pipeline.errors import ConfigError
from pipeline.opencv import cv2
from pipeline.preprocess import PreprocessSpec
from pipeline.probe.verified import patient_probe
from pipeline.types import ONE_OUTPUT, BatchNhwc, Task
from trainer.data import heldout_loader
from trainer.evaluate import Evaluation, predict
from trainer.export import GOLDEN_COUNT, About, check_output, make_draft
from trainer.gate import DEFAULT_GATE, GateSettings
from trainer.gated import Gate, Gated
from trainer.image_folder import heldout_folder
from trainer.incumbent import Heldout
from trainer.options import Target, read_labels
from trainer.reference import reference_of
from trainer.served import Normalisation, ServedNetwork
from trainer.torchscript import NETWORK_ERRORS
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
    data: Path | None = None
    gate: GateSettings = DEFAULT_GATE


def publish(job: PublishJob, say: Callable[[str], None]) -> Gated:
    """Wraps, compiles, compares and publishes. ``say`` is given lines for people.

    Raises:
        ConfigError: the network can't be loaded, run or compiled, or labels or data don't fit it.
        HeadraceError: see ``Gate.publish``.
    """
    if job.data is not None and job.task != "single-label":
        raise ConfigError(
            f"--data FOLDER goes with --task single-label: its folders are classes, and --task is"
            f" {job.task}"
        )
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
    heldout = None if job.data is None else _heldout(job.data, served, labels, job.spec, say)
    about = About(
        name=job.target.name,
        contract=Contract.of(labels, job.spec, job.task),
        metrics=_metrics(heldout),
        notes={"source": os.fsencode(Path(job.file).name).decode(errors="backslashreplace")},
        reference=heldout and reference_of(heldout.samples, heldout.predictions),
    )
    draft = make_draft(served, pictures_nhwc, about, job.target.formats)
    with patient_probe() as probe:
        return Gate(job.target, draft, heldout, job.gate, probe, say).publish()


def _heldout(
    data: Path,
    served: ServedNetwork,
    labels: tuple[str, ...],
    spec: PreprocessSpec,
    say: Callable[[str], None],
) -> Heldout:
    """The pictures in ``data``, and what the network says of them."""
    samples, skipped = heldout_folder(data, labels, spec)
    if skipped:
        say(f"skipped {len(skipped)} files, first {skipped[0].path}: {skipped[0].reason}")
    try:
        said = predict(served, heldout_loader(samples), labels, torch.device("cpu"))
    except NETWORK_ERRORS as cause:
        raise ConfigError(f"the network fails on {data}: {reason_of(cause)}") from cause
    return Heldout(samples, said)


def _metrics(heldout: Heldout | None) -> dict[str, float]:
    """How the network does on held-out data, as `headrace train` names it."""
    if heldout is None:
        return {}
    judged = Evaluation.of(heldout.predictions)
    return {**judged.figures, "heldout_loss": judged.loss, "heldout_samples": judged.samples}


def make_pictures(spec: PreprocessSpec) -> BatchNhwc:
    """Golden inputs where nothing is trained: smooth noise and gradients, the same at each call."""
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
