"""A system's process: watched while it works, and ended with all that it started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pipeline.bench.kafka.observed import Sample
from pipeline.bench.kafka.systems import CHECKOUT
from pipeline.errors import ConfigError, StageFailed

_LOOK_EVERY_S = 0.1
_STUCK_S = 60.0
_END_WITHIN_S = 30.0


class SystemProcess:
    """A system's process, and those that it starts; what they say is in ``folder``. Owned by: one
    thread."""

    def __init__(self, system: str, command: Sequence[str], folder: Path) -> None:
        self._system = system
        self._said = folder / f"{system}.out"
        self._complained = folder / f"{system}.err"
        with self._said.open("w") as said, self._complained.open("w") as complained:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=complained,
                env=_environment(folder),
                start_new_session=True,  # Ctrl-C is ours: we end it
            )

    def watch(self, count: Callable[[], int], until: int) -> list[Sample]:
        """Samples CPU time and results, of which there are ``count()``, until there are ``until``.

        Raises:
            StageFailed: it ended before that, or wrote nothing for a minute.
        """
        samples: list[Sample] = []
        moved = time.monotonic()
        while True:
            cpu_s, has_ended = session_cpu_seconds(self._process.pid), self.has_ended
            results = count()
            if samples and results > samples[-1].results:
                moved = time.monotonic()
            if cpu_s:
                samples.append(Sample(results, cpu_s))
            if results >= until:
                return samples
            if has_ended:
                raise self.failure(f"ended after {results} of {until} results")
            if time.monotonic() - moved > _STUCK_S:
                raise self.failure(f"wrote no result for {_STUCK_S:g} s ({results})")
            try:
                self._process.wait(_LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                continue

    def end(self, count: int) -> None:
        """Waits until it has ended by itself, as it has scored all its frames.

        Raises:
            StageFailed: it doesn't end, fails, or says that it scored another number.
        """
        try:
            code = self._process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired as cause:
            raise self.failure("has scored all its frames and doesn't end") from cause
        lines = self._said.read_text().splitlines()
        if code or not lines:
            raise self.failure(f"ended with exit code {code}")
        scored = json.loads(lines[-1])["scored"]
        if scored != count:
            raise self.failure(f"says that it scored {scored} of {count} frames")

    def kill(self) -> None:
        """Ends it, and what it started, if any of it still runs."""
        if _session(self._process.pid):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def has_ended(self) -> bool:
        """Whether the process itself has."""
        return self._process.poll() is not None

    def failure(self, how: str) -> StageFailed:
        """What to raise where nothing can be said of it, with its last words."""
        said = self._complained.read_text(errors="replace").strip().splitlines()
        return StageFailed(f"{self._system} {how}; it said: {said[-1] if said else 'nothing'}")


def require_proc() -> None:
    """Refuses to go on where a process's CPU time can't be read.

    Raises:
        ConfigError: there is no /proc.
    """
    if not session_cpu_seconds(os.getsid(0)):
        raise ConfigError("`headrace bench kafka` reads CPU times from /proc, which only Linux has")


def session_cpu_seconds(sid: int) -> float:
    """User and system time so far of a session's processes, and of those that they waited for."""
    ticks = sum(sum(map(int, fields[11:15])) for fields in _session(sid))
    return ticks / os.sysconf("SC_CLK_TCK")


def _session(sid: int) -> list[list[str]]:
    return [fields for fields in _stats() if int(fields[3]) == sid]


def _stats() -> Iterable[list[str]]:
    """Fields 3 and on of proc(5) of all processes."""
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            stat = place.read_text()
        except OSError:
            continue
        yield stat.rpartition(")")[2].split()  # after the name, which may hold anything


def _environment(folder: Path) -> dict[str, str]:
    """Ours without settings of the worker's: its defaults are what is measured. What a system that
    is killed has of temporary files goes with ``folder``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    path = os.pathsep.join(filter(None, (str(CHECKOUT), kept.get("PYTHONPATH"))))
    return kept | {"PYTHONPATH": path, "TMPDIR": str(folder)}
