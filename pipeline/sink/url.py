"""From a sink URL to a sink."""

from __future__ import annotations

from pathlib import Path

from pipeline.clock import Clock
from pipeline.errors import ConfigError
from pipeline.sink.base import Sink
from pipeline.sink.dead_letter import encode_dead_letter
from pipeline.sink.jsonl import JsonlSink, NullSink, StdoutSink
from pipeline.types import Outcome
from pipeline.wire import encode_row

_EXPECTED = "expected jsonl:PATH, stdout: or null:"


def make_sink(url: str, clock: Clock) -> Sink:
    """Makes the sink for ``url``; doesn't open it. ``clock`` tells what is stale when written.

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
    if scheme == "kafka":
        raise ConfigError(f"sink {url!r}: Kafka is not built yet; {_EXPECTED}")
    meant = "" if colon else f"; for a file of that name: jsonl:{url}"
    raise ConfigError(f"sink {url!r}: {_EXPECTED}{meant}")


def make_dead_letters(url: str, sinks: tuple[str, ...]) -> Sink:
    """Makes the sink for rejected frames: ``url``, or beside the first jsonl sink.

    ``results.jsonl`` gets ``results.dlq.jsonl``, made by its first row. Where results have no place
    on a disk (stdout, null), dead letters have none either: the row says the reason, the bytes are
    let go.

    Raises:
        ConfigError: the URL isn't one of a dead-letter sink.
    """
    if not url:
        beside = next((sink for sink in sinks if sink.startswith("jsonl:")), None)
        if beside is None:
            return NullSink()
        path = _path(beside.removeprefix("jsonl:"))
        return JsonlSink(
            path.with_name(f"{path.stem}.dlq{path.suffix}"), encode_dead_letter, is_lazy=True
        )
    scheme, _, rest = url.partition(":")
    if scheme == "jsonl" and rest:
        return JsonlSink(_path(rest), encode_dead_letter, is_lazy=True)
    if url == "null:":
        return NullSink()
    raise ConfigError(f"dead-letter sink {url!r}: expected jsonl:PATH or null:")


def _path(rest: str) -> Path:
    return Path(rest.removeprefix("//")).expanduser()
