"""What the report says, of numbers that are made up."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from pipeline.bench.kafka.compare import Measured, Plan
from pipeline.bench.kafka.plan import contenders, paced
from pipeline.bench.kafka.report import make_report, tables
from pipeline.bench.rounds import Run
from pipeline.cli.bench_parts import make_scenario

SPEEDS = {
    "headrace": 1000.0,
    "headrace_full": 500.0,
    "competent": 150.0,
    "naive": 80.0,
    "ceiling": 1200.0,
    "ceiling_full": 900.0,
}


def _run(frames_per_s: float, p99_s: float | None = None) -> Run:
    return Run(1000, 1000 / frames_per_s, 2.0, age_p50_s=p99_s and p99_s / 2, age_p99_s=p99_s)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = str(tmp_path_factory.mktemp("bench"))
    auto, full = (make_scenario(folder, each, 93, 3000, 2) for each in ("auto", "full"))
    assert auto.model != full.model
    assert auto.registry == full.registry
    paces = {each.name: SPEEDS[each.share_of] / 2 for each in paced(())}
    late = {"headrace_at_half_of_competent": 0.02, "competent_at_half_of_competent": 0.1}
    at_pace = {
        # The naive loop can't follow.
        name: _run(pace * (0.5 if "naive" in name else 1), late.get(name, 0.03))
        for name, pace in paces.items()
    }
    measured = Measured(
        full_speed=({name: _run(SPEEDS[name]) for name in contenders(())},) * 2,
        paced=(at_pace,) * 2,
        paces=paces,
    )
    plan = Plan(auto, full, 3000, 2, 8.0, peers=())
    made = make_report(measured, plan, {}, is_own_broker=True, load_before=0.5)
    assert json.loads(json.dumps(made)) == made
    return made


def test_ratios_come_first_each_with_its_goal(report: dict[str, Any]) -> None:
    assert list(report)[:2] == ["schema", "ratios"]
    ratios = report["ratios"]
    assert ratios["headrace_over_competent"]["median"] == pytest.approx(6.667)
    assert ratios["headrace_over_competent"]["is_reached"] is True
    assert ratios["headrace_full_over_competent"]["is_reached"] is False
    assert ratios["p99_of_headrace_over_competent"]["median"] == pytest.approx(0.2)
    assert ratios["p99_of_headrace_over_competent"]["is_reached"] is True
    assert ratios["headrace_over_naive"]["is_reached"] is None
    assert not [name for name in ratios if "quix" in name]


def test_it_says_who_falls_behind_and_what_did_not_run(report: dict[str, Any]) -> None:
    assert {each["system"] for each in report["paced"] if not each["keeps_up"]} == {"naive"}
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(tables(report))
    said = console.export_text()
    assert said.index("headrace over competent") < said.index("At full speed")
    assert "at least 6.5" in said
    assert "at most 0.5" in said
    assert "naive loop falls behind at 40 frames/s" in said
    assert "Not measured: Quix Streams, arroyo, LitServe, MLServer; `--peers all`" in said


def test_it_says_on_what_it_was_measured(report: dict[str, Any]) -> None:
    assert report["setup"]["frames"]["competent"] == 1000
    assert report["setup"]["picture"]["mean_bytes"] > 50_000
    assert {"commit", "torch", "kafka-python", "quixstreams"} <= set(report["versions"])
    assert report["machine"]["cores"] >= 1
    assert [len(each) for each in report["rounds"].values()] == [2, 2]
