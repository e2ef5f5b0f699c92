from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.errors import ConfigError
from trainer.nets import CnnOptions, ReferenceCnn, SimpleCnn, build_net
from trainer.nets.simple_cnn import INITS

ACTIVATIONS = ("relu", "leaky-relu", "prelu")
OPTIONS = st.builds(
    CnnOptions,
    activation=st.sampled_from(ACTIVATIONS),
    batch_norm=st.booleans(),
    dropout=st.sampled_from([0.0, 0.3]),
    init=st.sampled_from(INITS),
)


def test_the_reference_network_flattens_to_2304_features():
    network = ReferenceCnn()
    images_nchw = torch.zeros(5, 3, 24, 24)
    assert network.features(images_nchw).shape == (5, 2304)
    assert network(images_nchw).shape == (5, 10)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes == {
        "conv1.weight": (32, 3, 3, 3),
        "conv1.bias": (32,),
        "conv2.weight": (64, 32, 3, 3),
        "conv2.bias": (64,),
        "hidden.weight": (128, 2304),
        "hidden.bias": (128,),
        "logits.weight": (10, 128),
        "logits.bias": (10,),
    }


def test_a_seeds_reference_network_is_bit_for_bit_the_one_of_the_first_release():
    """Checkpoints and benches of before there were options are of these very weights."""
    torch.manual_seed(7)
    layers = {
        "conv1": nn.Conv2d(3, 32, 3, padding=1),
        "conv2": nn.Conv2d(32, 64, 3, padding=1),
        "hidden": nn.Linear(2304, 128),
        "logits": nn.Linear(128, 10),
    }
    for name in ("conv1", "conv2", "hidden"):
        nn.init.kaiming_normal_(layers[name].weight, nonlinearity="relu")
    nn.init.xavier_normal_(layers["logits"].weight)
    images_nchw = torch.rand(4, 3, 24, 24)
    torch.manual_seed(7)
    network = build_net("reference-cnn", classes=10)
    for name, layer in layers.items():
        assert torch.equal(network.state_dict()[f"{name}.weight"], layer.weight), name
        nn.init.zeros_(layer.bias)
        assert torch.equal(network.state_dict()[f"{name}.bias"], layer.bias), name

    def by_hand(images_nchw: Tensor) -> Tensor:
        for name in ("conv1", "conv2"):
            images_nchw = nn.functional.max_pool2d(torch.relu(layers[name](images_nchw)), 2)
        return layers["logits"](torch.relu(layers["hidden"](images_nchw.flatten(1))))

    assert torch.equal(network(images_nchw), by_hand(images_nchw))


def test_initialisation_keeps_the_spread_of_activations():
    torch.manual_seed(0)
    network = ReferenceCnn()
    # Kaiming: variance 2 / fan-in for layers that a ReLU follows.
    assert network.hidden.weight.std().item() == pytest.approx((2 / 2304) ** 0.5, rel=0.05)
    assert network.conv2.weight.std().item() == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.05)
    assert not network.state_dict()["conv1.bias"].any()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("init", INITS)
def test_the_gain_fits_the_activation(activation: str, init: str):
    torch.manual_seed(0)
    weight = SimpleCnn(options=CnnOptions(activation=activation, init=init)).hidden.weight
    slope = {"relu": 0.0, "leaky-relu": 0.01, "prelu": 0.25}[activation]
    gain = math.sqrt(2 / (1 + slope**2))
    expected = {
        "kaiming": gain / math.sqrt(2304),
        "xavier": gain * math.sqrt(2 / (2304 + 128)),
        # 128 rows of length gain over 2304 columns.
        "orthogonal": gain / math.sqrt(2304),
        # PyTorch's own: uniform within 1 / sqrt(fan-in), whatever follows.
        "default": 1 / math.sqrt(3 * 2304),
    }[init.partition("-")[0]]
    assert weight.std().item() == pytest.approx(expected, rel=0.02)


@settings(max_examples=25, deadline=None)
@given(
    options=OPTIONS,
    width=st.integers(4, 40),
    height=st.integers(4, 40),
    classes=st.integers(1, 7),
    samples=st.integers(1, 3),
)
def test_any_options_at_any_size_give_logits_and_compile_to_the_same(
    options: CnnOptions, width: int, height: int, classes: int, samples: int
):
    network = SimpleCnn(classes, (width, height), options).eval()
    images_nchw = torch.randn(samples, 3, height, width)
    compiled = torch.jit.freeze(torch.jit.script(network))
    with torch.inference_mode():
        logits_nk = network(images_nchw)
        torch.testing.assert_close(compiled(images_nchw), logits_nk, atol=1e-4, rtol=1e-4)
    assert logits_nk.shape == (samples, classes)
    assert torch.isfinite(logits_nk).all()


@settings(max_examples=25, deadline=None)
@given(options=OPTIONS)
def test_with_any_options_every_parameter_gets_a_gradient(options: CnnOptions):
    torch.manual_seed(0)
    network = SimpleCnn(5, (12, 12), options).train()
    loss = nn.functional.cross_entropy(network(torch.randn(16, 3, 12, 12)), torch.arange(16) % 5)
    loss.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert network.conv1.weight.grad is not None
    assert network.conv1.weight.grad.abs().max() > 0


def test_the_options_are_in_the_network():
    network = SimpleCnn(options=CnnOptions(activation="prelu", batch_norm=True, dropout=0.5))
    state = network.state_dict()
    assert {"norm1.running_mean", "norm3.weight", "activation2.weight"} <= state.keys()
    images_nchw = torch.randn(8, 3, 24, 24)
    network.eval()
    assert torch.equal(network(images_nchw), network(images_nchw))
    network.train()
    assert not torch.equal(network(images_nchw), network(images_nchw))


def test_a_gradient_passes_below_zero_where_the_activation_lets_it():
    def gradient(activation: str) -> Tensor:
        network = SimpleCnn(options=CnnOptions(activation=activation))
        # All sums below zero: dead under a ReLU.
        nn.init.constant_(network.get_parameter("conv1.bias"), -100.0)
        network(torch.rand(4, 3, 24, 24)).square().sum().backward()
        assert network.conv1.weight.grad is not None
        return network.conv1.weight.grad

    assert not gradient("relu").any()
    assert gradient("leaky-relu").any()
    assert gradient("prelu").any()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"activation": "tanh"}, "--activation is 'tanh', expected one of relu, leaky-relu, prelu"),
        ({"init": "zeros"}, "--init is 'zeros', expected one of kaiming-normal, "),
        ({"dropout": 1.0}, "--dropout is 1.0, expected a share"),
        ({"dropout": float("nan")}, "--dropout is nan"),
    ],
)
def test_options_that_there_are_not_are_refused(options: dict, says: str):
    with pytest.raises(ConfigError, match=says):
        CnnOptions(**options)


def test_samples_that_nothing_would_be_left_of_are_refused():
    with pytest.raises(ConfigError, match="4x4 or more, got 3x24"):
        build_net("simple-cnn", classes=2, size=(3, 24))
