"""A Kafka broker of a test's own, to be killed, stopped, frozen and started again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from compose.kafka.broker import Broker
from compose.kafka.listeners import Listener
from compose.kafka.ports import free_port

_ENDS_WITHIN_S = 20.0


class LocalBroker:
    """A real broker in a process of its own: always the same port, and records that stay until
    `stop`. As a context manager it starts and stops.

    Owned by: the test's thread. Starting blocks for some seconds and raises ``BrokerError``, which
    says what to install, where Java or Maven is missing.
    """

    def __init__(
        self,
        listeners: Sequence[Listener] = (),
        users: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="headrace-kafka-"))
        self._broker = Broker(
            self._folder / "data", free_port(), tuple(listeners), users or {}, settings or {}
        )
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def beside(cls, first: LocalBroker) -> LocalBroker:
        """A second broker for the cluster of one that runs: node 2, which is no controller."""
        told = _properties(first._folder / "data" / "server.properties")
        second = cls()
        second._broker = replace(
            second._broker,
            cluster_id=_properties(first._folder / "data/records/meta.properties")["cluster.id"],
            settings={
                "node.id": "2",
                "process.roles": "broker",
                "listeners": f"PLAINTEXT://{second.address}",
                "controller.quorum.voters": told["controller.quorum.voters"],
            },
        )
        return second

    @property
    def address(self) -> str:
        """The bootstrap server, before the first start as well."""
        return self._broker.address

    @property
    def pid(self) -> int:
        """The broker's process; 0 while none runs."""
        return self._process.pid if self._process is not None else 0

    @property
    def log(self) -> Path:
        """Kafka's own log over all starts; it goes with `stop`."""
        return self._broker.log

    def start(self) -> None:
        """Starts it and waits until it takes requests."""
        if self._process is None:
            self._process = self._broker.start()

    start_again = start

    def kill(self) -> None:
        """SIGKILL: no goodbye to clients, nothing written out."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM, and waits for the clean end of it."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets a frozen one go on."""
        self._signal(signal.SIGCONT)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """`freeze` now, `thaw` at the end."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def stop(self) -> None:
        """Ends it, frozen or not, and removes what it kept."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def __enter__(self) -> LocalBroker:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _properties(file: Path) -> dict[str, str]:
    """The lines of a Java properties file; of two of one name the later one counts."""
    lines = file.read_text().splitlines()
    return dict(each.split("=", 1) for each in lines if "=" in each and each[0] != "#")
