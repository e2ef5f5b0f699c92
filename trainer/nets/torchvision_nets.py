"""torchvision's classifiers by name, without weights: VGG, ResNet, Inception, MobileNet, …

The one file of the trainer that builds them. torchvision takes a second to import, which networks
of other kinds needn't wait for.
"""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import nn

from pipeline.engine.device import reason_of
from pipeline.errors import ConfigError
from trainer.torchscript import NETWORK_ERRORS

PREFIX = "torchvision:"

INCEPTION_SIZE = (299, 299)
"""What Inception v3 was designed for, and the smallest samples that its auxiliary head can take:
they leave it 17×17, of which its pooling and its 5×5 convolution leave one."""

USUAL_SIZE = (224, 224)
"""What torchvision trained nearly all of its classifiers on."""

_INCEPTION, _GOOGLENET = "inception_v3", "googlenet"

_AUXILIARY_WEIGHTS = {_INCEPTION: 0.4, _GOOGLENET: 0.3}
"""GoogLeNet: Szegedy et al. 2014 (arXiv:1409.4842, section 5). Inception v3's paper (1512.00567)
gives no number: 0.4 is that of PyTorch's tutorial "Finetuning Torchvision Models"."""

_SHOWN = 3


def find(name: str) -> str | None:
    """torchvision's own name of ``resnet18`` or ``torchvision:resnet18``; None without one."""
    from torchvision import models

    wanted = name.removeprefix(PREFIX)
    return wanted if wanted in models.list_models(module=models) else None


def near(name: str) -> str:
    """For an error's text: how many there are, and those of a similar name."""
    from torchvision import models

    known = models.list_models(module=models)
    close = difflib.get_close_matches(name.removeprefix(PREFIX), known, n=_SHOWN)
    examples = ", ".join(close) if close else f"{known[0]}, …, {known[-1]}"
    return f"one of torchvision's {len(known)} classifiers ({examples})"


def usual_size(name: str) -> tuple[int, int]:
    """Width and height that the network is usually trained on."""
    return INCEPTION_SIZE if name.removeprefix(PREFIX) == _INCEPTION else USUAL_SIZE


def auxiliary_weight(name: str) -> float:
    """What a loss of an auxiliary head counts, the main one counting 1."""
    return _AUXILIARY_WEIGHTS.get(name.removeprefix(PREFIX), _AUXILIARY_WEIGHTS[_INCEPTION])


def check_size(name: str, size: tuple[int, int]) -> None:
    """Runs the network without numbers (on the meta device) on one sample, where that is possible.

    Raises:
        ConfigError: it can't take samples of this (width, height).
    """
    width, height = size
    try:
        with torch.device("meta"):
            network = build(name, classes=2, size=size).eval()
    except (NotImplementedError, RuntimeError):
        return  # RegNet computes its widths by tensors, and must read them
    try:
        network(torch.empty(1, 3, height, width, device="meta"))
    except NotImplementedError:
        return
    except NETWORK_ERRORS as cause:
        usual = "{}x{}".format(*usual_size(name))
        raise ConfigError(
            f"{name} can't take samples of {width}x{height}: {reason_of(cause)}.{_smallest(name)}"
            f" Usual is --size {usual}."
        ) from cause


def _smallest(name: str) -> str:
    from torchvision import models

    entries = list(models.get_model_weights(name))
    if not entries or "min_size" not in entries[0].meta:
        return ""
    height, width = entries[0].meta["min_size"]
    return f" torchvision gives {width}x{height} as the smallest."


def build(name: str, classes: int, size: tuple[int, int]) -> nn.Module:
    """The network with drawn weights. ``name`` is torchvision's; ``size`` is (width, height).

    Inception v3 comes without its auxiliary head where the samples are smaller than 299x299: the
    head can't take them, and it serves training alone.
    """
    from torchvision import models

    options: dict[str, Any] = {}
    if name in _AUXILIARY_WEIGHTS:
        options["init_weights"] = True  # their default, which warns that it may change
    if name == _INCEPTION:
        options["aux_logits"] = has_auxiliary_head(name, size)
    return models.get_model(name, weights=None, num_classes=classes, **options)


def has_auxiliary_head(name: str, size: tuple[int, int]) -> bool:
    """Whether training has losses of auxiliary heads, which the exported network hasn't."""
    return name == _GOOGLENET or (name == _INCEPTION and min(size) >= min(INCEPTION_SIZE))
