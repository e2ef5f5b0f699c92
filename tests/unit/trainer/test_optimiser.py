from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

from trainer.optimiser import build_optimiser, clip_gradient
from trainer.settings import FitSettings


def normed() -> nn.Module:
    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    return network


@pytest.mark.parametrize(("name", "kind"), [("sgd", SGD), ("adam", Adam), ("adamw", AdamW)])
def test_the_optimiser_is_torchs(name: str, kind: type):
    optimiser = build_optimiser(normed(), FitSettings(optimizer=name, lr=0.25))
    assert type(optimiser) is kind
    assert [group["lr"] for group in optimiser.param_groups] == [0.25]
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0]


def test_sgd_takes_momentum_and_nesterov():
    settings = FitSettings(momentum=0.7, nesterov=True)
    (group,) = build_optimiser(normed(), settings).param_groups
    assert (group["momentum"], group["nesterov"]) == (0.7, True)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weights_decay_but_biases_and_normalisations_do_not(name: str):
    network = normed()
    before = {key: value.clone() for key, value in network.named_parameters()}
    settings = FitSettings(optimizer=name, lr=0.5, momentum=0.0, weight_decay=0.1)
    optimiser = build_optimiser(network, settings)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for key, value in network.named_parameters():
        shrinks_by = 1 - 0.5 * 0.1 if key in ("0.weight", "3.weight") else 1.0
        torch.testing.assert_close(value, before[key] * shrinks_by, msg=key)


def give_gradient(network: nn.Module, norm: float) -> None:
    parameters = list(network.parameters())
    numbers = sum(parameter.numel() for parameter in parameters)
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, norm / numbers**0.5)


def norm_of(network: nn.Module) -> float:
    gradients = [each.grad.flatten() for each in network.parameters() if each.grad is not None]
    return torch.cat(gradients).norm().item()


def test_a_large_gradient_is_scaled_down_to_the_norm_and_measured_before():
    network = normed()
    give_gradient(network, norm=10.0)
    assert clip_gradient(network, 2.0).item() == pytest.approx(10.0)
    assert norm_of(network) == pytest.approx(2.0, rel=1e-4)


@pytest.mark.parametrize("clip_norm", [None, 2.0])
def test_a_small_gradient_stays_as_it_is_bit_for_bit(clip_norm: float | None):
    network = normed()
    give_gradient(network, norm=1.5)
    before = [each.grad.clone() for each in network.parameters() if each.grad is not None]
    assert clip_gradient(network, clip_norm).item() == pytest.approx(1.5)
    after = [each.grad for each in network.parameters() if each.grad is not None]
    assert all(map(torch.equal, before, after))


def test_parameters_without_a_gradient_are_left_out():
    network = normed()
    give_gradient(network, norm=3.0)
    measured = clip_gradient(network, None).item()
    next(network.parameters()).grad = None
    assert clip_gradient(network, None).item() < measured
