from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pipeline.errors import ConfigError
from pipeline.preprocess import PreprocessSpec
from tests.unit.trainer.networks_of_users import WithAuxiliaryHead
from trainer.auxiliary import AuxiliaryLoss
from trainer.data import DigitsData, SplitData
from trainer.export import golden_samples
from trainer.fit import Training
from trainer.nets import auxiliary_weight, build_net, torchvision_nets
from trainer.progress import PlainProgress
from trainer.served import TRAINING_NORMALISATION, ServedNetwork
from trainer.settings import FitSettings
from trainer.torchscript import compile_network, load_torchscript

CLASSES = torch.tensor([0, 2])


def logits(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, generator=torch.Generator().manual_seed(seed))


def test_without_auxiliary_heads_the_loss_is_the_plain_one():
    loss = AuxiliaryLoss(nn.CrossEntropyLoss(), weight=0.4)
    assert torch.equal(loss(logits(0), CLASSES), nn.functional.cross_entropy(logits(0), CLASSES))


def test_auxiliary_heads_count_by_their_weight():
    plain = nn.functional.cross_entropy
    loss = AuxiliaryLoss(nn.CrossEntropyLoss(), weight=0.3)((logits(0), None, logits(1)), CLASSES)
    assert loss.item() == pytest.approx(
        (plain(logits(0), CLASSES) + 0.3 * plain(logits(1), CLASSES)).item()
    )


@pytest.mark.parametrize("outputs", [{"out": logits(0)}, "logits", (None, logits(0))])
def test_what_has_no_logits_first_is_refused(outputs: object):
    with pytest.raises(ConfigError, match="in training, expected logits"):
        AuxiliaryLoss(nn.CrossEntropyLoss(), weight=0.4)(outputs, CLASSES)  # type: ignore[arg-type]


def test_inceptions_head_counts_four_tenths_and_googlenets_three():
    assert auxiliary_weight("inception_v3") == auxiliary_weight("torchvision:inception_v3") == 0.4
    assert auxiliary_weight("googlenet") == 0.3


def test_inception_has_its_auxiliary_head_from_299_pixels_on():
    with torch.device("meta"):
        small = torchvision_nets.build("inception_v3", 3, (298, 400))
        large = torchvision_nets.build("inception_v3", 3, (299, 299))
    assert not any(key.startswith("AuxLogits.") for key in small.state_dict())
    assert any(key.startswith("AuxLogits.") for key in large.state_dict())
    main, auxiliary = large.train()(torch.empty(2, 3, 299, 299, device="meta"))
    assert main.shape == auxiliary.shape == (2, 3)


@pytest.mark.parametrize(
    ("net", "heads", "size"),
    [
        ("googlenet", ("aux1.", "aux2."), 32),
        ("tests.unit.trainer.networks_of_users:WithAuxiliaryHead", ("early.",), 24),
    ],
)
def test_auxiliary_heads_learn_and_are_gone_in_what_is_exported(
    net: str, heads: tuple[str, ...], size: int
):
    spec = PreprocessSpec(width=size, height=size)
    data = SplitData(DigitsData(spec, "train", 16), DigitsData(spec, "heldout", 8), spec)
    training = Training(data, FitSettings(net=net, batch_size=8))
    before = {name: value.clone() for name, value in training.network.state_dict().items()}
    training.learn(1, PlainProgress())
    for head in heads:
        learnt = [
            name
            for name, value in training.network.named_parameters()
            if name.startswith(head) and not torch.equal(value, before[name])
        ]
        assert learnt, head
    samples_nhwc = torch.from_numpy(golden_samples(data.heldout))
    compiled = compile_network(training.served.eval(), samples_nhwc)
    loaded = load_torchscript(compiled.model)
    logits_nk = loaded(samples_nhwc)
    with torch.inference_mode():
        torch.testing.assert_close(logits_nk, training.served(samples_nhwc), atol=1e-4, rtol=0)
    # Frozen weights are constants of the graph; those of the heads aren't among them.
    graph: Any = loaded.graph
    constants = sum(
        node.t("value").numel()
        for node in graph.findAllNodes("prim::Constant", recurse=True)
        if node.hasAttribute("value") and node.kindOf("value") == "t"
    )
    without = sum(
        value.numel()
        for name, value in training.network.state_dict().items()
        if not name.startswith(heads)
    )
    assert constants <= without + 1000
    assert constants > 0.5 * without


def test_a_network_of_the_users_may_give_a_tuple_in_training_alone():
    network = WithAuxiliaryHead()
    served = ServedNetwork(network, TRAINING_NORMALISATION)
    samples_nhwc = torch.zeros(2, 24, 24, 3, dtype=torch.uint8)
    assert isinstance(served.train()(samples_nhwc), tuple)
    assert served.eval()(samples_nhwc).shape == (2, 3)


def test_a_factory_with_an_auxiliary_head_is_built():
    name = "tests.unit.trainer.networks_of_users:WithAuxiliaryHead"
    assert isinstance(build_net(name, classes=4), WithAuxiliaryHead)
