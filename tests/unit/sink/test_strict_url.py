from __future__ import annotations

import pytest

from pipeline.clock import SystemClock
from pipeline.config import Settings
from pipeline.errors import ConfigError
from pipeline.kafka.access import KafkaAccess
from pipeline.metrics import Metrics
from pipeline.sink.jsonl import NullSink
from pipeline.sink.kafka_strict import StrictKafkaSink
from pipeline.sink.live import LiveView
from pipeline.sink.tee import TeeSink
from pipeline.sink.url import make_sinks
from pipeline.source.kafka_url import make_seat, strict_options

SOURCE = "kafka://a:1,b:1/frames?group=g&mode=strict&slot=4"
SINK = "kafka://b:1/results"


def made(sinks: tuple[str, ...] = (SINK,), dead_letter: str = "", **more: object):
    settings = Settings.model_validate(
        {
            "sources": (SOURCE,),
            "sinks": sinks,
            "sink": {"dead_letter": dead_letter},
            "server": {"enabled": False},
            "kafka": {"experimental_strict": True},
            **more,
        }
    )
    strict = strict_options(settings.sources, KafkaAccess())
    assert strict is not None
    seat = make_seat(strict, lambda _: True, Metrics())
    clock = SystemClock()
    return make_sinks(settings, clock, KafkaAccess(), LiveView(clock), Metrics(), seat)


def test_one_sink_writes_all_in_strict_mode() -> None:
    results, dead_letters = made()
    assert isinstance(results, StrictKafkaSink)
    assert results.name == "kafka://b:1/results"
    assert isinstance(dead_letters, NullSink)
    results, _ = made(server={"enabled": True})
    assert isinstance(results, TeeSink)
    made(dead_letter="null:")
    made(dead_letter="kafka://a:1/letters")
    made(sinks=(f"{SINK}?create=4",))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"kafka": {}}, "HEADRACE_KAFKA__EXPERIMENTAL_STRICT=true"),
        ({"sinks": ("null:",)}, "needs one sink, kafka://"),
        ({"sinks": (SINK, "jsonl:out.jsonl")}, "needs one sink, kafka://"),
        ({"dead_letter": "jsonl:out.jsonl"}, "needs one sink, kafka://"),
        ({"sinks": ("kafka://c:1/results",)}, "must be in its own cluster"),
        ({"dead_letter": "kafka://c:1/letters"}, "must be in its own cluster"),
        ({"sinks": (f"{SINK}?make=4",)}, "create=PARTITIONS"),
    ],
)
def test_what_no_transaction_covers_is_refused(more: dict, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(**more)
    assert said in str(caught.value)


def test_a_strict_source_is_the_only_one() -> None:
    assert strict_options(["clip.mp4", "kafka://a:1/frames"], KafkaAccess()) is None
    with pytest.raises(ConfigError, match="only one"):
        strict_options([SOURCE, "kafka://a:1/frames"], KafkaAccess())


def test_a_seat_without_a_consumer_has_no_member() -> None:
    strict = strict_options([SOURCE], KafkaAccess())
    assert strict is not None
    seat = make_seat(strict, lambda _: True, Metrics())
    assert seat.transactional_id == "g-4"
    assert seat.member() is None
