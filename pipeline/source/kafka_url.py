"""What a Kafka source's URL says, and the seat of a strict one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from pipeline.durations import parse_duration
from pipeline.errors import ConfigError
from pipeline.kafka.access import KafkaAccess
from pipeline.kafka.address import parse_kafka_url
from pipeline.metrics import Metrics
from pipeline.source.options import DEFAULT_MAX_AGE_S, Options
from pipeline.types import Position

if TYPE_CHECKING:
    from pipeline.kafka.seat import Seat
    from pipeline.source.kafka import KafkaSourceOptions

DEFAULT_GROUP = "headrace"
DEFAULT_SESSION_S = 15.0

_SLOT = re.compile(r"[A-Za-z0-9._-]{1,100}")


def parse_kafka_source(url: str, access: KafkaAccess) -> KafkaSourceOptions:
    """What a Kafka source's URL says, with the defaults of a worker.

    Raises:
        ConfigError: it isn't such a URL, or has an unknown option.
    """
    # Imported here: `--help` needs no Kafka client.
    from pipeline.source.kafka import KafkaSourceOptions

    address, query = parse_kafka_url(url, access)
    options = Options("kafka", query)
    mode = options.take("mode", _kafka_mode, "lossless")
    slot = options.take("slot", _slot, "")
    if mode == "strict" and not slot:
        raise ConfigError(
            f"{address}: mode=strict without a slot, expected slot=NAME: a name that no other"
            " running worker of the group has, and that this one has again when it starts again"
        )
    if slot and mode != "strict":
        raise ConfigError(f"{address}: got slot={slot} with mode={mode}, expected mode=strict")
    max_age_s = options.take("max_age", parse_duration, DEFAULT_MAX_AGE_S)
    wanted = KafkaSourceOptions(
        address,
        group=options.take("group", _group, DEFAULT_GROUP),
        start=options.take("start", _start, "earliest"),
        max_age_s=max_age_s if mode == "live" else None,
        session_s=options.take("session", parse_duration, DEFAULT_SESSION_S),
        slot=slot,
    )
    options.refuse_others()
    return wanted


def strict_options(urls: Iterable[str], access: KafkaAccess) -> KafkaSourceOptions | None:
    """What the URL of a strict source says; None where no source is strict.

    Raises:
        ConfigError: it isn't the only source, or ``parse_kafka_source`` refuses it.
    """
    urls = list(urls)
    kafka = [url for url in urls if url.partition(":")[0].lower() == "kafka"]
    found = [each for url in kafka if (each := parse_kafka_source(url, access)).slot]
    if found and len(urls) > 1:
        raise ConfigError(f"{found[0].address}: a strict source must be the worker's only one")
    return found[0] if found else None


def make_seat(
    strict: KafkaSourceOptions, is_current: Callable[[Position], bool], metrics: Metrics
) -> Seat:
    """The seat of a strict source's worker; ``is_current`` is its journal's."""
    from pipeline.kafka.seat import Seat

    return Seat(strict.address, strict.group, strict.slot, is_current, metrics.consumer)


def _slot(text: str) -> str:
    if not _SLOT.fullmatch(text):
        raise ValueError(f"got {text!r}, expected up to 100 letters, digits and . _ -")
    return text


def _kafka_mode(text: str) -> str:
    if text not in ("lossless", "live", "strict"):
        raise ValueError(f"got {text!r}, expected lossless, live or strict")
    return text


def _group(text: str) -> str:
    if not text.strip():
        raise ValueError("expected the name of a consumer group")
    return text


def _start(text: str) -> Literal["earliest", "latest"]:
    match text:
        case "earliest" | "latest":
            return text
        case _:
            raise ValueError(f"got {text!r}, expected earliest or latest")
