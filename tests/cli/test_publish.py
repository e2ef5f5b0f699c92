"""``headrace publish``: networks of users become artifacts, or a sentence says why not."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from pipeline.artifact.registry import Registry
from pipeline.artifact.verify import check_golden
from pipeline.engine.backends import load_backend
from pipeline.errors import ConfigError
from tests.unit.trainer.networks_of_users import FeatureMap, NotANumber, Scriptable
from trainer.__main__ import app

IMAGENET = ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]

USERS_MODULE = """
from torch import nn

def make():
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 4))
"""


def publish(registry: Path, *arguments: str) -> dict[str, Any]:
    options = ["--name", "own", "--registry", str(registry), "--json"]
    ran = CliRunner().invoke(app, ["publish", *arguments, *options], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    (line,) = ran.stdout.splitlines()
    return json.loads(line)


def saved(network: nn.Module, path: Path) -> str:
    torch.jit.save(torch.jit.script(network.eval()), path)
    return str(path)


def test_a_torchscript_file_is_served_with_its_normalisation_inside(tmp_path: Path):
    network = Scriptable().eval()
    (tmp_path / "labels.txt").write_text("cat\ndog\nbird\n", encoding="utf-8")
    file = saved(network, tmp_path / "own.pt")
    options = ["--size", "16x16", "--labels", str(tmp_path / "labels.txt"), "--alias", "prod"]
    manifest = publish(tmp_path / "models", file, *IMAGENET, *options, "--resize", "letterbox")
    assert manifest["contract"]["labels"] == ["cat", "dog", "bird"]
    assert manifest["contract"]["preprocess"]["resize"] == "letterbox"
    registry = Registry(str(tmp_path / "models"))
    assert registry.aliases("own") == {"latest": 1, "prod": 1}

    golden = registry.read("own", 1).golden
    scaled = (golden.inputs_nhwc / 255.0 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    with torch.inference_mode():
        images_nchw = torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy()).float()
        expected_nk = network(images_nchw).numpy()
    np.testing.assert_allclose(golden.logits_nk, expected_nk, atol=1e-4)


@pytest.mark.parametrize(("task", "one"), [("multi-label", "label"), ("regression", "value")])
def test_the_task_is_in_the_contract_and_names_what_has_no_label(
    tmp_path: Path, task: str, one: str
):
    file = saved(Scriptable(), tmp_path / "own.pt")
    manifest = publish(tmp_path / "models", file, "--size", "16x16", "--task", task)
    assert manifest["contract"]["task"] == task
    assert manifest["contract"]["labels"] == [f"{one}_0", f"{one}_1", f"{one}_2"]
    published = Registry(str(tmp_path / "models"))
    assert published.manifest("own", 1).contract.task == task
    options = ["--name", "own", "--registry", published.url, "--size", "16x16", "--task", task]
    said = CliRunner().invoke(app, ["publish", file, *options], catch_exceptions=False).stdout
    assert f"3 {one}s, " in said


def test_a_file_may_have_a_name_that_is_not_utf8(tmp_path: Path):
    torch.jit.save(torch.jit.script(Scriptable().eval()), buffer := io.BytesIO())
    path = tmp_path / os.fsdecode(b"caf\xe9.pt")
    path.write_bytes(buffer.getvalue())
    manifest = publish(tmp_path / "models", str(path), "--size", "16x16")
    assert manifest["version"] == 1


def test_a_factory_beside_the_user_is_published_with_its_weights(tmp_path: Path):
    (tmp_path / "my_network.py").write_text(USERS_MODULE)
    network = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 4))
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    verb = ["-P", "-m", "trainer", "publish", "my_network:make", "--weights", "weights.pt"]
    options = ["--name", "own", "--size", "20x10", "--registry", "models"]
    ran = subprocess.run(
        [sys.executable, *verb, *options],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("published own@1 to models: 4 classes")
    artifact = Registry(str(tmp_path / "models")).read("own", 1)
    assert artifact.manifest.contract.labels == ("class_0", "class_1", "class_2", "class_3")
    assert artifact.golden.inputs_nhwc.shape == (8, 10, 20, 3)


def test_a_network_of_one_channel_takes_grey_pictures(tmp_path: Path):
    network = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, 2)).eval()
    file = saved(network, tmp_path / "grey.pt")
    options = ["--size", "16x16", "--grayscale", "--channels", "1", "--mean", "0.3", "--std", "0.2"]
    manifest = publish(tmp_path / "models", file, *options, "--window", "0,4095")
    preprocess = manifest["contract"]["preprocess"]
    assert (preprocess["grayscale"], preprocess["window"]) == (True, [0, 4095])
    golden = Registry(str(tmp_path / "models")).read("own", 1).golden
    grey_nchw = torch.from_numpy(golden.inputs_nhwc[..., :1]).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        expected_nk = network((grey_nchw / 255 - 0.3) / 0.2).numpy()
    np.testing.assert_allclose(golden.logits_nk, expected_nk, atol=1e-4)


def test_publishing_twice_gives_two_versions_with_the_same_golden_inputs(tmp_path: Path):
    file = saved(Scriptable(), tmp_path / "own.pt")
    first = publish(tmp_path / "models", file, "--size", "16x16")
    second = publish(tmp_path / "models", file, "--size", "16x16")
    assert (first["version"], second["version"]) == (1, 2)
    assert first["golden_sha256"] == second["golden_sha256"]


def test_labels_that_do_not_fit_are_counted(tmp_path: Path):
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    file = saved(Scriptable(), tmp_path / "own.pt")
    with pytest.raises(ConfigError, match="has 2 labels and the network gives 3"):
        publish(tmp_path / "models", file, "--size", "16x16", "--labels", str(labels))
    labels.write_text("cat\ndog\ncat\n")
    with pytest.raises(ConfigError, match="names cat more than once"):
        publish(tmp_path / "models", file, "--size", "16x16", "--labels", str(labels))
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (FeatureMap(), r"expected logits of \[8, K\]"),
        (NotANumber(), "aren't finite"),
        (Scriptable(side=12), r"fails on .*\[N, 3, 16, 16\].*--size"),
    ],
)
def test_a_network_that_gives_no_logits_is_not_published(
    tmp_path: Path, network: nn.Module, says: str
):
    file = saved(network, tmp_path / "own.pt")
    with pytest.raises(ConfigError, match=says):
        publish(tmp_path / "models", file, "--size", "16x16")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--size", "16"], "WIDTHxHEIGHT"),
        (["--size", "9999x16"], "--size"),
        (["--mean", "0.5,0.5"], "--mean is '0.5,0.5'"),
        (["--mean", "124,116,104"], "is it 0.486,0.455,0.408?"),
        (["--std", "0,1,1"], "above 0"),
        (["--std", "nan"], "--std is 'nan'"),
        (["--resize", "squash"], "--resize: got 'squash'"),
        (["--interpolation", "best"], "--interpolation: got 'best'"),
        (["--decode", "some"], "--decode: got 'some'"),
        (
            ["--task", "detection"],
            "--task is 'detection', expected single-label, multi-label or regression",
        ),
        (["--window", "0-4095"], "--window is '0-4095', expected BLACK,WHITE"),
        (["--window", "0,65536"], "--window: got"),
        (["--channels", "1"], "--channels 1 goes with --grayscale"),
        (["--labels", "nowhere.txt"], "--labels nowhere.txt can't be read"),
        (["--alias", "../up"], "the alias"),
        (["--registry", "nosuch://bucket"], "nosuch"),
    ],
)
def test_wrong_options_are_explained(tmp_path: Path, options: list[str], says: str):
    file = saved(Scriptable(), tmp_path / "own.pt")
    arguments = ["publish", file, "--name", "own", "--size", "16x16", *options]
    ran = CliRunner().invoke(app, arguments)
    assert isinstance(ran.exception, ConfigError)
    assert says in str(ran.exception)


def test_a_network_is_published_as_onnx_too(tmp_path: Path):
    """A module of the user's own by torch.export, a TorchScript file by tracing."""
    (tmp_path / "users_onnx_net.py").write_text(USERS_MODULE)
    file = saved(Scriptable(), tmp_path / "own.pt")
    sys.path.insert(0, str(tmp_path))
    try:
        for version, what in enumerate(("users_onnx_net:make", file), 1):
            options = ["--size", "16x16", "--formats", "torchscript,onnx"]
            manifest = publish(tmp_path / "models", what, *options)
            written = (tmp_path / "models" / "own" / str(version) / "model.onnx").read_bytes()
            assert manifest["formats"]["onnx"] == {
                "sha256": hashlib.sha256(written).hexdigest(),
                "size_bytes": len(written),
            }
            artifact = Registry(str(tmp_path / "models")).read("own", version)
            engine = load_backend("onnxruntime", artifact, "cpu")
            check_golden(engine, artifact)
            many_nhwc = np.repeat(artifact.golden.inputs_nhwc, 4, axis=0)
            expected_nk = np.repeat(artifact.golden.logits_nk, 4, axis=0)
            np.testing.assert_allclose(engine.score(many_nhwc), expected_nk, atol=1e-4)
    finally:
        sys.path.remove(str(tmp_path))


def test_without_formats_the_manifest_has_the_bytes_of_before(tmp_path: Path):
    publish(tmp_path / "models", saved(Scriptable(), tmp_path / "own.pt"), "--size", "16x16")
    folder = tmp_path / "models" / "own" / "1"
    assert "formats" not in json.loads((folder / "manifest.json").read_bytes())
    assert not (folder / "model.onnx").exists()


def test_a_network_that_onnx_cannot_hold_is_not_published(tmp_path: Path):
    class Unknown(nn.Module):
        """ONNX has no such function."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j0(images.mean(dim=(2, 3)))

    file = saved(Unknown(), tmp_path / "own.pt")
    with pytest.raises(ConfigError, match="can't be exported to ONNX"):
        publish(tmp_path / "models", file, "--size", "16x16", "--formats", "onnx")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("formats", ["onnx,magic", "pt"])
def test_formats_that_nobody_knows_are_refused(tmp_path: Path, formats: str):
    file = saved(Scriptable(), tmp_path / "own.pt")
    with pytest.raises(ConfigError, match="expected torchscript or onnx"):
        publish(tmp_path / "models", file, "--size", "16x16", "--formats", formats)
