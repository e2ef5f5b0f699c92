from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.errors import ConfigError
from tests.unit.trainer.networks_of_users import Scriptable
from trainer.nets import (
    CnnOptions,
    NetSettings,
    ReferenceCnn,
    WeightsFile,
    build_net,
    check_net,
    usual_size,
)

MODULE = "tests.unit.trainer.networks_of_users"


@pytest.mark.parametrize("name", ["reference-cnn", "simple-cnn", "resnet18", f"{MODULE}:sized"])
def test_a_seed_gives_the_same_network_again(name: str):
    torch.manual_seed(7)
    first = build_net(name, classes=4)
    after = torch.rand(1)
    torch.manual_seed(7)
    second = build_net(name, classes=4)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(after, torch.rand(1))


def test_the_reference_network_refuses_another_size():
    with pytest.raises(ConfigError, match=r"24x24, got 32x24.*simple-cnn.*torchvision"):
        build_net("reference-cnn", classes=10, size=(32, 24))


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "torchvision:mobilenet_v3_small"])
def test_torchvisions_networks_have_their_names(name: str):
    check_net(name, (64, 64))
    network = build_net(name, classes=3, size=(64, 64)).eval()
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 3)


@pytest.mark.parametrize("name", ["lenet", "torchvision:nothing", ""])
def test_an_unknown_network_is_refused_with_the_known_ones(name: str):
    with pytest.raises(ConfigError, match=r"reference-cnn, simple-cnn, one of torchvision's \d+ "):
        build_net(name, classes=3)


def test_a_name_that_is_nearly_right_gets_the_right_ones():
    with pytest.raises(ConfigError, match=r"\(.*resnet18.*\), or module:factory"):
        check_net("resnet-18")


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("inception_v3", (74, 299), r"can't take samples of 74x299: .*75x75.*--size 299x299"),
        ("vgg11", (31, 31), "32x32 as the smallest"),
        ("torchvision:googlenet", (14, 14), "15x15 as the smallest"),
        ("vit_b_16", (64, 64), r"can't take samples of 64x64: .*224x224 as the smallest"),
    ],
)
def test_samples_that_a_network_cannot_take_are_refused_without_data(
    name: str, size: tuple[int, int], says: str
):
    with pytest.raises(ConfigError, match=says):
        check_net(name, size)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("inception_v3", (75, 75)),
        ("vgg11", (32, 32)),
        ("googlenet", (15, 15)),
        ("convnext_tiny", (32, 32)),
        ("efficientnet_b0", (24, 24)),
        ("regnet_x_400mf", (64, 64)),  # doesn't run on the meta device
    ],
)
def test_the_smallest_samples_of_a_network_are_not_refused(name: str, size: tuple[int, int]):
    check_net(name, size)


def test_what_cannot_be_known_without_numbers_is_found_when_the_network_is_made():
    with pytest.raises(ConfigError, match=r"fails on float32 RGB of \[N, 3, 24, 24\].*--size"):
        build_net(f"{MODULE}:Scriptable", classes=3)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("reference-cnn", (24, 24)),
        ("simple-cnn", (24, 24)),
        ("inception_v3", (299, 299)),
        ("torchvision:inception_v3", (299, 299)),
        ("resnet18", (224, 224)),
        ("mine:net", (224, 224)),
    ],
)
def test_each_network_has_a_usual_size(name: str, size: tuple[int, int]):
    assert usual_size(name) == size


@pytest.mark.parametrize(
    ("cnn", "option"),
    [
        (CnnOptions(activation="prelu"), "--activation"),
        (CnnOptions(batch_norm=True), "--batch-norm"),
        (CnnOptions(dropout=0.5), "--dropout"),
        (CnnOptions(init="orthogonal"), "--init"),
    ],
)
@pytest.mark.parametrize("name", ["reference-cnn", "resnet18", f"{MODULE}:sized"])
def test_options_of_another_network_are_refused(name: str, cnn: CnnOptions, option: str):
    with pytest.raises(ConfigError, match=f"{option} goes with --net simple-cnn"):
        check_net(name, settings=NetSettings(cnn=cnn))


def test_freezing_drawn_weights_is_refused():
    with pytest.raises(ConfigError, match="--freeze goes with --weights"):
        check_net("resnet18", settings=NetSettings(freeze=("layer1.*",)))
    check_net(f"{MODULE}:sized", settings=NetSettings(freeze=("conv.*",)))


@pytest.mark.parametrize("factory", ["sized", "by_another_name"])
def test_a_factory_is_given_the_number_of_classes(factory: str):
    network = build_net(f"{MODULE}:{factory}", classes=5)
    assert network.eval()(torch.zeros(2, 3, 24, 24)).shape == (2, 5)


def test_a_factory_that_takes_no_number_must_have_the_right_one():
    name = f"{MODULE}:always_three"
    assert isinstance(build_net(name, classes=3, size=(16, 16)), Scriptable)
    with pytest.raises(ConfigError, match=r"gives 3 logits, and the data has 4 classes.*`?classes"):
        build_net(name, classes=4, size=(16, 16))


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("nothing", "has no 'nothing'"),
        ("MADE", "is a network already"),
        ("NUMBER", "is a int, expected a function or class"),
        ("no_network", "gives a str, expected a torch.nn.Module"),
        ("needs_a_side", r"needs_a_side\(classes=3\) failed: .*'side'"),
    ],
)
def test_a_factory_that_cannot_be_trained_is_explained(factory: str, says: str):
    with pytest.raises(ConfigError, match=says):
        build_net(f"{MODULE}:{factory}", classes=3)


def test_usual_settings_are_those_of_runs_before_there_were_any(tmp_path: Path):
    assert set(NetSettings().identity().values()) == {None}
    assert NetSettings().notes() == {}
    (tmp_path / "weights.pt").write_bytes(b"weights")
    weights = WeightsFile.of(tmp_path / "weights.pt")
    settings = NetSettings(CnnOptions(dropout=0.5), weights, ("conv1.*", "conv2.*"))
    assert settings.notes() == {
        "dropout": "0.5",
        "weights_sha256": weights.sha256,
        "freeze": "conv1.*, conv2.*",
    }


def test_weights_that_are_not_there_are_said_at_once(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"--weights .*nothing\.pt can't be read: No such file"):
        WeightsFile.of(tmp_path / "nothing.pt")


def test_the_reference_network_is_a_simple_one_of_its_size():
    torch.manual_seed(3)
    reference = ReferenceCnn(4)
    torch.manual_seed(3)
    simple = build_net("simple-cnn", classes=4)
    assert reference.state_dict().keys() == simple.state_dict().keys()
    for key, value in reference.state_dict().items():
        assert torch.equal(value, simple.state_dict()[key]), key
