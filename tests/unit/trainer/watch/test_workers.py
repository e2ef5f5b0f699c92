"""What is asked of workers, and what may answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.drift import Drift, DriftState
from tests.watched import WatchedState, serving
from trainer.watch.rules import Drift as Worst
from trainer.watch.workers import worst_drift

HALF = (0.5, 0.5)


def state(**excess: float) -> WatchedState:
    watched = WatchedState()
    moved = {name: Drift(value, 0.0, HALF, HALF) for name, value in excess.items()}
    watched.live.note_drift(DriftState(200, moved))
    return watched


def test_the_worst_of_all_workers_counts() -> None:
    model = state().active
    assert model is not None
    with serving(state(brightness=0.3, labels=0.1)) as one, serving(state(contrast=1.5)) as two:
        assert worst_drift([one, two], model.name) == Worst("contrast", 1.5)
        assert worst_drift([one], model.name) == Worst("brightness", 0.3)
        assert worst_drift([one, two], "another") is None
    with serving(WatchedState()) as silent, serving(state()) as few:
        assert worst_drift([silent, few], model.name) is None


@contextmanager
def answering(data: bytes) -> Iterator[str]:
    """Something that answers one request with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(data)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        thread.join(10)


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 503 Busy\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\ncut",
        OK + b"Content-Length: 2\r\n\r\n[]",
        OK + b"\r\n" + b"[" * 100_000,
        OK + b'\r\n{"model": {"name": "m"}, "view": {}}',
        OK + b'\r\n{"model": {"name": "m"}, "view": {"drift": {"moved": {"a": 1}}}}',
        b"",
    ],
)
def test_what_is_no_workers_page_says_nothing_of_drift(data: bytes) -> None:
    with answering(data) as page:
        assert worst_drift([page], "m") is None


def test_a_worker_that_is_not_there_says_nothing_of_drift() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert worst_drift([f"http://127.0.0.1:{port}"], "m") is None
