from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.errors import ConfigError
from trainer.checkpoint import load_tensors, save_tensors
from trainer.data import SplitData
from trainer.finetune import begin_with, freeze, tune
from trainer.fit import Training, fit
from trainer.nets import CnnOptions, NetSettings, ReferenceCnn, SimpleCnn, WeightsFile, build_net
from trainer.progress import PlainProgress
from trainer.run_folder import RunFolder
from trainer.settings import FitSettings

BATCH_NORM = CnnOptions(batch_norm=True)


def drawn(classes: int, seed: int, options: CnnOptions = BATCH_NORM) -> SimpleCnn:
    torch.manual_seed(seed)
    return SimpleCnn(classes, options=options)


def saved(network: nn.Module, path: Path) -> WeightsFile:
    save_tensors(path, network.state_dict())
    return WeightsFile.of(path)


class Said(PlainProgress):
    """Keeps the lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_a_network_begins_with_the_weights_of_the_file(tmp_path: Path):
    trained, network = drawn(5, seed=1), drawn(5, seed=2)
    lines = begin_with(network, saved(trained, tmp_path / "w.pt"), classes=5)
    for key, value in trained.state_dict().items():
        assert torch.equal(network.state_dict()[key], value), key
    assert lines == [f"began with the weights in {tmp_path / 'w.pt'}"]


def test_a_head_of_another_number_of_classes_stays_as_drawn_and_is_named(tmp_path: Path):
    trained, network = drawn(10, seed=1), drawn(3, seed=2)
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    lines = begin_with(network, saved(trained, tmp_path / "w.pt"), classes=3)
    for key, value in network.state_dict().items():
        expected = fresh[key] if key.startswith("logits.") else trained.state_dict()[key]
        assert torch.equal(value, expected), key
    assert lines[1:] == ["left as drawn, for 3 classes and not 10: logits.bias, logits.weight"]


def test_googlenets_three_heads_are_all_left_as_drawn(tmp_path: Path):
    weights = saved(build_net("googlenet", 7, (32, 32)), tmp_path / "w.pt")
    lines = begin_with(build_net("googlenet", 4, (32, 32)), weights, classes=4)
    assert "aux1.fc2.bias, aux1.fc2.weight, aux2.fc2.bias, aux2.fc2.weight, fc.bias" in lines[1]


def test_auxiliary_heads_of_the_file_that_the_network_lacks_are_left_out(tmp_path: Path):
    network = build_net("inception_v3", 2, (75, 75))
    state = {**network.state_dict(), "AuxLogits.fc.weight": torch.zeros(1000, 768)}
    save_tensors(tmp_path / "w.pt", state)
    lines = begin_with(network, WeightsFile.of(tmp_path / "w.pt"), classes=2)
    assert lines[1:] == ["without the file's auxiliary heads: AuxLogits.fc.weight"]


def test_weights_of_before_batch_normalisations_counted_are_taken(tmp_path: Path):
    state = dict(drawn(5, seed=1).state_dict())
    for key in [key for key in state if key.endswith("num_batches_tracked")]:
        del state[key]
    save_tensors(tmp_path / "w.pt", state)
    network = drawn(5, seed=2)
    begin_with(network, WeightsFile.of(tmp_path / "w.pt"), classes=5)
    assert torch.equal(network.conv1.weight, state["conv1.weight"])


def test_what_does_not_fit_is_named(tmp_path: Path):
    state = dict(drawn(10, seed=1).state_dict())
    state["stem.weight"] = state.pop("conv1.weight")
    state["conv2.weight"] = torch.zeros(64, 32, 5, 5)
    save_tensors(tmp_path / "w.pt", state)
    with pytest.raises(ConfigError) as refused:
        begin_with(drawn(3, seed=2), WeightsFile.of(tmp_path / "w.pt"), classes=3)
    said = str(refused.value)
    assert "missing: conv1.weight;" in said
    assert "not of this network: stem.weight;" in said
    assert "conv2.weight ([64, 32, 5, 5], expected [64, 32, 3, 3])" in said
    assert "logits" not in said


def test_a_network_of_another_size_is_no_head(tmp_path: Path):
    weights = saved(SimpleCnn(128, (32, 32)), tmp_path / "w.pt")
    with pytest.raises(ConfigError, match=r"hidden\.weight \(\[128, 4096\], expected \[128, 2304"):
        begin_with(SimpleCnn(128, (24, 24)), weights, classes=128)


def test_frozen_layers_stay_bit_for_bit_and_the_others_learn(tmp_path: Path, few_digits: SplitData):
    trained = drawn(3, seed=1)
    settings = FitSettings(
        net="simple-cnn",
        net_settings=NetSettings(
            BATCH_NORM, saved(trained, tmp_path / "w.pt"), ("conv?.*", "norm[12].*")
        ),
    )
    said = Said()
    fit(few_digits, replace(settings, epochs=2), RunFolder(tmp_path / "run"), progress=said)
    learnt = load_tensors(tmp_path / "run" / "last.pt")["network"]
    # Running means and variances too: frozen normalisations don't look at the new data.
    still = {
        key
        for key, value in trained.state_dict().items()
        if value.shape == learnt[key].shape and torch.equal(learnt[key], value)
    }
    assert still == {key for key in learnt if key.startswith(("conv", "norm1", "norm2"))}
    assert said.lines[0] == f"began with the weights in {tmp_path / 'w.pt'}"
    assert "for 10 classes and not 3: logits.bias, logits.weight" in said.lines[1]
    assert said.lines[2] == "frozen: 19,584 of 316,170 parameters; 296,586 learn"


def test_a_frozen_normalisation_computes_as_in_evaluation_while_training(
    tmp_path: Path, few_digits: SplitData
):
    weights = saved(drawn(10, seed=1), tmp_path / "w.pt")
    net_settings = NetSettings(BATCH_NORM, weights, ("norm1.*", "conv*"))
    training = Training(few_digits, FitSettings(net="simple-cnn", net_settings=net_settings))
    training.learn(1, PlainProgress())
    norms = {name: module.training for name, module in training.network.named_modules()}
    assert (norms["norm1"], norms["norm2"], norms["norm3"]) == (False, True, True)


def test_a_normalisation_without_parameters_is_frozen_by_its_name():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.Conv2d(4, 2, 1))
    first = nn.Sequential(network[0], network[1])
    whole = nn.Sequential(first, network[2])
    assert freeze(whole, ["0.*"]) == (network[1],)


@pytest.mark.parametrize(
    ("patterns", "says"),
    [
        (("features.*",), r"'features\.\*' matches no parameter .*conv1\.weight.*'conv1\.\*'"),
        (("conv1.*", "Conv2.*"), r"'Conv2\.\*' matches no parameter"),
        (("*",), r"--freeze \* leaves nothing to learn.*logits\.weight, logits\.bias"),
        (("conv*", "hidden.*", "logits.*"), "leaves nothing to learn"),
    ],
)
def test_patterns_that_freeze_nothing_or_all_are_refused(patterns: tuple[str, ...], says: str):
    with pytest.raises(ConfigError, match=says):
        freeze(ReferenceCnn(), patterns)


def test_without_weights_and_patterns_nothing_happens():
    network = drawn(4, seed=3)
    tuning = tune(network, NetSettings(), classes=4)
    assert (tuning.still, tuning.lines) == ((), ())
    for key, value in drawn(4, seed=3).state_dict().items():
        assert torch.equal(network.state_dict()[key], value), key
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_fine_tuning_is_resumed_to_the_same_weights(tmp_path: Path, few_digits: SplitData):
    net_settings = NetSettings(
        CnnOptions(batch_norm=True, dropout=0.2),
        saved(drawn(3, seed=1), tmp_path / "w.pt"),
        ("conv1.*", "norm1.*"),
    )
    settings = FitSettings(net="simple-cnn", net_settings=net_settings)
    straight, stopped = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "stopped")
    fit(few_digits, replace(settings, epochs=3), straight)
    fit(few_digits, replace(settings, epochs=1), stopped)
    fit(few_digits, replace(settings, epochs=3), stopped, resume=True)
    left, right = load_tensors(straight.last)["network"], load_tensors(stopped.last)["network"]
    for key in left:
        assert torch.equal(left[key], right[key]), key


def test_another_network_is_not_resumed(tmp_path: Path, few_digits: SplitData):
    first = saved(drawn(3, seed=1), tmp_path / "1.pt")
    second = saved(drawn(3, seed=2), tmp_path / "2.pt")
    begun = NetSettings(BATCH_NORM, first, ("conv1.*",))
    run = RunFolder(tmp_path / "run")

    def resume_with(net_settings: NetSettings) -> None:
        settings = FitSettings(net="simple-cnn", epochs=1, net_settings=net_settings)
        fit(few_digits, settings, run, resume=True)

    resume_with(begun)
    resume_with(begun)
    for other, says in (
        (NetSettings(CnnOptions(batch_norm=True, init="default"), first, ("conv1.*",)), "init"),
        (NetSettings(BATCH_NORM, second, ("conv1.*",)), f"weights {first.sha256}"),
        (NetSettings(BATCH_NORM, first), r"freeze \['conv1\.\*'\], now None"),
    ):
        with pytest.raises(ConfigError, match=says):
            resume_with(other)


def test_a_run_of_before_there_were_options_is_resumed(tmp_path: Path, few_digits: SplitData):
    run = RunFolder(tmp_path)
    fit(few_digits, FitSettings(epochs=1), run)
    content = load_tensors(run.last)
    for name in NetSettings().identity():
        del content["identity"][name]
    save_tensors(run.last, content)
    assert len(fit(few_digits, FitSettings(epochs=2), run, resume=True).history) == 2


def test_code_that_changed_since_the_checkpoint_is_said(tmp_path: Path, few_digits: SplitData):
    run = RunFolder(tmp_path)
    settings = FitSettings(net="tests.unit.trainer.networks_of_users:sized", epochs=1)
    fit(few_digits, settings, run)
    content = load_tensors(run.last)
    content["network"]["9.weight"] = content["network"].pop("0.weight")
    save_tensors(run.last, content)
    with pytest.raises(ConfigError, match=r"of another network .*0\.weight.*--run"):
        fit(few_digits, settings, run, resume=True)
