"""``headrace models quarantine`` on a folder that a worker wrote to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.artifact.quarantine import Quarantine
from pipeline.types import ModelIdentity
from tests.cli.headrace import headrace


@pytest.fixture
def folder(tmp_path: Path) -> str:
    kept = Quarantine(str(tmp_path), "tiny")
    for version in (3, 5):
        refused = ModelIdentity("tiny", version, f"{version:064x}", 0)
        kept.add(refused, f"content {version}", "shadow: it disagrees", 86400.0)
    return str(tmp_path)


def test_it_says_what_was_refused_when_and_why(folder: str) -> None:
    ran = headrace("models", "quarantine", "tiny", "--state-folder", folder)
    assert ran.code == 0
    header, *lines = ran.out.splitlines()
    assert header.split() == ["model", "sha256", "refused", "(UTC)", "why"]
    assert [line.split()[0] for line in lines] == ["tiny@3", "tiny@5"]
    assert lines[0].endswith("00000000  1970-01-02 00:00  shadow: it disagrees")


def test_it_lets_one_go_and_says_what_is_left(folder: str) -> None:
    env = {"HEADRACE_MODEL__STATE_FOLDER": folder}
    ran = headrace("models", "quarantine", "tiny", "--release", "3", "--json", env=env)
    assert ran.code == 0
    assert [each["version"] for each in json.loads(ran.out)] == [5]
    again = headrace("models", "quarantine", "tiny", "--release", "3", env=env)
    assert again.code == 2
    assert "nothing was refused as tiny@3" in again.err
    assert "expected one of: 5" in again.err


def test_where_nothing_was_refused_it_says_so(tmp_path: Path) -> None:
    ran = headrace("models", "quarantine", "tiny", "--state-folder", str(tmp_path))
    assert (ran.code, ran.out) == (0, "")
    assert "nothing of tiny is in quarantine" in ran.err


def test_a_name_that_can_be_none_is_refused(tmp_path: Path) -> None:
    ran = headrace("models", "quarantine", "../tiny", "--state-folder", str(tmp_path))
    assert ran.code == 2
