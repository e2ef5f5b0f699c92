"""`headrace trainer watch`: looks at labels and drift, and trains a model anew where it must.

labels come → is there a reason? → fine-tune the newest network on them, with replay of old data
→ the gate → publish → workers take it as they take any version
"""

from __future__ import annotations

import logging
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from pipeline.artifact.manifest import Contract
from pipeline.artifact.names import LATEST
from pipeline.artifact.reference import Reference
from pipeline.artifact.verify import check_compatible
from pipeline.errors import ConfigError, HeadraceError, SourceUnavailable
from pipeline.kafka.address import KafkaAddress
from pipeline.types import OUTPUTS
from trainer.data import SplitData
from trainer.evaluate import Predictions
from trainer.fit import TrainingStopped
from trainer.gate import DEFAULT_GATE, GateSettings
from trainer.options import Target
from trainer.reference import reference_of
from trainer.train import TrainJob, TrainSummary, train_on
from trainer.user_network import shortened
from trainer.watch.feedback import Feedback, look, read
from trainer.watch.kafka_labels import KafkaLabels
from trainer.watch.known_run import KnownRun, known_run
from trainer.watch.memory import recall, remember
from trainer.watch.mix import Mixed, with_replay
from trainer.watch.rules import Rules, reason_to_train
from trainer.watch.workers import worst_drift

log = logging.getLogger(__name__)

_ADAPTED = "adapted"
_LEAST_HELDOUT = 8
"""As many as an artifact has golden inputs."""


@dataclass(frozen=True, slots=True)
class WatchJob:
    """What is watched and how.

    Attributes:
        run: The folder of the run whose network is served; further ones go to ``adapted/`` in it.
        target: Where new versions go.
        feedback: The folder of labelled pictures.
        topics: The topics of labels, and of the frames they are of: they are fetched into it.
        workers: Addresses of workers' pages, which tell of drift.
        rules: When to train.
        gate: What isn't published.
        recent: The newest labelled pictures, so many of which are learnt from.
        replay: The share of old data in a training, 0 to below 1.
        interval_s: Between two looks.
        trainings: End after so many; None: never.
        changes: Settings of the training that differ from the run's.
    """

    run: Path
    target: Target
    feedback: Path
    rules: Rules
    topics: tuple[KafkaAddress, KafkaAddress] | None = None
    workers: tuple[str, ...] = ()
    gate: GateSettings = DEFAULT_GATE
    recent: int = 2000
    replay: float = 0.5
    interval_s: float = 5.0
    trainings: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Trained:
    """One training: why, on how many labels, and what came of it. ``error`` says why nothing did,
    or why it wasn't published."""

    reason: str
    labels: int
    summary: TrainSummary | None
    error: str = ""

    def __str__(self) -> str:
        said = f"trained on {self.labels} labels, as {self.reason}"
        parts = [said, str(self.summary or ""), self.error]
        return "\n".join(part for part in parts if part)

    def to_dict(self) -> dict[str, Any]:
        """As a line of JSON has it."""
        return {
            "event": "trained",
            "reason": self.reason,
            "labels": self.labels,
            "error": self.error or None,
            "training": self.summary and self.summary.to_dict(),
        }


