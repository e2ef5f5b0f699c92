"""What only a device can do: run out of memory, be lost, keep what it was given."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.artifact.registry import Registry
from pipeline.batch import BucketPlan
from pipeline.clock import SystemClock
from pipeline.engine.base import EngineFailed, EngineOutOfMemory
from pipeline.engine.device import allocate_batch, check_device, has_no_room, reason_of
from pipeline.engine.halving import score_halving
from pipeline.engine.loading import Loader
from pipeline.engine.torchscript import load_torchscript
from pipeline.errors import ArtifactRefused, RestartNeeded
from pipeline.types import BatchNhwc
from tests.artifacts import (
    SPEC,
    Hungry,
    expected_logits,
    golden_inputs,
    scripted,
    tiny_draft,
    tiny_model_bytes,
)
from tests.devices import on_cuda, on_each_device


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


def load(folder: Path, network: torch.nn.Module, device: str) -> int:
    """Publishes and loads a network; gives the most frames that it takes at once."""
    registry = Registry(str(folder))
    registry.publish(replace(tiny_draft("hungry"), model=scripted(network)))
    loader = Loader(device, BucketPlan.of(16, max_wait_s=0.0), SystemClock())
    return loader.load(registry.read("hungry", 1), epoch=1).most_frames


@on_each_device
def test_memory_that_is_short_within_the_network_is_told_from_an_error_of_its(device: str) -> None:
    engine = load_torchscript(scripted(Hungry(room=3)), device)
    batch_nhwc = golden_inputs(count=8)
    with pytest.raises(EngineOutOfMemory, match="a batch of 8"):
        engine.score(batch_nhwc)
    got_nk = score_halving(engine, batch_nhwc, classes=3, most=8)
    assert abs(got_nk - expected_logits(batch_nhwc)).max() < 1e-4


@on_each_device
def test_batches_are_no_larger_than_fits_when_the_model_is_made_ready(
    tmp_path: Path, device: str
) -> None:
    assert load(tmp_path, Hungry(room=4), device) == 4


@on_each_device
def test_a_model_without_room_for_its_golden_inputs_is_refused_as_too_large(
    tmp_path: Path, device: str
) -> None:
    with pytest.raises(ArtifactRefused, match=f"{device} has no memory") as refused:
        load(tmp_path, Hungry(room=0), device)
    assert refused.value.reason == "no_room"


@on_cuda
def test_batches_are_page_locked(device: str) -> None:
    assert torch.from_numpy(allocate_batch((2, 4, 4, 3), device)).is_pinned()


def _score_recklessly(looks: bool, device: str, said: multiprocessing.Queue[str]) -> None:
    engine = load_torchscript(scripted(_Reckless(looks)), device)
    try:
        engine.score(golden_inputs())
        said.put("nothing")
    except (EngineFailed, RestartNeeded) as error:
        said.put(repr(error))


@on_cuda
@pytest.mark.parametrize("looks", [False, True])
def test_a_device_that_is_lost_asks_for_a_new_process(device: str, looks: bool) -> None:
    """In a process of its own: with the device, all that the process has there is lost."""
    spawning = multiprocessing.get_context("spawn")
    said: multiprocessing.Queue[str] = spawning.Queue()
    process = spawning.Process(target=_score_recklessly, args=(looks, device, said))
    process.start()
    try:
        error = said.get(timeout=60)
        assert error.startswith("RestartNeeded")
        assert "device-side assert" in error
        process.join(60)
        assert process.exitcode is not None
    finally:
        process.kill()


def test_a_device_of_which_nothing_is_known_is_lost_where_torch_says_so() -> None:
    lost = torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nSearch")
    with pytest.raises(RestartNeeded, match=r"an illegal memory access was encountered$"):
        check_device(torch.device("cpu"), lost)
    check_device(torch.device("cpu"), RuntimeError("shapes cannot be multiplied"))


_IN_THE_NETWORK = """The following operation failed in the TorchScript interpreter.
Traceback of TorchScript, serialized code (most recent call last):
  File "code/__torch__.py", line 8, in forward
    # MemoryError: out of memory, perhaps
    y = torch.empty([64, 1073741824])
        ~~~~~~~~~~~ <--- HERE
"""


@pytest.mark.parametrize(
    ("error", "reason", "is_short"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "CUDA out of memory. Tried", True),
        (MemoryError(), "MemoryError", True),
        (
            RuntimeError(_IN_THE_NETWORK + "RuntimeError: CUDA out of memory. Tried to allocate"),
            "RuntimeError: CUDA out of memory. Tried to allocate",
            True,
        ),
        (
            torch.AcceleratorError("CUDA error: out of memory\nSearch for `cudaErrorMemory"),
            "CUDA error: out of memory",
            True,
        ),
        (
            RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
            "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
            True,
        ),
        (
            RuntimeError(_IN_THE_NETWORK + "builtins.ValueError: no\nat all"),
            "builtins.ValueError: no",
            False,
        ),
        (RuntimeError("mat1 and mat2 shapes\ncannot"), "mat1 and mat2 shapes", False),
    ],
)
def test_an_error_is_told_in_a_line_and_a_lack_of_memory_by_it(
    error: Exception, reason: str, is_short: bool
) -> None:
    assert reason_of(error) == reason
    assert has_no_room(error) is is_short


def test_where_a_file_in_memory_cannot_be_had_a_network_loads_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    batch_nhwc = golden_inputs()
    got_nk = load_torchscript(tiny_model_bytes(), "cpu").score(batch_nhwc)
    assert abs(got_nk - expected_logits(batch_nhwc)).max() < 1e-4


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
