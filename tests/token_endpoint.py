"""A real HTTP endpoint that issues tokens to one client, as an OAuth server does."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CLIENT, SECRET = "headrace worker", "tell:nobody"


@dataclass
class Endpoint:
    """Where it is, what it was asked, and what it does; the test sets it."""

    url: str
    token: Callable[[], str]
    expires_in: float | None = 3600
    refuses_with: int = 0
    moved_to: str = ""
    asked: list[str] = field(default_factory=list)


@contextmanager
def token_endpoint(token: Callable[[], str]) -> Iterator[Endpoint]:
    """Runs one on this machine."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            endpoint.asked.append(self.rfile.read(size).decode())
            scheme, _, login = self.headers["Authorization"].partition(" ")
            wanted = "headrace%20worker:tell%3Anobody"
            if endpoint.moved_to:
                self.answer(302, {})
            elif endpoint.refuses_with:
                self.answer(endpoint.refuses_with, {"error": "invalid_scope"})
            elif scheme != "Basic" or base64.b64decode(login).decode() != wanted:
                self.answer(401, {"error": "invalid_client"})
            else:
                lifetime = endpoint.expires_in
                times = {} if lifetime is None else {"expires_in": lifetime}
                self.answer(200, {"access_token": endpoint.token(), **times})

        def answer(self, code: int, said: dict[str, object]) -> None:
            body = json.dumps(said).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            if endpoint.moved_to:
                self.send_header("Location", endpoint.moved_to)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Not on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}/token", token)
        running = threading.Thread(target=server.serve_forever, args=(0.05,))
        running.start()
        try:
            yield endpoint
        finally:
            server.shutdown()
            running.join()
