from __future__ import annotations

import threading

import pytest

from pipeline.channel import Channel, ChannelClosed
from tests.support import wait_until


def test_items_come_out_in_order_and_at_most_as_many_as_asked() -> None:
    channel: Channel[int] = Channel("c", 10)
    for number in range(5):
        channel.put(number)
    assert channel.get_many(3) == [0, 1, 2]
    assert channel.get() == 3
    assert channel.depth == 1


def test_a_full_channel_makes_the_writer_wait() -> None:
    channel: Channel[int] = Channel("c", 1)
    channel.put(1)
    with pytest.raises(TimeoutError, match="stayed full"):
        channel.put(2, timeout_s=0.01)
    writer = threading.Thread(target=channel.put, args=(2,))
    writer.start()
    assert channel.get() == 1
    assert channel.get(timeout_s=5) == 2
    writer.join(5)


def test_an_empty_channel_times_out() -> None:
    with pytest.raises(TimeoutError, match="stayed empty"):
        Channel[int]("c", 1).get(timeout_s=0.01)


def test_a_closed_channel_gives_what_is_left_and_then_the_end() -> None:
    channel: Channel[int] = Channel("c", 4)
    channel.put(1)
    channel.close()
    channel.close()
    with pytest.raises(ChannelClosed):
        channel.put(2)
    assert channel.get() == 1
    with pytest.raises(ChannelClosed):
        channel.get()


def test_closing_wakes_readers_and_writers() -> None:
    channel: Channel[int] = Channel("c", 1)
    ended = []

    def read() -> None:
        with pytest.raises(ChannelClosed):
            channel.get()
        ended.append(True)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    channel.close()
    wait_until(lambda: len(ended) == 3)
    for thread in threads:
        thread.join(5)


def test_abandoning_throws_away_what_is_left() -> None:
    channel: Channel[int] = Channel("c", 4)
    channel.put(1)
    channel.abandon()
    with pytest.raises(ChannelClosed):
        channel.get()


def test_many_writers_and_readers_lose_and_double_nothing() -> None:
    channel: Channel[int] = Channel("c", 7)
    got: list[int] = []
    lock = threading.Lock()

    def write(base: int) -> None:
        for number in range(200):
            channel.put(base + number)

    def read() -> None:
        while True:
            try:
                some = channel.get_many(5)
            except ChannelClosed:
                return
            with lock:
                got.extend(some)

    writers = [threading.Thread(target=write, args=(base,)) for base in (0, 1000, 2000)]
    readers = [threading.Thread(target=read) for _ in range(3)]
    for thread in writers + readers:
        thread.start()
    for thread in writers:
        thread.join(20)
    channel.close()
    for thread in readers:
        thread.join(20)
    assert sorted(got) == sorted(base + n for base in (0, 1000, 2000) for n in range(200))


def test_a_channel_without_room_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Channel("c", 0)
