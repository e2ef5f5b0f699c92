"""The worker's side: a candidate goes in, nothing or a refusal comes out."""

from __future__ import annotations

import logging
import math
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from pipeline.artifact.artifact import Artifact
from pipeline.artifact.unpack import Files
from pipeline.clock import Clock
from pipeline.engine.gentle import Rests
from pipeline.errors import ArtifactRefused, StopRequested
from pipeline.probe.stops import Stops
from pipeline.probe.wire import MOST_REPLY_BYTES, Reply, Request
from pipeline.types import Backend

log = logging.getLogger(__name__)

_START_WITHIN_S = 120.0
"""torch takes seconds to import, and on a busy machine at a low priority many of them."""

KEPT_S = 60.0
"""After a candidate, for the next one: it has some 600 MB resident, and takes seconds of CPU to
start."""

_MOST_RESTS_S = 300.0
"""A probe that has rested for so long, while it started or while it tried, is let alone: a version
isn't to wait for ever."""

_TELLS_WITHIN_S = 1.0
"""After a candidate's time is over the probe itself says so, as it does where none of it rests."""

_COMMAND = (sys.executable, "-P", "-m", "pipeline.probe")
"""``-P``: nothing is imported from the folder that the worker happens to run in."""

_ARTIFACTS = frozenset({"corrupt", "forbidden", "incompatible", "no_format", "wrong_on_golden"})
_MENDABLE = frozenset({"too_slow", "no_room"})
"""What a child may say of a candidate: it may be the candidate that speaks."""

_SAID_BYTES = 2000


