from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.artifact.manifest import Contract
from pipeline.artifact.registry import Registry
from pipeline.errors import ConfigError
from pipeline.preprocess import PreprocessSpec
from tests.unit.trainer.networks_of_users import (
    BakedBatch,
    FeatureMap,
    NotANumber,
    Pair,
    Scriptable,
    TraceOnly,
)
from trainer.data import SplitData
from trainer.export import About, check_output, golden_samples, make_draft
from trainer.nets import ReferenceCnn
from trainer.publish import make_pictures
from trainer.served import CalibratedNetwork, Normalisation, ServedNetwork
from trainer.torchscript import compile_network, load_torchscript

SPEC = PreprocessSpec(width=16, height=16)
IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
PICTURES = torch.from_numpy(make_pictures(SPEC))


def served_by(network: nn.Module) -> ServedNetwork:
    return ServedNetwork(network, IMAGENET).eval()


def by_hand(network: nn.Module, batch_nhwc: np.ndarray) -> np.ndarray:
    """What a user computes without us."""
    scaled = (batch_nhwc / 255.0 - IMAGENET.mean) / IMAGENET.std
    images_nchw = torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))).float()
    with torch.inference_mode():
        return network.eval()(images_nchw).numpy()


@pytest.mark.parametrize(
    ("network", "way"), [(Scriptable(), "script"), (TraceOnly(), "trace")], ids=["script", "trace"]
)
def test_a_compiled_network_gives_what_the_eager_one_gives(
    tmp_path: Path, network: nn.Module, way: str
):
    compiled = compile_network(served_by(network), PICTURES)
    assert compiled.exported_by == way
    (tmp_path / "model.pt").write_bytes(compiled.model)
    loaded = load_torchscript((tmp_path / "model.pt").read_bytes())
    for size in (1, 2, 5, 8):
        batch_nhwc = PICTURES[:size]
        np.testing.assert_allclose(
            loaded(batch_nhwc).detach().numpy(), by_hand(network, batch_nhwc.numpy()), atol=1e-4
        )


@pytest.mark.parametrize("made_by", ["script", "trace", "freeze"])
def test_a_torchscript_file_is_wrapped_and_gives_the_same(tmp_path: Path, made_by: str):
    network = Scriptable().eval()
    if made_by == "trace":
        own = torch.jit.trace(network, torch.rand(2, 3, 16, 16))
    else:
        own = torch.jit.script(network)
    if made_by == "freeze":
        own = torch.jit.freeze(own)
    torch.jit.save(own, tmp_path / "own.pt")
    served = served_by(load_torchscript((tmp_path / "own.pt").read_bytes()))
    compiled = compile_network(served, PICTURES)
    (tmp_path / "model.pt").write_bytes(compiled.model)
    loaded = load_torchscript((tmp_path / "model.pt").read_bytes())
    np.testing.assert_allclose(
        loaded(PICTURES).detach().numpy(), by_hand(network, PICTURES.numpy()), atol=1e-4
    )


@pytest.mark.parametrize(
    ("network", "way"), [(Scriptable(), "script"), (TraceOnly(), "trace")], ids=["script", "trace"]
)
def test_a_temperature_divides_the_logits_and_changes_nothing_else(network: nn.Module, way: str):
    served = served_by(network)
    compiled = compile_network(CalibratedNetwork(served, 2.5).eval(), PICTURES)
    assert compiled.exported_by == way
    logits_nk = load_torchscript(compiled.model)(PICTURES).detach()
    with torch.inference_mode():
        torch.testing.assert_close(logits_nk, served(PICTURES) / 2.5, atol=1e-4, rtol=0)


def test_a_batch_size_that_tracing_baked_in_is_found():
    with pytest.raises(ConfigError, match=r"script: .*trace: .*Take what Python alone"):
        compile_network(served_by(BakedBatch()), PICTURES)


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (Pair(), "gives a tuple, expected one tensor of logits"),
        (FeatureMap(), r"gives \[8, 4, 16, 16\] for 8 samples"),
        (NotANumber(), "finite"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(0), nn.Flatten()), r"gives \[8, 0\] for 8 samples"),
        (Scriptable(side=20), r"fails on float32 RGB of \[N, 3, 16, 16\].*--size"),
    ],
)
def test_what_gives_no_logits_is_refused_with_a_remedy(network: nn.Module, says: str):
    with pytest.raises(ConfigError, match=says):
        check_output(served_by(network), PICTURES)


@pytest.mark.parametrize("temperature", [None, 2.0])
def test_a_network_of_one_channel_that_fails_is_told_what_it_was_given(temperature: float | None):
    grey = ServedNetwork(Scriptable(), Normalisation(channels=1)).eval()
    network = grey if temperature is None else CalibratedNetwork(grey, temperature)
    with pytest.raises(
        ConfigError, match=r"fails on float32 grey of \[N, 1, 16, 16\].*--size.*--channels"
    ):
        check_output(network, PICTURES)


def test_the_number_of_classes_is_the_contracts():
    with pytest.raises(ConfigError, match="3 classes, expected 5"):
        check_output(served_by(Scriptable()), PICTURES, classes=5)


def test_a_draft_is_published_and_read_back(tmp_path: Path, few_digits: SplitData):
    served = ServedNetwork(ReferenceCnn(), IMAGENET)
    about = About(
        "digits", Contract.of(few_digits.labels, few_digits.spec), metrics={"accuracy": 0.5}
    )
    draft = make_draft(served, golden_samples(few_digits.heldout), about)
    assert draft.golden.inputs_nhwc.shape == (8, 24, 24, 3)
    registry = Registry(str(tmp_path))
    manifest = registry.publish(draft)
    artifact = registry.read("digits", manifest.version)
    (tmp_path / "model.pt").write_bytes(artifact.model)
    loaded = load_torchscript((tmp_path / "model.pt").read_bytes())
    logits_nk = loaded(torch.from_numpy(artifact.golden.inputs_nhwc)).detach().numpy()
    np.testing.assert_allclose(logits_nk, artifact.golden.logits_nk, atol=1e-4)
    assert manifest.metrics == {"accuracy": 0.5}
    assert manifest.exported_by == "script"


def test_a_network_whose_rows_depend_on_their_neighbours_is_refused() -> None:
    class Centred(nn.Module):
        def forward(self, batch_nchw: torch.Tensor) -> torch.Tensor:
            mean_nk = batch_nchw.mean(dim=(2, 3))
            return mean_nk - mean_nk.mean(dim=0)

    with pytest.raises(ConfigError, match="with the other samples"):
        check_output(served_by(Centred()), PICTURES)
