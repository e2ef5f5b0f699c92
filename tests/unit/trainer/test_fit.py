from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from pipeline.errors import ConfigError, HeadraceError
from pipeline.preprocess import PreprocessSpec
from tests.devices import CUDA
from tests.support import noise_jpeg
from trainer.checkpoint import load_tensors
from trainer.data import DigitsData, SplitData
from trainer.fit import EpochReport, Training, TrainingStopped, fit
from trainer.image_folder import image_folder
from trainer.nets import ReferenceCnn
from trainer.progress import PlainProgress
from trainer.run_folder import RunFolder
from trainer.served import TRAINING_NORMALISATION, Normalisation, ServedNetwork
from trainer.settings import FitSettings


def settings_for(epochs: int, **changed: Any) -> FitSettings:
    return FitSettings(**{"epochs": epochs, "batch_size": 64, **changed})


def quietly(epoch: int, training: Training) -> float:
    return training.learn(epoch, PlainProgress()).loss


def assert_same_checkpoint(one: RunFolder, other: RunFolder) -> None:
    for name in ("best", "last"):
        left, right = load_tensors(getattr(one, name)), load_tensors(getattr(other, name))
        left, right = left.get("network", left), right.get("network", right)
        assert left.keys() == right.keys()
        for key in left:
            assert torch.equal(left[key], right[key]), (name, key)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_six_steps_learn_digits(tmp_path: Path, few_digits: SplitData):
    spec = few_digits.spec
    data = SplitData(DigitsData(spec, "train", 3500), DigitsData(spec, "heldout", 300), spec)
    run = RunFolder(tmp_path)
    settings = FitSettings(optimizer="adam", lr=0.001, batch_size=32, epochs=6)
    result = fit(data, settings, run)
    assert result.history[-1].train_loss < 0.3 * result.history[0].train_loss
    assert result.best.accuracy > 0.9
    assert result.evaluation.accuracy == pytest.approx(result.best.accuracy)
    assert result.evaluation.samples == 300
    lines = [json.loads(line) for line in run.history.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_by_default_training_is_the_plain_loop_bit_for_bit(few_digits: SplitData):
    settings = settings_for(2)
    torch.manual_seed(settings.seed)
    network = ReferenceCnn()
    served = ServedNetwork(network, TRAINING_NORMALISATION).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    for epoch in (1, 2):
        order = torch.Generator().manual_seed(epoch)
        loader = DataLoader(few_digits.train, batch_size=64, shuffle=True, generator=order)
        for batch_nhwc, classes in loader:
            loss = nn.functional.cross_entropy(served(batch_nhwc), classes)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    training = Training(few_digits, settings)
    for epoch in (1, 2):
        quietly(epoch, training)
    for key, value in network.state_dict().items():
        assert torch.equal(training.network.state_dict()[key], value), key


def test_accumulated_batches_learn_as_one_large_batch(few_digits: SplitData):
    large = Training(few_digits, settings_for(1, batch_size=128))
    small = Training(few_digits, settings_for(1, batch_size=32, accumulate=4))
    for epoch in (1, 2):  # 300 samples: the last step is of 44, in batches of 32 and 12
        quietly(epoch, large)
        quietly(epoch, small)
    for key, value in large.network.state_dict().items():
        torch.testing.assert_close(small.network.state_dict()[key], value, msg=key)


def test_channels_last_learns_the_same_and_is_published_as_usual(
    tmp_path: Path, few_digits: SplitData
):
    usual = fit(few_digits, settings_for(2), RunFolder(tmp_path / "usual"))
    turned = fit(few_digits, settings_for(2, channels_last=True), RunFolder(tmp_path / "turned"))
    assert turned.best.train_loss == pytest.approx(usual.best.train_loss, rel=1e-4)
    assert all(each.is_contiguous() for each in turned.served.parameters())
    training = Training(few_digits, settings_for(1, channels_last=True))
    quietly(1, training)
    kernel = training.network.get_parameter("conv2.weight")
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert kernel.grad is None  # a step leaves no gradient in memory


@pytest.mark.parametrize("device", [CUDA])
def test_on_a_gpu_samples_come_from_workers_by_pinned_memory(few_digits: SplitData, device: str):
    alone = quietly(1, Training(few_digits, settings_for(1, augment=("flip",))))
    moved = Training(few_digits, settings_for(1, augment=("flip",), workers=2, device=device))
    assert quietly(1, moved) == pytest.approx(alone, rel=1e-3)
    assert moved.predict().logits_nk.device.type == "cpu"


def test_a_clipped_gradient_is_recorded_as_it_was_before(tmp_path: Path, few_digits: SplitData):
    free = fit(few_digits, settings_for(1), RunFolder(tmp_path / "free"))
    clipped = fit(few_digits, settings_for(1, clip_norm=0.01), RunFolder(tmp_path / "clipped"))
    assert free.best.gradient_norm is not None
    assert clipped.best.gradient_norm is not None
    assert clipped.best.gradient_norm > 0.01
    assert clipped.best.train_loss > free.best.train_loss


def test_an_epochs_line_has_the_learning_rate_and_the_gradients_norm(
    tmp_path: Path, few_digits: SplitData
):
    run = RunFolder(tmp_path)
    fit(few_digits, settings_for(3, schedule="step"), run)
    lines = [json.loads(line) for line in run.history.read_text().splitlines()]
    assert [line["learning_rate"] for line in lines] == pytest.approx([0.01, 0.001, 0.0001])
    assert all(line["gradient_norm"] > 0 for line in lines)


def test_the_best_epoch_is_kept_as_a_state_dict(tmp_path: Path, few_digits: SplitData):
    run, reports = RunFolder(tmp_path), list[EpochReport]()
    result = fit(few_digits, settings_for(3), run, on_epoch=reports.append)
    ReferenceCnn().load_state_dict(load_tensors(run.best))
    best = max(report.record.accuracy for report in reports)
    assert result.best.accuracy == best
    assert [report.record.epoch for report in reports] == [1, 2, 3]
    assert sum(report.is_best for report in reports) >= 1


def test_a_run_resumed_between_any_two_writes_ends_as_if_it_had_not_been_killed(
    tmp_path: Path, few_digits: SplitData
):
    straight, killed = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "killed")
    fit(few_digits, settings_for(4), straight)
    fit(few_digits, settings_for(2), killed)
    # As a kill leaves it between the two writes of epoch 3, and in the middle of one.
    shutil.copy(straight.best, killed.best)
    partial = tmp_path / "killed" / ".last.pt.4711.tmp"
    partial.write_bytes(b"half")
    killed.history.write_text("{}\n{}\n{}\n")
    fit(few_digits, settings_for(4), killed, resume=True)
    assert_same_checkpoint(straight, killed)
    assert not partial.exists()
    assert len(killed.history.read_text().splitlines()) == 4


