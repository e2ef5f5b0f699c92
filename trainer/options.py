"""What the verbs' options mean: text from the command line to values."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from pipeline.artifact.artifact import Draft
from pipeline.artifact.keys import SigningKey
from pipeline.artifact.manifest import Manifest
from pipeline.artifact.names import LATEST, check_alias, check_name
from pipeline.artifact.registry import Registry
from pipeline.artifact.signature import TrustedKeys
from pipeline.errors import ConfigError
from pipeline.preprocess import PreprocessSpec
from pipeline.types import Format, Task
from pipeline.window import Window
from trainer.served import Rgb

_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Target:
    """Where an artifact goes, whose signature it gets, and in which formats it is besides
    TorchScript. Checked when made, so that nobody trains first and fails then.

    Raises:
        ConfigError: a name or alias can't be one, the registry's protocol is unknown, there is no
            such key, or a format can't be made here.
    """

    name: str
    registry: Registry
    aliases: tuple[str, ...]
    key: SigningKey | None = None
    formats: tuple[Format, ...] = ()

    @classmethod
    def of(
        cls,
        name: str,
        registry_url: str,
        aliases: list[str],
        key: Path | None = None,
        trusted_keys: Sequence[str] = (),
        formats: str = "",
    ) -> Target:
        """``latest`` always moves; ``aliases`` move besides. ``key`` is a private key's file. Where
        there is one, or are ``trusted_keys``, nothing is run that none of them signed. ``formats``
        is ``--formats``."""
        checked = tuple(dict.fromkeys([LATEST, *(check_alias(alias) for alias in aliases)]))
        signs = None if key is None else SigningKey.read(key)
        own = [] if signs is None else [str(signs.public)]
        registry = Registry(registry_url, TrustedKeys.of([*own, *trusted_keys]))
        return cls(check_name(name), registry, checked, signs, parse_formats(formats))

    def publish(self, draft: Draft) -> Manifest:
        """Makes a new version of ``draft`` there.

        Raises:
            ArtifactRefused: see ``Registry.publish``.
        """
        return self.registry.publish(draft, self.aliases, self.key)


def parse_formats(text: str) -> tuple[Format, ...]:
    """``torchscript,onnx`` to what is made besides TorchScript, which always is.

    Raises:
        ConfigError: it isn't a format, or what makes it isn't installed.
    """
    named = dict.fromkeys(part.strip() for part in text.split(",") if part.strip())
    named.pop("torchscript", None)
    made: list[Format] = []
    for each in named:
        if each != "onnx":
            raise ConfigError(f"--formats has {each!r}, expected torchscript or onnx")
        if not all(importlib.util.find_spec(package) for package in _ONNX_PACKAGES):
            raise ConfigError(
                f"--formats onnx takes {', '.join(_ONNX_PACKAGES)}: pip install 'headrace[onnx]'"
            )
        made.append(each)
    return tuple(made)


def check_task(task: str) -> Task:
    """Reads ``--task``.

    Raises:
        ConfigError: it isn't a task that workers know.
    """
    known: tuple[Task, ...] = get_args(Task)
    for each in known:
        if task == each:
            return each
    *others, last = known
    raise ConfigError(f"--task is {task!r}, expected {', '.join(others)} or {last}")


def check_channels(channels: int, *, grayscale: bool) -> None:
    """Checks ``--channels``.

    Raises:
        ConfigError: a network of one channel would get a coloured picture's red.
    """
    if channels == 1 and not grayscale:
        raise ConfigError("--channels 1 goes with --grayscale: coloured pictures have three")


def parse_size(text: str) -> tuple[int, int]:
    """``224x160`` to (width, height).

    Raises:
        ConfigError: it is written otherwise.
    """
    found = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text.strip())
    if not found:
        raise ConfigError(f"--size is {text!r}, expected WIDTHxHEIGHT in pixels, such as 224x224")
    return int(found[1]), int(found[2])


def parse_rgb(option: str, text: str) -> Rgb:
    """Three comma-separated numbers, or one for all three channels.

    Raises:
        ConfigError: it is written otherwise.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) == 1:
        values *= 3
    if len(values) != 3 or not all(math.isfinite(value) for value in values):
        raise ConfigError(
            f"{option} is {text!r}, expected three numbers for R,G,B (0.485,0.456,0.406)"
            " or one for all"
        )
    return values[0], values[1], values[2]


def parse_mean(text: str) -> Rgb:
    """``--mean``, as ``parse_rgb``.

    Raises:
        ConfigError: it is written otherwise, or of pixels from 0 to 255.
    """
    mean = parse_rgb("--mean", text)
    if max(mean) > 1:
        scaled = ",".join(f"{value / 255:.3f}" for value in mean)
        raise ConfigError(
            f"--mean is {text!r}, but pixels are scaled to 0..1 before it is taken from them:"
            f" is it {scaled}?"
        )
    return mean


def parse_window(text: str) -> Window:
    """``0,4095`` to (black, white).

    Raises:
        ConfigError: it is written otherwise.
    """
    found = re.fullmatch(r"\s*(\d{1,9})\s*,\s*(\d{1,9})\s*", text)
    if not found:
        raise ConfigError(
            f"--window is {text!r}, expected BLACK,WHITE in the pictures' values, such as 0,4095"
        )
    return int(found[1]), int(found[2])


def make_spec(size: str, **fields: str | bool | Window | None) -> PreprocessSpec:
    """The preprocessing of ``--size`` and, where given, what else ``PreprocessSpec`` has.

    Raises:
        ConfigError: a value isn't one of the known ones.
    """
    width, height = parse_size(size)
    try:
        return PreprocessSpec.model_validate({"width": width, "height": height, **fields})
    except ValidationError as cause:
        error = cause.errors()[0]
        option = "--size" if error["loc"][0] in ("width", "height") else f"--{error['loc'][0]}"
        raise ConfigError(f"{option}: got {error['input']!r}; {error['msg']}") from cause


def read_labels(path: Path) -> tuple[str, ...]:
    """A text file's lines, one label each; blank lines are left out.

    Raises:
        ConfigError: the file can't be read as UTF-8 text, is empty, or names a class twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as cause:
        raise ConfigError(f"--labels {path} can't be read: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise ConfigError(f"--labels {path} isn't UTF-8 text, one label a line") from cause
    labels = tuple(line.strip() for line in text.splitlines() if line.strip())
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ConfigError(
            f"--labels {path} names {', '.join(twice[:5])} more than once; each class needs a"
            " label of its own"
        )
    if not labels:
        raise ConfigError(f"--labels {path} has no labels, expected one a line")
    return labels
