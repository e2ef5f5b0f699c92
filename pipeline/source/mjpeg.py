"""A camera that sends JPEG pictures over HTTP, one after another, in one endless response."""

from __future__ import annotations

import base64
import http.client
import logging
import socket
import ssl
from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote, urlsplit

from pipeline.clock import Clock
from pipeline.errors import ConfigError, SourceUnavailable
from pipeline.source.base import SourceInfo
from pipeline.source.deadline_socket import DeadlineSocket
from pipeline.source.multipart import MultipartBroken, MultipartReader, boundary_of
from pipeline.source.options import LiveOptions, live_info
from pipeline.types import Frame, Position

_LOG = logging.getLogger(__name__)

_RECEIVE_BUFFER_BYTES = 256 * 1024
"""Kept small: what waits in the kernel grows old unseen. Some pictures' worth."""

_HOPELESS = {
    401: "the camera wants a user and password; expected http://USER:PASSWORD@HOST/PATH",
    403: "the camera refuses this user",
    404: "the camera has nothing at this path; its manual or web page names the MJPEG path",
}

_PATH_SAFE = "/%:@!$&'()*+,;=~-._"
"""What a URL's path may hold as it is; spaces and control characters would break the request."""

_BROKEN = (OSError, UnicodeError, http.client.HTTPException, MultipartBroken)


class MjpegSource:
    """An MJPEG camera as one stream: the payload is each JPEG as it came, ``captured_at`` its
    arrival.

    The whole of the response's head must come within the open time-out, and each whole picture
    within the read time-out, so one that trickles is found as fast as one that is silent. ``poll``
    blocks up to the read time-out and gives one frame. Offsets go on rising over reconnections.
    Basic authentication only. Owned by: one intake thread.
    """

    def __init__(self, name: str, url: str, options: LiveOptions, clock: Clock) -> None:
        self._info = live_info(name, options)
        self._url = urlsplit(url)
        self._options = options
        self._clock = clock
        self._socket: DeadlineSocket | None = None
        self._response: http.client.HTTPResponse | None = None
        self._parts: MultipartReader | None = None
        self._next = 0

    @property
    def info(self) -> SourceInfo:
        """See ``Source.info``."""
        return self._info

    def open(self) -> None:
        """See ``Source.open``. Blocks up to twice the open time-out: to connect, to answer.

        Raises:
            ConfigError: refused or not MJPEG, by a camera that never gave a frame.
            SourceUnavailable: it can't be reached, or doesn't answer in time.
        """
        self.close()
        try:
            response = self._request()
        except _BROKEN as cause:
            self.close()
            raise SourceUnavailable(f"{self._info.name} doesn't answer: {_words(cause)}") from cause
        self._response = response
        content_type = response.headers.get("Content-Type", "")
        boundary = boundary_of(content_type)
        if response.status != 200 or boundary is None:
            self.close()
            raise self._refusal(response.status, content_type)
        self._parts = MultipartReader(response, boundary)

    def poll(self, room: int, timeout_s: float) -> Sequence[Frame]:
        """See ``Source.poll``. Blocks up to the read time-out, whatever ``timeout_s`` is."""
        if self._parts is None or self._socket is None:
            raise SourceUnavailable(f"{self._info.name} isn't open")
        if room < 1:
            return ()
        self._socket.allow(self._options.read_timeout_s)
        try:
            payload = self._parts.next_part()
        except _BROKEN as cause:
            raise SourceUnavailable(f"{self._info.name} broke off: {_words(cause)}") from cause
        offset = self._next
        self._next += 1
        frame = Frame(
            position=Position(self._info.name, 0, offset),
            stream=self._info.name,
            payload=payload,
            captured_at=self._clock.now(),
            received_mono_s=self._clock.monotonic(),
            max_age_s=self._options.max_age_s,
        )
        return (frame,)

    def commit(self, next_offsets: Mapping[tuple[str, int], int]) -> None:
        """See ``Source.commit``: a camera has nothing to remember."""

    def close(self) -> None:
        """See ``Source.close``."""
        if self._response is not None:
            self._response.close()
        if self._socket is not None:
            self._socket.close()
        self._socket = self._response = self._parts = None

    def _request(self) -> http.client.HTTPResponse:
        connected = self._connect()
        self._socket = connected
        connected.allow(self._options.open_timeout_s)
        connected.sendall(self._request_bytes())
        response = http.client.HTTPResponse(connected, method="GET")  # pyright: ignore[reportArgumentType]  it only calls makefile
        self._response = response
        response.begin()
        return response

    def _request_bytes(self) -> bytes:
        """Written by hand: ``HTTPConnection`` closes the socket of an answer without a length."""
        url = self._url
        path = quote(url.path or "/", safe=_PATH_SAFE)
        query = "?" + quote(url.query, safe=_PATH_SAFE + "?") if url.query else ""
        lines = [
            f"GET {path}{query} HTTP/1.1",
            f"Host: {url.netloc.rpartition('@')[2]}",
            "Accept: multipart/x-mixed-replace, */*",
            "User-Agent: headrace",
            "Connection: close",
        ]
        if url.username is not None:
            user = unquote(url.username) + ":" + unquote(url.password or "")
            lines.append("Authorization: Basic " + base64.b64encode(user.encode()).decode())
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def _connect(self) -> DeadlineSocket:
        is_tls = self._url.scheme.lower() == "https"
        port = self._url.port or (443 if is_tls else 80)
        host = self._url.hostname or ""
        plain = socket.create_connection((host, port), self._options.open_timeout_s)
        try:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            if not is_tls:
                return DeadlineSocket(plain, self._clock)
            context = ssl.create_default_context()
            return DeadlineSocket(context.wrap_socket(plain, server_hostname=host), self._clock)
        except OSError:
            plain.close()
            raise

    def _refusal(self, status: int, content_type: str) -> Exception:
        """What to raise for an answer that isn't a stream."""
        if status != 200:
            said = _HOPELESS.get(status, "expected 200; look at the address in a browser")
            message = f"{self._info.name} answers with HTTP status {status}: {said}"
            is_hopeless = status in _HOPELESS
        else:
            message = (
                f"{self._info.name} sends {content_type or 'no content type'}, expected"
                " multipart/x-mixed-replace with a boundary; is it the path of a single picture?"
            )
            is_hopeless = True
        # A camera that worked may be starting again: its web server is up before its pictures are.
        return (
            ConfigError(message) if is_hopeless and not self._next else SourceUnavailable(message)
        )


def _words(cause: BaseException) -> str:
    return str(cause) or type(cause).__name__
