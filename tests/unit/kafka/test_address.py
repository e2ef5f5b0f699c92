from __future__ import annotations

import pytest

from pipeline.errors import ConfigError
from pipeline.kafka.address import KafkaAddress, parse_kafka_url


@pytest.mark.parametrize(
    ("url", "address", "query"),
    [
        ("kafka://h:9092/frames", KafkaAddress(("h:9092",), "frames"), ""),
        ("kafka://a:1,b:2/t?group=g&x=1", KafkaAddress(("a:1", "b:2"), "t"), "group=g&x=1"),
        ("kafka://broker/a.b_c-1", KafkaAddress(("broker:9092",), "a.b_c-1"), ""),
        ("kafka://[::1]:9094/t", KafkaAddress(("[::1]:9094",), "t"), ""),
    ],
)
def test_a_url_names_brokers_and_a_topic(url: str, address: KafkaAddress, query: str) -> None:
    assert parse_kafka_url(url) == (address, query)


def test_an_address_is_shown_as_a_url() -> None:
    address, _ = parse_kafka_url("kafka://a:1,b/t?group=g")
    assert str(address) == "kafka://a:1,b:9092/t"
    assert str(address.dead_letters) == "kafka://a:1,b:9092/t.dlq"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("kafka://h:9092", "expected kafka://HOST:PORT"),
        ("kafka://h:9092/", "expected kafka://HOST:PORT"),
        ("kafka:///t", "expected kafka://HOST:PORT"),
        ("kafka://user:secret@h:9092/t", "come from the settings"),
        ("kafka://h:99999/t", "expected HOST:PORT"),
        ("kafka://h:1,,b:2/t", "expected HOST:PORT"),
        ("kafka://h:1/a/b", "can't be a topic's name"),
        ("kafka://h:1/..", "can't be a topic's name"),
        (f"kafka://h:1/{'x' * 250}", "can't be a topic's name"),
    ],
)
def test_a_wrong_url_is_refused_and_shows_no_secret(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        parse_kafka_url(url)
    assert "secret" not in str(caught.value)
