"""``headrace`` in a process of its own, as a user or a supervisor runs it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import httpx

from tests.support import wait_until

_ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONFAULTHANDLER": "1"}
_ABORTED_WITHIN_S = 5.0  # one that is frozen isn't


class Headrace:
    """A running ``headrace`` command. As a context manager it is killed at the end, by its pid.

    ``plants`` are changes made to the program before it runs, see ``tests/faults/planted.py``;
    ``inside`` is a command that starts it somewhere else, such as in a network namespace.
    """

    def __init__(
        self,
        *arguments: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        plants: Sequence[str] = (),
        inside: Sequence[str] = (),
    ) -> None:
        program = ["tests.faults.planted", ",".join(plants)] if plants else ["pipeline"]
        self._process = subprocess.Popen(
            [*inside, sys.executable, "-m", *program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env={**os.environ, **_ENVIRONMENT, **(env or {})},
        )
        self.out: list[str] = []
        self.err: list[str] = []
        streams = ((self._process.stdout, self.out), (self._process.stderr, self.err))
        self._readers = [
            threading.Thread(target=_read, args=(stream, lines))
            for stream, lines in streams
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def url(self) -> str:
        """The page's address, once it is served."""
        pattern = re.compile(r"http://[\d.]+:\d+/")
        wait_until(lambda: self._process.poll() is not None or pattern.search(self.said()), 60)
        found = pattern.search(self.said())
        assert found, self.said()
        return found[0]

    def until_ready(self) -> str:
        """The page's address, once the worker takes frames."""
        url = self.url()
        wait_until(lambda: self._process.poll() is not None or _is_ready(url), 60)
        assert self._process.poll() is None, self.said()
        return url

    def said(self) -> str:
        """All of stderr so far."""
        return "".join(self.err)

    def signal(self, number: int) -> None:
        """Sends a signal."""
        self._process.send_signal(number)

    def end(self, within_s: float = 60) -> int:
        """Waits for the end and gives the exit code."""
        code = self._process.wait(within_s)
        for reader in self._readers:
            reader.join(10)
        return code

    def summary(self) -> dict:
        """The last line of stdout, parsed."""
        return json.loads(self.out[-1])

    def __enter__(self) -> Headrace:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            # Where nothing more came, this says in which calls it hung.
            self._process.send_signal(signal.SIGABRT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_ABORTED_WITHIN_S)
            self._process.kill()
        self.end()
        sys.stderr.write(f"{' '.join(self._process.args)}:\n{self.said()}")
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


def _is_ready(url: str) -> bool:
    return httpx.get(url + "readyz").status_code == 200


def _read(stream: IO[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line)  # one at a time: others look at them meanwhile


def samples(text: str) -> dict[str, float]:
    """A scrape as a dictionary: series with their labels, and values."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            found[series] = float(value)
    return found


def total(found: dict[str, float], name: str) -> float:
    """The sum of a metric over its labels."""
    return sum(value for series, value in found.items() if series.partition("{")[0] == name)
