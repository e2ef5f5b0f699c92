"""How to train: every choice that `headrace train` gives, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import ConfigError
from trainer.balance import BALANCES
from trainer.nets import NetSettings

_USUAL_LR = {"sgd": 0.01, "adam": 0.001, "adamw": 0.001}
_USUAL_WEIGHT_DECAY = {"sgd": 0.0, "adam": 0.0, "adamw": 0.01}
"""As in torch.optim."""

SCHEDULES = ("constant", "step", "cosine", "plateau", "one-cycle")
PRECISIONS = ("float32", "bf16", "fp16")

_PACED_BY_EPOCHS = ("step", "cosine", "one-cycle")
"""Schedules that are stretched over all epochs: with more of them, each epoch is another."""

_NOT_OF_THE_WEIGHTS = ("epochs", "workers", "device", "patience", "min_delta", "net_settings")
"""They decide when training ends, or where it runs, but not the weights after a given epoch; the
network's settings say that for themselves."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How to train. Each default is what was done before there was a choice.

    Attributes:
        net: See ``build_net``.
        epochs: Passes over the training data, at most.
        batch_size: Samples in a forward pass, those of all processes together.
        optimizer: ``sgd``, ``adam`` or ``adamw``.
        lr: The learning rate; with a schedule, the highest.
        momentum: SGD's. Adam and AdamW have their own, and the one-cycle schedule sets it.
        nesterov: Whether SGD's momentum looks ahead.
        weight_decay: Of weights, not of biases and normalisations: see ``build_optimiser``.
        schedule: One of ``SCHEDULES``: see ``Schedule``.
        warmup_epochs: The learning rate rises over these to ``lr``.
        clip_norm: A gradient of a larger L2 norm, over all parameters, is scaled down to it.
        patience: Training ends after so many epochs without gain; None: never.
        min_delta: What counts as gain, in ``EpochRecord.goal``: accuracy (0 to 1), of other tasks
            macro F1 (0 to 1) or loss.
        precision: One of ``PRECISIONS``: what the forward pass is computed in.
        accumulate: Batches in a step of the optimiser.
        channels_last: Whether weights and planes lie in memory as NHWC.
        augment: Some of ``AUGMENTATIONS``, in their order.
        balance: One of ``BALANCES``: what is done for classes of few samples.
        seed: Of weights, order, dropout and digits.
        workers: The DataLoader's processes.
        device: ``cpu`` or ``cuda:N``.
        net_settings: What the network is made with, and begins with.

    Raises:
        ConfigError: a value isn't one of the known ones, or two don't go together.
    """

    net: str = "reference-cnn"
    epochs: int = 10
    batch_size: int = 64
    optimizer: str = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup_epochs: int = 0
    clip_norm: float | None = None
    patience: int | None = None
    min_delta: float = 0.0
    precision: str = "float32"
    accumulate: int = 1
    channels_last: bool = False
    augment: tuple[str, ...] = ()
    balance: str = "none"
    seed: int = 0
    workers: int = 0
    device: str = "cpu"
    net_settings: NetSettings = field(default_factory=NetSettings)

    def __post_init__(self) -> None:
        _check_known("--optimizer", self.optimizer, _USUAL_LR)
        _check_known("--schedule", self.schedule, SCHEDULES)
        _check_known("--precision", self.precision, PRECISIONS)
        _check_known("--balance", self.balance, BALANCES)
        if self.precision == "fp16" and not self.device.startswith("cuda"):
            raise ConfigError(
                f"--precision fp16 needs a CUDA device, and --device is {self.device}."
                " Use bf16 or float32."
            )
        if self.nesterov and not self.momentum > 0:
            raise ConfigError("--nesterov needs a --momentum above 0")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ConfigError(f"--clip-norm is {self.clip_norm}, expected a norm above 0")
        if self.warmup_epochs >= self.epochs:
            raise ConfigError(
                f"--warmup-epochs is {self.warmup_epochs}, expected fewer than the"
                f" {self.epochs} of --epochs"
            )

    @classmethod
    def of(
        cls, optimizer: str, lr: float | None, weight_decay: float | None, **rest: Any
    ) -> FitSettings:
        """From the command line: with the optimiser's customary values where none are given.

        Raises:
            ConfigError: see the class.
        """
        _check_known("--optimizer", optimizer, _USUAL_LR)
        return cls(
            optimizer=optimizer,
            lr=_USUAL_LR[optimizer] if lr is None else lr,
            weight_decay=_USUAL_WEIGHT_DECAY[optimizer] if weight_decay is None else weight_decay,
            **rest,
        )

    def identity(self) -> dict[str, Any]:
        """What decides the weights after a given epoch: plain values by name."""
        names = [name for name in self.__slots__ if name not in _NOT_OF_THE_WEIGHTS]
        identity = {name: getattr(self, name) for name in names}
        if self.schedule in _PACED_BY_EPOCHS:
            identity["schedule"] = f"{self.schedule} over {self.epochs} epochs"
        return identity | self.net_settings.identity()

    def notes(self) -> dict[str, str]:
        """What an artifact says of it: what the samples were, and the network."""
        notes = {"augment": ", ".join(self.augment)} if self.augment else {}
        if self.balance != "none":
            notes["balance"] = self.balance
        return notes | self.net_settings.notes()


def _check_known(option: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        *others, last = known
        raise ConfigError(f"{option} is {value!r}, expected {', '.join(others)} or {last}")
