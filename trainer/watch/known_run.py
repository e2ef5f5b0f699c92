"""What a run's folder says of the network that came of it: enough to train it on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.errors import ConfigError
from pipeline.preprocess import PreprocessSpec
from trainer.nets import CnnOptions, NetSettings, WeightsFile
from trainer.run_folder import RunFolder
from trainer.served import TRAINING_NORMALISATION, Normalisation, Rgb
from trainer.settings import FitSettings

_TAKEN = ("net", "batch_size", "optimizer", "lr", "momentum", "nesterov", "weight_decay")
_TAKEN_IF_THERE = ("clip_norm", "accumulate", "precision", "channels_last")
"""Settings that another training of the same network has in common with the first; a schedule is
over, and so is what was drawn. Older runs lack some."""


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A network that was trained, and how its samples are made. ``settings`` begin with the run's
    best weights."""

    labels: tuple[str, ...]
    spec: PreprocessSpec
    settings: FitSettings


def known_run(path: Path, **changes: Any) -> KnownRun:
    """Reads ``run.json``; ``changes`` are settings that the next training has otherwise.

    Raises:
        ConfigError: it is no run's folder, or none whose training has kept an epoch.
    """
    folder = RunFolder(path)
    about = _about(folder.path / "run.json")
    try:
        spec = PreprocessSpec.model_validate(about["preprocess"])
        labels = tuple(about["labels"])
        taken = {name: about[name] for name in _TAKEN}
        taken |= {name: about[name] for name in _TAKEN_IF_THERE if about.get(name) is not None}
        task = about.get("task", "single-label")
    except (KeyError, TypeError, ValidationError) as cause:
        raise ConfigError(
            f"{folder.path / 'run.json'} isn't of a run of `headrace train`: {cause}"
        ) from cause
    if task != "single-label":
        raise ConfigError(f"{path} is a run of {task}: labelled frames are of one class each")
    taken["augment"] = tuple(about.get("augment") or ())
    settings = FitSettings(**{**taken, "net_settings": _net(about, folder), **changes})
    return KnownRun(labels, spec, settings)


def _about(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text())
    except OSError as cause:
        raise ConfigError(
            f"{path} can't be read ({cause.strerror}): give the folder of a run of"
            " `headrace train`, runs/NAME"
        ) from cause
    except ValueError as cause:
        raise ConfigError(f"{path} isn't JSON: {cause}") from cause
    return about if isinstance(about, dict) else {}


def _net(about: dict[str, Any], folder: RunFolder) -> NetSettings:
    options = {each.name: about.get(each.name) for each in fields(CnnOptions)}
    usual = TRAINING_NORMALISATION
    return NetSettings(
        cnn=CnnOptions(**{name: value for name, value in options.items() if value is not None}),
        weights=WeightsFile.of(folder.best),
        freeze=tuple(about.get("freeze") or ()),
        normalisation=Normalisation(
            mean=_rgb(about.get("mean") or usual.mean),
            std=_rgb(about.get("std") or usual.std),
            channels=about.get("channels") or usual.channels,
        ),
    )


def _rgb(values: Sequence[float]) -> Rgb:
    red, green, blue = values
    return red, green, blue
