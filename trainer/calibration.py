"""Temperature scaling: confidences that are shares of right answers.

Dividing all logits by one number changes no answer, only how sure it sounds. Guo, Pleiss, Sun,
Weinberger: On Calibration of Modern Neural Networks, ICML 2017, section 4.2. With several labels
the same holds of their sigmoids; a regression has no confidences.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.evaluate import Predictions
from trainer.evaluate_values import ValuesEvaluation
from trainer.tasks import AnyEvaluation, evaluate, has_a_mistake, summed_entropy

GREATEST_TEMPERATURE = 10.0
"""And the least is its inverse. Beyond it a network is of no use, or its samples are too few."""

_STEPS = 50
"""LBFGS is done after about ten."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A temperature, and what it does on the held-out samples that it was fitted to.

    ``before`` is at temperature 1. ``after`` is cross-fitted, so that it isn't flattered: each half
    of the samples is judged at the temperature that fits the other half. Where no temperature was
    fitted it is ``before``, ``temperature`` is 1, and ``refusal`` says why.
    """

    temperature: float
    before: AnyEvaluation
    after: AnyEvaluation
    refusal: str | None = None

    @classmethod
    def none(cls, before: AnyEvaluation, refusal: str | None = None) -> Calibration:
        """Logits stay as they are."""
        return cls(1.0, before, before, refusal)

    def __str__(self) -> str:
        before, after = self.before, self.after
        if isinstance(before, ValuesEvaluation) or isinstance(after, ValuesEvaluation):
            return "values have no confidences to calibrate"
        if self.refusal is not None:
            return f"confidences aren't calibrated: {self.refusal}"
        if self.temperature == 1:
            return f"confidences are {before.ece:.1%} off on average, and not calibrated"
        return (
            f"confidences are {after.ece:.1%} off on average,"
            f" {before.ece:.1%} before calibration (temperature {self.temperature:.3g})"
        )


def calibrate(predictions: Predictions) -> Calibration:
    """Fits a temperature to held-out ``predictions``, if they can tell one; none to a regression's.

    They can't where half of them holds no mistake, as then any confidence short of certainty looks
    too low, or where what fits one half doesn't fit the other.
    """
    before = evaluate(predictions)
    if predictions.task == "regression":
        return Calibration.none(before)
    # Every second one, because folders are read class by class.
    halves = predictions.part(0, 2), predictions.part(1, 2)
    if not all(has_a_mistake(half) for half in halves):
        return Calibration.none(before, "there are too few mistakes on held-out data to go by")
    other, one = (fit_temperature(half) for half in halves)
    after = evaluate(halves[0].at(one), halves[1].at(other))
    if not after.loss < before.loss:
        return Calibration.none(before, "no temperature fits both halves of the held-out data")
    return Calibration(fit_temperature(predictions), before, after)


def fit_temperature(predictions: Predictions) -> float:
    """The temperature between 1/10 and 10 at which the mean cross-entropy, of several labels the
    binary one, is least. Not of a regression.

    The cross-entropy is convex in the temperature's inverse, so there is one minimum at most, or it
    lies at a bound. LBFGS searches the temperature's logarithm, bent so that it can't leave the
    bounds.
    """
    bound = math.log(GREATEST_TEMPERATURE)
    position = torch.zeros((), dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([position], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def temperature() -> Tensor:
        return (bound * torch.tanh(position / bound)).exp()

    def loss() -> float:
        search.zero_grad()
        total = 0.0
        for logits_nk, targets in predictions.blocks():
            calibrated_nk = logits_nk.double() / temperature()
            part = summed_entropy(predictions.task, calibrated_nk, targets) / len(predictions)
            part.backward()
            total += part.item()
        return total

    with torch.enable_grad():
        search.step(loss)
    return float(temperature().detach())
