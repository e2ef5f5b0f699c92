"""What only a device can do: run out of memory, be lost, keep what it was given."""

from __future__ import annotations

import io
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.artifact.registry import Registry
from pipeline.batch import BucketPlan
from pipeline.clock import SystemClock
from pipeline.engine.base import EngineOutOfMemory
from pipeline.engine.device import allocate_batch
from pipeline.engine.loading import Loader
from pipeline.engine.stage import score_halving
from pipeline.engine.torchscript import load_torchscript
from pipeline.errors import ArtifactRefused, RestartNeeded
from pipeline.types import BatchNhwc
from tests.artifacts import SPEC, expected_logits, golden_inputs, tiny_draft
from tests.devices import on_cuda, on_each_device


class _Hungry(torch.nn.Module):
    """The tiny network's logits; for batches of more than ``room`` it wants 256 TiB, which is more
    than can be addressed."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        mean_n1 = batch_nhwc.to(torch.float32).mean(dim=(1, 2, 3)).unsqueeze(1) / 255.0
        if batch_nhwc.shape[0] > self.room:
            mean_n1 = mean_n1 + torch.empty([1 << 46], device=mean_n1.device)[0]
        return mean_n1 * torch.arange(3, device=mean_n1.device)


class _Reckless(torch.nn.Module):
    """Reads behind the end of a tensor, on which a CUDA device gives up; ``looks`` at what it read
    within the network, or leaves that to its caller."""

    def __init__(self, looks: bool) -> None:
        super().__init__()
        self.looks = looks

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        behind_nk = batch_nhwc.flatten(1)[:, :3].to(torch.int64) + 100
        read_nk = torch.arange(4, device=batch_nhwc.device)[behind_nk].to(torch.float32)
        if self.looks and float(read_nk.sum().item()) > 3.0:
            return read_nk + 1.0
        return read_nk


class _Wide(torch.nn.Module):
    """Has 16 MiB of weights, and as much again of what a batch of eight becomes on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 2048, 3, padding=1)
        self.weights = torch.nn.Buffer(torch.ones(2048, 2048))

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        wide = self.layer(batch_nhwc.permute(0, 3, 1, 2).to(torch.float32))
        return (wide.mean(dim=(2, 3)) @ self.weights)[:, :3]


def scripted(network: torch.nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(network.eval()), buffer)
    return buffer.getvalue()


def load(folder: Path, network: torch.nn.Module, device: str) -> int:
    """Publishes and loads a network; gives the most frames that it takes at once."""
    registry = Registry(str(folder))
    registry.publish(replace(tiny_draft("hungry"), model=scripted(network)))
    loader = Loader(device, BucketPlan.of(16, max_wait_s=0.0), SystemClock())
    return loader.load(registry.read("hungry", 1), epoch=1).most_frames


@on_each_device
def test_memory_that_is_short_within_the_network_is_told_from_an_error_of_its(device: str) -> None:
    engine = load_torchscript(scripted(_Hungry(room=3)), device)
    batch_nhwc = golden_inputs(count=8)
    with pytest.raises(EngineOutOfMemory, match="a batch of 8"):
        engine.score(batch_nhwc)
    got_nk = score_halving(engine, batch_nhwc, classes=3, most=8)
    assert abs(got_nk - expected_logits(batch_nhwc)).max() < 1e-4


@on_each_device
def test_batches_are_no_larger_than_fits_when_the_model_is_made_ready(
    tmp_path: Path, device: str
) -> None:
    assert load(tmp_path, _Hungry(room=4), device) == 4


@on_each_device
def test_a_model_without_room_for_its_golden_inputs_is_refused_as_too_large(
    tmp_path: Path, device: str
) -> None:
    with pytest.raises(ArtifactRefused, match=f"{device} has no memory") as refused:
        load(tmp_path, _Hungry(room=0), device)
    assert refused.value.reason == "no_room"


@on_cuda
def test_batches_are_page_locked(device: str) -> None:
    assert torch.from_numpy(allocate_batch((2, 4, 4, 3), device)).is_pinned()


def _score_recklessly(looks: bool, device: str, said: multiprocessing.Queue[str]) -> None:
    engine = load_torchscript(scripted(_Reckless(looks)), device)
    try:
        engine.score(golden_inputs())
    except RestartNeeded as error:
        said.put(str(error))


@on_cuda
@pytest.mark.parametrize("looks", [False, True])
def test_a_device_that_is_lost_asks_for_a_new_process(device: str, looks: bool) -> None:
    """In a process of its own: with the device, all that the process has there is lost."""
    spawning = multiprocessing.get_context("spawn")
    said: multiprocessing.Queue[str] = spawning.Queue()
    process = spawning.Process(target=_score_recklessly, args=(looks, device, said))
    process.start()
    assert "device-side assert" in said.get(timeout=60)
    process.join(60)


@on_cuda
def test_models_that_come_and_go_leave_nothing_on_the_device(device: str) -> None:
    model = scripted(_Wide())
    batch_nhwc: BatchNhwc = allocate_batch((8, *SPEC.sample_shape_hwc), device)
    held: list[int] = []
    for _ in range(40):
        engine = load_torchscript(model, device)
        engine.warm((1, 8), SPEC.sample_shape_hwc)
        engine.score(batch_nhwc)
        held.append(torch.cuda.memory_reserved(device))
    assert held[-1] == held[3], held
