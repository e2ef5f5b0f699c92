"""The HTTP server: uvicorn in a thread of its own, beside the stages."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.errors import ConfigError

log = logging.getLogger(__name__)

_MAX_CONNECTIONS = 400
"""A browser takes six; beyond these uvicorn answers 503. Idle ones must not shut a health check
out before their deadline; and a process may hold 1,024 descriptors by default."""

_KEEP_ALIVE_S = 5
_REQUEST_WITHIN_S = 10.0
"""From a connection's start, or its last response, to its next whole response: enough for a large
picture over a phone's network."""

_LAST_RESPONSES_WITHIN_S = 2
_JOIN_WITHIN_S = 10.0


class HttpServer:
    """Serves an application from a daemon thread. Owned by: the thread that starts and stops it.

    ``port`` is the real one once started, where 0 was asked for. ``request_within_s`` bounds each
    request and its response together.
    """

    def __init__(
        self, app: Starlette, host: str, port: int, *, request_within_s: float = _REQUEST_WITHIN_S
    ) -> None:
        self.host = host
        self.port = port
        self._started = threading.Event()
        self._thread: threading.Thread | None = None
        # log_config None: its records go where the program's go. Its warnings matter, its
        # greetings ("press CTRL+C") would be wrong here.
        config = uvicorn.Config(
            app,
            http=_bounded_protocol(request_within_s),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="error",  # it warns of each connection beyond the limit
            access_log=False,
            server_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_LAST_RESPONSES_WITHIN_S,
        )
        self._server = _TellingServer(config, self._started)

    def start(self) -> None:
        """Returns when connections are accepted.

        Raises:
            ConfigError: the address can't be listened on; the message names ``--port``.
        """
        listener = _listen(self.host, self.port)
        self.port = listener.getsockname()[1]
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="http", daemon=True
        )
        self._thread.start()
        # Nothing but a fault in uvicorn can keep a bound socket from being served.
        if not self._started.wait(_JOIN_WITHIN_S):
            self.stop()
            listener.close()
            raise ConfigError(
                f"the HTTP server on {self.host}:{self.port} didn't start; see the log"
            )

    def stop(self) -> None:
        """Ends the server: running responses have two seconds. Stopping twice is harmless."""
        if self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(_JOIN_WITHIN_S)
        if self._thread.is_alive():
            log.warning("the HTTP server's thread didn't end within %g s", _JOIN_WITHIN_S)
        self._thread = None


class _TellingServer(uvicorn.Server):
    """Says when it listens. It installs no signal handlers: it doesn't run in the main thread."""

    def __init__(self, config: uvicorn.Config, started: threading.Event) -> None:
        super().__init__(config)
        self._listens = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listens.set()


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 with a deadline on every connection. Owned by: the server's event loop.

    uvicorn only bounds the silence after a response. A client that sends its request, or reads the
    answer, a byte a minute would keep a connection for ever; enough of those and no health check
    gets through.
    """

    request_within_s = _REQUEST_WITHIN_S
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """See ``asyncio.Protocol``."""
        super().connection_made(transport)
        self._set_deadline()

    def on_response_complete(self) -> None:
        """A whole response left: the connection has earned more time."""
        super().on_response_complete()
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _set_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(self.request_within_s, self.transport.abort)


def _bounded_protocol(within_s: float) -> type[BoundedProtocol]:
    """uvicorn makes the protocols itself and takes a class, so the limit must be a class's."""

    class Protocol(BoundedProtocol):
        request_within_s = within_s

    return Protocol


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket.

    Raises:
        ConfigError: the name is unknown, the address isn't this machine's, or the port is taken.
    """
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as cause:
        raise ConfigError(
            f"can't listen on host {host!r} ({cause}): give another --host"
        ) from cause
    try:
        # Ports of connections that just ended may be taken again; a listening one never is.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as cause:
        listener.close()
        raise ConfigError(
            f"can't listen on port {port} of {host} ({cause.strerror}): give another --port, "
            "or --port 0 for any free one"
        ) from cause
    return listener
