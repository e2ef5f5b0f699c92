from __future__ import annotations

import io

import pytest
import torch
from torch import Tensor, nn

from pipeline.engine.operators import forbidden_operator
from pipeline.engine.torchscript import load_torchscript
from pipeline.errors import ArtifactRefused
from tests.artifacts import scripted, tiny_model_bytes
from tests.networks import Writing, WritingAtLoad


def _save(x: Tensor, path: str) -> Tensor:
    torch.save(x, path)
    return x


@torch.jit.script
class _Keeper:
    def __init__(self, path: str) -> None:
        self.path = path

    def keep(self, x: Tensor) -> Tensor:
        torch.save(x, self.path)
        return x


class _ByFunction(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _save(x, "f")


class _ByClass(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        keeper = _Keeper("f")
        return keeper.keep(x) if bool(x.sum() > 1e9) else x


class _ByFork(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.jit.wait(torch.jit.fork(_save, x, "f"))


class _ByPart(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([nn.Linear(3, 3), _ByFunction()])

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x


class _Reading(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.from_file("f", False, 1)


class _NeverCalled(nn.Module):
    @torch.jit.export
    def other(self, x: Tensor) -> Tensor:
        return _save(x, "f")

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize("is_frozen", [True, False])
@pytest.mark.parametrize(
    "network", [Writing("f"), _ByFunction(), _ByClass(), _ByFork(), _ByPart(), _Reading()]
)
def test_what_opens_files_is_found_wherever_it_stands(network: nn.Module, is_frozen: bool) -> None:
    with pytest.raises(ArtifactRefused, match=r"calls aten::(save|from_file), which") as refused:
        load_torchscript(scripted(network, is_frozen=is_frozen), "cpu")
    assert refused.value.reason == "forbidden"


def test_methods_that_nobody_calls_are_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    for network in (_NeverCalled(), WritingAtLoad("f")):
        module = torch.jit.load(io.BytesIO(scripted(network, is_frozen=False)))
        assert "aten::save" in forbidden_operator(module)


def test_networks_that_compute_pass() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(), nn.Flatten())
    for is_frozen in (True, False):
        module = torch.jit.load(io.BytesIO(scripted(network, is_frozen=is_frozen)))
        assert forbidden_operator(module) == ""
    load_torchscript(tiny_model_bytes(), "cpu")


class _Profiled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        with torch.profiler.record_function("torch.save(x) is only a name here"):
            return x * 2


def test_names_and_profiling_are_no_files() -> None:
    load_torchscript(scripted(_Profiled(), is_frozen=False), "cpu")
