"""What is done to workers. Each is played with the program as it is, and with bugs planted in it.

A scenario ends when each frame has its row, or when that didn't happen in time: the checker judges.
"""

from __future__ import annotations

import random
import signal
import threading

import httpx
from kafka import KafkaAdminClient

from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import has_topic
from tests.faults.arena import Arena, is_true_within, metric, series_count
from tests.flow.process import Headrace
from tests.kafka.broker import LocalBroker
from tests.support import wait_until


def kills(arena: Arena, *, times: int = 3, seed: int = 0, drain_s: float = 60) -> None:
    """SIGKILL at random moments under load, a new worker after each."""
    rng = random.Random(seed)
    pause = threading.Event()
    arena.feeder.feed(1500, damaged_every=10)
    for _ in range(times):
        at = arena.scored() + rng.randrange(50, 400)
        worker = arena.start()
        wait_until(lambda: arena.scored() >= at or arena.is_all_done(), 60)  # noqa: B023
        arena.kill(worker)
        pause.wait(rng.random())
        arena.feeder.feed(500, damaged_every=10)
    arena.start()
    is_true_within(arena.is_all_done, drain_s)


def storm(arena: Arena, *, rounds: int = 6, every_s: float = 2.0, drain_s: float = 60) -> None:
    """Workers come and go every two seconds, the oldest always goes."""
    pause, enough = threading.Event(), threading.Event()
    workers = [arena.start()]
    workers[0].until_ready()
    feeding = arena.feeder.keep_feeding(200, enough)
    try:
        for _ in range(rounds):
            workers.append(arena.start())
            pause.wait(every_s)
            if len(workers) > 2:
                arena.stop(workers.pop(0))
    finally:
        enough.set()
        feeding.join()
    is_true_within(arena.is_all_done, drain_s)


def handover(arena: Arena, *, drain_s: float = 60) -> None:
    """A second worker comes while the first has its hands full, however long that takes, and gets
    half of the partitions; then the first one goes."""
    has_come = threading.Event()
    arena.feeder.feed(500)
    first = arena.start()
    arena.until_scored(100)
    feeding = threading.Thread(target=_keep_full, args=(arena, has_come), name="feeder")
    feeding.start()
    try:
        second = arena.start().until_ready()
        is_true_within(lambda: series_count(second, "headrace_consumer_lag_records"), 60)
    finally:
        has_come.set()
        feeding.join()
    at = arena.scored() + 200
    is_true_within(lambda: arena.scored() >= at, 10)
    arena.stop(first)
    is_true_within(arena.is_all_done, drain_s)


def _keep_full(arena: Arena, until: threading.Event) -> None:
    """Sends little at a time: of a long backlog all frames in flight may be of one partition, and
    that may be one that stays."""
    while not until.wait(0.05):
        if len(arena.feeder.log) - arena.scored() < 500:
            arena.feeder.feed(250)


def swaps(arena: Arena, *, times: int = 20, every_s: float = 0.4, drain_s: float = 60) -> Headrace:
    """Model after model under load, back to an earlier one now and then."""
    pause, enough = threading.Event(), threading.Event()
    worker = arena.start()
    worker.until_ready()
    feeding = arena.feeder.keep_feeding(400, enough)
    try:
        arena.publish(99)
        until_tried(worker)
        for number in range(times):
            arena.publish(100 + number % 7)
            pause.wait(every_s)
    finally:
        enough.set()
        feeding.join()
    is_true_within(arena.is_all_done, drain_s)
    return worker


def freeze(arena: Arena, worker: Headrace, seconds: float) -> None:
    """SIGSTOP, and SIGCONT after so long."""
    worker.signal(signal.SIGSTOP)
    threading.Event().wait(seconds)
    worker.signal(signal.SIGCONT)


def zombie(arena: Arena, *, drain_s: float = 60) -> None:
    """A worker is frozen for longer than its session, and wakes up while another has its frames."""
    arena.feeder.feed(3000)
    frozen = arena.start()
    arena.until_scored(100)
    frozen.signal(signal.SIGSTOP)
    arena.start()
    is_true_within(lambda: arena.topics.committed() > 1000, 90)
    frozen.signal(signal.SIGCONT)
    is_true_within(arena.is_all_done, drain_s)


def is_alive(url: str) -> bool:
    """Whether the worker answers that it lives."""
    return httpx.get(f"{url}healthz").status_code == 200


def outage_and_kill(arena: Arena, results: LocalBroker, *, drain_s: float = 60) -> None:
    """The results' broker is frozen, and the worker is killed with all that it couldn't write."""
    worker = arena.start()
    worker.until_ready()
    arena.feeder.feed(300)
    arena.until_scored(300)
    with results.frozen():
        arena.feeder.feed(1000)
        threading.Event().wait(3)
        arena.kill(worker)
    arena.start()
    is_true_within(arena.is_all_done, drain_s)


def expire(arena: Arena, broker: LocalBroker, seconds: int) -> Headrace:
    """A strict worker under load, whose rows can't be written while this broker is frozen."""
    arena.is_strict = True
    arena.feeder.feed(4000)
    worker = arena.start(session_s=60)
    arena.until_scored(500)
    with broker.frozen():
        threading.Event().wait(seconds)
    return worker


def plain_load(arena: Arena, *, drain_s: float = 20) -> None:
    """A backlog, and one worker."""
    arena.feeder.feed(1500)
    arena.start()
    is_true_within(arena.is_all_done, drain_s)


def until_tried(worker: Headrace) -> None:
    """Waits until a worker has tried one version more than its first, whatever came of it: in the
    probe that may take a while."""
    is_true_within(lambda: metric(worker.url(), "headrace_model_swaps_total") > 0, 300)


def altered_model(arena: Arena) -> None:
    """A version whose file isn't the one that its manifest describes, under load."""
    worker = arena.start()
    worker.until_ready()
    arena.feeder.feed(300)
    arena.publish_altered(100, holds=200)
    until_tried(worker)
    arena.feeder.feed(300)
    is_true_within(arena.is_all_done, 20)


def intruded_model(arena: Arena) -> None:
    """Somebody without a key publishes a version, under load."""
    arena.trust_none_but_ours()
    worker = arena.start()
    worker.until_ready()
    arena.feeder.feed(300)
    arena.intrude(100)
    until_tried(worker)
    arena.feeder.feed(300)
    is_true_within(arena.is_all_done, 20)


def refused_results(arena: Arena) -> None:
    """A topic that takes no record as large as a result: the worker ends, or takes it for done."""
    admin = KafkaAdminClient(bootstrap_servers=arena.topics.servers)
    admin.delete_topics([arena.topics.results])
    wait_until(lambda: not has_topic(KafkaAddress((arena.topics.servers,), arena.topics.results)))
    small = {"num_partitions": 4, "configs": {"max.message.bytes": "200"}}
    admin.create_topics({arena.topics.results: small}, wait_for_metadata=True)
    admin.close()
    arena.feeder.feed(300)
    arena.start()
    is_true_within(lambda: arena.topics.committed() == 300, 10)
