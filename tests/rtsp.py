"""Starts, kills and freezes the RTSP server of the tests."""

from __future__ import annotations

import signal
import subprocess
import threading
from pathlib import Path
from typing import NoReturn

import pytest

_SCRIPT = Path(__file__).with_name("rtsp_server.py")
_SYSTEM_PYTHON = "/usr/bin/python3"
_READY_WITHIN_S = 20.0


def _fail(said: str) -> NoReturn:
    pytest.fail(
        "the RTSP server of the tests doesn't start; `make setup-camera-tests` installs what it"
        f" needs. It said: {said or 'nothing'}"
    )


class RtspCamera:
    """A real RTSP server in a process of its own, always on the same port. As a context manager
    it is killed at the end."""

    def __init__(self, width: int = 320, height: int = 240, fps: int = 15) -> None:
        self.width = width
        self.height = height
        self.fps = fps
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/test"

    def start(self) -> None:
        """Starts it; fails the test, with what to do, where the server isn't installed."""
        shape = [str(number) for number in (self.port, self.width, self.height, self.fps)]
        try:
            process = subprocess.Popen(
                [_SYSTEM_PYTHON, str(_SCRIPT), *shape],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        except OSError as error:
            _fail(str(error))
        assert process.stdout is not None
        watch = threading.Timer(_READY_WITHIN_S, process.kill)
        watch.start()
        line = process.stdout.readline()
        watch.cancel()
        watch.join()
        if not line.strip().isdigit():
            process.kill()
            _fail(process.communicate()[1].strip())
        self._process = process
        self.port = int(line)

    def kill(self) -> None:
        """Ends it at once, without a goodbye to its clients."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.communicate()
        self._process = None

    def freeze(self) -> None:
        """Stops it in its tracks: connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets a frozen one go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def __enter__(self) -> RtspCamera:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
