"""A run's folder: what training keeps, so that it can be killed at any point and go on.

    run.json        what is trained, on what, how
    best.pt         state_dict of the network that was best on held-out data
    last.pt         all that the next epoch depends on
    history.jsonl   one line an epoch

Each file is replaced whole. ``last.pt`` is the truth: what is newer is made again, the same.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from pipeline.errors import ConfigError, HeadraceError
from trainer.checkpoint import load_tensors, remove_partials, save_tensors, write_atomically
from trainer.precision import Precision
from trainer.randomness import random_state, restore_random_state
from trainer.schedule import Schedule
from trainer.settings import FitSettings

_FORMAT = "headrace.run/2"
_FIRST_FORMAT = "headrace.run/1"


_OF_ONE_TASK = ("accuracy", "macro_f1", "rmse")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch's line in ``history.jsonl``. Losses are means: see ``trainer.tasks``.

    Of ``accuracy`` (single-label), ``macro_f1`` (multi-label) and ``rmse`` (regression), all on
    held-out data, it has its task's, and the others are None. ``learning_rate`` is that of the
    epoch's last step; ``gradient_norm`` the mean L2 norm of its steps' gradients before clipping,
    None if there was no step. Both are None where an epoch was kept before they were.
    """

    epoch: int
    train_loss: float
    heldout_loss: float
    accuracy: float | None = None
    macro_f1: float | None = None
    rmse: float | None = None
    duration_s: float
    learning_rate: float | None = None
    gradient_norm: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """As JSON has it, without the figures of other tasks."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {
            name: value
            for name, value in values.items()
            if value is not None or name not in _OF_ONE_TASK
        }

    @property
    def goal(self) -> float:
        """What the best epoch has most of: accuracy, macro F1, or, of a regression, the least
        held-out loss (its negative)."""
        figures = (self.accuracy, self.macro_f1, -self.heldout_loss)
        goal = next(each for each in figures if each is not None)
        return goal if math.isfinite(goal) else -math.inf

    @property
    def achieved(self) -> str:
        """Its task's figure, for a person."""
        if self.accuracy is not None:
            return f"accuracy {self.accuracy:.1%}"
        if self.macro_f1 is not None:
            return f"macro F1 {self.macro_f1:.1%}"
        return f"RMSE {self.rmse:.4g}"


@dataclass(slots=True)
class TrainingState:
    """All that an epoch changes. Owned by: the training thread."""

    network: nn.Module
    optimiser: Optimizer
    schedule: Schedule
    precision: Precision
    history: list[EpochRecord] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """The last epoch that is over; 0 before the first."""
        return len(self.history)

    @property
    def best(self) -> EpochRecord:
        """The first of the epochs that are best; there is one."""
        return max(self.history, key=lambda record: record.goal)


class RunFolder:
    """The files of one run. Owned by: the training thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.best = path / "best.pt"
        self.last = path / "last.pt"
        self.history = path / "history.jsonl"

    @property
    def has_checkpoint(self) -> bool:
        """Whether an epoch of this run was kept."""
        return self.last.exists()

    def begin(self, about: dict[str, Any]) -> None:
        """Makes the folder and writes ``run.json``.

        Raises:
            HeadraceError: it can't be made or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            remove_partials(self.path)
        except OSError as cause:
            raise HeadraceError(
                f"the run's folder {self.path} can't be made: {cause.strerror}."
                " Choose another with --run."
            ) from cause
        write_atomically(self.path / "run.json", json.dumps(about, indent=2).encode() + b"\n")

    def save_best(self, network: nn.Module) -> None:
        """Replaces ``best.pt``."""
        save_tensors(self.best, network.state_dict())

    def save_last(self, state: TrainingState, identity: dict[str, Any]) -> None:
        """Replaces ``last.pt`` and ``history.jsonl``. ``identity`` is what a resume must match."""
        content = {
            "format": _FORMAT,
            "identity": identity,
            "network": state.network.state_dict(),
            "optimiser": state.optimiser.state_dict(),
            "schedule": state.schedule.state_dict(),
            "precision": state.precision.state_dict(),
            "history": [record.to_dict() for record in state.history],
            "random": random_state(),
        }
        save_tensors(self.last, content)
        self.write_history(state.history)

    def write_history(self, history: list[EpochRecord]) -> None:
        """Replaces ``history.jsonl``."""
        lines = "".join(json.dumps(record.to_dict()) + "\n" for record in history)
        write_atomically(self.history, lines.encode())

    def restore_last(self, state: TrainingState, identity: dict[str, Any]) -> None:
        """Brings ``state`` and the random generators to where ``last.pt`` was written.

        Raises:
            ConfigError: the file is damaged, or of a run with other settings or data.
        """
        content = load_tensors(self.last)
        if content.get("format") not in (_FORMAT, _FIRST_FORMAT):
            raise ConfigError(f"{self.last} isn't a checkpoint of `headrace train`: no {_FORMAT}")
        # A setting that is younger than the run was then what is its default now.
        defaults = {**FitSettings().identity(), "task": "single-label"}
        self._check_identity({**defaults, **content["identity"]}, identity)
        try:
            state.network.load_state_dict(content["network"])
        except RuntimeError as cause:  # only a network of the user's can have changed
            reason = " ".join(str(cause).split())
            raise ConfigError(
                f"{self.last} is of another network than the one that is made now: {reason}"
                " Give the old code back, or begin anew with another --run."
            ) from cause
        state.optimiser.load_state_dict(content["optimiser"])
        if content["format"] == _FIRST_FORMAT:
            # Neither a schedule nor fp16's scaler was there; only torch's generators were kept.
            restore_random_state({"torch": content["rng"], "cuda": content["rng_cuda"]})
        else:
            state.schedule.load_state_dict(content["schedule"])
            state.precision.load_state_dict(content["precision"])
            restore_random_state(content["random"])
        state.history = [EpochRecord(**record) for record in content["history"]]
        self.write_history(state.history)

    def _check_identity(self, there: dict[str, Any], wanted: dict[str, Any]) -> None:
        differing = [name for name in wanted if there.get(name) != wanted[name]]
        if differing:
            says = "; ".join(f"{n} {there.get(n)}, now {wanted[n]}" for n in differing)
            raise ConfigError(
                f"{self.path} was begun with other settings: {says}."
                " Give the same ones, or begin anew with another --run."
            )
