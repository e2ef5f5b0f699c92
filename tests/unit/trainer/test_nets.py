from __future__ import annotations

import pytest
import torch

from pipeline.errors import ConfigError
from trainer.nets import ReferenceCnn, build_net


def test_the_reference_network_flattens_to_2304_features():
    network = ReferenceCnn()
    images_nchw = torch.zeros(5, 3, 24, 24)
    assert network.features(images_nchw).shape == (5, 2304)
    assert network(images_nchw).shape == (5, 10)
    shapes = {name: tuple(value.shape) for name, value in network.named_parameters()}
    assert shapes["conv1.weight"] == (32, 3, 3, 3)
    assert shapes["conv2.weight"] == (64, 32, 3, 3)
    assert shapes["hidden.weight"] == (128, 2304)


def test_initialisation_keeps_the_spread_of_activations():
    torch.manual_seed(0)
    network = ReferenceCnn()
    # Kaiming: variance 2 / fan-in for layers that a ReLU follows.
    assert network.hidden.weight.std().item() == pytest.approx((2 / 2304) ** 0.5, rel=0.05)
    assert network.conv2.weight.std().item() == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.05)
    assert not network.state_dict()["conv1.bias"].any()


def test_a_seed_gives_the_same_network_again():
    torch.manual_seed(7)
    first = build_net("reference-cnn", classes=4)
    torch.manual_seed(7)
    second = build_net("reference-cnn", classes=4)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_reference_network_refuses_another_size():
    with pytest.raises(ConfigError, match=r"24x24, got 32x24.*torchvision"):
        build_net("reference-cnn", classes=10, size=(32, 24))


def test_torchvisions_networks_have_their_names():
    network = build_net("torchvision:mobilenet_v3_small", classes=3, size=(64, 64)).eval()
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 3)


@pytest.mark.parametrize("name", ["resnet18", "torchvision:nothing", ""])
def test_an_unknown_network_is_refused_with_the_known_ones(name: str):
    with pytest.raises(ConfigError, match="reference-cnn, or torchvision:NAME"):
        build_net(name, classes=3)
