"""The networks that `headrace train` knows, by name."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from pipeline.errors import ConfigError
from trainer.export import check_output
from trainer.nets import torchvision_nets
from trainer.nets.settings import NetSettings
from trainer.nets.simple_cnn import REFERENCE_SIZE, ReferenceCnn, SimpleCnn
from trainer.served import Normalisation, ServedNetwork
from trainer.user_network import call_factory, find_factory, is_factory

_REFERENCE = "reference-cnn"
_SIMPLE = "simple-cnn"
_OWN = (_REFERENCE, _SIMPLE)
_CLASSES = ("classes", "num_classes")
"""Names of a factory's parameter that is given the number of classes."""

_PLAIN = NetSettings()


def usual_size(name: str) -> tuple[int, int]:
    """Width and height in pixels of the samples where none are asked for."""
    return REFERENCE_SIZE if name in _OWN else torchvision_nets.usual_size(name)


def check_net(
    name: str, size: tuple[int, int] = REFERENCE_SIZE, settings: NetSettings = _PLAIN
) -> None:
    """Checks all that can be known of a network before there is data.

    Raises:
        ConfigError: there is none of this name, or it doesn't take samples of this (width, height)
            or these settings; a factory can't be imported or called.
    """
    _check_settings(name, settings)
    if name == _REFERENCE and size != REFERENCE_SIZE:
        raise ConfigError(
            f"{name} takes samples of 24x24, got {size[0]}x{size[1]}. Use --size 24x24, or a"
            " network of any size: --net simple-cnn, or torchvision's, such as --net resnet18."
        )
    if name == _SIMPLE:
        with torch.device("meta"):
            SimpleCnn(2, size, settings.cnn)
    elif _is_users(name):
        _arguments(name, find_factory(name), classes=2)
    elif name != _REFERENCE:
        torchvision_nets.check_size(_torchvision_name(name), size)


def build_net(
    name: str,
    classes: int,
    size: tuple[int, int] = REFERENCE_SIZE,
    settings: NetSettings = _PLAIN,
) -> nn.Module:
    """Makes a freshly initialised network, its weights drawn from torch's global generator.

    Args:
        name: ``reference-cnn``, ``simple-cnn``, any of torchvision's classifiers (``resnet18`` or
            ``torchvision:resnet18``), without pretrained weights, or ``module:factory``.
        classes: K, the number of logits.
        size: Width and height of the samples in pixels.
        settings: Options of ``simple-cnn``; what else is in it is ``trainer.finetune``'s.

    Raises:
        ConfigError: see ``check_net``; or the network doesn't give ``[N, K]`` for such samples.
    """
    _check_settings(name, settings)
    if name == _REFERENCE:
        check_net(name, size)
        return ReferenceCnn(classes)
    if name == _SIMPLE:
        return SimpleCnn(classes, size, settings.cnn)
    if _is_users(name):
        factory = find_factory(name)
        network = call_factory(name, factory, **_arguments(name, factory, classes)).cpu().float()
    else:
        network = torchvision_nets.build(_torchvision_name(name), classes, size)
    _check_runs(name, network, classes, size, settings.normalisation)
    return network


def _check_settings(name: str, settings: NetSettings) -> None:
    changed = settings.cnn.changed()
    if name != _SIMPLE and changed:
        option = next(iter(changed)).replace("_", "-")
        raise ConfigError(f"--{option} goes with --net {_SIMPLE}: here it would have no effect")
    if settings.freeze and settings.weights is None and not _is_users(name):
        raise ConfigError(
            "--freeze goes with --weights FILE: what is drawn at random had better learn"
        )
    if settings.normalisation.channels == 1 and not _is_users(name):
        raise ConfigError(
            f"--channels 1 goes with a network of your own, module:factory: {name} takes grey"
            " samples as three equal channels (--grayscale)"
        )


def _is_users(name: str) -> bool:
    return is_factory(name) and not name.startswith(torchvision_nets.PREFIX)


def _torchvision_name(name: str) -> str:
    found = torchvision_nets.find(name)
    if found is None:
        raise ConfigError(
            f"there is no network {name!r}. Use {_REFERENCE}, {_SIMPLE},"
            f" {torchvision_nets.near(name)}, or module:factory for one of your own."
        )
    return found


def _arguments(name: str, factory: object, classes: int) -> dict[str, Any]:
    """What a factory is called with: the number of classes, if it has a parameter for it."""
    if isinstance(factory, nn.Module):
        raise ConfigError(
            f"{name} is a network already. Give the function or class that makes it: --seed draws"
            " its weights."
        )
    if not callable(factory):
        raise ConfigError(f"{name} is a {type(factory).__name__}, expected a function or class")
    try:
        parameters = inspect.signature(factory).parameters
    except ValueError:  # of C code, which may have no signature
        return {}
    taken = next((each for each in _CLASSES if each in parameters), None)
    return {taken: classes} if taken else {}


def _check_runs(
    name: str,
    network: nn.Module,
    classes: int,
    size: tuple[int, int],
    normalisation: Normalisation,
) -> None:
    """Tries two samples in evaluation mode; leaves torch's generator where it was."""
    width, height = size
    served = ServedNetwork(network, normalisation).eval()
    grey_nhwc = torch.full((2, height, width, 3), 128, dtype=torch.uint8)
    with torch.random.fork_rng(devices=[]):
        logits_nk = check_output(served, grey_nhwc)
    if logits_nk.shape[1] != classes:
        raise ConfigError(
            f"{name} gives {logits_nk.shape[1]} logits, and the data has {classes} classes."
            f" Let the factory take the number, as {' or '.join(_CLASSES)}."
        )
