"""``headrace bench``, small: what it says, not how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

from pipeline.cli.bench import bench
from pipeline.errors import ConfigError
from tests.cli.headrace import headrace

app = typer.Typer()
app.command()(bench)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("bench") / "bench.json"
    threads = torch.get_num_threads()
    ran = CliRunner().invoke(
        app,
        ["--frames", "60", "--rounds", "1", "--json", "--out", str(out)],
        catch_exceptions=False,
    )
    assert ran.exit_code == 0, ran.output
    assert torch.get_num_threads() == threads
    [line] = ran.stdout.splitlines()
    printed = json.loads(line)
    assert printed == json.loads(out.read_text())
    return printed


def _is_spread(value: dict[str, float]) -> bool:
    return 0 < value["min"] <= value["median"] <= value["max"]


def test_ratios_come_first_each_with_its_goal(report: dict[str, Any]) -> None:
    assert report["schema"] == "headrace.bench/2"
    for each in report["pictures"]:
        assert next(iter(each)) == "ratios"
        ratios = each["ratios"]
        assert {"worker_over_plain", "worker_over_ceiling", "ceiling_over_plain"} <= set(ratios)
        assert all(_is_spread(value) for value in ratios.values())
        assert (ratios["worker_over_plain"]["goal"], ratios["worker_over_ceiling"]["goal"]) == (
            5.0,
            0.8,
        )
        assert ratios["ceiling_over_plain"]["goal"] is None


def test_each_contender_has_its_speed_and_cost_and_those_with_results_their_ages(
    report: dict[str, Any],
) -> None:
    for each in report["pictures"]:
        contenders = each["full_speed"]
        assert set(contenders) == {"plain", "plain_default_threads", "ceiling", "worker"}
        for name, values in contenders.items():
            assert _is_spread(values["frames_per_s"])
            assert _is_spread(values["cpu_ms_per_frame"])
            for age in (values["age_p50_ms"], values["age_p99_ms"]):
                assert age is None if name == "ceiling" else _is_spread(age)
            for detail in (values["frames_per_batch"], values["infer_ms_per_frame"]):
                assert _is_spread(detail) if name == "worker" else detail is None


def test_ages_are_measured_on_paced_streams_too(report: dict[str, Any]) -> None:
    for pictures in report["pictures"]:
        assert [each["share_of"] for each in pictures["paced"]] == ["worker", "plain"]
        for each in pictures["paced"]:
            half = pictures["full_speed"][each["share_of"]]["frames_per_s"]["median"] / 2
            assert each["frames_per_s"] == pytest.approx(half, abs=0.1)
            for name in ("worker", "plain"):
                assert each[name]["age_p50_ms"]["median"] <= each[name]["age_p99_ms"]["median"]
                assert isinstance(each[name]["keeps_up"], bool)


def test_it_says_on_what_it_was_measured(report: dict[str, Any]) -> None:
    small, large = (each["setup"]["picture"] for each in report["pictures"])
    assert {(each["width"], each["height"]) for each in (small, large)} == {(640, 360)}
    assert 25_000 < small["mean_bytes"] < 30_000
    assert 50_000 < large["mean_bytes"] < 60_000
    for each in report["pictures"]:
        assert each["setup"]["decode"] == "auto"
        assert each["setup"]["net"] == "reference-cnn"
        assert each["setup"]["device"] in ("cpu", "cuda:0")
        assert each["setup"]["frames"] == 60
        assert len(each["rounds"]) == 1
    assert report["machine"]["cpu"]
    assert report["machine"]["cores"] >= 1
    assert report["versions"]["torch"] == torch.__version__
    assert {"headrace", "commit", "python", "opencv"} <= set(report["versions"])


def test_without_json_it_prints_tables_and_full_decoding_is_one_to_one() -> None:
    ran = CliRunner().invoke(
        app,
        ["--frames", "20", "--rounds", "1", "--decode", "full", "--quality", "60"],
        catch_exceptions=False,
        env={"COLUMNS": "120"},
    )
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.index("worker over plain") < ran.stdout.index("10 KB, at full speed")
    assert "at least 5" in ran.stdout
    assert "57 KB" not in ran.stdout
    assert "decoded at 1/1" in " ".join(ran.stdout.split())


def test_a_file_that_cannot_be_written_is_found_before_measuring(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        CliRunner().invoke(
            app, ["--out", str(tmp_path / "missing" / "bench.json")], catch_exceptions=False
        )


def test_options_before_the_name_of_another_measurement_are_refused() -> None:
    ran = headrace("bench", "--frames", "30", "kafka")
    assert ran.code == 2
    assert "stands before 'kafka'" in ran.err


def test_the_measurement_on_kafka_says_what_to_mend_before_it_starts_anything(
    tmp_path: Path,
) -> None:
    ran = headrace("bench", "kafka", "--out", str(tmp_path / "missing" / "bench.json"))
    assert ran.code == 2
    assert "there is no folder" in ran.err
    ran = headrace("bench", "kafka", "--servers", "me:secret@here:9092", "--peers", "none")
    assert ran.code == 2
    assert "users and passwords" in ran.err
    assert "secret" not in ran.err


def test_swaps_are_measured_beside_the_calm_before_each(tmp_path: Path) -> None:
    out = tmp_path / "swaps.json"
    ran = headrace(
        *("bench", "swaps", "--swaps", "3", "--frames", "60", "--load", "0.05", "--json"),
        *("--out", str(out)),
    )
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report == json.loads(out.read_text())
    assert list(report)[:2] == ["schema", "ratios"]
    assert list(report["ratios"])[2] == "p99_in_swaps_over_before"
    for ratio in report["ratios"].values():
        for each in (ratio["usual"], ratio["together"], ratio["control_usual"]):
            assert 0 < each["low"] <= each["high"]
    for ages in report["age_ms"].values():
        assert 0 < ages["p50"] <= ages["p90"] <= ages["p99"] <= ages["longest"]
    assert report["swaps"]["count"] == 3
    assert report["swaps"]["frames"] > 0
    assert report["swaps"]["took_s"]["min"] > 0
    assert report["swaps"]["resident_mib"]["last"] > 100
    full = report["stream"]["full_speed_frames_per_s"]["median"]
    assert report["stream"]["frames_per_s"] == pytest.approx(0.05 * full, abs=0.1)


def test_the_tables_of_swaps_say_the_goal() -> None:
    ran = headrace("bench", "swaps", "--swaps", "1", "--frames", "60", "--load", "0.05")
    assert ran.code == 0, ran.err
    assert "at most 1.1" in ran.out
    assert "two calms" in ran.out
    assert "1 swap of reference-cnn" in " ".join(ran.out.split())


def test_each_level_of_load_has_its_ages_and_no_frame_is_without_an_outcome(
    tmp_path: Path,
) -> None:
    out = tmp_path / "load.json"
    ran = headrace(
        *("bench", "load", "--seconds", "0.3", "--rounds", "2", "--frames", "60", "--json"),
        *("--out", str(out)),
    )
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report == json.loads(out.read_text())
    assert list(report)[:3] == ["schema", "ratios", "unaccounted"]
    assert all(_is_spread(value) for value in report["ratios"].values())
    assert report["ratios"]["p99_at_half_load_over_bare"]["goal"] == 2.0
    assert report["ratios"]["p99_in_overload_over_max_age"]["goal"] == 1.0
    assert report["ratios"]["p99_beside_hot_over_quiet"]["goal"] == 2.0
    assert report["unaccounted"] == 0
    assert list(report["levels"]) == [
        *("load_30", "load_50", "load_70", "load_90"),
        *("load_50_of_64_streams", "cameras", "overload", "quiet", "quiet_beside_hot"),
    ]
    for level in report["levels"].values():
        assert 0 < level["scored"] <= level["given"] == level["scored"] + level["shed"]
        assert all(_is_spread(level["age_ms"][which]) for which in ("p50", "p99", "longest"))
    assert report["levels"]["cameras"]["given_per_s"]["median"] == 200
    assert report["setup"]["rounds"] == 2


def test_the_tables_of_loads_say_goals_and_levels() -> None:
    ran = headrace("bench", "load", "--seconds", "0.1", "--rounds", "1", "--frames", "60")
    assert ran.code == 0, ran.err
    for told in ("at most 2", "at most 1", "overload", "neither scored nor shed: 0"):
        assert told in " ".join(ran.out.split())


def test_importing_the_verb_imports_neither_torch_nor_opencv() -> None:
    script = (
        "import sys; from pipeline.cli.bench import bench; "
        "print([name for name in ('torch', 'cv2', 'numpy', 'trainer') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert ran.stdout.strip() == "[]"


def test_engines_race_alone_and_beside_decoding(tmp_path: Path) -> None:
    out = tmp_path / "engines.json"
    ran = headrace("bench", "engines", "--rounds", "1", "--json", "--out", str(out))
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report == json.loads(out.read_text())
    assert list(report)[:3] == ["schema", "over", "ratios"]
    assert report["over"].startswith("torchscript, ")
    for kind in ("alone", "beside_decoding"):
        runners = report["frames_per_s"][kind]
        assert {name.partition(",")[0] for name in runners} == {"torchscript", "onnxruntime"}
        for by_size in runners.values():
            assert list(by_size) == ["1", "8", "32"]
            assert all(value["median"] > 0 for value in by_size.values())
        assert report["ratios"][kind].keys() == runners.keys() - {report["over"]}


def test_the_worker_is_measured_with_another_backend() -> None:
    ran = headrace(
        *("bench", "--frames", "20", "--rounds", "1", "--quality", "60"),
        *("--backend", "onnxruntime", "--json"),
    )
    assert ran.code == 0, ran.err
    (pictures,) = json.loads(ran.out)["pictures"]
    assert pictures["setup"]["backend"] == "onnxruntime"
    assert pictures["ratios"]["worker_over_ceiling"]["median"] > 0