def test_adams_moments_are_resumed_too(tmp_path: Path, few_digits: SplitData):
    straight, stopped = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "stopped")
    adam = {"optimizer": "adam", "lr": 0.001}
    fit(few_digits, settings_for(3, **adam), straight)
    fit(few_digits, settings_for(1, **adam), stopped)
    fit(few_digits, settings_for(3, **adam), stopped, resume=True)
    assert_same_checkpoint(straight, stopped)


class _Said(PlainProgress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_training_ends_early_and_more_patience_goes_on(tmp_path: Path, few_digits: SplitData):
    # Nothing is learnt at a rate of 0: only the first epoch is a gain.
    straight, stopped, said = RunFolder(tmp_path / "a"), RunFolder(tmp_path / "b"), _Said()
    first = fit(few_digits, settings_for(9, lr=0.0, patience=2), stopped, progress=said)
    assert len(first.history) == 3
    assert "2 epochs without gain: stopped early" in said.lines
    again = fit(few_digits, settings_for(9, lr=0.0, patience=2), stopped, resume=True)
    assert len(again.history) == 3
    more = fit(few_digits, settings_for(9, lr=0.0, patience=4), stopped, resume=True)
    assert len(more.history) == 5
    fit(few_digits, settings_for(9, lr=0.0, patience=4), straight)
    assert_same_checkpoint(straight, stopped)


def test_resuming_a_run_that_is_over_gives_its_best_again(tmp_path: Path, few_digits: SplitData):
    run = RunFolder(tmp_path)
    first = fit(few_digits, settings_for(2), run)
    again = fit(few_digits, settings_for(2), run, resume=True)
    assert again.history == first.history
    assert again.evaluation == first.evaluation


def test_other_settings_or_data_are_not_resumed(tmp_path: Path, few_digits: SplitData):
    run = RunFolder(tmp_path)
    fit(few_digits, settings_for(1), run)
    with pytest.raises(ConfigError, match=r"batch_size 64, now 32.*--run"):
        fit(few_digits, settings_for(2, batch_size=32), run, resume=True)
    with pytest.raises(ConfigError, match="schedule constant, now cosine over 2 epochs"):
        fit(few_digits, settings_for(2, schedule="cosine"), run, resume=True)
    assert json.loads((tmp_path / "run.json").read_text())["schedule"] == "constant"
    other = SplitData(few_digits.heldout, few_digits.train, few_digits.spec)
    with pytest.raises(ConfigError, match="data"):
        fit(other, settings_for(2), run, resume=True)


def test_pictures_that_are_prepared_in_another_way_are_not_resumed(tmp_path: Path):
    pictures = tmp_path / "pictures"
    for label in ("cat", "dog"):
        for number in range(8):
            where = pictures / ("val" if number % 2 else "train") / label
            where.mkdir(parents=True, exist_ok=True)
            (where / f"{number}.jpg").write_bytes(noise_jpeg(seed=number))
    spec = PreprocessSpec(width=24, height=24)
    run = RunFolder(tmp_path / "run")
    fit(image_folder(pictures, spec)[0], settings_for(1), run)
    by_areas = image_folder(pictures, spec.model_copy(update={"interpolation": "area"}))[0]
    with pytest.raises(ConfigError, match=r"preprocess .*'pyramid'.*, now .*'area'.*--run"):
        fit(by_areas, settings_for(2), run, resume=True)


def as_the_first_format(run: RunFolder) -> None:
    """Rewrites a run as it was kept before there were schedules."""
    content = load_tensors(run.last)
    young = ("learning_rate", "gradient_norm")
    history = [{k: v for k, v in row.items() if k not in young} for row in content["history"]]
    known = ("net", "batch_size", "optimizer", "lr", "momentum", "seed")
    known = (*known, "labels", "data", "preprocess")
    (group,) = content["optimiser"]["param_groups"]
    del group["initial_lr"]
    old = {
        "format": "headrace.run/1",
        "identity": {name: content["identity"][name] for name in known},
        "network": content["network"],
        "optimiser": content["optimiser"],
        "history": history,
        "best_accuracy": max(row["accuracy"] for row in history),
        "rng": content["random"]["torch"],
        "rng_cuda": content["random"]["cuda"],
    }
    torch.save(old, run.last)


def test_a_run_of_the_first_format_goes_on_as_if_it_were_of_this_one(
    tmp_path: Path, few_digits: SplitData
):
    straight, old = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "old")
    fit(few_digits, settings_for(3), straight)
    fit(few_digits, settings_for(1), old)
    as_the_first_format(old)
    with pytest.raises(ConfigError, match=r"clip_norm None, now 1\.0"):
        fit(few_digits, settings_for(3, clip_norm=1.0), old, resume=True)
    result = fit(few_digits, settings_for(3), old, resume=True)
    assert_same_checkpoint(straight, old)
    rates = [record.learning_rate for record in result.history]
    assert rates == [None, 0.01, 0.01]


