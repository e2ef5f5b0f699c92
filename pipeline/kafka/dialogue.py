"""The few words of Kafka's protocol that tell whether a broker lets us in, on our own socket."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_ANSWER_WITHIN_S = 3.0
_MOST_ANSWER_BYTES = 64 * 1024
_CORRELATION = 7
_SASL_HANDSHAKE = (17, 1)
_SASL_AUTHENTICATE = (36, 0)
"""Kafka's number of a request, and its version."""


class NotKafka(OSError):
    """What answers doesn't speak Kafka's protocol, at least not without TLS."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A broker's answer to a SaslHandshake: an error's code or 0, and the mechanisms it takes."""

    error: int
    mechanisms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """A broker's answer to a step of a mechanism: an error's code or 0, why, and the next bytes."""

    error: int
    message: str
    token: bytes


class Dialogue:
    """One connection to a broker. Each question blocks for three seconds at the most and raises
    OSError where the answer doesn't come, or isn't Kafka's; ``ssl.SSLError`` is one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def offer(self, mechanism: str) -> Offer:
        """Names a mechanism, or none: a broker that knows the name goes on with it."""
        reply = self._ask(_SASL_HANDSHAKE, _text(mechanism))
        return Offer(reply.number(">h"), tuple(reply.texts()))

    def authenticate(self, token: bytes) -> Reply:
        """Sends the next bytes of the mechanism that was offered."""
        reply = self._ask(_SASL_AUTHENTICATE, struct.pack(">i", len(token)) + token)
        return Reply(reply.number(">h"), reply.text(), reply.take(reply.number(">i")))

    def _ask(self, request: tuple[int, int], body: bytes) -> _Reader:
        header = struct.pack(">hhih", *request, _CORRELATION, -1)
        self._connection.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
        (size,) = struct.unpack(">i", self._receive(4))
        if not 6 <= size <= _MOST_ANSWER_BYTES:
            raise NotKafka(f"an answer of {size} bytes")
        reply = _Reader(self._receive(size))
        if reply.number(">i") != _CORRELATION:
            raise NotKafka("an answer to another question")
        return reply

    def _receive(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            part = self._connection.recv(size - len(received))
            if not part:
                raise NotKafka("it hung up")
            received += part
        return received


@contextlib.contextmanager
def connected(server: str, context: ssl.SSLContext | None) -> Iterator[Dialogue]:
    """Connects to ``HOST:PORT``, in TLS with a context.

    Raises:
        OSError: nobody listens, or the handshake fails (``ssl.SSLError``).
    """
    host, _, port = server.rpartition(":")
    host = host.strip("[]")
    plain = socket.create_connection((host, int(port)), timeout=_ANSWER_WITHIN_S)
    with plain:
        if context is None:
            yield Dialogue(plain)
            return
        with context.wrap_socket(plain, server_hostname=host) as encrypted:
            yield Dialogue(encrypted)


class _Reader:
    """Takes an answer apart, from its beginning."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def number(self, form: str) -> int:
        (number,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return number

    def text(self) -> str:
        return self.take(max(0, self.number(">h"))).decode("utf-8", "replace")

    def texts(self) -> list[str]:
        return [self.text() for _ in range(self.number(">i"))]

    def take(self, size: int) -> bytes:
        part = self._content[self._at : self._at + size]
        if len(part) < size:
            raise NotKafka("an answer that is cut off")
        self._at += size
        return part


def _text(text: str) -> bytes:
    encoded = text.encode("ascii")
    return struct.pack(">h", len(encoded)) + encoded
