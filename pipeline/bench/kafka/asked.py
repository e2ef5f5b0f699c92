"""Pictures that an HTTP server is asked for, over connections that stay open."""

from __future__ import annotations

import http.client
import itertools
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pipeline.bench.kafka.observed import Result
from pipeline.bench.kafka.peers import Endpoint
from pipeline.bench.kafka.process import SystemProcess
from pipeline.errors import StageFailed

CONNECTIONS = 32
"""A full batch is under way: as many as a server is set to take together."""

_HOST = "127.0.0.1"
_READY_WITHIN_S = 120.0
_ANSWER_WITHIN_S = 30.0
_LOOK_S = 0.2
_SHOWN = 200


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as listening:
        listening.bind((_HOST, 0))
        return listening.getsockname()[1]


class Asking:
    """Posts ``count`` pictures, each on the next connection that has its answer. Owned by: the
    thread that runs it; ``answered`` is for any."""

    def __init__(
        self, port: int, endpoint: Endpoint, pictures: Sequence[bytes], count: int
    ) -> None:
        self._port = port
        self._endpoint = endpoint
        self._bodies = [endpoint.body(each) for each in pictures]
        self._count = count
        self._numbers = itertools.count()
        self._results: list[Result] = []
        self._failure: Exception | None = None

    def await_ready(self, process: SystemProcess) -> None:
        """Blocks until the server says so, for two minutes at the most.

        Raises:
            StageFailed: it ended, or doesn't say so.
        """
        until = time.monotonic() + _READY_WITHIN_S
        while not self._is_ready():
            if process.has_ended or time.monotonic() > until:
                raise process.failure("isn't ready to be asked")
            time.sleep(_LOOK_S)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Asks on threads of its own meanwhile."""
        threads = [
            threading.Thread(target=self._ask_on, name=f"asking-{number}", daemon=True)
            for number in range(CONNECTIONS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._count = 0
            for thread in threads:
                thread.join()

    def answered(self) -> int:
        """How many answers there are.

        Raises:
            StageFailed: one was none.
        """
        if self._failure is not None:
            raise StageFailed(f"a server that was asked failed: {self._failure}")
        return len(self._results)

    @property
    def results(self) -> list[Result]:
        """All answers, oldest first."""
        return sorted(self._results, key=lambda each: each.appended_ms)

    def _is_ready(self) -> bool:
        connection = self._connection()
        try:
            connection.request("GET", self._endpoint.ready)
            return connection.getresponse().status == http.client.OK
        except OSError:
            return False
        finally:
            connection.close()

    def _ask_on(self) -> None:
        connection = self._connection()
        headers = {"Content-Type": self._endpoint.content_type}
        try:
            while (number := next(self._numbers)) < self._count:
                body = self._bodies[number % len(self._bodies)]
                connection.request("POST", self._endpoint.path, body, headers)
                answer = connection.getresponse()
                said = answer.read()
                if answer.status != http.client.OK or b"class" not in said:
                    self._failure = StageFailed(f"{answer.status} {said[:_SHOWN]!r}")
                    return
                self._results.append(Result(str(number), time.time_ns() // 1_000_000))
        except (OSError, http.client.HTTPException) as error:
            self._failure = error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(_HOST, self._port, timeout=_ANSWER_WITHIN_S)
