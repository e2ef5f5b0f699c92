"""A socket whose reads share one deadline, for peers that send a byte now and then."""

from __future__ import annotations

import io
import socket
from typing import Any

from pipeline.clock import Clock


class DeadlineSocket:
    """As much of a socket as ``http.client`` uses. Owned by: one thread.

    A socket's own time-out begins anew with each byte, so a peer that trickles holds its reader for
    ever; here ``allow`` gives an amount of time to all the reads that follow.
    """

    def __init__(self, connected: socket.socket, clock: Clock) -> None:
        self._socket = connected
        self._clock = clock
        self._deadline_mono_s = clock.monotonic()

    def allow(self, seconds: float) -> None:
        """Sets the deadline to ``seconds`` from now."""
        self._deadline_mono_s = self._clock.monotonic() + seconds

    def sendall(self, data: bytes) -> None:
        """Sends all of ``data``.

        Raises:
            TimeoutError: the deadline passed.
        """
        self._socket.settimeout(self._left_s())
        self._socket.sendall(data)

    def receive_into(self, buffer: Any) -> int:
        """Fills part of ``buffer`` and gives the number of bytes; 0 is the end.

        Raises:
            TimeoutError: the deadline passed.
        """
        self._socket.settimeout(self._left_s())
        return self._socket.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        """A buffered reader of this socket; closing it leaves the socket open."""
        if mode != "rb":
            raise ValueError(f"mode {mode!r}, expected 'rb'")
        return io.BufferedReader(_RawReader(self), 64 * 1024)

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()

    def _left_s(self) -> float:
        left_s = self._deadline_mono_s - self._clock.monotonic()
        if left_s <= 0:  # settimeout(0) would mean: don't block at all
            raise TimeoutError("timed out: what was there came too slowly")
        return left_s


class _RawReader(io.RawIOBase):
    def __init__(self, source: DeadlineSocket) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._source.receive_into(buffer)
