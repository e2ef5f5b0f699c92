"""One Kafka broker on this machine: its settings, its process, its end."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from compose.kafka.jars import HERE, LIBS, STATE, BrokerError, end_of, fetch, find_java, say
from compose.kafka.listeners import Listener, listener_lines
from compose.kafka.ports import HOST, answers, free_port, is_free

DEFAULT_PORT = 9092
DEFAULT_DATA = STATE / "data"

_HEAP = "-Xmx768m"
_START_WITHIN_S = 90.0  # 4 s on two quiet cores
_END_WITHIN_S = 20.0
_LOOK_EVERY_S = 0.05
_ADDRESS = "-Dheadrace.kafka.address="  # nothing reads it; `ps` tells several brokers apart by it
_STARTED = b"Kafka Server started"  # the last line of KafkaRaftServer.startup()


@dataclass(frozen=True)
class Broker:
    """A broker that keeps its records, log and pid in ``data`` and listens on ``port``, without
    encryption or passwords, and on ``listeners``. ``users`` and their passwords are made, for both
    kinds of SCRAM, when ``data`` is formatted, for a cluster of its own unless ``cluster_id`` names
    one. ``settings`` are Kafka's own, and win."""

    data: Path = DEFAULT_DATA
    port: int = DEFAULT_PORT
    listeners: tuple[Listener, ...] = ()
    users: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    cluster_id: str = ""

    @property
    def address(self) -> str:
        """What clients take as their bootstrap server."""
        return f"{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        """Kafka's own log, over all starts."""
        return self.data.resolve() / "broker.log"

    def start(self) -> subprocess.Popen[bytes]:
        """Starts it, after fetching and formatting where that was never done.

        Blocks until it takes requests. The process is in a session of its own: Ctrl-C in the
        caller's terminal doesn't reach it.

        Raises:
            BrokerError: Java or Maven is missing, the port is taken, or Kafka doesn't come up.
        """
        java = find_java()
        fetch()
        if running_pid(self.data) is not None:
            raise BrokerError(f"a broker is running on {self.data}: stop it first")
        if not is_free(self.port):
            raise BrokerError(f"port {self.port} is taken: stop what listens there, or --port N")
        self.data.mkdir(parents=True, exist_ok=True)
        self._configure()
        self._format_once(java)
        log_start = self.log.stat().st_size if self.log.exists() else 0
        with self._output.open("wb") as output:
            process = subprocess.Popen(
                self._command(java),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _pid_file(self.data).write_text(f"{process.pid}\n")
            self._await_ready(process, log_start)
        except BaseException:  # an interrupt as well: no process may be left behind
            process.kill()
            process.wait()
            raise
        return process

    def listens_alike(self) -> bool:
        """Whether the broker that runs on this data has these listeners too."""
        settings = _settings_file(self.data)
        told = settings.read_text(encoding="utf-8") if settings.exists() else ""
        return all(f"{each.name}://{HOST}:{each.port}" in told for each in self.listeners)

    @property
    def _output(self) -> Path:
        """What the JVM says past the log: a crash, a wrong option."""
        return self.data.resolve() / "broker.out"

    def _configure(self) -> None:
        """Writes this broker's settings: the common ones, and after them its own, which win."""
        controller = f"{HOST}:{free_port()}"
        own = (
            *listener_lines(self.address, controller, self.listeners),
            f"controller.quorum.voters=1@{controller}",
            f"log.dirs={self.data.resolve() / 'records'}",
            *(f"{key}={value}" for key, value in self.settings.items()),
        )
        common = (HERE / "server.properties").read_text(encoding="utf-8")
        text = "\n".join((common, "# Of this broker:", *own, ""))
        _settings_file(self.data).write_text(text, encoding="utf-8")

    def _format_once(self, java: str) -> None:
        if (self.data / "records" / "meta.properties").exists():
            return
        say(f"formatting {self.data}")
        settings = str(_settings_file(self.data))
        cluster = self.cluster_id or _new_cluster_id()
        tool = ["kafka.tools.StorageTool", "format", "--cluster-id", cluster]
        scram = [
            part
            for user, password in self.users.items()
            for kind in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for part in ("--add-scram", f"{kind}=[name={user},password={password}]")
        ]
        command = [*self._jvm(java), *tool, "--config", settings, *scram]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BrokerError(
                f"Kafka can't format {self.data}: {end_of(done.stdout + done.stderr)}"
            )

    def _jvm(self, java: str) -> list[str]:
        log4j = f"-Dlog4j2.configurationFile={HERE / 'log4j2.xml'}"
        return [java, _HEAP, log4j, f"-Dheadrace.kafka.log={self.log}", "-cp", f"{LIBS}/*"]

    def _command(self, java: str) -> list[str]:
        jvm, *options = self._jvm(java)
        return [
            jvm,
            f"{_ADDRESS}{self.address}",
            *options,
            "kafka.Kafka",
            str(_settings_file(self.data)),
        ]

    def _await_ready(self, process: subprocess.Popen[bytes], log_start: int) -> None:
        end = time.monotonic() + _START_WITHIN_S
        while not (self._has_started(log_start) and answers(self.port)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(_LOOK_EVERY_S)
                raise BrokerError(f"Kafka ended with exit code {code}; {self._last_words()}")
            if time.monotonic() > end:
                raise BrokerError(
                    f"Kafka isn't up in {_START_WITHIN_S:.0f} s; {self._last_words()}"
                )

    def _has_started(self, log_start: int) -> bool:
        """Whether the log tells so after the byte at which this start's part of it begins."""
        if not self.log.exists():
            return False
        with self.log.open("rb") as log:
            rolled = os.fstat(log.fileno()).st_size < log_start
            log.seek(0 if rolled else log_start)
            return _STARTED in log.read()

    def _last_words(self) -> str:
        said = [p.read_text(errors="replace") for p in (self._output, self.log) if p.exists()]
        return f"{self.log} ends with: {end_of(''.join(said))}"


def running_pid(data: Path) -> int | None:
    """The process of the broker on this data, if one runs.

    The number in the pid file is believed only if that process is Kafka on this data: after a
    kill or a reboot it may be anybody's.
    """
    try:
        pid = int(_pid_file(data).read_text())
    except (OSError, ValueError):
        return None
    command = _command_line(pid)
    return pid if "kafka.Kafka" in command and str(_settings_file(data)) in command else None


def running_address(data: Path) -> str | None:
    """Where the broker on this data listens, if one runs."""
    pid = running_pid(data)
    found = re.search(rf"{_ADDRESS}([\d.:]+)", _command_line(pid)) if pid else None
    return found[1] if found else None


def stop(data: Path) -> bool:
    """Ends the broker on this data, by force where it doesn't go by itself; False if none runs."""
    pid = running_pid(data)
    if pid is None:
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if _becomes_true(lambda: running_pid(data) is None, _END_WITHIN_S):
            _pid_file(data).unlink(missing_ok=True)
            return True
    raise BrokerError(f"process {pid} doesn't end, not even by SIGKILL")


def _command_line(pid: int) -> str:
    """How a process was started; empty if it ended, reaped or not."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return ""
    ps = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(ps, capture_output=True, text=True, check=False).stdout


def _pid_file(data: Path) -> Path:
    return data.resolve() / "broker.pid"


def _settings_file(data: Path) -> Path:
    return data.resolve() / "server.properties"


def _new_cluster_id() -> str:
    """A UUID as Kafka writes it; ``0`` in front, for one with ``-`` there would be an option."""
    return "0" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]


def _becomes_true(predicate: Callable[[], bool], within_s: float) -> bool:
    pause = threading.Event()
    end = time.monotonic() + within_s
    while not predicate():
        if time.monotonic() > end:
            return False
        pause.wait(_LOOK_EVERY_S)
    return True
