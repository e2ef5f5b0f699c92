"""From a sink URL to a sink."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.clock import Clock
from pipeline.config import Settings
from pipeline.errors import ConfigError
from pipeline.kafka.access import KafkaAccess
from pipeline.kafka.address import KafkaAddress, parse_kafka_url
from pipeline.metrics import Metrics
from pipeline.sink.base import Sink
from pipeline.sink.dead_letter import encode_dead_letter
from pipeline.sink.jsonl import JsonlSink, NullSink, StdoutSink
from pipeline.sink.labelled import LabelledSink
from pipeline.sink.records import Outgoing, dead_letter_record, result_record
from pipeline.sink.tee import TeeSink
from pipeline.types import Outcome
from pipeline.wire import encode_row

if TYPE_CHECKING:
    from pipeline.kafka.seat import Seat
    from pipeline.sink.kafka import KafkaSink
    from pipeline.sink.kafka_strict import StrictKafkaSink

_MOST_CREATED = 1000
_ONE_IN = 10
_MOST_LABELLED = 2000
_EXPECTED = "expected kafka://HOST:PORT/TOPIC, jsonl:PATH, labelled:FOLDER, stdout: or null:"


def make_sink(
    url: str, clock: Clock, kafka: KafkaAccess | None = None, metrics: Metrics | None = None
) -> Sink:
    """Makes the sink for ``url``; doesn't open it. ``clock`` tells what is stale when written,
    ``kafka`` how a Kafka sink gets into its cluster; ``metrics`` show what it holds.

    Raises:
        ConfigError: the URL isn't one of a sink.
    """

    def encode(outcome: Outcome) -> bytes:
        return encode_row(outcome, clock.now())

    scheme, colon, rest = url.partition(":")
    if scheme == "jsonl" and rest:
        return JsonlSink(_path(rest), encode)
    if (scheme, colon, rest) == ("stdout", ":", ""):
        return StdoutSink(encode)
    if (scheme, colon, rest) == ("null", ":", ""):
        return NullSink()
    if scheme == "labelled" and rest:
        return _labelled(rest)
    if scheme == "kafka":
        place = parse_kafka_url(url, kafka)
        sink = _kafka(place, lambda outcome: result_record(outcome, clock.now()), clock)
        return _watched(sink, metrics)
    meant = "" if colon else f"; for a file of that name: jsonl:{url}"
    raise ConfigError(f"sink {url!r}: {_EXPECTED}{meant}")


def make_sinks(
    settings: Settings,
    clock: Clock,
    kafka: KafkaAccess,
    page: Sink,
    metrics: Metrics,
    seat: Seat | None = None,
) -> tuple[Sink, Sink]:
    """Makes the sink of all results, with that of the ``page`` where there is a server, and the
    sink of the dead letters. In strict mode, with a ``seat``, the first one writes them.

    Raises:
        ConfigError: there is none, a URL isn't one, one is given twice, or not fit for strict mode.
    """
    if not settings.sinks:
        raise ConfigError("no sink: give at least one --sink URL, null: keeps nothing")
    check_no_twins(settings)
    sinks: list[Sink] = []
    if seat is None:
        sinks += [make_sink(url, clock, kafka, metrics) for url in settings.sinks]
        dead_letters = make_dead_letters(
            settings.sink.dead_letter, settings.sources, settings.sinks, clock, kafka, metrics
        )
    else:
        sinks.append(make_strict_sink(settings, clock, kafka, seat))
        dead_letters = NullSink()
    if settings.server.enabled:
        sinks.append(page)
    return sinks[0] if len(sinks) == 1 else TeeSink(sinks), dead_letters


def check_no_twins(settings: Settings) -> None:
    """Each result stands in a sink once.

    Raises:
        ConfigError: a sink is given twice, or dead letters go where results do.
    """
    urls = [url for url in (*settings.sinks, settings.sink.dead_letter) if url not in ("", "null:")]
    places = [_place(url) for url in urls]
    for number, url in enumerate(urls):
        if places[number] in places[:number]:
            raise ConfigError(f"the sink {url!r} is given twice: each row would stand there twice")


def _place(url: str) -> str:
    scheme, _, rest = url.partition(":")
    return f"jsonl:{_path(rest).resolve()}" if scheme == "jsonl" else url.partition("?")[0]


def make_strict_sink(
    settings: Settings, clock: Clock, kafka: KafkaAccess, seat: Seat
) -> StrictKafkaSink:
    """Makes the sink of a strict source's results and dead letters.

    Raises:
        ConfigError: nobody has agreed to an experiment, or they don't go to topics of the source's
            cluster, and to nothing else.
    """
    # Imported here: other sinks need no Kafka client.
    from pipeline.sink.kafka_strict import StrictKafkaSink

    if not settings.kafka.experimental_strict:
        raise ConfigError(
            f"{seat.source}: mode=strict is an experiment: a request that comes twice may still"
            " double rows (docs/decisions/0013-strict-mode.md); try it with"
            " HEADRACE_KAFKA__EXPERIMENTAL_STRICT=true, or leave mode=strict away"
        )
    url = settings.sinks[0]
    letters = settings.sink.dead_letter or _beside(settings.sources, settings.sinks)
    places = [each for each in (url, letters) if each != "null:"]
    if len(settings.sinks) > 1 or not all(each.startswith("kafka:") for each in (url, *places)):
        raise ConfigError(
            f"{seat.source}: a strict source needs one sink, kafka://…, and its dead letters there"
            " too, or at null:; a transaction covers nothing else"
        )
    results, query = parse_kafka_url(url, kafka)
    dead_letters = None if letters == "null:" else parse_kafka_url(letters, kafka)[0]
    for place in filter(None, (results, dead_letters)):
        if set(place.servers).isdisjoint(seat.source.servers):
            raise ConfigError(
                f"{place}: a strict source's results must be in its own cluster, that of"
                f" {seat.source}: name the same brokers"
            )
    return StrictKafkaSink(
        results, dead_letters, seat, clock, create_partitions=_partitions(results, query, 0)
    )


def make_dead_letters(
    url: str,
    sources: tuple[str, ...],
    sinks: tuple[str, ...],
    clock: Clock,
    kafka: KafkaAccess | None = None,
    metrics: Metrics | None = None,
) -> Sink:
    """Makes the sink for rejected frames: ``url``, or what goes with the sources and sinks.

    Frames of a Kafka topic have theirs in ``TOPIC.dlq``, made where it is missing; results in
    ``results.jsonl`` have ``results.dlq.jsonl`` beside them, made by its first row; a Kafka sink of
    frames from elsewhere has ``TOPIC.dlq``. Where results have no place that stays (stdout, null),
    dead letters have none either: the row says the reason, the bytes are let go.

    Raises:
        ConfigError: the URL isn't one of a dead-letter sink.
    """
    url = url or _beside(sources, sinks)
    scheme, _, rest = url.partition(":")
    if scheme == "jsonl" and rest:
        return JsonlSink(_path(rest), encode_dead_letter, is_lazy=True)
    if scheme == "kafka":
        place = parse_kafka_url(url, kafka)
        sink = _kafka(place, dead_letter_record, clock, create_partitions=1, is_lazy=True)
        return _watched(sink, metrics)
    if url == "null:":
        return NullSink()
    raise ConfigError(
        f"dead-letter sink {url!r}: expected kafka://HOST:PORT/TOPIC, jsonl:PATH or null:"
    )


def _beside(sources: tuple[str, ...], sinks: tuple[str, ...]) -> str:
    for url in (*_of(sources, "kafka"), *_of(sinks, "jsonl"), *_of(sinks, "kafka")):
        if url.startswith("kafka:"):
            address, _ = parse_kafka_url(url)
            return str(address.dead_letters)
        path = _path(url.removeprefix("jsonl:"))
        return f"jsonl:{path.with_name(f'{path.stem}.dlq{path.suffix}')}"
    return "null:"


def _of(urls: tuple[str, ...], scheme: str) -> list[str]:
    return [url for url in urls if url.startswith(f"{scheme}:")]


def _kafka(
    place: tuple[KafkaAddress, str],
    form: Callable[[Outcome], Outgoing],
    clock: Clock,
    *,
    create_partitions: int = 0,
    is_lazy: bool = False,
) -> KafkaSink:
    # Imported here: other sinks need no Kafka client.
    from pipeline.sink.kafka import KafkaSink

    address, query = place
    partitions = _partitions(address, query, create_partitions)
    return KafkaSink(address, form, clock, create_partitions=partitions, is_lazy=is_lazy)


def _partitions(address: KafkaAddress, query: str, default: int) -> int:
    name, _, value = query.partition("=")
    if query and (name != "create" or not value.isdecimal() or not 0 < int(value) <= _MOST_CREATED):
        raise ConfigError(
            f"{address}: got {query!r}, expected no option but create=PARTITIONS, which makes the"
            " topic where it is missing"
        )
    return int(value) if query else default


def _labelled(rest: str) -> LabelledSink:
    path, mark, query = rest.partition("?")
    name, _, value = query.partition("=")
    if mark and (name != "every" or not value.isdecimal() or int(value) < 1):
        raise ConfigError(
            f"labelled:{path}: got {query!r}, expected no option but every=N, which keeps one in N"
            " frames whose truth the source knows"
        )
    return LabelledSink(_path(path), int(value) if mark else _ONE_IN, _MOST_LABELLED)


def _watched(sink: KafkaSink, metrics: Metrics | None) -> KafkaSink:
    if metrics is not None:
        gauge = metrics.producer_in_flight.labels(sink.name)
        gauge.set_function(lambda: sink.in_flight_bytes)
    return sink


def _path(rest: str) -> Path:
    return Path(rest.removeprefix("//")).expanduser()
