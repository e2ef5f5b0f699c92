from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.artifact.manifest import Manifest
from pipeline.artifact.quarantine import Quarantine
from pipeline.artifact.registry import Registry
from pipeline.errors import ConfigError
from pipeline.types import ModelIdentity
from tests.artifacts import LABELS, publish_tiny


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(str(tmp_path / "registry"))


@pytest.fixture
def bad(registry: Registry) -> Manifest:
    return publish_tiny(registry, bias=0.1)


def add(quarantine: Quarantine, manifest: Manifest, why: str, now: float) -> None:
    refused = ModelIdentity("tiny", manifest.version, manifest.sha256, 0)
    quarantine.add(refused, manifest.content, why, now)


def kept(state: Path) -> list[str]:
    return (state / "tiny.quarantine").read_text().splitlines()


def test_a_content_is_refused_under_any_version_and_another_is_not(
    registry: Registry, bad: Manifest
) -> None:
    quarantine = Quarantine("", "tiny")
    assert quarantine.why(bad.content) == ""
    add(quarantine, bad, "it disagrees", 1.0)
    again, other = publish_tiny(registry, bias=0.1), publish_tiny(registry, bias=0.2)
    assert quarantine.why(again.content) == "version 1 was refused, it disagrees"
    assert quarantine.why(other.content) == ""
    relabelled = publish_tiny(registry, labels=("dim", *LABELS[1:]), bias=0.1)
    assert relabelled.sha256 == bad.sha256
    assert quarantine.why(relabelled.content) == ""
    assert len(quarantine) == 1


def test_a_folder_remembers_for_the_next_process_and_for_others(
    bad: Manifest, tmp_path: Path
) -> None:
    state = tmp_path / "state" / "of" / "mine"
    one, other = (Quarantine(str(state), "tiny") for _ in range(2))
    one.prepare()
    add(one, bad, "line\nbreak", 1.0)
    assert "tiny.quarantine says so" in other.why(bad.content)
    assert "line\nbreak" in Quarantine(str(state), "tiny").why(bad.content)
    assert Quarantine(str(state), "another").why(bad.content) == ""
    add(one, bad, "again", 2.0)
    assert len(kept(state)) == 1


def test_who_deletes_a_line_or_the_file_lets_it_go(
    registry: Registry, bad: Manifest, tmp_path: Path
) -> None:
    quarantine = Quarantine(str(tmp_path), "tiny")
    other = publish_tiny(registry, bias=0.2)
    for each in (bad, other):
        add(quarantine, each, "why", 1.0)
    (tmp_path / "tiny.quarantine").write_text(kept(tmp_path)[1] + "\n")
    assert not quarantine.why(bad.content)
    assert quarantine.why(other.content)
    (tmp_path / "tiny.quarantine").unlink()
    assert not quarantine.why(other.content)
    assert len(quarantine) == 0


@pytest.mark.parametrize("garbage", ["garbage\n", '{"content_sha256": "1"}\n', "\x00\n[]\n", "\n"])
def test_what_says_nothing_is_told_of_and_keeps_nobody_from_going_on(
    bad: Manifest, tmp_path: Path, caplog: pytest.LogCaptureFixture, garbage: str
) -> None:
    quarantine = Quarantine(str(tmp_path), "tiny")
    add(quarantine, bad, "why", 1.0)
    file = tmp_path / "tiny.quarantine"
    file.write_text(garbage + file.read_text())
    again = Quarantine(str(tmp_path), "tiny")
    assert again.why(bad.content)
    assert again.why(bad.content)
    assert caplog.text.count("are passed over") == 1
    add(again, bad, "another", 2.0)
    assert len(kept(tmp_path)) == 1


def test_a_file_that_cannot_be_read_is_told_of(
    bad: Manifest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tiny.quarantine").symlink_to(tmp_path / "tiny.quarantine")
    (tmp_path / "file").write_text("")
    quarantine = Quarantine(str(tmp_path / "file"), "tiny")
    assert quarantine.why(bad.content) == ""
    assert "it can't be read" in caplog.text
    with pytest.raises(ConfigError, match=r"model\.state_folder"):
        quarantine.prepare()


def test_a_folder_that_goes_away_lets_go_of_nothing(
    bad: Manifest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quarantine = Quarantine(str(tmp_path / "state"), "tiny")
    quarantine.prepare()
    (tmp_path / "state" / ".lock").unlink()
    (tmp_path / "state").rmdir()
    add(quarantine, bad, "why", 1.0)
    assert "can't be written" in caplog.text
    assert quarantine.why(bad.content)


def test_the_oldest_go_first(registry: Registry, bad: Manifest, tmp_path: Path) -> None:
    quarantine = Quarantine(str(tmp_path), "tiny")
    add(quarantine, bad, "x" * 10_000, 0.0)
    for number in range(256):
        other = bad.model_copy(update={"sha256": f"{number:064x}"})
        add(quarantine, other, "\N{SNOWMAN}" * 10_000, float(number))
    assert len(quarantine) == len(kept(tmp_path)) == 256
    assert not quarantine.why(bad.content)


def test_what_is_for_now_is_written_nowhere(bad: Manifest, tmp_path: Path) -> None:
    quarantine = Quarantine(str(tmp_path), "tiny")
    refused = ModelIdentity("tiny", 1, bad.sha256, 0)
    quarantine.add_for_now(refused, bad.content, "another contract", 1.0)
    assert quarantine.why(bad.content) == "version 1 was refused, another contract"
    assert Quarantine(str(tmp_path), "tiny").why(bad.content) == ""


def test_what_is_released_is_let_go_and_the_rest_is_kept(
    registry: Registry, bad: Manifest, tmp_path: Path
) -> None:
    quarantine = Quarantine(str(tmp_path / "state"), "tiny")
    assert quarantine.release(1) == 0
    quarantine.prepare()
    other = publish_tiny(registry, bias=0.2)
    for each in (bad, other):
        add(quarantine, each, "why", 1.0)
    assert quarantine.release(3) == 0
    assert quarantine.release(1) == 1
    assert [each.version for each in quarantine.entries()] == [2]
    assert not quarantine.why(bad.content)
