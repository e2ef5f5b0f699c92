from __future__ import annotations

import threading

import pytest
from kafka.errors import (
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
)
from kafka.future import Future

from pipeline.clock import ManualClock
from pipeline.errors import ConfigError, StageFailed
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.delivery import MOST_BYTES_ON_THEIR_WAY, Deliveries
from tests.support import wait_until

ADDRESS = KafkaAddress(("h:9092",), "frames")
GO_ON = threading.Event()


class Waiting:
    """A call in a thread of its own, and what it gave or raised."""

    def __init__(self, body) -> None:
        self.answers: list[bool | StageFailed] = []
        self._thread = threading.Thread(target=self._run, args=(body,))
        self._thread.start()

    def _run(self, body) -> None:
        try:
            self.answers.append(body())
        except StageFailed as error:
            self.answers.append(error)

    def answer(self) -> bool | StageFailed:
        self._thread.join(20)
        return self.answers[0]


def stopped() -> threading.Event:
    stop = threading.Event()
    stop.set()
    return stop


def test_what_is_acknowledged_is_counted_and_told() -> None:
    deliveries = Deliveries(ADDRESS, ManualClock())
    told: list[int] = []
    futures: list[Future[object]] = [Future() for _ in range(3)]
    for number, future in enumerate(futures):
        deliveries.follow(future, 100, lambda number=number: told.append(number))
    futures[1].success(None)
    assert (deliveries.records, deliveries.size_bytes, deliveries.on_their_way) == (1, 100, 2)
    futures[0].success(None)
    futures[2].success(None)
    assert told == [1, 0, 2]
    assert deliveries.await_all(GO_ON)
    assert (deliveries.records, deliveries.size_bytes, deliveries.on_their_way) == (3, 300, 0)


def test_room_is_a_matter_of_bytes_and_an_empty_value_counts_too() -> None:
    deliveries = Deliveries(ADDRESS, ManualClock())
    large: Future[object] = Future()
    deliveries.follow(large, MOST_BYTES_ON_THEIR_WAY)
    empty: Future[object] = Future()
    deliveries.follow(empty, 0)
    waiting = Waiting(lambda: deliveries.await_room(10, GO_ON))
    large.success(None)
    assert waiting.answer() is True
    waiting = Waiting(lambda: deliveries.await_all(GO_ON))
    assert not waiting.answers
    empty.success(None)
    assert waiting.answer() is True


@pytest.mark.parametrize(
    ("error", "said"),
    [(MessageSizeTooLargeError(), "max.message.bytes"), (KafkaTimeoutError(), "wasn't taken")],
)
def test_a_refused_record_is_an_error_and_not_on_its_way(error: Exception, said: str) -> None:
    deliveries = Deliveries(ADDRESS, ManualClock())
    future: Future[object] = Future()
    told: list[bool] = []
    deliveries.follow(future, 100, lambda: told.append(True))
    future.failure(error)
    with pytest.raises(StageFailed, match=said):
        deliveries.await_all(GO_ON)
    assert (deliveries.on_their_way, deliveries.records, told) == (0, 0, [])


def test_who_may_not_write_is_told_which_topic() -> None:
    deliveries = Deliveries(ADDRESS, ManualClock())
    future: Future[object] = Future()
    deliveries.follow(future, 100, to=KafkaAddress(("h:9092",), "others"))
    future.failure(TopicAuthorizationFailedError())
    with pytest.raises(ConfigError, match="kafka://h:9092/others: not allowed"):
        deliveries.await_all(GO_ON)


def test_silence_of_a_minute_is_an_error() -> None:
    clock = ManualClock()
    deliveries = Deliveries(ADDRESS, clock)
    deliveries.follow(Future(), 100)
    waiting = Waiting(lambda: deliveries.await_all(GO_ON))
    clock.advance(66)
    assert "within a minute" in str(waiting.answer())


def test_who_stops_waits_as_long_as_acknowledgements_come() -> None:
    clock = ManualClock()
    deliveries = Deliveries(ADDRESS, clock)
    futures: list[Future[object]] = [Future() for _ in range(5)]
    for future in futures:
        deliveries.follow(future, 100)
    waiting = Waiting(lambda: deliveries.await_all(stopped()))
    for future in futures[:-1]:
        clock.advance(2.5)
        future.success(None)
    assert not waiting.answers
    wait_until(lambda: clock.advance(1.0) or waiting.answers)
    assert waiting.answer() is False
    assert (deliveries.on_their_way, deliveries.records) == (1, 4)
    assert deliveries.await_room(0, stopped())  # there is room, only nobody listens
