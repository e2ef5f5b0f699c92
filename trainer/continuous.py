"""Training beside a running worker: many short rounds, each better version published.

The digits are rendered while training goes on, so that the first, barely trained version is out
within seconds and there is something to watch afterwards.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from pipeline.artifact.artifact import Draft
from pipeline.artifact.manifest import Contract, Manifest
from pipeline.preprocess import PreprocessSpec
from trainer.data import DIGITS_TRAIN, DigitsData, SplitData
from trainer.evaluate import Evaluation
from trainer.export import About, golden_samples, make_draft
from trainer.fit import Training
from trainer.nets import REFERENCE_SIZE
from trainer.options import Target
from trainer.progress import PlainProgress
from trainer.reference import reference_of
from trainer.settings import FitSettings


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How the rounds go. Samples are counted from the first; each round learns from all so far."""

    seed: int = 0
    first_samples: int = 256
    samples_per_round: int = 256
    most_samples: int = DIGITS_TRAIN
    heldout_samples: int = 400
    min_gain: float = 0.01
    min_interval_s: float = 4.0
    patience_rounds: int = 6


@dataclass(slots=True)
class PublicationPolicy:
    """Which rounds are published, and when to stop. Pure: time is passed in."""

    settings: LoopSettings
    published_accuracy: float = -1.0
    published_at_s: float = float("-inf")
    best_accuracy: float = -1.0
    rounds_without_gain: int = 0

    def wants(self, accuracy: float, now_s: float) -> bool:
        """Takes note of a round's accuracy; says whether to publish its network."""
        gained = accuracy >= self.best_accuracy + self.settings.min_gain
        self.best_accuracy = max(self.best_accuracy, accuracy)
        self.rounds_without_gain = 0 if gained else self.rounds_without_gain + 1
        better = accuracy >= self.published_accuracy + self.settings.min_gain
        if not better or now_s < self.published_at_s + self.settings.min_interval_s:
            return False
        self.published_accuracy, self.published_at_s = accuracy, now_s
        return True

    @property
    def at_plateau(self) -> bool:
        """Whether too many rounds in a row gained nothing."""
        return self.rounds_without_gain >= self.settings.patience_rounds


@dataclass(frozen=True, slots=True)
class Publication:
    """One version that was published, and what it knew."""

    manifest: Manifest
    accuracy: float
    round: int
    samples: int
    elapsed_s: float

    def to_json(self) -> str:
        """One line."""
        return json.dumps(
            {
                "event": "published",
                "name": self.manifest.name,
                "version": self.manifest.version,
                "sha256": self.manifest.sha256,
                "accuracy": round(self.accuracy, 4),
                "round": self.round,
                "samples": self.samples,
                "elapsed_s": round(self.elapsed_s, 3),
            }
        )


def train_and_publish(
    target: Target,
    settings: LoopSettings,
    on_published: Callable[[Publication], None],
    is_wanted: Callable[[], bool] = lambda: True,
) -> tuple[Training, SplitData]:
    """Trains in rounds and publishes what is better, until nothing gets better or is wanted; gives
    the network as it is then, and what it learnt from.

    Blocks. ``on_published`` and ``is_wanted`` are called on this thread, between rounds.

    Raises:
        HeadraceError: see ``Training.learn``, ``make_draft`` and ``Registry.publish``.
    """
    started = time.monotonic()
    spec = PreprocessSpec(width=REFERENCE_SIZE[0], height=REFERENCE_SIZE[1])
    train = DigitsData(spec, "train", settings.first_samples, settings.seed)
    heldout = DigitsData(spec, "heldout", settings.heldout_samples, settings.seed)
    data = SplitData(train, heldout, spec)
    training = Training(data, FitSettings(seed=settings.seed))
    policy = PublicationPolicy(settings)
    round_number, progress = 0, PlainProgress()
    while is_wanted() and not (policy.at_plateau and len(train) >= settings.most_samples):
        round_number += 1
        learnt = training.learn(round_number, progress)
        predictions = training.predict()
        evaluation = Evaluation.of(predictions)
        elapsed_s = time.monotonic() - started
        if policy.wants(evaluation.accuracy, elapsed_s):
            draft = _draft(target, training, data, evaluation, learnt.loss)
            reference = reference_of(heldout, predictions)
            manifest = target.publish(replace(draft, reference=reference))
            on_published(
                Publication(manifest, evaluation.accuracy, round_number, len(train), elapsed_s)
            )
        train.grow(min(len(train) + settings.samples_per_round, settings.most_samples))
    return training, data


def _draft(
    target: Target, training: Training, data: SplitData, evaluation: Evaluation, train_loss: float
) -> Draft:
    about = About(
        name=target.name,
        contract=Contract.of(data.labels, data.spec),
        metrics={
            "accuracy": evaluation.accuracy,
            "heldout_loss": evaluation.loss,
            "train_loss": train_loss,
        },
        notes={"net": "reference-cnn", "data": "digits"},
    )
    return make_draft(training.served, golden_samples(data.heldout), about, target.formats)