def test_a_damaged_checkpoint_is_named(tmp_path: Path, few_digits: SplitData):
    run = RunFolder(tmp_path)
    fit(few_digits, settings_for(1), run)
    run.last.write_bytes(run.last.read_bytes()[:2000])
    with pytest.raises(ConfigError, match=r"last\.pt can't be read"):
        fit(few_digits, settings_for(2), run, resume=True)
    torch.save({"something": 1}, run.last)
    with pytest.raises(ConfigError, match="isn't a checkpoint of"):
        fit(few_digits, settings_for(2), run, resume=True)


def test_a_loss_that_diverges_says_so(tmp_path: Path, few_digits: SplitData):
    says = r"became \S+ in batch [23] of epoch 1: .* lower --lr than 1e\+30 or --clip-norm 1"
    with pytest.raises(HeadraceError, match=says):
        fit(few_digits, settings_for(3, lr=1e30), RunFolder(tmp_path))
    assert not (tmp_path / "best.pt").exists()


def test_a_loss_that_diverges_though_it_is_clipped_says_what_to_lower(few_digits: SplitData):
    training = Training(few_digits, settings_for(1, lr=1e38, clip_norm=5.0))
    with pytest.raises(HeadraceError, match=r"a lower --clip-norm than 5\.0"):
        quietly(1, training)


class _CtrlC(PlainProgress):
    """Presses Ctrl-C in the middle of the second epoch."""

    def batch_done(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        if (epoch, batch) == (2, 2):
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_keeps_whole_epochs_and_says_how_to_go_on(tmp_path: Path, few_digits: SplitData):
    run = RunFolder(tmp_path)
    with pytest.raises(TrainingStopped, match=f"--resume --run {tmp_path}") as stopped:
        fit(few_digits, settings_for(3), run, progress=_CtrlC())
    assert stopped.value.exit_code == 130
    assert len(load_tensors(run.last)["history"]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.pt",
        "history.jsonl",
        "last.pt",
        "run.json",
    ]


def test_a_run_that_cannot_be_written_is_a_clear_error(tmp_path: Path, few_digits: SplitData):
    (tmp_path / "file").write_text("")
    with pytest.raises(HeadraceError, match=r"can't be made: .*--run"):
        fit(few_digits, settings_for(1), RunFolder(tmp_path / "file" / "run"))


def test_a_spread_of_zero_is_refused():
    with pytest.raises(ConfigError, match="above 0"):
        Normalisation(std=(1.0, 0.0, 1.0))
