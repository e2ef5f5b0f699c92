"""The optimiser, and the gradient that it gets."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import SGD, Adam, AdamW, Optimizer

from trainer.settings import FitSettings


def build_optimiser(network: nn.Module, settings: FitSettings) -> Optimizer:
    """SGD, Adam or AdamW over all parameters of ``network``.

    Weights decay, biases and normalisations don't: a parameter of one dimension holds a single
    number for each channel, which overfits little and may need to be large ("no bias decay" in He
    et al. 2018, arXiv:1812.01187, section 3.1; timm draws the line the same way). SGD and Adam add
    the decay to the gradient; AdamW takes it from the weights beside (Loshchilov and Hutter 2017,
    arXiv:1711.05101).
    """
    groups = _groups(network, settings.weight_decay)
    if settings.optimizer == "sgd":
        return SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.nesterov)
    adam = AdamW if settings.optimizer == "adamw" else Adam
    # The groups have their own decay; AdamW's default would come back where there is none.
    return adam(groups, lr=settings.lr, weight_decay=0.0)


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    parameters = list(network.parameters())
    if not weight_decay:
        return [{"params": parameters}]
    return [
        {"params": [each for each in parameters if each.ndim > 1], "weight_decay": weight_decay},
        {"params": [each for each in parameters if each.ndim <= 1]},
    ]


def clip_gradient(network: nn.Module, clip_norm: float | None) -> Tensor:
    """The gradient's L2 norm over all parameters, a scalar as it was before it is clipped here.

    If it is above ``clip_norm``, the gradient is scaled down to that norm (Pascanu et al. 2012,
    arXiv:1211.5063); None leaves it as it is. A norm that isn't finite must stop the caller, or
    clipping leaves NaN.
    """
    with_gradient = [each for each in network.parameters() if each.grad is not None]
    norm = get_total_norm([each.grad for each in with_gradient if each.grad is not None])
    if clip_norm is not None:
        clip_grads_with_norm_(with_gradient, clip_norm, norm)
    return norm
