"""The systems as processes: each reads a topic and writes one result a frame to another."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.bench.kafka.plan import COMPETENT, HEADRACE, HEADRACE_FULL, NAIVE
from pipeline.errors import ConfigError

CHECKOUT = Path(__file__).parents[3]
"""Of Headrace, where this isn't an installed wheel: that has neither the loops nor the broker."""
RIVALS = CHECKOUT / "bench"


@dataclass(frozen=True, slots=True)
class Job:
    """What a process is to do: score ``count`` frames of topic ``frames``, as that group."""

    servers: str
    frames: str
    results: str
    count: int


@dataclass(frozen=True, slots=True)
class Systems:
    """How each is started. ``models`` gives `NAME@VERSION` in ``registry`` for the worker, by
    system; ``model_file`` is the same TorchScript file for the others, ``weights_file`` its eager
    network's state, and ``peers`` has the interpreters of other systems."""

    registry: str
    models: Mapping[str, str]
    model_file: Path
    weights_file: Path
    peers: Mapping[str, Path]

    def command(self, system: str, job: Job) -> list[str]:
        """The command line of one system."""
        if system in (HEADRACE, HEADRACE_FULL):
            return [
                *(sys.executable, "-m", "pipeline", "worker", "--json", "--no-server"),
                *("--source", f"kafka://{job.servers}/{job.frames}?group={job.frames}"),
                *("--sink", f"kafka://{job.servers}/{job.results}"),
                *("--model", self.models[system], "--registry", self.registry),
                *("--max-frames", str(job.count), "--log-level", "warning"),
                *("--device", "cpu"),  # as the others
            ]
        rest = [
            *("--servers", job.servers, "--frames", job.frames, "--results", job.results),
            *("--count", str(job.count)),
        ]
        if system == NAIVE:
            script = "naive_loop.py"
            return [
                sys.executable,
                str(RIVALS / script),
                *rest,
                "--weights",
                str(self.weights_file),
            ]
        if system == COMPETENT:
            program = [sys.executable, str(RIVALS / "competent_loop.py")]
        else:
            program = self._peer(system)
        return [*program, *rest, "--model", str(self.model_file)]

    def server_command(self, system: str, port: int) -> list[str]:
        """The command line of one that is asked over HTTP."""
        return [*self._peer(system), "--port", str(port), "--model", str(self.model_file)]

    def _peer(self, system: str) -> list[str]:
        return [str(self.peers[system]), str(program_of(system))]


def program_of(peer: str) -> Path:
    """What is run of another system, in its own environment."""
    return RIVALS / "peers" / peer / "app.py"


def require_checkout(rivals: Path = RIVALS) -> None:
    """Refuses to go on where the programs to compare with aren't there.

    Raises:
        ConfigError: this is an installed wheel.
    """
    if not (rivals / "competent_loop.py").is_file():
        raise ConfigError(
            "`headrace bench kafka` compares with programs in the folder bench/ of a checkout,"
            " which the wheel doesn't have: clone the repository and run it there"
        )
