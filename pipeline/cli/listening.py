"""Ports, looked at before anything is loaded for a server that can't listen."""

from __future__ import annotations

import socket
from contextlib import suppress

from pipeline.errors import ConfigError


def check_listens(host: str, port: int) -> None:
    """Listens there for a moment, as the server will; port 0 is any free one.

    Raises:
        ConfigError: the port is taken, or no address of this machine has that name.
    """
    with suppress(socket.gaierror):
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            # As the server does: a port whose last connection just closed is free.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(address)
                listener.listen()
            except OSError as cause:
                raise ConfigError(
                    f"can't listen on port {port} of {host} ({cause.strerror}): give another "
                    "--port, or --port 0 for any free one"
                ) from cause
            return
    raise ConfigError(f"{host!r} is no address of this machine: give another --host")
