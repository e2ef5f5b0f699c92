"""What ``feed``, ``status`` and ``replay`` share: how they get into a Kafka cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import config_option

if TYPE_CHECKING:
    from pipeline.kafka.access import KafkaAccess
    from pipeline.kafka.address import KafkaAddress

ConfigFile = Annotated[
    Path | None, config_option("Settings as TOML; of them [kafka] is used, TLS and passwords.")
]


def kafka_access(config: Path | None) -> KafkaAccess:
    """How the settings say that a cluster is entered, the file's or the environment's.

    Raises:
        ConfigError: they can't be read, or don't go together.
    """
    from pipeline.kafka.access import KafkaAccess
    from pipeline.settings import load_settings

    return KafkaAccess.of(load_settings(config, {}).settings.kafka)


def bare_topic(url: str, access: KafkaAccess) -> KafkaAddress:
    """The topic of a URL that takes no options.

    Raises:
        ConfigError: it isn't a Kafka URL.
    """
    from pipeline.kafka.address import parse_kafka_url

    address, query = parse_kafka_url(url, access)
    if query:
        raise typer.BadParameter(f"a topic takes no options, got {query!r}")
    return address
