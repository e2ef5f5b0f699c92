"""`headrace train`: data, a run's folder, training, and an artifact if one is wanted."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifact.artifact import Draft
from pipeline.artifact.manifest import Contract, Manifest
from pipeline.artifact.reference import Reference
from pipeline.errors import ConfigError
from pipeline.preprocess import PreprocessSpec
from pipeline.probe.verified import patient_probe
from pipeline.types import Task
from trainer.balance import lines_on_classes
from trainer.calibration import Calibration, calibrate
from trainer.data import DIGITS_TRAIN, SplitData
from trainer.distributed import FollowedRun, Ranks
from trainer.evaluate import Predictions
from trainer.export import About, golden_samples, make_draft
from trainer.fit import EpochReport, FitResult, fit
from trainer.gate import DEFAULT_GATE, GateSettings
from trainer.gated import Gate, Gated
from trainer.incumbent import Heldout
from trainer.load import DataChoice, load_data
from trainer.mlflow_run import MlflowRun, MlflowTarget
from trainer.nets import check_net
from trainer.options import Target
from trainer.progress import SilentProgress, TrainingProgress, progress_for_stderr
from trainer.reference import reference_of
from trainer.report import write_report
from trainer.run_folder import EpochRecord, RunFolder
from trainer.served import CalibratedNetwork
from trainer.settings import FitSettings
from trainer.tracking import EpochListener, TensorBoard

_RUNS = Path("runs")


@dataclass(frozen=True, slots=True)
class TrainJob:
    """What `headrace train` was asked for.

    ``data`` is ``digits``, an image folder or a table of pictures; ``train_samples`` is of
    ``digits`` alone, ``targets`` of tables: see ``image_table``. Without ``run`` a new folder below
    ``runs/`` is made, or with ``resume`` the newest one goes on. ``task`` is None where the
    data say it.
    """

    data: str
    spec: PreprocessSpec
    settings: FitSettings
    run: Path | None = None
    resume: bool = False
    train_samples: int = DIGITS_TRAIN
    target: Target | None = None
    calibrate: bool = True
    tensorboard: bool = False
    mlflow: str | None = None
    gate: GateSettings = DEFAULT_GATE
    targets: tuple[str, ...] = ()
    task: Task | None = None


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """What came of it. ``best`` is the epoch that was kept and published, ``calibration`` how it
    does on held-out data; ``gated`` is None where nothing was to be published."""

    epochs: int
    best: EpochRecord
    calibration: Calibration
    run: Path
    gated: Gated | None
    duration_s: float

    @property
    def published(self) -> Manifest | None:
        """The new version, if there is one."""
        return self.gated and self.gated.published

    def check(self) -> None:
        """Raises what is to be said last.

        Raises:
            PublishRefused: the gate refused what was trained.
        """
        if self.gated is not None:
            self.gated.check(
                f"The run is kept: the same command with --resume --run {self.run}"
                " --even-if-worse publishes it all the same"
            )

    def __str__(self) -> str:
        said = (
            f"{self.best.achieved} on held-out data"
            f" (epoch {self.best.epoch} of {self.epochs}), kept in {self.run}\n{self.calibration}"
        )
        if self.published is not None:
            new = self.published
            said += f"\npublished {new.name}@{new.version}, sha256 {new.sha256}"
        return said

    def to_dict(self) -> dict[str, Any]:
        """The one-line JSON summary; all figures are the best epoch's."""
        published = self.published
        figures = figures_of(self.calibration)
        return {
            "epochs": self.epochs,
            "train_loss": round(self.best.train_loss, 6),
            **{name: round(value, 6) for name, value in figures.items()},
            "run": str(self.run),
            "published": published
            and {
                "name": published.name,
                "version": published.version,
                "sha256": published.sha256,
            },
            "gate": self.gated and self.gated.to_dict(),
            "duration_s": round(self.duration_s, 3),
        }


def train(job: TrainJob) -> TrainSummary:
    """Trains as ``job`` says, on the data that it names. See ``train_on``.

    Raises:
        HeadraceError: see ``train_on`` and ``load_data``.
    """

    choice = DataChoice(job.data, job.train_samples, job.settings.seed, job.targets, job.task)
    return train_on(job, lambda progress: load_data(choice, job.spec, progress))


def _of_heldout(data: SplitData, predictions: Predictions) -> Reference:
    return reference_of(data.heldout, predictions)


