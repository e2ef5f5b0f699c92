from __future__ import annotations

import logging
import signal
import socket
import threading

import httpx
import pytest

from pipeline.errors import ConfigError
from pipeline.server.app import make_app
from pipeline.server.run import HttpServer
from tests.watched import WatchedState, serving


def _server(port: int = 0, host: str = "127.0.0.1") -> HttpServer:
    return HttpServer(make_app(WatchedState()), host, port)


def _threads_named_http() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "http"]


def test_once_started_it_answers_on_the_port_it_names():
    server = _server()
    server.start()
    try:
        assert server.port > 0
        assert httpx.get(f"http://127.0.0.1:{server.port}/healthz").status_code == 200
        assert len(_threads_named_http()) == 1
    finally:
        server.stop()
    assert not _threads_named_http()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{server.port}/healthz")


def test_stopping_twice_or_before_the_start_is_harmless():
    server = _server()
    server.stop()
    server.start()
    server.stop()
    server.stop()


def test_a_taken_port_is_named_with_its_remedy():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} of 127\.0\.0\.1 .*--port"):
            _server(port).start()
    assert not _threads_named_http()


def test_a_host_that_is_not_this_machines_is_named():
    with pytest.raises(ConfigError, match="give another --"):
        _server(host="192.0.2.1").start()
    with pytest.raises(ConfigError, match="--host"):
        _server(host="no such host").start()


def test_the_same_port_can_be_taken_again_at_once():
    first = _server()
    first.start()
    httpx.get(f"http://127.0.0.1:{first.port}/healthz")
    first.stop()
    again = _server(first.port)
    again.start()
    try:
        assert httpx.get(f"http://127.0.0.1:{again.port}/healthz").status_code == 200
    finally:
        again.stop()


def test_signals_stay_the_owners():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with serving(WatchedState()):
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_it_says_nothing_of_its_own_accord(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO), serving(WatchedState()) as url:
        httpx.get(f"{url}/healthz")
    assert [each for each in caplog.records if each.name.startswith("uvicorn")] == []


def test_it_stops_though_clients_hold_connections_open():
    with serving(WatchedState()) as url:
        port = int(url.rsplit(":", 1)[1])
        silent = socket.create_connection(("127.0.0.1", port))
        half = socket.create_connection(("127.0.0.1", port))
        half.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        client = httpx.Client()
        client.get(f"{url}/healthz")
    assert not _threads_named_http()
    silent.close()
    half.close()
    client.close()


def test_a_request_that_never_ends_is_cut_off():
    server = HttpServer(make_app(WatchedState()), "127.0.0.1", 0, request_within_s=0.5)
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as slow:
            slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-More: ")
            assert _is_cut_off(slow)
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as silent:
            assert _is_cut_off(silent)
    finally:
        server.stop()


def _is_cut_off(connection: socket.socket) -> bool:
    """Whether the server ends the connection without an answer."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_nonsense_is_answered_and_does_no_harm():
    with serving(WatchedState()) as url:
        port = int(url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as rude:
            rude.sendall(b"\x16\x03\x01 not http\r\n\r\n")
            assert rude.recv(64).startswith(b"HTTP/1.1 400")
        assert httpx.get(f"{url}/healthz").status_code == 200
