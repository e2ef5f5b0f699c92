"""One system's run, watched from outside: its process's CPU time and the results on its topic."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from pipeline.bench.kafka.observed import Sample, at_full_speed, at_pace, first_results
from pipeline.bench.kafka.systems import CHECKOUT, Job, Systems
from pipeline.bench.kafka.topics import ResultsTopic, RunTopics, Sender, run_topics
from pipeline.bench.rounds import Run
from pipeline.errors import ConfigError, StageFailed

WARM_FRAMES = 64
"""Scored before a paced stream begins, so that the system has joined and run batches."""
_LOOK_EVERY_S = 0.1
_STUCK_S = 60.0
_END_WITHIN_S = 30.0


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
        """Scores ``count`` frames that are all on the topic before the process starts.

        Raises:
            StageFailed: the system failed, or a frame has no result.
        """
        with run_topics(self._servers) as topics:
            with closing(Sender(topics.frames, self._pictures)) as sender:
                sent_ms = sender.send_all(count)
            with (
                closing(ResultsTopic(topics.results)) as results,
                self._started(system, topics, count) as process,
            ):
                samples = process.watch(results, count)
                process.end()
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
                process.watch(results, WARM_FRAMES)
                sent = sending.submit(sender.send_paced, count, fps)
                samples = process.watch(results, in_all)
                process.end()
            sent_ms = sent.result()
            found = first_results(results.read(), [*warm_ms, *sent_ms])
        return at_pace(found, sent_ms, samples)

    @contextmanager
    def _started(self, system: str, topics: RunTopics, count: int) -> Iterator[_Process]:
        job = Job(",".join(self._servers), topics.frames.topic, topics.results.topic, count)
        process = _Process(system, self._systems.command(system, job), count, self._folder)
        try:
            yield process
        finally:
            process.kill()


class _Process:
    """A system's process. Owned by: one thread."""

    def __init__(self, system: str, command: Sequence[str], count: int, folder: Path) -> None:
        self._system = system
        self._count = count
        self._said = folder / f"{system}.out"
        self._complained = folder / f"{system}.err"
        with self._said.open("w") as said, self._complained.open("w") as complained:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=complained,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is ours: we end it
            )

    def watch(self, results: ResultsTopic, until: int) -> list[Sample]:
        """Samples CPU time and results until there are ``until``.

        Raises:
            StageFailed: it ended before that, or wrote nothing for a minute.
        """
        samples: list[Sample] = []
        moved = time.monotonic()
        while True:
            cpu_s, has_ended = cpu_seconds(self._process.pid), self._process.poll() is not None
            count = results.count()
            if samples and count > samples[-1].results:
                moved = time.monotonic()
            if cpu_s is not None:
                samples.append(Sample(count, cpu_s))
            if count >= until:
                return samples
            if has_ended:
                raise StageFailed(self._failed(f"ended after {count} of {until} results"))
            if time.monotonic() - moved > _STUCK_S:
                raise StageFailed(self._failed(f"wrote no result for {_STUCK_S:g} s ({count})"))
            try:
                self._process.wait(_LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                continue

    def end(self) -> None:
        """Waits until it has ended by itself, as it has scored all its frames.

        Raises:
            StageFailed: it doesn't end, fails, or says that it scored another number.
        """
        try:
            code = self._process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired as cause:
            raise StageFailed(self._failed("has scored all its frames and doesn't end")) from cause
        lines = self._said.read_text().splitlines()
        if code or not lines:
            raise StageFailed(self._failed(f"ended with exit code {code}"))
        scored = json.loads(lines[-1])["scored"]
        if scored != self._count:
            raise StageFailed(self._failed(f"says that it scored {scored} of {self._count} frames"))

    def kill(self) -> None:
        """Ends it, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _failed(self, how: str) -> str:
        said = self._complained.read_text(errors="replace").strip().splitlines()
        return f"{self._system} {how}; it said: {said[-1] if said else 'nothing'}"


def require_proc() -> None:
    """Refuses to go on where a process's CPU time can't be read.

    Raises:
        ConfigError: there is no /proc.
    """
    if cpu_seconds(os.getpid()) is None:
        raise ConfigError("`headrace bench kafka` reads CPU times from /proc, which only Linux has")


def cpu_seconds(pid: int) -> float | None:
    """User and system time of all threads of a process so far; None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # After the name, which may hold anything, in brackets: fields 3 and on of proc(5).
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _environment() -> dict[str, str]:
    """Ours without settings of the worker's: its defaults are what is measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    path = os.pathsep.join(filter(None, (str(CHECKOUT), kept.get("PYTHONPATH"))))
    return kept | {"PYTHONPATH": path}
