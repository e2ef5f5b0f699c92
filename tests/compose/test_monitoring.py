"""Every panel and rule, asked of a real Prometheus that scrapes a real worker on a real Kafka."""

from __future__ import annotations

import subprocess

import pytest

from tests.compose.prometheus import Prometheus, find
from tests.compose.shipped import Expression, panel_expressions, rule_expressions, rules
from tests.compose.stack import Stack
from tests.flow.process import samples
from tests.support import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.prometheus, pytest.mark.timeout(600)]

MAY_BE_EMPTY = {"Connections made again A"}
"""A panel whose series begin with the first event, which the stack hasn't seen."""
UNACCOUNTED = "Frames unaccounted for A"


@pytest.mark.parametrize("asked", panel_expressions(), ids=str)
def test_a_panel_has_something_to_show(prometheus: Prometheus, asked: Expression) -> None:
    found = prometheus.query(asked.promql)
    if asked.where not in MAY_BE_EMPTY:
        wait_until(lambda: has_values(prometheus, asked.promql), 20)
    assert all(len(each["value"]) == 2 for each in found)


@pytest.mark.parametrize("asked", rule_expressions(), ids=str)
def test_a_rule_can_be_evaluated(prometheus: Prometheus, asked: Expression) -> None:
    prometheus.query(asked.promql)
    wait_until(lambda: prometheus.rules()[asked.where]["health"] != "unknown", 20)
    rule = prometheus.rules()[asked.where]
    assert (rule["health"], rule.get("lastError", "")) == ("ok", "")


@pytest.mark.parametrize("record", [rule["record"] for rule in rules("record")])
def test_a_recorded_rule_has_values(prometheus: Prometheus, record: str) -> None:
    wait_until(lambda: has_values(prometheus, record), 20)


def test_every_metric_that_is_asked_for_is_one_of_the_worker(stack: Stack) -> None:
    text = stack.metrics()
    there = {name.partition("{")[0] for name in samples(text)}
    there |= {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    asked = {name for each in (*panel_expressions(), *rule_expressions()) for name in each.metrics}
    assert asked - there == set()


def test_the_alerts_that_fire_are_those_for_what_happened(prometheus: Prometheus) -> None:
    """A frame that is no picture, a model of other labels, and a camera that is always late."""
    wait_until(
        lambda: prometheus.firing() == {"HeadraceFramesRejected", "HeadraceModelRefused"}, 20
    )
    wait_until(lambda: prometheus.rules()["HeadraceShedding"]["state"] == "pending", 20)


def test_no_frame_is_unaccounted_for_at_any_scrape(prometheus: Prometheus) -> None:
    [identity] = [each for each in panel_expressions() if each.where == UNACCOUNTED]
    spread = prometheus.query(f"max_over_time(({identity.promql})[1m:1s])")
    least = prometheus.query(f"min_over_time(({identity.promql})[1m:1s])")
    assert [each["value"][1] for each in (*spread, *least)] == ["0", "0"]


def test_services_are_healthy_by_their_own_checks(stack: Stack) -> None:
    assert stack.is_healthy("kafka")
    assert stack.is_healthy("worker")


def test_a_trainer_that_starts_again_trains_nothing(stack: Stack) -> None:
    assert "published" not in stack.train()


def test_the_metrics_are_as_prometheus_wants_them(stack: Stack) -> None:
    done = subprocess.run(
        [find("promtool"), "check", "metrics"],
        input=stack.metrics(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def has_values(prometheus: Prometheus, promql: str) -> bool:
    """Whether an expression has series, and one of them a number."""
    return any(each["value"][1] != "NaN" for each in prometheus.query(promql))
