"""The learning rate's course, by torch's own schedulers."""

from __future__ import annotations

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from pipeline.errors import ConfigError
from trainer.settings import FitSettings

_DROP = 0.1
_PARTS = 3
"""Tenfold lower after each third, as the 90 epochs of He et al. 2015 (arXiv:1512.03385) are
usually cut at 30 and 60."""

PLATEAU_PATIENCE = 3
"""Epochs without a lower held-out loss that are borne; the next one makes the rate fall."""

_WARMUP_START = 0.01
"""Of the learning rate, in the first step; torchvision's reference recipes begin so."""


class Schedule:
    """How the learning rate of ``optimiser`` goes, from its first step to the last.

    ``constant`` stays; ``step`` falls tenfold after each third of the epochs; ``cosine`` falls
    along half a cosine to 0 (Loshchilov and Hutter 2016, arXiv:1608.03983, without restarts);
    ``one-cycle`` rises for three tenths and falls to almost 0, with momentum the other way round
    (Smith and Topin 2017, arXiv:1708.07120): these change with each step. ``plateau`` falls tenfold
    when the held-out loss has not for a while. Before each but ``one-cycle``, which has its own,
    there may be a linear warm-up (Goyal et al. 2017, arXiv:1706.02677).

    To be made before the optimiser's state is restored: making it sets the first learning rate.
    Owned by: the training thread.
    """

    def __init__(self, optimiser: Optimizer, settings: FitSettings, steps_per_epoch: int) -> None:
        self._optimiser = optimiser
        self._by_step = _scheduler(
            optimiser,
            settings,
            steps=settings.epochs * steps_per_epoch,
            warmup_steps=settings.warmup_epochs * steps_per_epoch,
        )
        self._by_epoch = (
            ReduceLROnPlateau(optimiser, factor=_DROP, patience=PLATEAU_PATIENCE)
            if settings.schedule == "plateau"
            else None
        )

    @property
    def learning_rate(self) -> float:
        """The next step's."""
        return float(self._optimiser.param_groups[0]["lr"])

    def step_done(self) -> None:
        """The optimiser made a step."""
        self._by_step.step()

    def epoch_done(self, heldout_loss: float) -> None:
        """An epoch is over, and was judged."""
        if self._by_epoch is not None:
            self._by_epoch.step(heldout_loss)

    def state_dict(self) -> dict[str, Any]:
        """Where it is, in plain values."""
        by_epoch = {} if self._by_epoch is None else self._by_epoch.state_dict()
        return {"by_step": self._by_step.state_dict(), "by_epoch": by_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from ``state_dict``; the learning rate itself is in the optimiser's.

        Raises:
            ConfigError: one cycle was begun for another number of steps; past its last step torch
                refuses the next.
        """
        if isinstance(self._by_step, OneCycleLR):
            begun, steps = state["by_step"]["total_steps"], self._by_step.total_steps
            if begun != steps:
                raise ConfigError(
                    f"the run was begun with --schedule one-cycle over {begun} steps, and would now"
                    f" have {steps}: a last batch is left out with some numbers of processes. Go on"
                    " with as many processes as it was begun with."
                )
        self._by_step.load_state_dict(state["by_step"])
        if self._by_epoch is not None:
            self._by_epoch.load_state_dict(state["by_epoch"])


def _scheduler(
    optimiser: Optimizer, settings: FitSettings, steps: int, warmup_steps: int
) -> LRScheduler:
    if settings.schedule == "one-cycle":
        return OneCycleLR(optimiser, max_lr=settings.lr, total_steps=steps)
    after_warmup = steps - warmup_steps
    main: LRScheduler
    if settings.schedule == "cosine":
        main = CosineAnnealingLR(optimiser, T_max=after_warmup)
    elif settings.schedule == "step":
        main = StepLR(optimiser, step_size=math.ceil(after_warmup / _PARTS), gamma=_DROP)
    else:
        main = ConstantLR(optimiser, factor=1.0, total_iters=0)
    if not warmup_steps:
        return main
    warmup = LinearLR(optimiser, start_factor=_WARMUP_START, total_iters=warmup_steps)
    return SequentialLR(optimiser, [warmup, main], milestones=[warmup_steps])
