from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from trainer.data import SplitData
from trainer.fit import EpochReport, FitResult, TrainingStopped, fit
from trainer.mlflow_run import MlflowRun, MlflowTarget
from trainer.run_folder import RunFolder
from trainer.settings import FitSettings

pytest.importorskip("mlflow", reason="the extra headrace[mlflow]")

# MLflow 3.17 with SQLAlchemy 2.1, which deprecates one of its loaders.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*noload.*"),
    pytest.mark.slow,
    pytest.mark.timeout(300),  # MLflow makes its tables in some fifty migrations
]


def target(folder: Path, said: list[str] | None = None) -> MlflowTarget:
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    say = [].append if said is None else said.append
    return MlflowTarget(uri, folder / "run-7", {"net": "reference-cnn", "lr": 0.01}, say)


def trained(data: SplitData, where: MlflowTarget, epochs: int, resume: bool = False) -> FitResult:
    run, settings = RunFolder(where.folder), FitSettings(epochs=epochs)
    with MlflowRun(where) as listener:
        return fit(data, settings, run, resume=resume, on_epoch=listener.epoch_done)


def test_a_resumed_run_goes_on_as_the_same_run_of_mlflow(tmp_path: Path, few_digits: SplitData):
    from mlflow.tracking import MlflowClient

    where = target(tmp_path)
    trained(few_digits, where, epochs=1)
    result = trained(few_digits, where, epochs=3, resume=True)
    client = MlflowClient(tracking_uri=where.uri)
    experiment = client.get_experiment_by_name("headrace")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("run-7", "FINISHED")
    assert run.data.params == {"net": "reference-cnn", "lr": "0.01"}
    history = client.get_metric_history(run.info.run_id, "train_loss")
    assert [(each.step, each.value) for each in history] == [
        (record.epoch, pytest.approx(record.train_loss)) for record in result.history
    ]
    # What is refused before an epoch is over leaves no trace; what fails after one is told: Ctrl-C.
    with pytest.raises(KeyboardInterrupt), MlflowRun(where):
        raise KeyboardInterrupt
    assert client.get_run(run.info.run_id).info.status == "FINISHED"

    def one_epoch_and_ctrl_c(report: EpochReport) -> None:
        listener.epoch_done(report)
        raise KeyboardInterrupt

    settings, folder = FitSettings(epochs=4), RunFolder(where.folder)
    with pytest.raises(TrainingStopped), MlflowRun(where) as listener:
        fit(few_digits, settings, folder, resume=True, on_epoch=one_epoch_and_ctrl_c)
    assert client.get_run(run.info.run_id).info.status == "FAILED"


def test_training_goes_on_when_mlflow_is_lost(tmp_path: Path, few_digits: SplitData):
    said: list[str] = []
    where = target(tmp_path, said)
    with MlflowRun(where) as listener:
        (tmp_path / "mlflow.db").write_bytes(b"no database any more" * 1000)
        settings = FitSettings(epochs=2)
        result = fit(few_digits, settings, RunFolder(where.folder), on_epoch=listener.epoch_done)
    assert len(result.history) == 2
    (line,) = said
    assert line.startswith("training goes on without MLflow")


@pytest.mark.parametrize("uri", ["gopher://somewhere", "sqlite:///{folder}/notes.txt"])
def test_what_is_no_mlflow_is_refused_before_training(tmp_path: Path, uri: str):
    (tmp_path / "notes.txt").write_text("mine" * 1000)
    with pytest.raises(ConfigError, match=r"--mlflow.*sqlite:///FILE"):
        MlflowRun(MlflowTarget(uri.format(folder=tmp_path), tmp_path, {}, [].append))
    assert (tmp_path / "notes.txt").read_text() == "mine" * 1000
