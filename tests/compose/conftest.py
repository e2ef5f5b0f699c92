"""The stack that the tests of what is monitored share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compose.kafka.jars import BrokerError
from tests.compose.prometheus import Prometheus, find
from tests.compose.stack import Stack
from tests.support import wait_until

_WITHIN_S = 60.0

_SWAP_WITHIN_S = 400.0
"""Its probe has to start, at a low priority, while other tests have the cores; and where the worker
is busy it rests, while it starts and while it tries."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All services but Grafana, at work: one swap, one refused model, one frame that is no picture
    are behind them, so that there is something to see."""
    find("prometheus")
    try:
        with Stack(tmp_path_factory.mktemp("compose")) as started:
            _live_through_something(started)
            yield started
            assert started.end()["worker"] == 0, "the worker didn't drain"
    except BrokerError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="module")
def prometheus(stack: Stack) -> Prometheus:
    """The Prometheus that watches the stack."""
    assert stack.prometheus is not None
    return stack.prometheus


def _live_through_something(stack: Stack) -> None:
    watching = stack.prometheus
    assert watching is not None
    wait_until(lambda: watching.value("sum(headrace_frames_scored_total)") > 50, _WITHIN_S)
    stack.send(b"no picture")
    stack.publish()
    swapped = 'headrace_model_swaps_total{result="swapped"}'
    wait_until(lambda: watching.value(swapped) == 1, _SWAP_WITHIN_S)
    stack.publish(labels=("another", "model"))
    refused = 'headrace_model_swaps_total{result="incompatible"}'
    wait_until(lambda: watching.value(refused) == 1, _WITHIN_S)
    wait_until(lambda: watching.value("sum(headrace_frames_rejected_total)") == 1, _WITHIN_S)
