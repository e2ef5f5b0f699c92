"""Where a fault is played out: topics, workers that come and go, and the evidence of it all."""

from __future__ import annotations

import contextlib
import gc
import json
import signal
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from kafka.errors import KafkaError

from pipeline.artifact.keys import SigningKey
from pipeline.artifact.names import LATEST
from pipeline.artifact.registry import Registry
from pipeline.config import IntakeSettings
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import create_topic
from tests.faults.feeder import Feeder
from tests.faults.oracle.checker import Evidence, Fault, Verdict, check
from tests.faults.oracle.networks import NAME, Flaw, network_bytes, publish_network
from tests.flow.process import Headrace, samples, total
from tests.kafka.row import Row
from tests.kafka.tail import Tail
from tests.kafka.topics import Topics
from tests.support import wait_until

VERDICTS = Path(__file__).parents[2] / "build" / "faults"

WINDOW = IntakeSettings().max_frames + IntakeSettings().poll_frames + 500
"""Frames that a worker which is killed may have scored and not committed: those in flight, and
those between two commits and on the way of one, some thousand a second on a busy machine."""

FIRST_MODEL = 17
_TRUSTED_KEYS = "HEADRACE_MODEL__TRUSTED_KEYS"
_EXPERIMENT = {"HEADRACE_KAFKA__EXPERIMENTAL_STRICT": "true"}


