from __future__ import annotations

import os
import select
import signal
import threading
import time

import pytest

from pipeline.channel import ChannelClosed
from pipeline.errors import ConfigError, SinkUnavailable, StageFailed
from pipeline.lifecycle import Crew, stopping_on_signals
from tests.support import wait_until


def soon() -> float:
    return time.monotonic() + 10


def test_the_first_failure_wins_and_each_is_told() -> None:
    told: list[str] = []
    crew = Crew(told.append)
    go = threading.Event()

    def fail_later() -> None:
        go.wait(10)
        raise SinkUnavailable("second")

    def fail() -> None:
        raise ConfigError("first")

    crew.start("sink", fail_later)
    crew.start("intake", fail)
    assert crew.join("intake", soon())
    go.set()
    assert crew.join("sink", soon())
    assert told == ["intake", "sink"]
    assert str(crew.error) == "first"
    assert crew.error is not None
    assert crew.error.exit_code == 2


def test_an_error_that_nobody_expected_names_its_stage_and_keeps_its_cause() -> None:
    crew = Crew(lambda _stage: None)

    def fail() -> None:
        raise KeyError("row")

    crew.start("engine", fail)
    assert crew.join("engine", soon())
    assert isinstance(crew.error, StageFailed)
    assert isinstance(crew.error.__cause__, KeyError)
    assert "engine stage failed: KeyError" in str(crew.error)


def test_a_closed_channel_is_a_quiet_end() -> None:
    crew = Crew(lambda _stage: pytest.fail("nothing failed"))

    def end() -> None:
        raise ChannelClosed("outcomes")

    crew.start("decode", end)
    assert crew.join("decode", soon())
    assert crew.error is None


def test_a_thread_that_goes_on_is_not_waited_for_beyond_the_deadline() -> None:
    crew = Crew(lambda _stage: None)
    end = threading.Event()
    crew.start("engine", lambda: assert_true(end.wait(10)))
    assert not crew.join("engine", time.monotonic() + 0.05)
    end.set()
    assert crew.join("engine", soon())


def assert_true(value: object) -> None:
    assert value


def test_the_first_signal_stops_and_the_second_abandons() -> None:
    asked: list[str] = []
    before = signal.getsignal(signal.SIGTERM)
    with stopping_on_signals(lambda: asked.append("stop"), lambda: asked.append("abandon")):
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: asked == ["stop"])
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: asked == ["stop", "abandon"])
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_is_obeyed_while_the_main_thread_is_held() -> None:
    """In a call that the signal doesn't interrupt, as it came to another thread."""
    reader, writer = os.pipe()
    sent = threading.Event()

    def send() -> None:
        sent.wait(0.3)  # by then the main thread is in the call
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        sent.wait()

    sender = threading.Thread(target=send)
    with stopping_on_signals(lambda: assert_true(os.write(writer, b"!")), lambda: None):
        sender.start()
        readable, _, _ = select.select([reader], [], [], 10)
        sent.set()
        sender.join(10)
    os.close(writer)
    os.close(reader)
    assert readable == [reader]


def test_more_signals_than_can_wait_are_no_error_at_the_end() -> None:
    """As where stopping hangs; what comes beyond some hundred says nothing new."""
    held, told = threading.Event(), threading.Event()

    def stop() -> None:
        told.set()
        held.wait(10)

    with stopping_on_signals(stop, lambda: None):
        os.kill(os.getpid(), signal.SIGTERM)
        assert told.wait(10)
        for _ in range(2000):
            os.kill(os.getpid(), signal.SIGINT)
        held.set()


def test_of_signals_one_inside_the_other_the_inner_is_told() -> None:
    asked: list[str] = []
    with stopping_on_signals(lambda: asked.append("outer"), lambda: None):
        with stopping_on_signals(lambda: asked.append("inner"), lambda: None):
            os.kill(os.getpid(), signal.SIGTERM)
            wait_until(lambda: asked == ["inner"])
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: asked == ["inner", "outer"])
    assert signal.set_wakeup_fd(-1) == -1


def test_signals_are_left_alone_in_other_threads() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def look() -> None:
        with stopping_on_signals(lambda: None, lambda: None):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(10)
    assert seen == [before]
