"""A run's folder: what training keeps, so that it can be killed at any point and go on.

    run.json        what is trained, on what, how
    best.pt         state_dict of the network that was best on held-out data
    last.pt         all that the next epoch depends on
    history.jsonl   one line an epoch

Each file is replaced whole. ``last.pt`` is the truth: what is newer is made again, the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from pipeline.errors import ConfigError, HeadraceError
from trainer.checkpoint import load_tensors, remove_partials, save_tensors, write_atomically

_FORMAT = "headrace.run/1"


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch's line in ``history.jsonl``. Losses are mean cross-entropies."""

    epoch: int
    train_loss: float
    heldout_loss: float
    accuracy: float
    duration_s: float

    def to_dict(self) -> dict[str, float]:
        """As JSON has it."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class TrainingState:
    """All that an epoch changes. Owned by: the training thread."""

    network: nn.Module
    optimiser: Optimizer
    history: list[EpochRecord] = field(default_factory=list)
    best_accuracy: float = -1.0

    @property
    def epoch(self) -> int:
        """The last epoch that is over; 0 before the first."""
        return len(self.history)


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
            "history": [record.to_dict() for record in state.history],
            "best_accuracy": state.best_accuracy,
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state_all(),
        }
        save_tensors(self.last, content)
        self.write_history(state.history)

    def write_history(self, history: list[EpochRecord]) -> None:
        """Replaces ``history.jsonl``."""
        lines = "".join(json.dumps(record.to_dict()) + "\n" for record in history)
        write_atomically(self.history, lines.encode())

    def restore_last(self, state: TrainingState, identity: dict[str, Any]) -> None:
        """Brings ``state`` and torch's random generators to where ``last.pt`` was written.

        Raises:
            ConfigError: the file is damaged, or of a run with other settings or data.
        """
        content = load_tensors(self.last)
        if content.get("format") != _FORMAT:
            raise ConfigError(f"{self.last} isn't a checkpoint of `headrace train`: no {_FORMAT}")
        self._check_identity(content["identity"], identity)
        try:
            state.network.load_state_dict(content["network"])
        except RuntimeError as cause:  # only a network of the user's can have changed
            reason = " ".join(str(cause).split())
            raise ConfigError(
                f"{self.last} is of another network than the one that is made now: {reason}"
                " Give the old code back, or begin anew with another --run."
            ) from cause
        state.optimiser.load_state_dict(content["optimiser"])
        state.history = [EpochRecord(**record) for record in content["history"]]
        state.best_accuracy = content["best_accuracy"]
        torch.set_rng_state(content["rng"])
        if len(content["rng_cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(content["rng_cuda"])
        self.write_history(state.history)

    def _check_identity(self, there: dict[str, Any], wanted: dict[str, Any]) -> None:
        differing = [name for name in wanted if there.get(name) != wanted[name]]
        if differing:
            says = "; ".join(f"{n} {there.get(n)}, now {wanted[n]}" for n in differing)
            raise ConfigError(
                f"{self.path} was begun with other settings: {says}."
                " Give the same ones, or begin anew with another --run."
            )
