"""Processes in the place of containers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.compose.shipped import ROOT

_ENDS_WITHIN_S = 40.0  # as the worker's stop_grace_period
_RUNS_WITHIN_S = 120.0


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """That of a container of our image: ``headrace`` and ``python`` are this checkout's."""
    commands = Path(sys.executable).parent
    path = f"{commands}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **more}


def run(command: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """Runs a one-shot command to its end and gives what it said; fails unless it exits with 0."""
    done = subprocess.run(
        command,
        env=environment(env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_RUNS_WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, f"{command} gave {done.returncode}: {done.stdout}"
    return done.stdout


def succeeds(command: Sequence[str]) -> bool:
    """Whether a health check's command exits with 0."""
    done = subprocess.run(
        command, env=environment({}), capture_output=True, timeout=10, check=False
    )
    return done.returncode == 0


class Service:
    """A command that runs until `end`; what it says goes to ``log``.

    Owned by: the test's thread.
    """

    def __init__(
        self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env=environment(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def is_running(self) -> bool:
        """Whether it hasn't ended by itself."""
        return self._process.poll() is None

    def said(self) -> str:
        """All that it wrote so far."""
        return self._log.read_text(errors="replace")

    def wait(self) -> int:
        """Waits until it ends by itself; gives its exit code."""
        return self._process.wait(_RUNS_WITHIN_S)

    def end(self) -> int:
        """Ends it as Docker does: SIGTERM, and SIGKILL if that isn't heeded in time."""
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
