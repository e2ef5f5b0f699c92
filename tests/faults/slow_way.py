"""A way to a broker on which bytes take their time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from compose.kafka.listeners import Listener
from compose.kafka.ports import HOST, free_port

_HERE = "127.0.0.2"
"""Another address of this machine: the broker listens on the same port of ``HOST``, and sends
clients back here."""
_CHUNK_BYTES = 2048


class SlowWay:
    """A proxy before one of a broker's listeners, in a thread of its own. As a context manager it
    opens and closes.

    Within ``slow`` each connection carries ``bytes_per_s`` to the broker; what the broker says
    comes back at once.
    """

    def __init__(self, bytes_per_s: float) -> None:
        self.listener = Listener("SLOW", "PLAINTEXT", free_port(), advertised=_HERE)
        self.address = f"{_HERE}:{self.listener.port}"
        self._is_slow = threading.Event()
        self._bytes_per_s = bytes_per_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="slow-way")
        self._end = asyncio.Event()

    @contextlib.contextmanager
    def slow(self) -> Iterator[None]:
        """Within the block."""
        self._is_slow.set()
        try:
            yield
        finally:
            self._is_slow.clear()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connect, _HERE, self.listener.port)
        await self._end.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):  # either may hang up
            there, to_there = await asyncio.open_connection(HOST, self.listener.port)
            with contextlib.closing(to_there):
                await asyncio.gather(
                    self._carry(reader, to_there, True), self._carry(there, writer, False)
                )

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, may_be_slow: bool
    ) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            if may_be_slow and self._is_slow.is_set():
                await asyncio.sleep(len(chunk) / self._bytes_per_s)
            writer.write(chunk)
            await writer.drain()
        writer.close()

    def __enter__(self) -> SlowWay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        self._loop.close()
