from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pipeline.errors import ConfigError
from pipeline.kafka.issued_token import Client, IssuedToken
from tests.token_endpoint import CLIENT, SECRET, Endpoint, token_endpoint


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    numbers = itertools.count(1)
    with token_endpoint(lambda: f"token-{next(numbers)}") as running:
        yield running


def client(endpoint: Endpoint) -> Client:
    return Client(endpoint.url, CLIENT, SECRET, "kafka frames")


def test_a_token_is_issued_once_and_used_again(endpoint: Endpoint) -> None:
    issued = IssuedToken()
    assert [issued.get(client(endpoint)) for _ in range(3)] == ["token-1"] * 3
    assert endpoint.asked == ["grant_type=client_credentials&scope=kafka+frames"]


def test_a_token_whose_time_is_over_or_that_was_refused_is_issued_anew(endpoint: Endpoint) -> None:
    issued = IssuedToken()
    endpoint.expires_in = 0
    assert [issued.get(client(endpoint)) for _ in range(2)] == ["token-1", "token-2"]
    endpoint.expires_in = None
    assert [issued.get(client(endpoint)) for _ in range(2)] == ["token-3", "token-3"]
    issued.forget()
    assert issued.get(client(endpoint)) == "token-4"


def test_a_wrong_secret_is_the_operators_error_and_is_not_repeated(endpoint: Endpoint) -> None:
    wrong = replace(client(endpoint), secret="a-secret")
    with pytest.raises(ConfigError, match=r"401: invalid_client; are kafka.client_id") as refused:
        IssuedToken().get(wrong)
    assert "a-secret" not in f"{refused.value} {wrong!r}"


def test_a_refusal_of_what_is_asked_for_tells_why(endpoint: Endpoint) -> None:
    endpoint.refuses_with = 400
    with pytest.raises(ConfigError, match="400: invalid_scope"):
        IssuedToken().get(client(endpoint))


def test_an_endpoint_that_is_in_trouble_or_away_may_come_back(endpoint: Endpoint) -> None:
    endpoint.refuses_with = 503
    with pytest.raises(OSError, match="answers 503"):
        IssuedToken().get(client(endpoint))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        away = replace(client(endpoint), url=f"http://127.0.0.1:{unused.getsockname()[1]}/")
        with pytest.raises(OSError, match=r"doesn't answer: .*refused"):
            IssuedToken().get(away)


def test_what_gives_no_token_is_the_wrong_endpoint(endpoint: Endpoint) -> None:
    endpoint.token = str
    with pytest.raises(ConfigError, match="gave no access_token"):
        IssuedToken().get(client(endpoint))


def test_a_secret_is_not_taken_to_another_place(endpoint: Endpoint) -> None:
    with token_endpoint(str) as other:
        endpoint.moved_to = other.url
        with pytest.raises(ConfigError, match="answers 302"):
            IssuedToken().get(client(endpoint))
        assert other.asked == []
