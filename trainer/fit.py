"""Ordinary PyTorch training, in six steps that can be read from top to bottom.

On the CPU with one thread, a run that is killed at any point and resumed ends with the very weights
of a run that wasn't: the order of an epoch's batches depends on the seed and the epoch's number
alone, and the rest of the state is in the run's folder.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer

from pipeline.errors import EXIT_INTERRUPTED, ConfigError, HeadraceError
from trainer.checkpoint import load_tensors
from trainer.data import SplitData, heldout_loader, training_loader
from trainer.evaluate import Evaluation, Predictions, predict
from trainer.nets import build_net
from trainer.progress import PlainProgress, TrainingProgress
from trainer.run_folder import EpochRecord, RunFolder, TrainingState
from trainer.served import TRAINING_NORMALISATION, ServedNetwork

_EPOCHS_PER_SEED = 1_000_003
"""More than anybody trains for, so that no two pairs of seed and epoch share an order."""


_USUAL_LR = {"sgd": 0.01, "adam": 0.001}


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How to train. ``momentum`` is SGD's; Adam has its own."""

    net: str = "reference-cnn"
    epochs: int = 10
    batch_size: int = 64
    optimizer: str = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    seed: int = 0
    workers: int = 0
    device: str = "cpu"

    @classmethod
    def of(cls, optimizer: str, lr: float | None, **rest: Any) -> FitSettings:
        """From the command line: the optimiser checked, and its customary learning rate.

        Raises:
            ConfigError: there is no such optimiser.
        """
        if optimizer not in _USUAL_LR:
            raise ConfigError(f"--optimizer is {optimizer!r}, expected sgd or adam")
        return cls(optimizer=optimizer, lr=_USUAL_LR[optimizer] if lr is None else lr, **rest)

    def identity(self) -> dict[str, Any]:
        """What decides the weights after a given epoch."""
        names = ("net", "batch_size", "optimizer", "lr", "momentum", "seed")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What ``on_epoch`` is told. ``served`` is the network as it is now: don't keep it."""

    record: EpochRecord
    evaluation: Evaluation
    is_best: bool
    served: ServedNetwork


@dataclass(frozen=True, slots=True)
class FitResult:
    """What training came to. ``served`` has the best epoch's weights, on the CPU; ``predictions``
    and ``evaluation`` are its own, of all held-out samples in their order."""

    history: tuple[EpochRecord, ...]
    best: EpochRecord
    predictions: Predictions
    evaluation: Evaluation
    served: ServedNetwork


OnEpoch: TypeAlias = Callable[[EpochReport], None]


class TrainingStopped(HeadraceError):
    """The user stopped training; what was kept is whole."""

    exit_code = EXIT_INTERRUPTED


def build_optimiser(settings: FitSettings, network: nn.Module) -> Optimizer:
    """SGD with momentum, or Adam."""
    if settings.optimizer == "adam":
        return Adam(network.parameters(), lr=settings.lr)
    return SGD(network.parameters(), lr=settings.lr, momentum=settings.momentum)


class Training:
    """A network that learns. Owned by: one thread."""

    def __init__(self, data: SplitData, settings: FitSettings) -> None:
        self._data, self._settings = data, settings
        self._device = torch.device(settings.device)
        # 1 and 2: the network, and its initialisation from the seed.
        torch.manual_seed(settings.seed)
        size = (data.spec.width, data.spec.height)
        self.network = build_net(settings.net, len(data.labels), size)
        self.served = ServedNetwork(self.network, TRAINING_NORMALISATION).to(self._device)
        # 3: the loss.
        self._loss_of = nn.CrossEntropyLoss()
        # 4: the optimiser.
        self.optimiser = build_optimiser(settings, self.network)

    def learn(self, epoch: int, progress: TrainingProgress) -> float:
        """Step 5: one pass over the training data; gives the mean loss.

        Raises:
            HeadraceError: the loss isn't finite any more.
        """
        settings = self._settings
        loader = training_loader(
            self._data.train,
            settings.batch_size,
            epoch_seed=settings.seed * _EPOCHS_PER_SEED + epoch,
            workers=settings.workers,
        )
        self.served.train()
        loss_sum = 0.0
        for batch, (batch_nhwc, classes) in enumerate(loader, start=1):
            logits_nk = self.served(batch_nhwc.to(self._device))
            loss = self._loss_of(logits_nk, classes.to(self._device))
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            loss_sum += loss.item()
            progress.batch_done(epoch, batch, len(loader), loss_sum / batch)
        if not math.isfinite(loss_sum):
            raise HeadraceError(
                f"the loss became {loss_sum} in epoch {epoch}: training diverged."
                f" Begin anew with a lower --lr than {settings.lr}."
            )
        return loss_sum / len(loader)

    def judge(self) -> Evaluation:
        """Step 6: inference on held-out data."""
        return Evaluation.of(self.predict())

    def predict(self) -> Predictions:
        """Runs the network over all held-out data."""
        loader = heldout_loader(self._data.heldout, workers=self._settings.workers)
        return predict(self.served, loader, self._data.labels, self._device)


