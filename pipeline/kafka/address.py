"""Kafka URLs: ``kafka://HOST:PORT[,HOST:PORT]/TOPIC[?options]``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from pipeline.errors import ConfigError
from pipeline.kafka.access import KafkaAccess

FORM = "kafka://HOST:PORT[,HOST:PORT]/TOPIC"
_DEFAULT_PORT = 9092
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
"""After Kafka's own check, ``org.apache.kafka.common.internals.Topic``."""


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """Where a topic is: some of its cluster's brokers as ``HOST:PORT``, and its name; and how one
    gets in there, which is never shown."""

    servers: tuple[str, ...]
    topic: str
    access: KafkaAccess = field(default_factory=KafkaAccess, repr=False, compare=False)

    @property
    def dead_letters(self) -> KafkaAddress:
        """Where frames of this topic that were rejected go, unless the settings say otherwise."""
        return replace(self, topic=f"{self.topic}.dlq")

    def __str__(self) -> str:
        return f"kafka://{','.join(self.servers)}/{self.topic}"


def parse_kafka_url(url: str, access: KafkaAccess | None = None) -> tuple[KafkaAddress, str]:
    """Gives the address and the query behind it. ``access`` is what the settings say; without it
    the cluster is one that asks nobody and encrypts nothing.

    Raises:
        ConfigError: it isn't such a URL, or has a user in it: secrets come from the settings.
    """
    rest = url.removeprefix("kafka:").removeprefix("//")
    place, _, query = rest.partition("?")
    if "@" in place:
        raise ConfigError(
            f"kafka: users and passwords don't belong into a URL, expected {FORM}; they come from"
            " the settings, see kafka.username"
        )
    servers, _, topic = place.partition("/")
    if not servers or not topic:
        raise ConfigError(f"kafka: got {place!r}, expected {FORM}")
    if not _TOPIC.fullmatch(topic) or topic in (".", ".."):
        raise ConfigError(
            f"kafka: {topic!r} can't be a topic's name: expected letters, digits and . _ - only"
        )
    places = tuple(map(_server, servers.split(",")))
    return KafkaAddress(places, topic, access or KafkaAccess()), query


def _server(text: str) -> str:
    host, _, port = text.rpartition(":") if re.search(r":\d*$", text) else (text, "", "")
    number = int(port) if port else _DEFAULT_PORT
    if not host or not 0 < number < 65536:
        raise ConfigError(f"kafka: {text!r} is no broker's address, expected HOST:PORT")
    return f"{host}:{number}"
