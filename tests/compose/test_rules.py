"""Prometheus' configuration and rules, by its own tool, and what the documents say of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.compose.prometheus import find
from tests.compose.service import run
from tests.compose.shipped import (
    PROMETHEUS_FILE,
    ROOT,
    RULES_FILE,
    Expression,
    panel_expressions,
    rule_expressions,
    rules,
)
from tests.docs.test_readme import is_metric, metric_names

UNIT_TESTS = Path(__file__).with_name("rules.test.yml")
PAGE = ROOT / "docs" / "monitoring.md"


@pytest.mark.prometheus
def test_promtool_accepts_the_configuration_with_its_rules() -> None:
    said = run([find("promtool"), "check", "config", "--lint-fatal", str(PROMETHEUS_FILE)])
    assert f"{len(rules('alert')) + len(rules('record'))} rules found" in said
    run([find("promtool"), "check", "rules", "--lint-fatal", str(RULES_FILE)])


@pytest.mark.prometheus
def test_the_rules_fire_at_what_they_are_for_and_at_nothing_else() -> None:
    run([find("promtool"), "test", "rules", str(UNIT_TESTS)])


def test_every_alert_has_a_unit_test() -> None:
    tested = UNIT_TESTS.read_text(encoding="utf-8")
    assert [rule["alert"] for rule in rules("alert") if rule["alert"] not in tested] == []


@pytest.mark.parametrize("rule", rules("alert"), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_urgent_it_is_and_what_to_do(rule: dict) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook"] == f"docs/monitoring.md#{rule['alert'].lower()}"
    headings = re.findall(r"^### (\w+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rule["alert"] in headings


def test_the_page_explains_no_alert_that_is_not_there() -> None:
    headings = re.findall(r"^### (Headrace\w+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(rule["alert"] for rule in rules("alert"))


@pytest.mark.parametrize("asked", [*rule_expressions(), *panel_expressions()], ids=str)
def test_an_expression_names_metrics_of_the_catalog(asked: Expression) -> None:
    there = metric_names()
    assert [name for name in sorted(asked.metrics) if not is_metric(name, there)] == []