def fit(
    data: SplitData,
    settings: FitSettings,
    run: RunFolder,
    resume: bool = False,
    progress: TrainingProgress | None = None,
    on_epoch: OnEpoch | None = None,
) -> FitResult:
    """Trains, keeps the best epoch and the last in ``run``, and gives the best.

    Raises:
        ConfigError: there is no such network, or ``resume`` meets other settings or data.
        HeadraceError: the loss isn't finite any more, or the run's folder can't be written.
        TrainingStopped: Ctrl-C.
    """
    progress = progress or PlainProgress()
    training = Training(data, settings)
    state = TrainingState(training.network, training.optimiser)
    identity = {
        **settings.identity(),
        "labels": list(data.labels),
        "data": data.digest,
        "preprocess": data.spec.model_dump(),
    }
    run.begin({**identity, "epochs": settings.epochs})
    if resume and run.has_checkpoint:
        run.restore_last(state, identity)
        progress.say(f"resumed after epoch {state.epoch} of {settings.epochs} in {run.path}")
    elif resume:
        progress.say(f"no epoch is kept in {run.path}: beginning with the first")
    try:
        while state.epoch < settings.epochs:
            report = _one_epoch(training, state, progress)
            # The best first: if death comes between the two, the epoch is simply done again.
            if report.is_best:
                run.save_best(state.network)
            run.save_last(state, identity)
            progress.say(_line(report, settings.epochs))
            if on_epoch is not None:
                on_epoch(report)
    except KeyboardInterrupt as cause:
        raise TrainingStopped(
            f"stopped; the epochs that were over are kept in {run.path}."
            f" The same command with --resume --run {run.path} goes on."
        ) from cause
    return _best_of(run, training, state)


def _one_epoch(training: Training, state: TrainingState, progress: TrainingProgress) -> EpochReport:
    started = time.monotonic()
    epoch = state.epoch + 1
    train_loss = training.learn(epoch, progress)
    evaluation = training.judge()
    record = EpochRecord(
        epoch, train_loss, evaluation.loss, evaluation.accuracy, time.monotonic() - started
    )
    is_best = evaluation.accuracy > state.best_accuracy
    state.best_accuracy = max(state.best_accuracy, evaluation.accuracy)
    state.history.append(record)
    return EpochReport(record, evaluation, is_best, training.served)


def _line(report: EpochReport, epochs: int) -> str:
    record = report.record
    return (
        f"epoch {record.epoch}/{epochs}: loss {record.train_loss:.4f}, held-out loss"
        f" {record.heldout_loss:.4f}, accuracy {record.accuracy:.1%},"
        f" {record.duration_s:.1f} s{', best so far' if report.is_best else ''}"
    )


def _best_of(run: RunFolder, training: Training, state: TrainingState) -> FitResult:
    training.network.load_state_dict(load_tensors(run.best))
    predictions = training.predict()
    evaluation = Evaluation.of(predictions)
    best = max(state.history, key=lambda record: record.accuracy)
    training.served.to("cpu")
    return FitResult(tuple(state.history), best, predictions, evaluation, training.served)
