"""A real MJPEG camera for tests: an HTTP server on 127.0.0.1 with good and bad habits."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pipeline.digits import Scene

USER, PASSWORD = "viewer", "s3cret"
_BOUNDARY = "frame"


class MjpegCamera:
    """Serves a scene at ``path`` after the path's habit, see ``_Camera``. As a context manager it
    ends all connections at the end."""

    def __init__(self, port: int = 0) -> None:
        scene = Scene(0, width=160, height=90)
        self.pictures = [scene.jpeg(k) for k in range(4)]
        self.stopped = threading.Event()
        self._server = _Server(("127.0.0.1", port), self)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def url(self, path: str = "/mjpeg") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> MjpegCamera:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, address: tuple[str, int], camera: MjpegCamera) -> None:
        super().__init__(address, _Camera)
        self.camera = camera


class _Camera(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        habits: dict[str, Callable[[], object]] = {
            "/mjpeg": self._stream,
            "/silent": self._falls_silent,
            "/never": self._wait,
            "/slow-head": self._slow_head,
            "/trickle": self._trickles,
            "/ends": self._ends,
            "/no-length": self._without_lengths,
            "/dashes": self._with_dashes,
            "/huge": self._claims_too_much,
            "/snapshot": self._snapshot,
            "/private": self._private,
        }
        habit = habits.get(self.path.partition("?")[0])
        try:
            if habit is None:
                self.send_error(404)
            else:
                habit()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
        pass

    @property
    def _served(self) -> MjpegCamera:
        assert isinstance(self.server, _Server)
        return self.server.camera

    @property
    def _pictures(self) -> list[bytes]:
        return self._served.pictures

    def _wait(self, seconds: float | None = None) -> bool:
        """Waits so long, or until the test is over; whether the test is over."""
        return self._served.stopped.wait(seconds)

    def _head(self, boundary: str = _BOUNDARY) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={boundary}")
        self.end_headers()

    def _part(self, picture: bytes, delimiter: str = "--" + _BOUNDARY) -> None:
        head = f"{delimiter}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
        self.wfile.write(head.encode() + picture + b"\r\n")

    def _stream(self) -> None:
        self._head()
        k = 0
        while not self._wait(0.01):
            self._part(self._pictures[k % len(self._pictures)])
            k += 1

    def _falls_silent(self) -> None:
        self._head()
        for picture in self._pictures:
            self._part(picture)
        self._wait()

    def _slow_head(self) -> None:
        for byte in b"HTTP/1.0 200 OK\r\nX-Slow: " + b"z" * 10_000:
            self.wfile.write(bytes([byte]))
            if self._wait(0.05):
                return

    def _trickles(self) -> None:
        self._head()
        self._part(self._pictures[0])
        self.wfile.write(b"--frame\r\nContent-Length: 10000\r\n\r\n")
        while not self._wait(0.05):
            self.wfile.write(b"x")

    def _ends(self) -> None:
        self._head()
        self._part(self._pictures[0])
        self.wfile.write(b"--frame\r\nContent-Length: 10000\r\n\r\nonly this")

    def _without_lengths(self) -> None:
        self._head('"frame"')
        for picture in self._pictures:
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + picture + b"\r\n")
        self.wfile.write(b"--frame\r\n")
        self._wait()

    def _with_dashes(self) -> None:
        self._head("--frame")
        for picture in self._pictures:
            self._part(picture, "--frame")
        self._wait()

    def _claims_too_much(self) -> None:
        self._head()
        self.wfile.write(b"--frame\r\nContent-Length: 99999999999\r\n\r\n")
        self._wait()

    def _snapshot(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.end_headers()
        self.wfile.write(self._pictures[0])

    def _private(self) -> None:
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != expected:
            self.send_error(401)
        else:
            self._stream()
