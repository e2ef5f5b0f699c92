from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.clock import ManualClock, SystemClock
from pipeline.server.scrapes import Scrapes

OPEN_METRICS = "application/openmetrics-text;version=1.0.0"


class Asked(Collector):
    """Says how often it was asked, after ``takes_s``."""

    times = 0
    takes_s = 0.0

    def collect(self) -> Iterable[Metric]:
        self.times += 1
        threading.Event().wait(self.takes_s)
        yield GaugeMetricFamily("asked", "Times", value=self.times)


def made() -> tuple[Asked, ManualClock, Scrapes]:
    registry, clock, asked = CollectorRegistry(), ManualClock(), Asked()
    registry.register(asked)
    asked.times = 0  # a registry asks once for the names
    return asked, clock, Scrapes(registry, clock)


def test_an_answer_is_given_again_for_a_tenth_of_a_second() -> None:
    asked, clock, scrapes = made()
    first, content_type = scrapes.answer("")
    assert b"asked 1.0" in first
    assert content_type.startswith("text/plain")
    clock.advance(0.09)
    assert scrapes.answer("") == (first, content_type)
    clock.advance(0.02)
    assert b"asked 2.0" in scrapes.answer("")[0]
    assert asked.times == 2


def test_each_form_is_an_answer_of_its_own() -> None:
    _, _, scrapes = made()
    plain, _ = scrapes.answer("")
    text, content_type = scrapes.answer(OPEN_METRICS)
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
    assert not plain.endswith(b"# EOF\n")
    assert scrapes.answer("")[0] == plain


def test_forms_that_nobody_needs_are_not_collected() -> None:
    asked, _, scrapes = made()
    for number in range(100):
        scrapes.answer(f"application/openmetrics-text;version=1.0.{number}")
    assert asked.times == 100
    scrapes.answer("application/openmetrics-text;version=1.0.99")
    assert asked.times == 100
    scrapes.answer("application/openmetrics-text;version=1.0.0")
    assert asked.times == 101


def test_those_who_ask_meanwhile_get_the_answer_that_is_being_made_however_long_it_takes() -> None:
    registry, asked = CollectorRegistry(), Asked()
    registry.register(asked)
    asked.times, asked.takes_s = 0, 0.3  # longer than an answer is kept
    scrapes = Scrapes(registry, SystemClock())
    with ThreadPoolExecutor(8) as scrapers:
        answers = list(scrapers.map(scrapes.answer, [""] * 8))
    assert asked.times <= 2  # a thread may begin late
    assert len({text for text, _ in answers}) == asked.times


def test_what_is_kept_is_given_without_waiting_for_who_makes_another() -> None:
    asked, clock, scrapes = made()
    assert scrapes.kept("") is None
    first = scrapes.answer("")
    assert scrapes.kept("") == first
    assert scrapes.kept(OPEN_METRICS) is None
    clock.advance(0.11)
    assert scrapes.kept("") is None
    assert asked.times == 1
