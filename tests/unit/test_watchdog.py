from __future__ import annotations

import threading

import pytest

from pipeline.clock import ManualClock
from pipeline.watchdog import CallWatch
from tests.support import wait_until


def test_a_call_that_returned_is_never_overdue() -> None:
    clock = ManualClock()
    calls = CallWatch(clock)
    with calls.call("a poll"):
        clock.advance(5)
        assert calls.overdue(10) is None
    clock.advance(50)
    assert calls.overdue(10) is None


def test_a_call_that_raised_is_over_too() -> None:
    clock = ManualClock()
    calls = CallWatch(clock)
    with pytest.raises(OSError, match="gone"), calls.call("a poll"):
        raise OSError("gone")
    clock.advance(50)
    assert calls.overdue(10) is None


def test_an_overdue_call_is_named_with_its_time() -> None:
    clock = ManualClock()
    calls = CallWatch(clock)
    with calls.call("frames: a poll"):
        clock.advance(11)
        assert calls.overdue(10) == "frames: a poll hasn't returned for 11 s"


def test_some_calls_may_take_longer_than_others() -> None:
    clock = ManualClock()
    calls = CallWatch(clock)
    with calls.call("a write", patience=2):
        clock.advance(11)
        assert calls.overdue(10) is None
        clock.advance(10)
        assert calls.overdue(10) is not None


def test_each_thread_has_a_call_of_its_own() -> None:
    clock = ManualClock()
    calls = CallWatch(clock)
    inside, leave = threading.Event(), threading.Event()

    def decode() -> None:
        with calls.call("the decoding of a frame"):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=decode)
    thread.start()
    assert inside.wait(10)
    with calls.call("the network"):
        pass
    clock.advance(11)
    assert calls.overdue(10) == "the decoding of a frame hasn't returned for 11 s"
    leave.set()
    thread.join()
    wait_until(lambda: calls.overdue(10) is None)
