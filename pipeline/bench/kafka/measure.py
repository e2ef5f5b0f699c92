"""One system's run, watched from outside: its process's CPU time, and its results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from pipeline.bench.kafka.asked import Asking, free_port
from pipeline.bench.kafka.observed import at_full_speed, at_pace, first_results
from pipeline.bench.kafka.peers import PEERS, Endpoint
from pipeline.bench.kafka.process import SystemProcess
from pipeline.bench.kafka.systems import Job, Systems
from pipeline.bench.kafka.topics import ResultsTopic, RunTopics, Sender, run_topics
from pipeline.bench.rounds import Run

WARM_FRAMES = 64
"""Scored before a paced stream begins, so that the system has joined and run batches."""


class Bench:
    """Runs systems on a cluster; each run has topics and a process of its own.

    Owned by: one thread; frames of a paced stream are sent on another, for that long.
    """

    def __init__(
        self, servers: tuple[str, ...], systems: Systems, pictures: Sequence[bytes], folder: Path
    ) -> None:
        self._servers = servers
        self._systems = systems
        self._pictures = pictures
        self._folder = folder

    def full_speed(self, system: str, count: int) -> Run:
        """Scores ``count`` frames that are all on the topic before the process starts, or that a
        server is asked for.

        Raises:
            StageFailed: the system failed, or a frame has no result.
        """
        peer = PEERS.get(system)
        if peer is not None and peer.endpoint is not None:
            return self._asked(system, peer.endpoint, count)
        with run_topics(self._servers) as topics:
            with closing(Sender(topics.frames, self._pictures)) as sender:
                sent_ms = sender.send_all(count)
            with (
                closing(ResultsTopic(topics.results)) as results,
                self._started(system, topics, count) as process,
            ):
                samples = process.watch(results.count, count)
                process.end(count)
                found = first_results(results.read(), list(sent_ms))
        return at_full_speed(found, samples)

    def paced(self, system: str, count: int, fps: float) -> Run:
        """Scores ``count`` frames that come ``fps`` a second, after some that warm it up.

        Raises:
            StageFailed: the system failed, or a frame has no result.
        """
        in_all = WARM_FRAMES + count
        with (
            run_topics(self._servers) as topics,
            closing(Sender(topics.frames, self._pictures)) as sender,
            closing(ResultsTopic(topics.results)) as results,
            ThreadPoolExecutor(1) as sending,
        ):
            warm_ms = sender.send_all(WARM_FRAMES)
            with self._started(system, topics, in_all) as process:
                process.watch(results.count, WARM_FRAMES)
                sent = sending.submit(sender.send_paced, count, fps)
                samples = process.watch(results.count, in_all)
                process.end(in_all)
            sent_ms = sent.result()
            found = first_results(results.read(), [*warm_ms, *sent_ms])
        return at_pace(found, sent_ms, samples)

    def _asked(self, system: str, endpoint: Endpoint, count: int) -> Run:
        port = free_port()
        asking = Asking(port, endpoint, self._pictures, count)
        command = self._systems.server_command(system, port)
        with self._process(system, command) as process:
            asking.await_ready(process)
            with asking.running():
                samples = process.watch(asking.answered, count)
        return at_full_speed(asking.results, samples)

    @contextmanager
    def _started(self, system: str, topics: RunTopics, count: int) -> Iterator[SystemProcess]:
        job = Job(",".join(self._servers), topics.frames.topic, topics.results.topic, count)
        with self._process(system, self._systems.command(system, job)) as process:
            yield process

    @contextmanager
    def _process(self, system: str, command: Sequence[str]) -> Iterator[SystemProcess]:
        process = SystemProcess(system, command, self._folder)
        try:
            yield process
        finally:
            process.kill()
