from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trainer.data import SplitData
from trainer.fit import FitSettings, fit
from trainer.run_folder import RunFolder
from trainer.tracking import TensorBoard

ACCUMULATOR = "tensorboard.backend.event_processing.event_accumulator"
ROOT = Path(__file__).parents[3]


def scalars_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads: by name the epochs and values."""
    events = pytest.importorskip(ACCUMULATOR).EventAccumulator(str(folder))
    events.Reload()
    return {
        name: [(each.step, each.value) for each in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def test_tensorboard_reads_each_epoch_of_a_resumed_run_once(tmp_path: Path, few_digits: SplitData):
    pytest.importorskip("tensorboard")
    run = RunFolder(tmp_path)
    for epochs in (2, 3):
        with TensorBoard(run.path) as board:
            settings = FitSettings(epochs=epochs)
            result = fit(few_digits, settings, run, resume=epochs > 2, on_epoch=board.epoch_done)
    found = scalars_of(tmp_path)
    assert [step for step, _ in found["accuracy"]] == [1, 2, 3]
    assert [value for _, value in found["train_loss"]] == pytest.approx(
        [record.train_loss for record in result.history], rel=1e-5
    )
    assert {"heldout_loss", "macro_precision", "macro_recall", "ece"} <= found.keys()


def test_a_run_without_a_new_epoch_writes_no_events(tmp_path: Path):
    pytest.importorskip("tensorboard")
    with TensorBoard(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("package", "arguments"),
    [("tensorboard", ["--tensorboard"]), ("mlflow", ["--mlflow", "sqlite:///mlflow.db"])],
)
def test_without_the_package_the_command_that_installs_it_is_named(
    tmp_path: Path, package: str, arguments: list[str]
):
    arguments = ["trainer", "train", "--run", str(tmp_path), *arguments]
    code = f"""
import sys
sys.modules["{package}"] = None
from trainer.__main__ import main
sys.argv = {arguments}
main()
"""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert f"pip install 'headrace[{package}]'" in ran.stderr
    assert "Traceback" not in ran.stderr
