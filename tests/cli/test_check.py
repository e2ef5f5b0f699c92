"""``headrace check`` on real sources, registries and folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifact.manifest import MODEL_FILE
from pipeline.artifact.quarantine import Quarantine
from pipeline.cli.checks import Report, check_strict
from pipeline.config import Settings
from pipeline.kafka.access import KafkaAccess
from pipeline.types import ModelIdentity
from tests.artifacts import publish_tiny
from tests.cli.headrace import headrace
from tests.clips import CARPHONE
from tests.support import noise_jpeg

DIGITS = "synthetic:digits?count=2"


@pytest.fixture
def registry(tmp_path: Path) -> str:
    publish_tiny(str(tmp_path / "models"))
    return str(tmp_path / "models")


def _check(*arguments: str) -> tuple[int, dict[str, Any]]:
    ran = headrace("check", "--json", "--device", "cpu", "--batch-size", "4", *arguments)
    return ran.code, json.loads(ran.out)


def _finding(report: dict[str, Any], what: str) -> dict[str, Any]:
    (found,) = [each for each in report["checks"] if each["what"] == what]
    return found


def test_all_is_well(registry: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    code, report = _check(
        *("--source", DIGITS, "--model", "tiny", "--registry", registry),
        *("--sink", f"jsonl:{out}", "--port", "0"),
    )
    assert (code, report["ok"]) == (0, True)
    assert [each["ok"] for each in report["checks"]] == [True] * 6
    assert "640x360 jpeg" in _finding(report, "source")["detail"]
    assert "tiny@1" in _finding(report, "model")["detail"]
    plan = report["would_run"]
    assert plan["buckets"] == [1, 2, 4]
    assert set(plan["infer_ms"]) == {"1", "2", "4"}
    assert plan["model"]["follows_alias"] is True
    assert plan["sources"][0]["delivery"] == "lossless"
    assert not out.exists()
    assert not out.with_name("out.dlq.jsonl").exists()


def test_it_is_a_table_without_json(registry: str) -> None:
    ran = headrace(
        *("check", "--source", str(CARPHONE), "--model", "tiny@1", "--registry", registry),
        *("--device", "cpu", "--batch-size", "2", "--no-server"),
    )
    assert ran.code == 0
    assert "176x144" in ran.out
    assert "✓" in ran.out
    assert "✗" not in ran.out
    assert "follows_alias False" in ran.out


def test_a_camera_that_is_away_is_1_and_its_password_is_masked(registry: str) -> None:
    url = "http://me:secret@127.0.0.1:9/video?open_timeout=1s"
    code, report = _check(
        *("--source", url, "--source", DIGITS),
        *("--model", "tiny", "--registry", registry, "--no-server"),
    )
    assert code == 1
    away, digits = (each for each in report["checks"] if each["what"] == "source")
    assert (away["ok"], digits["ok"]) == (False, True)
    assert "secret" not in json.dumps(report)


def test_wrong_use_wins_over_what_may_work_later(registry: str, tmp_path: Path) -> None:
    code, report = _check(
        *("--source", "absent.mp4", "--sink", f"jsonl:{tmp_path}/absent/out.jsonl"),
        *("--model", "other", "--registry", registry, "--no-server"),
    )
    assert code == 2
    assert "absent.mp4" in _finding(report, "source")["detail"]
    assert "there is no folder" in _finding(report, "sink")["detail"]
    assert "no model 'other'" in _finding(report, "model")["detail"]


def test_a_strict_source_whose_rows_go_elsewhere_is_found() -> None:
    """Without the verb, which would look for a broker first, for ten seconds."""
    source = "kafka://127.0.0.1:1/frames?group=g&mode=strict&slot=4"
    for kafka, sink, said in [
        ({}, "kafka://127.0.0.1:1/results", "is an experiment"),
        ({"experimental_strict": True}, "null:", "needs one sink, kafka://"),
        ({"experimental_strict": True}, "kafka://127.0.0.1:1/results", "would write as g-4"),
    ]:
        report = Report()
        settings = Settings.model_validate({"sources": (source,), "sinks": (sink,), "kafka": kafka})
        check_strict(settings, KafkaAccess(), report)
        (found,) = report.findings
        assert (found.what, found.name) == ("slot", "4")
        assert said in found.detail
        assert report.exit_code == (0 if "would" in said else 2)


def test_a_damaged_model_is_found(registry: str) -> None:
    model = Path(registry) / "tiny" / "1" / MODEL_FILE
    damaged = bytearray(model.read_bytes())
    damaged[100] ^= 1
    model.write_bytes(damaged)
    code, report = _check(
        "--source", DIGITS, "--model", "tiny", "--registry", registry, "--no-server"
    )
    assert code == 1
    assert "sha256" in _finding(report, "model")["detail"]


def test_a_first_frame_that_would_be_rejected_is_told(registry: str, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"not a picture")
    (folder / "b.jpg").write_bytes(noise_jpeg())
    code, report = _check(
        "--source", f"dir:{folder}", "--model", "tiny", "--registry", registry, "--no-server"
    )
    assert code == 0
    assert "would be rejected (unsupported_type" in _finding(report, "source")["detail"]


def test_a_taken_port_is_found(registry: str) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, report = _check(
            "--source", DIGITS, "--model", "tiny", "--registry", registry, "--port", port
        )
    assert code == 2
    assert f"can't listen on port {port}" in _finding(report, "server")["detail"]


def test_the_model_is_the_one_that_a_worker_would_begin_with(
    registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = publish_tiny(registry, bias=0.5)
    refused = ModelIdentity("tiny", 2, bad.sha256, 0)
    Quarantine(str(tmp_path), "tiny").add(refused, bad.content, "shadow: it disagrees", 1.0)
    monkeypatch.setenv("HEADRACE_MODEL__STATE_FOLDER", str(tmp_path))
    given = ("--source", DIGITS, "--model", "tiny", "--registry", registry, "--no-server")
    code, report = _check(*given)
    assert code == 0
    assert report["would_run"]["model"]["version"] == 1
