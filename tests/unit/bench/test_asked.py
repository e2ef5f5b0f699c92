"""Pictures posted to a server that is real, small and on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.bench.kafka.asked import CONNECTIONS, Asking
from pipeline.bench.kafka.peers import PEERS
from pipeline.errors import StageFailed
from tests.support import wait_until

PICTURES = (b"\xff\xd8 one \r\n\xff\xd9", b"\xff\xd8 two \xff\xd9")


@contextmanager
def server(status: int = 200) -> Iterator[tuple[int, list[tuple[str, bytes]]]]:
    """Answers with a class, and keeps what it was asked: a content type and a body each."""
    asked: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.headers["Content-Type"], body))
            answer = json.dumps({"class": "3"}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening.server_port, asked
        listening.shutdown()
        thread.join()


def ask(port: int, peer: str, count: int) -> Asking:
    endpoint = PEERS[peer].endpoint
    assert endpoint is not None
    asking = Asking(port, endpoint, PICTURES, count)
    with asking.running():
        wait_until(lambda: asking.answered() >= count)
    return asking


def test_each_picture_is_asked_for_once_in_turn_and_answers_are_in_their_order() -> None:
    count = 2 * CONNECTIONS + 1
    with server() as (port, asked):
        asking = ask(port, "litserve", count)
    assert len(asked) == count
    assert sum(PICTURES[0] in body for _, body in asked) == CONNECTIONS + 1
    assert sorted(int(each.frame_id) for each in asking.results) == list(range(count))
    times_ms = [each.appended_ms for each in asking.results]
    assert times_ms == sorted(times_ms)


def test_a_form_holds_the_picture_as_a_file() -> None:
    with server() as (port, asked):
        ask(port, "litserve", 1)
    [(content_type, body)] = asked
    message = BytesParser().parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    [part] = message.get_payload()
    assert part.get_filename() == "frame.jpg"
    assert part.get_content_type() == "image/jpeg"
    assert PICTURES[0] in body


def test_a_server_that_fails_ends_the_run_with_its_answer() -> None:
    with server(status=500) as (port, _), pytest.raises(StageFailed, match=r"500 .*class"):
        ask(port, "mlserver", 8)