def train_on(
    job: TrainJob,
    load: Callable[[TrainingProgress], SplitData],
    refer: Callable[[SplitData, Predictions], Reference] = _of_heldout,
) -> TrainSummary:
    """Trains on what ``load`` gives; progress goes to stderr. Of several processes the first one
    alone says something, writes and publishes. ``refer`` makes the manifest's reference of the data
    and of what is predicted of its held-out samples.

    Raises:
        HeadraceError: see ``fit``, ``write_report``, ``make_draft`` and ``Gate.publish``.
    """
    started = time.monotonic()
    check_net(job.settings.net, (job.spec.width, job.spec.height), job.settings.net_settings)
    run, is_first = _run_folder(job), Ranks.current().is_first
    if not is_first:
        run = FollowedRun(run.path)
    with ExitStack() as opened:
        progress = opened.enter_context(progress_for_stderr() if is_first else SilentProgress())
        wanted = _listeners(job, run, progress) if is_first else []
        listeners = [opened.enter_context(each) for each in wanted]

        def on_epoch(report: EpochReport) -> None:
            for listener in listeners:
                listener.epoch_done(report)

        data = load(progress)
        for line in lines_on_classes(data.train, job.settings.balance):
            progress.say(line)
        result = fit(data, job.settings, run, job.resume, progress, on_epoch)
        calibration = _judge(job, result)
        gated = None
        if is_first:
            write_report(run.path, result.history, result.best.epoch, calibration)
        if is_first and job.target:
            draft, heldout = _draft(job, job.target, data, result, calibration, refer)
            probe = opened.enter_context(patient_probe())
            gated = Gate(job.target, draft, heldout, job.gate, probe, progress.say).publish()
    return TrainSummary(
        epochs=len(result.history),
        best=result.best,
        calibration=calibration,
        run=run.path,
        gated=gated,
        duration_s=time.monotonic() - started,
    )


def _listeners(job: TrainJob, run: RunFolder, progress: TrainingProgress) -> list[EpochListener]:
    listeners: list[EpochListener] = []
    if job.tensorboard:
        listeners.append(TensorBoard(run.path))
    if job.mlflow is not None:
        settings = {**job.settings.identity(), "data": Path(job.data).name}
        listeners.append(MlflowRun(MlflowTarget(job.mlflow, run.path, settings, progress.say)))
    return listeners


def _run_folder(job: TrainJob) -> RunFolder:
    if job.run is not None:
        run = RunFolder(job.run)
        if job.run.exists() and not job.run.is_dir():
            raise ConfigError(
                f"--run is {job.run}, which is no folder. Give a folder, or a new name."
            )
        if run.has_checkpoint and not job.resume:
            raise ConfigError(
                f"{job.run} holds a run already. Go on with --resume, or give another --run."
            )
        return run
    name = job.target.name if job.target else job.settings.net.replace(":", "-")
    number, free, newest = 1, RunFolder(_RUNS / name), RunFolder(_RUNS / name)
    while free.has_checkpoint:
        number += 1
        newest, free = free, RunFolder(_RUNS / f"{name}-{number}")
    return newest if job.resume else free


def _judge(job: TrainJob, result: FitResult) -> Calibration:
    """On the samples that also chose the epoch, so the figures are a little flattered."""
    return calibrate(result.predictions) if job.calibrate else Calibration.none(result.evaluation)


def figures_of(calibration: Calibration) -> dict[str, float]:
    """How the network that is published does on held-out data, as manifest and summary name it."""
    figures = calibration.after.figures
    if calibration.after.task == "regression":
        return figures
    return {**figures, "temperature": calibration.temperature}


def _draft(
    job: TrainJob,
    target: Target,
    data: SplitData,
    result: FitResult,
    calibration: Calibration,
    refer: Callable[[SplitData, Predictions], Reference],
) -> tuple[Draft, Heldout]:
    """What is to be published, and what it is compared by."""
    predictions = result.predictions.at(calibration.temperature)
    about = About(
        name=target.name,
        contract=Contract.of(data.labels, data.spec, data.task),
        metrics={
            **figures_of(calibration),
            "heldout_loss": calibration.after.loss,
            "heldout_samples": calibration.after.samples,
            "train_loss": result.best.train_loss,
            "epoch": result.best.epoch,
        },
        notes={
            "net": job.settings.net,
            "data": Path(job.data).name,
            "data_sha256": data.digest,
            **job.settings.notes(),
        },
        reference=refer(data, predictions),
    )
    # Without a temperature the artifact has the very bytes that it would have without this step.
    served = (
        result.served
        if calibration.temperature == 1
        else CalibratedNetwork(result.served, calibration.temperature)
    )
    draft = make_draft(served, golden_samples(data.heldout), about, target.formats)
    return draft, Heldout(data.heldout, predictions, job.settings.device)
