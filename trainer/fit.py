"""Ordinary PyTorch training, in six steps that can be read from top to bottom.

On the CPU with one thread, a run that is killed at any point and resumed ends with the very weights
of a run that wasn't: the order of an epoch's batches depends on the seed and the epoch's number
alone, and the rest of the state is in the run's folder. The choices are in files of their own:
``settings``, ``optimiser``, ``schedule``, ``precision``, ``steps`` and ``early_stopping``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from pipeline.errors import EXIT_INTERRUPTED, ConfigError, HeadraceError
from trainer.auxiliary import AuxiliaryLoss
from trainer.balance import balanced
from trainer.batches import TrainingBatches, naming_lost_workers
from trainer.checkpoint import load_tensors
from trainer.data import SplitData, heldout_loader
from trainer.distributed import Ranks
from trainer.early_stopping import EarlyStopping
from trainer.evaluate import Predictions, predict
from trainer.finetune import tune
from trainer.nets import auxiliary_weight, build_net
from trainer.optimiser import build_optimiser, clip_gradient
from trainer.precision import Precision
from trainer.progress import PlainProgress, TrainingProgress
from trainer.randomness import seed_all
from trainer.run_folder import EpochRecord, RunFolder, TrainingState
from trainer.schedule import Schedule
from trainer.served import ServedNetwork
from trainer.settings import FitSettings
from trainer.steps import StepPlan
from trainer.tasks import AnyEvaluation, evaluate, loss_of

_EPOCHS_PER_SEED = 1_000_003
"""More than anybody trains for, so that no two pairs of seed and epoch share an order."""


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What ``on_epoch`` is told. ``served`` is the network as it is now: don't keep it."""

    record: EpochRecord
    evaluation: AnyEvaluation
    is_best: bool
    served: ServedNetwork


@dataclass(frozen=True, slots=True)
class FitResult:
    """What training came to. ``served`` has the best epoch's weights, on the CPU; ``predictions``
    and ``evaluation`` are its own, of all held-out samples in their order."""

    history: tuple[EpochRecord, ...]
    best: EpochRecord
    predictions: Predictions
    evaluation: AnyEvaluation
    served: ServedNetwork


OnEpoch: TypeAlias = Callable[[EpochReport], None]


class TrainingStopped(HeadraceError):
    """The user stopped training; what was kept is whole."""

    exit_code = EXIT_INTERRUPTED


@dataclass(frozen=True, slots=True)
class Learnt:
    """What one pass over the training data came to. ``loss`` is the mean of ``loss_of``.

    ``learning_rate`` is the last step's; ``gradient_norm`` the steps' mean L2 norm before clipping,
    None if fp16's scaler left out all steps.
    """

    loss: float
    learning_rate: float
    gradient_norm: float | None


class Training:
    """A network that learns. Owned by: one thread."""

    def __init__(self, data: SplitData, settings: FitSettings) -> None:
        self._data, self._settings = data, settings
        self._device = torch.device(settings.device)
        # 1 and 2: the network, and its initialisation from the seed.
        seed_all(settings.seed)
        size = (data.spec.width, data.spec.height)
        self.network = build_net(settings.net, len(data.labels), size, settings.net_settings)
        self.tuning = tune(self.network, settings.net_settings, len(data.labels))
        normalisation = settings.net_settings.normalisation
        self.served = ServedNetwork(self.network, normalisation).to(self._device)
        if settings.channels_last:  # the planes follow: a convolution takes its weight's layout
            self.network.to(memory_format=torch.channels_last)
        # 3: the loss, and what it is computed in.
        loss = balanced(loss_of(data.task), data.train, settings.balance)
        self._loss_of = AuxiliaryLoss(loss, auxiliary_weight(settings.net)).to(self._device)
        self.precision = Precision(settings.precision, self._device)
        # 4: the optimiser, and how its learning rate goes.
        self.optimiser = build_optimiser(self.network, settings)
        # The batches, of which each process learns from its share.
        self._ranks = Ranks.current()
        self._learner = self._ranks.learner(self.served, self._device)
        self._batches = TrainingBatches(data.train, settings, self._ranks)
        self.schedule = Schedule(self.optimiser, settings, self._plan().steps)

    def learn(self, epoch: int, progress: TrainingProgress) -> Learnt:
        """Step 5: one pass over the training data.

        Raises:
            HeadraceError: the loss or its gradient isn't finite any more.
        """
        epoch_seed = self._settings.seed * _EPOCHS_PER_SEED + epoch
        self._ranks.draw_apart(epoch_seed)
        loader, plan = self._batches.epoch(epoch_seed), self._plan()
        self.served.train()
        self.tuning.keep_still()
        loss_sum, norms = 0.0, list[float]()
        learning_rate = self.schedule.learning_rate
        for batch, (batch_nhwc, targets) in enumerate(loader, start=1):
            part = self._ranks.part(plan.in_batch(batch))
            with self._ranks.summing(self._learner, plan.ends_step(batch)):
                loss = self._loss(self._moved(batch_nhwc), self._moved(targets))
                # The ranks' gradients are averaged, and are to be added.
                self.precision.backward(loss * (plan.share(batch) * part * self._ranks.count))
            loss_sum += self._finite("loss", self._ranks.total(loss.detach() * part), epoch, batch)
            if plan.ends_step(batch):
                learning_rate = self.schedule.learning_rate
                norm = self._step()
                if norm is not None:
                    norms.append(self._finite("gradient's norm", norm, epoch, batch))
            progress.batch_done(epoch, batch, len(loader), loss_sum / batch)
        gradient_norm = sum(norms) / len(norms) if norms else None
        return Learnt(loss_sum / len(loader), learning_rate, gradient_norm)

    def _plan(self) -> StepPlan:
        settings = self._settings
        return StepPlan(self._batches.samples, settings.batch_size, settings.accumulate)

    def _moved(self, tensor: Tensor) -> Tensor:
        """From pinned memory the copy goes on while the CPU does."""
        return tensor.to(self._device, non_blocking=True)

    def _loss(self, batch_nhwc: Tensor, targets: Tensor) -> Tensor:
        try:
            with self.precision.autocast():
                outputs = self._learner(batch_nhwc)
        except ValueError as cause:  # a normalisation over one value
            raise ConfigError(
                f"the network can't learn from a batch of {len(batch_nhwc)}: {cause}. Take a larger"
                " --batch-size, or more pictures."
            ) from cause
        return self._loss_of(outputs, targets)

    def _step(self) -> Tensor | None:
        """Gives the gradient's norm, None if fp16's scaler left the step out."""
        self.precision.unscale(self.optimiser)
        norm = clip_gradient(self.network, self._settings.clip_norm)
        stepped = self.precision.step(self.optimiser)
        self.optimiser.zero_grad()
        if not stepped:
            return None
        self.schedule.step_done()
        return norm

    def _finite(self, what: str, value: Tensor, epoch: int, batch: int) -> float:
        number = value.item()
        if not math.isfinite(number):
            raise HeadraceError(
                f"the {what} became {number} in batch {batch} of epoch {epoch}: training diverged."
                f" Begin anew with {_milder(self._settings)}."
            )
        return number

    def judge(self) -> AnyEvaluation:
        """Step 6: inference on held-out data."""
        return evaluate(self.predict())

    def predict(self) -> Predictions:
        """Runs the network over all held-out data."""
        workers, pinned = self._settings.workers, self._device.type == "cuda"
        loader = heldout_loader(self._data.heldout, workers=workers, pinned=pinned)
        return self._ranks.from_first(
            lambda: predict(self.served, loader, self._data.labels, self._device, self._data.task)
        )


