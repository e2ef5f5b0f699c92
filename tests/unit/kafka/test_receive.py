from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from kafka.protocol.frame import KafkaBytes

from pipeline.kafka.receive import PIECE_BYTES, read_once, receive


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    here.setblocking(False)
    yield here, there
    here.close()
    there.close()


def test_what_is_there_comes_whole_and_then_nothing(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    here, there = pair
    sent = os.urandom(57_000)
    there.sendall(sent)
    assert receive(here) == (sent, None)
    assert receive(here) == (b"", None)


def test_more_than_a_piece_comes_in_order(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    there.setblocking(False)
    sent, received = os.urandom(3 * PIECE_BYTES + 1), b""
    rest = memoryview(sent)
    while len(received) < len(sent):
        while rest:
            try:
                rest = rest[there.send(rest) :]
            except BlockingIOError:
                break
        data, error = receive(here)
        assert error is None
        received += data
    assert received == sent


def test_the_other_end_that_closes_is_an_error_after_its_last_bytes(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    here, there = pair
    there.sendall(b"last")
    there.close()
    data, error = receive(here)
    if error is None:  # told with the bytes, or by the next call
        again, error = receive(here)
        data += again
    assert data == b"last"
    assert "disconnected" in str(error)


def test_a_socket_that_is_closed_is_an_error(pair: tuple[socket.socket, socket.socket]) -> None:
    here, _ = pair
    here.close()
    data, error = receive(here)
    assert data == b""
    assert error is not None


def test_a_response_is_read_piece_by_piece_and_never_beyond_its_end() -> None:
    response = KafkaBytes(10)
    response.write(b"0123456789")
    response.seek(0)
    assert [read_once(response, count) for count in (4, 0, 3)] == [b"0123", b"", b"456"]
    assert read_once(response) == b"789"
    assert read_once(response, 5) == read_once(response) == b""
    response.seek(8)
    assert read_once(response, 5) == b"89"
    assert response.tell() == 10
