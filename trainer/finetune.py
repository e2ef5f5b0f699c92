"""Fine-tuning: a network that begins with weights from a file, part of it frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from pipeline.errors import ConfigError
from trainer.checkpoint import load_tensors
from trainer.nets import NetSettings, WeightsFile
from trainer.user_network import load_weights, shortened, state_dict_in

_AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")
"""torchvision's auxiliary heads: a file may have them where the network has none."""

_COUNTER = ".num_batches_tracked"
"""Batch normalisations count since PyTorch 0.4.1; older files have no counts, and none is used."""

_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass(frozen=True, slots=True)
class Tuning:
    """What became of a network. Owned by: the training thread.

    Args:
        still: Normalisations of frozen layers: they must stay in evaluation mode.
        lines: What a person wants to know of it.
    """

    still: tuple[nn.Module, ...] = ()
    lines: tuple[str, ...] = ()

    def keep_still(self) -> None:
        """Puts the frozen normalisations in evaluation mode, after ``train()`` put all in training.

        In training mode they would go on to learn means and variances of the new data, which the
        frozen layers' weights were not made for.
        """
        for module in self.still:
            module.eval()


def tune(network: nn.Module, settings: NetSettings, classes: int) -> Tuning:
    """Fills ``network`` from the file of ``settings``, and freezes what it says.

    Args:
        network: Freshly initialised; is changed.
        settings: Its ``weights`` and ``freeze``; without them nothing happens.
        classes: K, by which a head that doesn't fit is known.

    Raises:
        ConfigError: see ``begin_with`` and ``freeze``.
    """
    lines: list[str] = []
    if settings.weights is not None:
        lines += begin_with(network, settings.weights, classes)
    still = freeze(network, settings.freeze) if settings.freeze else ()
    if settings.freeze:
        learning = sum(each.numel() for each in network.parameters() if each.requires_grad)
        numbers = sum(each.numel() for each in network.parameters())
        lines.append(
            f"frozen: {numbers - learning:,} of {numbers:,} parameters; {learning:,} learn"
        )
    return Tuning(still, tuple(lines))


def begin_with(network: nn.Module, weights: WeightsFile, classes: int) -> list[str]:
    """Fills ``network`` from a file; gives lines on what it didn't take from there.

    A head of another number of classes keeps the network's own numbers: weights of the right shape
    but for their first axis, which is ``classes`` long here and of one other length there.

    Raises:
        ConfigError: the file can't be read, or anything else of it doesn't fit; names the keys.
    """
    state = dict(state_dict_in(load_tensors(weights.path)))
    own = network.state_dict()
    unused = [key for key in state if key.startswith(_AUXILIARY) and key not in own]
    for key in unused:
        del state[key]
    for key in own.keys() - state.keys():
        if key.endswith(_COUNTER):
            state[key] = own[key]
    heads = _other_heads(own, state, classes)
    load_weights(network, {**state, **{key: own[key] for key in heads}}, str(weights.path))
    lines = [f"began with the weights in {weights.path}"]
    if heads:
        there = len(state[heads[0]])
        lines.append(
            f"left as drawn, for {classes} classes and not {there}: {shortened(sorted(heads))}"
        )
    if unused:
        lines.append(f"without the file's auxiliary heads: {shortened(unused)}")
    return lines


def _other_heads(own: Mapping[str, Tensor], state: Mapping[str, Any], classes: int) -> list[str]:
    def is_head(key: str) -> bool:
        there = state.get(key)
        return (
            isinstance(there, Tensor)
            and there.ndim == own[key].ndim > 0
            and len(own[key]) == classes != len(there)
            and own[key].shape[1:] == there.shape[1:]
        )

    heads = [key for key in own if is_head(key)]
    # Heads are all of as many classes; otherwise it is another network, and nothing is left out.
    return heads if len({len(state[key]) for key in heads}) == 1 else []


def freeze(network: nn.Module, patterns: Sequence[str]) -> tuple[nn.Module, ...]:
    """Stops parameters from learning whose names match; gives the normalisations among them.

    Args:
        network: Is changed.
        patterns: As a shell's: ``features.*``, ``layer[12].*``, ``*.bias``. Case counts.

    Raises:
        ConfigError: a pattern matches nothing, or nothing is left to learn.
    """
    parameters = dict(network.named_parameters())
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            raise ConfigError(
                f"--freeze {pattern!r} matches no parameter of the network. It has"
                f" {shortened(list(parameters))}. Give a pattern such as"
                f" {next(iter(parameters)).partition('.')[0] + '.*'!r}."
            )
    for name, parameter in parameters.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise ConfigError(
            f"--freeze {' --freeze '.join(patterns)} leaves nothing to learn. Leave the head out"
            f" ({shortened(list(parameters)[-2:])}), or publish the weights as they are:"
            " `headrace publish`."
        )
    return tuple(_still(network, patterns))


def _still(network: nn.Module, patterns: Sequence[str]) -> list[nn.Module]:
    """Normalisations by running means: of frozen parameters, or, without any, by their names."""
    return [
        module
        for name, module in network.named_modules()
        if isinstance(module, _NORMALISATIONS)
        and (
            _is_frozen(module)
            or any(fnmatchcase(f"{name}.running_mean", pattern) for pattern in patterns)
        )
    ]


def _is_frozen(module: nn.Module) -> bool:
    """With weights of which one learns, the statistics go on as well."""
    own = list(module.parameters(recurse=False))
    return bool(own) and not any(each.requires_grad for each in own)
