"""Ports of this machine: which are free, and whether a Kafka answers on one."""

from __future__ import annotations

import random
import socket
import struct

HOST = "127.0.0.1"

_ANSWER_WITHIN_S = 2.0


def answers(port: int) -> bool:
    """Whether a Kafka on this port answers ApiVersions, the first request of every client."""
    correlation = 7
    body = struct.pack(">hhih", 18, 0, correlation, -1)  # key, version, id, no client's name
    try:
        with socket.create_connection((HOST, port), timeout=_ANSWER_WITHIN_S) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            with connection.makefile("rb") as reply:
                head = reply.read(10)  # size, correlation id, error code
    except OSError:
        return False
    return len(head) == 10 and struct.unpack(">iih", head)[1:] == (correlation, 0)


def free_port() -> int:
    """A port that nothing listens on.

    Below those that systems give to outgoing connections (from 32768 on in Linux, 49152 elsewhere):
    of those one could be in use when a killed broker is to come back on it, even by a client that
    tries to reach it and thereby connected to itself.
    """
    for port in random.sample(range(20_000, 32_000), 200):
        if is_free(port):
            return port
    raise OSError("200 ports were tried and none is free")


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket() as probe:
        # As Kafka does it: connections of an earlier broker in TIME_WAIT are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
