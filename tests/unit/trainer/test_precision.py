from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.devices import on_cuda, on_each_device
from trainer.data import SplitData
from trainer.fit import Training, fit
from trainer.precision import Precision
from trainer.progress import PlainProgress
from trainer.run_folder import RunFolder
from trainer.settings import FitSettings


@on_each_device
@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_forward_pass_is_computed_in_it(device: str, name: str, dtype: torch.dtype):
    precision = Precision(name, torch.device(device))
    network = nn.Linear(4, 2).to(device)
    with precision.autocast():
        output = network(torch.ones(3, 4, device=device))
    assert output.dtype == dtype
    precision.backward(output.float().sum())
    assert network.weight.grad is not None
    assert network.weight.grad.dtype == torch.float32
    assert precision.state_dict() == {}


@on_each_device
def test_bf16_learns_as_float32_does_and_keeps_float32_weights(
    tmp_path: Path, few_digits: SplitData, device: str
):
    losses = list[float]()
    for precision in ("float32", "bf16"):
        settings = FitSettings(epochs=3, precision=precision, device=device)
        result = fit(few_digits, settings, RunFolder(tmp_path / precision))
        losses.append(result.history[-1].train_loss)
        assert {each.dtype for each in result.served.parameters()} == {torch.float32}
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


@on_cuda
def test_fp16_leaves_out_steps_that_overflow_and_lowers_its_scale(device: str):
    precision = Precision("fp16", torch.device(device))
    weight = nn.Parameter(torch.ones(1, device=device))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    scale = precision.state_dict()["scale"]
    precision.backward((weight * 1e38).sum())
    precision.unscale(optimiser)
    assert not precision.step(optimiser)
    assert weight.item() == 1.0
    assert precision.state_dict()["scale"] < scale
    optimiser.zero_grad()
    precision.backward((weight * 0.5).sum())
    precision.unscale(optimiser)
    assert precision.step(optimiser)
    assert weight.item() == 0.5


@on_cuda
def test_fp16_learns(few_digits: SplitData, device: str):
    settings = FitSettings(precision="fp16", device=device, schedule="cosine", clip_norm=1.0)
    training = Training(few_digits, settings)
    learnt = [training.learn(epoch, PlainProgress()) for epoch in range(1, 4)]
    assert learnt[-1].loss < learnt[0].loss
    assert all(math.isfinite(each.loss) for each in learnt)