def _milder(settings: FitSettings) -> str:
    clip_norm = settings.clip_norm
    ways = [
        f"a lower --lr than {settings.lr}",
        "--clip-norm 1" if clip_norm is None else f"a lower --clip-norm than {clip_norm}",
    ]
    if settings.precision == "fp16":
        ways.append("--precision bf16")
    return " or ".join(ways)


def identity_of(data: SplitData, settings: FitSettings) -> dict[str, Any]:
    """What a resumed run must have in common with its beginning."""
    return {
        **settings.identity(),
        "task": data.task,
        "labels": list(data.labels),
        "data": data.digest,
        "preprocess": data.spec.model_dump(),
    }


@naming_lost_workers()
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
    state = TrainingState(
        training.network, training.optimiser, training.schedule, training.precision
    )
    identity = identity_of(data, settings)
    if resume and run.has_checkpoint:
        run.restore_last(state, identity)
        progress.say(f"resumed after epoch {state.epoch} of {settings.epochs} in {run.path}")
    elif resume:
        progress.say(f"no epoch is kept in {run.path}: beginning with the first")
    Ranks.current().check_same({"data": identity["data"], "number of epochs kept": state.epoch})
    # Only now: a resume that is refused leaves the run's own description in place.
    run.begin({**identity, "epochs": settings.epochs})
    stopping = EarlyStopping(settings.patience, settings.min_delta)
    if not state.epoch:
        for line in training.tuning.lines:
            progress.say(line)
    try:
        while state.epoch < settings.epochs:
            if stopping.is_due([record.goal for record in state.history]):
                progress.say(f"{settings.patience} epochs without gain: stopped early")
                break
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
    learnt = training.learn(epoch, progress)
    evaluation = training.judge()
    training.schedule.epoch_done(evaluation.loss)
    figures = evaluation.figures
    record = EpochRecord(
        epoch=epoch,
        train_loss=learnt.loss,
        heldout_loss=evaluation.loss,
        accuracy=figures.get("accuracy"),
        macro_f1=figures.get("macro_f1"),
        rmse=figures.get("rmse"),
        duration_s=time.monotonic() - started,
        learning_rate=learnt.learning_rate,
        gradient_norm=learnt.gradient_norm,
    )
    state.history.append(record)
    return EpochReport(record, evaluation, state.best is record, training.served)


def _line(report: EpochReport, epochs: int) -> str:
    record = report.record
    return (
        f"epoch {record.epoch}/{epochs}: loss {record.train_loss:.4f}, held-out loss"
        f" {record.heldout_loss:.4f}, {record.achieved},"
        f" {record.duration_s:.1f} s{', best so far' if report.is_best else ''}"
    )


def _best_of(run: RunFolder, training: Training, state: TrainingState) -> FitResult:
    training.network.load_state_dict(Ranks.current().from_first(lambda: load_tensors(run.best)))
    predictions = training.predict()
    training.served.to("cpu").to(memory_format=torch.contiguous_format)
    evaluation = evaluate(predictions)
    return FitResult(tuple(state.history), state.best, predictions, evaluation, training.served)
