"""Receiving from brokers in pieces of a frame's size.

kafka-python 3.0.12 asks its sockets for 4 KiB at a time: a frame of 57 KB takes fifteen calls, each
of which gives the interpreter's lock away and has to wait for it again. What a response holds is
copied twice. Without that, reading takes half of the CPU time (docs/measurements.md).
"""

from __future__ import annotations

import socket
import ssl

from kafka.errors import KafkaConnectionError
from kafka.net import transport
from kafka.protocol.frame import KafkaBytes

PIECE_BYTES = 256 << 10
"""Asked for at once; what kernels keep for a connection on a fast network is a few times that."""
MOST_BYTES = 4 << 20
"""Taken before others have their turn on the I/O thread: heartbeats and acknowledgements."""


def receive_in_large_pieces() -> None:
    """Makes all clients of this process receive as ``receive`` does."""

    def sock_recv(self: transport.KafkaTCPTransport) -> tuple[bytes, KafkaConnectionError | None]:
        return receive(self._sock)

    transport.KafkaTCPTransport._sock_recv = sock_recv
    transport.KafkaSSLTransport._sock_recv = sock_recv
    KafkaBytes.read = read_once


def receive(sock: socket.socket) -> tuple[bytes, KafkaConnectionError | None]:
    """What a socket that doesn't block has for us, and why it has no more to say, if it hasn't.

    A TLS socket is asked until it would block: it may hold what the kernel doesn't show any more.
    """
    is_tls = isinstance(sock, ssl.SSLSocket)
    pieces: list[bytes] = []
    received = 0
    try:
        while received < MOST_BYTES or is_tls:
            piece = sock.recv(PIECE_BYTES)
            if not piece:
                return b"".join(pieces), KafkaConnectionError("socket disconnected")
            pieces.append(piece)
            received += len(piece)
            if len(piece) < PIECE_BYTES and not is_tls:
                break  # the kernel has no more just now; if it has, it will say so
    except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        pass
    except OSError as cause:
        return b"".join(pieces), KafkaConnectionError(cause)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces), None


def read_once(response: KafkaBytes, count: int | None = None) -> bytes:
    """The next ``count`` bytes of a response, or all that are left: fewer where there are fewer."""
    start = response.tell()
    end = len(response) if count is None else min(start + count, len(response))
    response.seek(end)
    with memoryview(response) as whole, whole[start:end] as part:
        return bytes(part)
