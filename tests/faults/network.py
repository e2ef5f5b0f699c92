"""A network between a worker and its broker that can be cut, throttled and made to lose packets.

The broker stays on this machine's side, the worker runs in a network namespace; both are reached by
the test. Made with ``ip`` and ``tc``, so only root can.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from compose.kafka.broker import Broker
from tests.kafka.broker import LocalBroker
from tests.support import wait_until

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("tc"),
    reason="network namespaces need root, ip and tc (Debian: iproute2)",
)

_BLINK_S = 0.05
_BETWEEN_BLINKS_S = 0.45


class Apart:
    """A namespace with two links to it: one to the broker, on which the faults are made, and one on
    which the test looks at the worker. As a context manager it is taken down at the end.

    ``near`` is the broker's address, ``far`` that on which the worker's server must listen, and
    ``inside`` the command that starts others in the namespace.
    """

    def __init__(self) -> None:
        number = random.randrange(1, 250)
        self._name = f"headrace-{number}"
        self._link = f"hr{number}"
        self.near = f"10.213.{number}.1"
        self._peer = f"10.213.{number}.2"
        self.far = f"10.214.{number}.2"
        self._looking_from = f"10.214.{number}.1"
        self.inside = ("ip", "netns", "exec", self._name)

    def __enter__(self) -> Apart:
        _do("ip netns add", self._name)
        self._tie(f"{self._link}a", self.near, f"{self._link}b", self._peer)
        self._tie(f"{self._link}c", self._looking_from, f"{self._link}d", self.far)
        self._inside("link set lo up")
        return self

    def __exit__(self, *_: object) -> None:
        for end in "ac":  # the other ends go with these
            _do(f"ip link del {self._link}{end}", may_fail=True)
        _do("ip netns del", self._name, may_fail=True)

    @contextmanager
    def cut(self) -> Iterator[None]:
        """No packet passes, and nobody is told."""
        self._inside(f"link set {self._link}b down")
        try:
            yield
        finally:
            self._inside(f"link set {self._link}b up")

    @contextmanager
    def throttled(self, rate: str = "2mbit") -> Iterator[None]:
        """Both ways carry this much, and what waits is up to 400 ms late."""
        shape = f"root tbf rate {rate} burst 32kbit latency 400ms"
        _do(f"tc qdisc replace dev {self._link}a {shape}")
        self._tc(f"qdisc replace dev {self._link}b {shape}")
        try:
            yield
        finally:
            _do(f"tc qdisc del dev {self._link}a root")
            self._tc(f"qdisc del dev {self._link}b root")

    def lose_packets(self, for_s: float) -> None:
        """Loses what is under way for 50 ms, twice a second. Blocks for ``for_s``.

        Many kernels have no ``netem`` to do it at random.
        """
        pause = threading.Event()
        for _ in range(round(for_s / (_BLINK_S + _BETWEEN_BLINKS_S))):
            with self.cut():
                pause.wait(_BLINK_S)
            pause.wait(_BETWEEN_BLINKS_S)

    def _tie(self, near: str, near_ip: str, far: str, far_ip: str) -> None:
        _do(f"ip link add {near} type veth peer name {far} netns {self._name}")
        _do(f"ip addr add {near_ip}/30 dev {near}")
        _do(f"ip link set {near} up")
        self._inside(f"addr add {far_ip}/30 dev {far}")
        self._inside(f"link set {far} up")

    def _inside(self, what: str) -> None:
        _do(f"ip -n {self._name}", what)

    def _tc(self, what: str) -> None:
        _do(f"tc -n {self._name}", what)


class FarBroker(LocalBroker):
    """A broker that listens on another address of this machine."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self._broker = _BrokerOn(self._broker.data, self._broker.port, host=host)


@dataclass(frozen=True)
class _BrokerOn(Broker):
    host: str = ""

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def _await_ready(self, process: subprocess.Popen[bytes], log_start: int) -> None:
        wait_until(lambda: process.poll() is not None or self._has_started(log_start), 90)
        assert process.poll() is None, self.log.read_text()[-2000:]


def _do(*words: str, may_fail: bool = False) -> None:
    command = " ".join(words).split()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert may_fail or done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
