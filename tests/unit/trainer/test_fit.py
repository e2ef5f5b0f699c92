from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch

from pipeline.errors import ConfigError, HeadraceError
from pipeline.preprocess import PreprocessSpec
from tests.support import noise_jpeg
from trainer.checkpoint import load_tensors
from trainer.data import DigitsData, SplitData
from trainer.fit import EpochReport, FitSettings, TrainingStopped, fit
from trainer.image_folder import image_folder
from trainer.nets import ReferenceCnn
from trainer.progress import PlainProgress
from trainer.run_folder import RunFolder
from trainer.served import Normalisation


def settings_for(epochs: int, **changed) -> FitSettings:
    return FitSettings(**{"epochs": epochs, "batch_size": 64, **changed})


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
    with pytest.raises(HeadraceError, match=r"lower --lr than 1000000000\.0"):
        fit(few_digits, settings_for(3, lr=1e9), RunFolder(tmp_path))
    assert not (tmp_path / "best.pt").exists()


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