class Probe:
    """Starts the probe's process when there is a candidate, and lets it go after a while.

    Owned by: the thread that makes models ready; ``close`` may be called after that has ended.
    """

    def __init__(
        self,
        clock: Clock,
        within_s: float,
        is_stopping: Callable[[], bool] = lambda: False,
        most_rests_s: float = _MOST_RESTS_S,
    ) -> None:
        self._clock = clock
        self._most_rests_s = most_rests_s
        self._within_s = within_s
        self._is_stopping = is_stopping
        self._process: subprocess.Popen[bytes] | None = None
        self._used_mono_s = 0.0
        self._has_warned = False

    def check(
        self, artifact: Artifact, rests: Rests | None = None, backend: Backend = "torchscript"
    ) -> None:
        """Has it load and run what ``backend`` runs of ``artifact``, on a CPU. With ``rests`` the
        probe is stopped after each few milliseconds for as long as they say: frames that are scored
        meanwhile are to feel nothing of it.

        Raises:
            ArtifactRefused: for the artifact's own reasons; ``probe``: it died; ``too_slow``;
                ``no_room``: it wants more memory than it may have, or the probe can't run here.
            StopRequested: the worker is ending, or the rests say that it isn't wanted any more.
        """
        manifest = artifact.manifest
        what = f"{manifest.name}@{manifest.version}"
        most_rests_s = 0.0 if rests is None else 2 * self._most_rests_s
        request = Request(
            name=manifest.name,
            version=manifest.version,
            files=Files.of(artifact),
            backend=backend,
            within_s=self._within_s,
            wall_s=self._within_s + most_rests_s,
        )
        self._used_mono_s = math.inf
        try:
            reply = self._asked(request, what, rests)
        finally:
            self._used_mono_s = self._clock.monotonic()
        if reply.missing and not self._has_warned:
            self._has_warned = True
            log.warning("the probe of new versions isn't shut in here: %s", reply.missing)
        if not reply.reason:
            return
        if reply.reason in _ARTIFACTS:
            raise ArtifactRefused(reply.reason, reply.detail)
        if reply.reason in _MENDABLE:
            raise ArtifactRefused(
                reply.reason,
                f"{what} wasn't fit in the probe: {reply.detail}; `model.probe_timeout_s` says how "
                "long it may take, and `model.probe` when there is a probe",
            )
        raise ArtifactRefused(
            "probe", f"{what} failed in the probe, before it could score: {reply.detail}"
        )

    def rest(self) -> None:
        """Lets the process go if it had nothing to do for a while."""
        if self._clock.monotonic() - self._used_mono_s > KEPT_S:
            self.close()

    def close(self) -> None:
        """Ends the process, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                _close_quietly(pipe)
        process.kill()
        process.wait()

    def _asked(self, request: Request, what: str, rests: Rests | None) -> Reply:
        """One question and its answer; a process that fails, or is asked in vain, is let go."""
        reply = None
        within_s = self._within_s + _TELLS_WITHIN_S
        try:
            process = self._started(rests)
            with _killed_after(process, 2 * request.wall_s + _START_WITHIN_S):
                request.write_to(cast(BinaryIO, process.stdin))
                reply = self._reply(process, within_s, rests)
        except TimeoutError:
            return Reply("too_slow", f"it took longer than {self._within_s:g} s")
        except OSError as cause:
            why = f"{cause.strerror or cause}"
        else:
            why = "its process ended, which it does where memory runs out"
        finally:
            if reply is None:
                self.close()
        if reply is None:
            self._check_running()  # the signal that ended the probe may be the worker's
            raise ArtifactRefused(
                "no_room",
                f"{what} can't be tried in the probe: {why}. `model.probe` says when there is one",
            )
        return reply

    def _started(self, rests: Rests | None) -> subprocess.Popen[bytes]:
        """The process that is there, or a new one that is ready.

        Raises:
            OSError: it can't be started, or isn't ready in time.
            StopRequested: see ``_reply``.
        """
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        with tempfile.TemporaryFile() as complained:
            process = self._process = subprocess.Popen(
                [*_COMMAND, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complained,
                env=_environment(),
                process_group=0,  # a Ctrl-C in the terminal is the worker's
            )
            if not self._begins(process, rests):
                complained.seek(0)
                said = complained.read(1 << 20).decode(errors="replace").strip().splitlines()
                raise OSError(f"it doesn't start: {said[-1][:_SAID_BYTES] if said else 'no word'}")
        return process

    def _begins(self, process: subprocess.Popen[bytes], rests: Rests | None) -> bool:
        """Whether it becomes ready. It says first that it will end with us: it may be stopped from
        then on."""
        try:
            is_there = self._reply(process, _START_WITHIN_S, None) is not None
            return is_there and self._reply(process, _START_WITHIN_S, rests) is not None
        except TimeoutError:
            return False

    def _reply(
        self, process: subprocess.Popen[bytes], within_s: float, rests: Rests | None
    ) -> Reply | None:
        """The next one; None where the process ends.

        Raises:
            TimeoutError: it says nothing in so many seconds, without those of its rests.
            StopRequested: the worker is ending, or the rests say that it isn't wanted any more.
        """
        pipe = cast(BinaryIO, process.stdout)
        began_mono_s = self._clock.monotonic()
        stops = Stops(process.pid, rests, self._clock, self._most_rests_s)
        ready = select.poll()  # `select` takes no descriptor above 1023
        ready.register(pipe, select.POLLIN)
        while not ready.poll(stops.every_s * 1000):
            self._check_running()
            stops.look()
            if self._clock.monotonic() - began_mono_s - stops.stopped_s >= within_s:
                raise TimeoutError("it says nothing")
        return Reply.of(pipe.readline(MOST_REPLY_BYTES))

    def _check_running(self) -> None:
        if self._is_stopping():
            raise StopRequested("the worker is ending")


def _environment() -> dict[str, str]:
    """Ours without settings, among which are passwords, and without a GPU."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    # Of a checkout that isn't installed, the package's folder is on nobody's path.
    path = os.pathsep.join(filter(None, (kept.get("PYTHONPATH"), str(Path(__file__).parents[2]))))
    return {**kept, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}


@contextmanager
def _killed_after(process: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    """Writing to a process that doesn't read has no end of its own."""
    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _close_quietly(pipe: object) -> None:
    try:
        cast(BinaryIO, pipe).close()
    except OSError:
        log.debug("the probe is gone already")
