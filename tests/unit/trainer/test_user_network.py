from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.errors import ConfigError
from tests.unit.trainer.networks_of_users import Scriptable
from trainer.checkpoint import save_tensors
from trainer.user_network import load_network

MODULE = "tests.unit.trainer.networks_of_users"


@pytest.mark.parametrize("wrapped", ["plain", "state_dict", "DataParallel"])
def test_weights_fit_as_training_loops_keep_them(tmp_path: Path, wrapped: str):
    trained = Scriptable()
    torch.nn.init.constant_(trained.linear.bias, 5.0)
    state = dict(trained.state_dict())
    content = {
        "plain": state,
        "state_dict": {"state_dict": state, "epoch": 3},
        "DataParallel": {f"module.{key}": value for key, value in state.items()},
    }[wrapped]
    save_tensors(tmp_path / "weights.pt", content)
    network = load_network(f"{MODULE}:Scriptable", tmp_path / "weights.pt")
    assert network.state_dict()["linear.bias"].tolist() == [5.0, 5.0, 5.0]
    assert not network.training


def test_weights_that_do_not_fit_are_listed(tmp_path: Path):
    state = dict(Scriptable(classes=4).state_dict())
    state["head.weight"] = state.pop("conv.weight")
    save_tensors(tmp_path / "weights.pt", state)
    with pytest.raises(ConfigError) as refused:
        load_network(f"{MODULE}:Scriptable", tmp_path / "weights.pt")
    assert "missing: conv.weight;" in str(refused.value)
    assert "not of this network: head.weight;" in str(refused.value)
    assert "linear.bias ([4], expected [3])" in str(refused.value)


def test_a_file_of_weights_that_runs_code_is_refused(tmp_path: Path):
    torch.save(Scriptable(), tmp_path / "pickled.pt")
    with pytest.raises(ConfigError, match="can't be read as a state_dict"):
        load_network(f"{MODULE}:Scriptable", tmp_path / "pickled.pt")


def test_a_state_dict_in_place_of_a_network_is_explained(tmp_path: Path):
    torch.save(Scriptable().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match=r"torch.save made it.*module:factory"):
        load_network(str(tmp_path / "weights.pt"), None)
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ConfigError, match="isn't a TorchScript file: it's no zip archive"):
        load_network(str(tmp_path / "text.pt"), None)


def test_weights_beside_a_torchscript_file_are_refused(tmp_path: Path):
    torch.jit.save(torch.jit.script(Scriptable()), tmp_path / "own.pt")
    with pytest.raises(ConfigError, match="--weights goes with module:factory"):
        load_network(str(tmp_path / "own.pt"), tmp_path / "weights.pt")


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("nowhere.pt", "isn't there"),
        ("no_such_module_of_mine:net", "can't be imported"),
        ("tests.unit.trainer.broken_module_of_users:net", "can't be imported: division by zero"),
        (f"{MODULE}:nothing", "has no 'nothing'"),
        (f"{MODULE}:needs_an_argument", "when called without arguments"),
        (f"{MODULE}:no_network", "gives a str, expected a torch.nn.Module"),
    ],
)
def test_a_factory_that_gives_no_network_is_explained(file: str, says: str):
    with pytest.raises(ConfigError, match=says):
        load_network(file, None)