class Arena:
    """One scenario's topics and registry, its feeder and its workers; with ``is_strict`` these run
    in strict mode, each in the first slot that is free.

    ``plants`` are changes made to the program in the workers' processes: the bugs that the checker
    must catch, or faults that can't be made from outside (``tests/faults/plants``). ``results_at``
    is the broker of the results, where that is another one; ``seen_at`` says under which addresses
    workers are to know brokers, where these aren't the test's.

    As a context manager it kills what is left of the workers, by their pids.
    """

    def __init__(
        self,
        servers: str,
        folder: Path,
        *,
        plants: tuple[str, ...] = (),
        results_at: str = "",
        seen_at: Mapping[str, str] | None = None,
    ) -> None:
        self.topics = Topics(servers)
        self.registry = str(folder / "registry")
        self.models: dict[str, int] = {}
        self.faults: list[Fault] = []
        self.kills = 0
        self._folder = folder
        self.plants = plants
        self.is_strict = False
        self.has_probe = True
        self.key: SigningKey | None = None
        self._slots: dict[Headrace, int] = {}
        self._results_at = results_at or servers
        self._seen_at = seen_at or {}
        if results_at:
            create_topic(KafkaAddress((results_at,), self.topics.results), partitions=4)
        self.workers: list[Headrace] = []
        self._summaries: list[dict] = []
        self._results = Tail(self._results_at, self.topics.results)
        self._letters = Tail(servers, self.topics.dead_letters)
        self.feeder = Feeder(servers, self.topics.name, nonce=uuid.uuid4().int & 0xFFF)
        self.publish(FIRST_MODEL)

    def publish(self, constant: int, flaw: Flaw = "") -> int:
        """Publishes the network with this constant as the latest; gives its version."""
        manifest = publish_network(self.registry, constant, flaw=flaw, key=self.key)
        self.models[manifest.sha256] = constant
        return manifest.version

    def trust_none_but_ours(self) -> None:
        """From now on workers take what is signed by the arena's key alone, and that is all that
        ``publish`` published or will."""
        self.key = SigningKey.new()
        there = Registry(self.registry)
        for version in there.versions(NAME):
            there.sign(there.read(NAME, version), self.key)

    def intrude(self, constant: int, key: SigningKey | None = None) -> None:
        """Publishes as somebody else would who may write to the registry: a row of this network is
        a wrong model's."""
        publish_network(self.registry, constant, key=key)

    def publish_altered(self, constant: int, holds: int) -> None:
        """Publishes one network as the latest, with another's bytes in its file: as many, or that
        alone would tell. TorchScript numbers what it compiles, so two may differ by a digit."""
        while len(network_bytes(constant)) != len(network_bytes(holds)):
            constant, holds = constant + 1, holds + 1
        manifest = publish_network(self.registry, constant, aliases=(), key=self.key)
        self.models[manifest.sha256] = constant
        folder = self._folder / "registry" / NAME / str(manifest.version)
        (folder / "model.pt").write_bytes(network_bytes(holds))
        Registry(self.registry).set_alias(NAME, LATEST, manifest.version)

    def start(
        self,
        *more: str,
        session_s: float = 6.0,
        source: str = "",
        env: Mapping[str, str] | None = None,
        inside: Sequence[str] = (),
    ) -> Headrace:
        """Starts a worker from the frames to the results."""
        slot = min(set(range(len(self._slots) + 1)) - set(self._slots.values()))
        source = source or f"{self.topics.source.partition('&session')[0]}&session={session_s:g}s"
        source += f"&mode=strict&slot={slot}" if self.is_strict and "slot=" not in source else ""
        worker = Headrace(
            *("worker", "--source", self._as_seen(source)),
            *("--sink", self._as_seen(f"kafka://{self._results_at}/{self.topics.results}")),
            *("--model", NAME, "--registry", self.registry, "--port", "0", "--json", *more),
            env={**self._environment(), **(env or {})},
            plants=self.plants,
            inside=inside,
        )
        self.workers.append(worker)
        self._slots[worker] = slot
        return worker

    def _environment(self) -> Mapping[str, str]:
        trusted = {} if self.key is None else {_TRUSTED_KEYS: str(self.key.public)}
        unprobed = {} if self.has_probe else {"HEADRACE_MODEL__PROBE": "never"}
        return {**(_EXPERIMENT if self.is_strict else {}), **trusted, **unprobed}

    def _as_seen(self, url: str) -> str:
        for own, workers in self._seen_at.items():
            url = url.replace(f"//{own}/", f"//{workers}/")
        return url

    def kill(self, worker: Headrace) -> None:
        """SIGKILL: what it had in flight comes again."""
        worker.signal(signal.SIGKILL)
        worker.end()
        self.kills += 1
        self.forget(worker)

    def stop(self, worker: Headrace, code: int = 0) -> dict:
        """SIGTERM, waits for the drain, and keeps the summary for the checker."""
        worker.signal(signal.SIGTERM)
        return self.ended(worker, code)

    def ended(self, worker: Headrace, code: int = 0) -> dict:
        """Waits for a worker that ends by itself."""
        ended = worker.end()
        assert ended == code, f"ended with {ended}: {worker.said()}"
        summary = worker.summary()
        self._summaries.append(summary)
        self.forget(worker)
        return summary

    def stop_all(self) -> None:
        """Stops every worker that is left."""
        for worker in list(self.workers):
            self.stop(worker)

    def scored(self) -> int:
        """Results so far, duplicates included."""
        return len(self._rows())

    def scored_ids(self) -> set[str]:
        """The frames that have results so far."""
        return {row.headers["ce_id"].decode() for row in self._results.refresh()}

    def until_scored(self, count: int, deadline_s: float = 60) -> None:
        """Waits for so many results."""
        wait_until(lambda: self.scored() >= count, deadline_s)

    def until_all_done(self, deadline_s: float = 90) -> None:
        """Waits until each frame that was sent has its row: for liveness, the checker judges."""
        wait_until(self.is_all_done, deadline_s)

    def is_all_done(self) -> bool:
        """Whether each frame that was sent has its row."""
        rows = self._rows()
        sent = [each.frame_id for each in self.feeder.log if each.status == "ok"]
        if len(rows) < len(sent):
            return False
        return self.scored_ids().issuperset(sent)

    def scoring_models(self) -> set[int]:
        """The constants of all the models in the rows so far."""
        bodies = (json.loads(row.value) for row in self._rows())
        return {self.models[body["model"]["sha256"]] for body in bodies if body["model"]}

    def ages_ms(self) -> list[float]:
        """How old each scored frame was then, in the order of the rows."""
        bodies = (json.loads(row.value) for row in self._rows())
        return [body["age_ms"] for body in bodies if body["outcome"] == "scored"]

    def _rows(self) -> Sequence[Row]:
        """The results so far; while the broker is away nothing new is there."""
        with contextlib.suppress(KafkaError):
            self._results.refresh()
        return self._results.rows

    def verdict(self, name: str, **claims: Any) -> Verdict:
        """The checker's, kept under ``build/faults`` too; for ``claims`` see ``Evidence``."""
        evidence = Evidence(
            sent=self.feeder.log,
            results=list(self._results.refresh()),
            dead_letters=list(self._letters.refresh()),
            models=dict(self.models),
            committed=self.topics.committed_offsets(),
            summaries=list(self._summaries),
            faults=list(self.faults),
            is_strict=self.is_strict,
            **claims,
        )
        verdict = check(evidence)
        VERDICTS.mkdir(parents=True, exist_ok=True)
        (VERDICTS / f"{name}.json").write_text(verdict.to_json() + "\n")
        return verdict

    def letters(self) -> Sequence[Row]:
        """The dead letters so far."""
        return list(self._letters.refresh())

    def fault_ended(self, name: str, budget_s: float) -> None:
        """Notes that a fault is over now, and by when results must go on."""
        self.faults.append(Fault(name, time.time(), budget_s))

    def forget(self, worker: Headrace) -> None:
        """It ended, and nothing more is asked of it."""
        self.workers.remove(worker)
        del self._slots[worker]
        worker.__exit__()

    def __enter__(self) -> Arena:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.__exit__()
        for tail in (self._results, self._letters):
            tail.close()
        del self._results, self._letters, tail  # after a long outage they hold hundreds of sockets
        gc.collect()  # here, where the sockets that kafka-python forgot are expected


def metric(url: str, name: str) -> float:
    """The sum of one of a worker's metrics over its labels."""
    return total(samples(httpx.get(f"{url}metrics").text), name)


def swap_count(worker: Headrace, result: str) -> float:
    """How many versions came to this at a worker."""
    found = samples(httpx.get(f"{worker.url()}metrics").text)
    return found[f'headrace_model_swaps_total{{result="{result}"}}']


def series_count(url: str, name: str) -> int:
    """How many series one of a worker's metrics has."""
    found = samples(httpx.get(f"{url}metrics").text)
    return sum(series.partition("{")[0] == name for series in found)


def is_true_within(predicate: Callable[[], object], deadline_s: float) -> bool:
    """Whether it becomes true in time, where the answer no is an answer."""
    try:
        wait_until(predicate, deadline_s)
    except AssertionError:
        return False
    return True