class Watch:
    """Owned by: one thread, which trains as well."""

    def __init__(self, job: WatchJob, old: SplitData | None = None) -> None:
        """Reads what is there; ``old`` is data that the network knows already.

        Raises:
            ConfigError: there is no such run, it wasn't of this data, or what is remembered is
                damaged.
            ArtifactRefused: what is served takes other samples or has other labels.
        """
        self._job = job
        self._memory = recall(job.run)
        self._known = self._newest()
        self._old = old
        if old is not None:
            _check_same(old, self._known)
        _check_served(job.target, self._known)
        self._ended_mono_s = -math.inf
        self._said = ""
        self._kafka = job.topics and KafkaLabels(
            *job.topics, folder=job.feedback, known=self._known.labels, most=job.recent
        )

    def run(self) -> Iterator[Trained]:
        """Looks for ever, or until there were so many trainings; gives each when it is over.

        Raises:
            HeadraceError: the run's folder or that of the labels can't be read or written.
            TrainingStopped: Ctrl-C in the midst of a training.
        """
        done, pause = 0, threading.Event()
        while done != self._job.trainings:
            trained = self.look()
            if trained is None:
                pause.wait(self._job.interval_s)
            else:
                done += 1
                yield trained

    def look(self) -> Trained | None:
        """Looks once, and trains if there is a reason."""
        job = self._job
        self._fetch()
        feedback = look(job.feedback, self._known.labels, job.recent)
        if feedback.unknown:
            self._say(f"no labels of the model's: {', '.join(feedback.unknown)} in {job.feedback}")
        new = feedback.since(self._memory.used_until)
        drift = worst_drift(job.workers, job.target.name) if new >= job.rules.least_new else None
        since_s = time.monotonic() - self._ended_mono_s
        reason = reason_to_train(job.rules, new, drift, since_s)
        if not reason:
            return None
        log.info("training: %s", reason)
        return self._train(reason, feedback)

    def _fetch(self) -> None:
        if self._kafka is None or self._job.topics is None:
            return
        topic = str(self._job.topics[0])
        before = self._memory.places.get(topic, {})
        try:
            places = self._kafka.collect(before, threading.Event())
        except SourceUnavailable as error:
            self._say(f"labels can't be read: {error}")
            return
        if places != before:
            self._remember(places={topic: dict(places)})

    def _train(self, reason: str, feedback: Feedback) -> Trained:
        known, number = self._known, self._memory.trainings + 1
        name = f"{_ADAPTED}/{number}"
        # Before it is trained: a number is of one training, also of one that was killed.
        self._remember(trainings=number)
        summary, error = None, ""
        try:
            recent = read(feedback, known.labels, known.spec)
            _check_enough(recent)
            data = with_replay(recent, self._old, self._job.replay, seed=number)
            job = TrainJob(
                data="feedback",
                spec=known.spec,
                settings=replace(known.settings, seed=number),
                run=self._job.run / name,
                target=self._job.target,
                gate=self._job.gate,
            )
            summary = train_on(job, lambda _progress: data, _of(recent))
            summary.check()
        except TrainingStopped:
            raise
        except (HeadraceError, OSError, torch.OutOfMemoryError) as cause:
            error = str(cause)  # of this training: the next one may well succeed
            log.warning("%s", error)
        is_next = summary is not None and not error
        # A clock that was ahead mustn't make all that comes later old.
        used_until = min(feedback.newest_at, time.time())
        self._remember(used_until=used_until, base=name if is_next else self._memory.base)
        if is_next:
            self._known = self._newest()
        self._tidy(name)
        self._ended_mono_s = time.monotonic()
        return Trained(reason, len(feedback.arrived), summary, error)

    def _tidy(self, last: str) -> None:
        """Of the trainings, the last one is kept, and the one that the next begins with."""
        for folder in (self._job.run / _ADAPTED).glob("*"):
            if f"{_ADAPTED}/{folder.name}" not in (last, self._memory.base):
                shutil.rmtree(folder, ignore_errors=True)

    def _newest(self) -> KnownRun:
        return known_run(self._job.run / self._memory.base, **self._job.changes)

    def _remember(self, **what: Any) -> None:
        self._memory = replace(self._memory, **what)
        remember(self._job.run, self._memory)

    def _say(self, what: str) -> None:
        """Once, until there is something else to say."""
        if what != self._said:
            self._said = what
            log.warning("%s", what)


def _check_same(old: SplitData, known: KnownRun) -> None:
    if (old.labels, old.task) != (known.labels, "single-label"):
        raise ConfigError(
            f"--data has the {OUTPUTS[old.task]} {shortened(old.labels)}, and the run the classes"
            f" {shortened(known.labels)}: give the data that it learnt from"
        )


def _check_served(target: Target, known: KnownRun) -> None:
    """A version with another contract would be refused by every worker that runs."""
    version = target.registry.standing(target.name, LATEST)
    if version:
        served = target.registry.manifest(target.name, version).contract
        check_compatible(Contract.of(known.labels, known.spec), served)


def _of(recent: SplitData) -> Callable[[SplitData, Predictions], Reference]:
    """What frames look like now, and what is predicted of those held out: not of the old samples
    that are replayed, which frames aren't like any more."""
    parts = (recent.train, recent.heldout)
    samples = Mixed([(part, range(len(part))) for part in parts])

    def refer(_: SplitData, predictions: Predictions) -> Reference:
        return reference_of(samples, predictions.head(len(recent.heldout)))  # they are the first

    return refer


def _check_enough(recent: SplitData) -> None:
    if len(recent.heldout) < _LEAST_HELDOUT:
        raise ConfigError(
            f"of {len(recent.train) + len(recent.heldout)} labelled pictures that can be decoded"
            f" {len(recent.heldout)} are held out, expected {_LEAST_HELDOUT} or more to judge by"
        )
