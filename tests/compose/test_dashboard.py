"""The dashboard as Grafana reads it. Grafana itself isn't run."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest

from tests.compose.shipped import DASHBOARD_FILE, panels

GRAPHS = [panel for panel in panels() if panel["type"] != "row"]
COLUMNS = 24
"""Of Grafana's grid."""


def title(panel: dict[str, Any]) -> str:
    return panel["title"]


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    across = one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
    down = one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]
    return across and down


def test_what_is_watched_has_its_row() -> None:
    rows = " ".join(panel["title"] for panel in panels() if panel["type"] == "row")
    for wanted in ("Freshness", "Loss", "Model", "Throughput", "Kafka", "Errors"):
        assert wanted in rows


def test_ids_and_titles_are_used_once() -> None:
    assert len({panel["id"] for panel in panels()}) == len(panels())
    assert len({panel["title"] for panel in panels()}) == len(panels())


def test_no_panel_lies_on_another_or_beyond_the_edge() -> None:
    places = [panel["gridPos"] for panel in panels()]
    assert all(place["x"] + place["w"] <= COLUMNS for place in places)
    assert not [pair for pair in combinations(places, 2) if overlap(*pair)]


@pytest.mark.parametrize("panel", GRAPHS, ids=title)
def test_a_panel_asks_the_chosen_prometheus_and_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["type"] in {"stat", "timeseries", "heatmap", "table"}
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["description"]
    letters = [target["refId"] for target in panel["targets"]]
    assert letters == sorted(set(letters))


@pytest.mark.parametrize("panel", GRAPHS, ids=title)
def test_a_panel_follows_the_chosen_workers(panel: dict[str, Any]) -> None:
    """All but that of the alerts, which belong to no worker alone."""
    if panel["title"] != "Alerts":
        for target in panel["targets"]:
            asked = target["expr"].count("headrace_")
            assert target["expr"].count('instance=~"$instance"') == asked


def test_variables_are_those_that_are_used() -> None:
    dashboard = json.loads(DASHBOARD_FILE.read_text(encoding="utf-8"))
    names = [variable["name"] for variable in dashboard["templating"]["list"]]
    assert names == ["datasource", "instance"]
    assert dashboard["uid"] == "headrace"
