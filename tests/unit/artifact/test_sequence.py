from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.artifact.manifest import Manifest
from pipeline.artifact.registry import Registry
from pipeline.artifact.sequence import Sequence
from pipeline.errors import ArtifactRefused, ConfigError
from tests.artifacts import publish_tiny


@pytest.fixture
def manifests(tmp_path: Path) -> list[Manifest]:
    registry = Registry(str(tmp_path / "registry"))
    return [publish_tiny(registry, bias=bias) for bias in (0.1, 0.2, 0.3)]


def test_after_a_version_no_older_one_is_taken(manifests: list[Manifest]) -> None:
    sequence = Sequence("", "tiny", "")
    for manifest in manifests:
        sequence.check(manifest)
    sequence.note(2)
    sequence.check(manifests[1])
    sequence.check(manifests[2])
    with pytest.raises(ArtifactRefused, match="version 1, but 2 was taken before") as refused:
        sequence.check(manifests[0])
    assert refused.value.reason == "replayed"
    sequence.note(1)  # a rollback of the worker's own: what was seen stays seen
    with pytest.raises(ArtifactRefused):
        sequence.check(manifests[0])


def test_a_folder_remembers_for_the_next_process_and_for_others(
    manifests: list[Manifest], tmp_path: Path
) -> None:
    state = tmp_path / "state" / "of" / "mine"
    one, other = (Sequence(str(state), "tiny", "prod") for _ in range(2))
    one.prepare()
    one.note(3)
    with pytest.raises(ArtifactRefused):
        other.check(manifests[1])
    other.note(2)  # it didn't know of the other's
    assert (state / "tiny@prod").read_text() == "3\n"
    with pytest.raises(ArtifactRefused, match="tiny@prod says"):
        Sequence(str(state), "tiny", "prod").check(manifests[1])
    Sequence(str(state), "tiny", "").check(manifests[0])  # another alias


@pytest.mark.parametrize("content", [b"", b"three", b"-1", b"9" * 100])
def test_what_is_no_number_is_said_and_not_taken_for_nothing(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "tiny@latest").write_bytes(content)
    with pytest.raises(ConfigError, match="expected the number of the newest version"):
        Sequence(str(tmp_path), "tiny", "")


def test_a_folder_that_cannot_be_one_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"model\.state_folder"):
        Sequence(str(tmp_path / "file"), "tiny", "")


def test_a_folder_is_made_by_who_will_write_to_it(tmp_path: Path) -> None:
    sequence = Sequence(str(tmp_path / "state"), "tiny", "")
    assert not (tmp_path / "state").exists()
    sequence.prepare()
    assert (tmp_path / "state").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"model\.state_folder"):
        Sequence(str(tmp_path / "file" / "below"), "tiny", "").prepare()


def test_a_folder_that_goes_away_takes_no_model_with_it(
    manifests: list[Manifest], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sequence = Sequence(str(tmp_path / "state"), "tiny", "")
    sequence.prepare()
    (tmp_path / "state" / ".lock").unlink()
    (tmp_path / "state").rmdir()
    sequence.note(3)
    assert "isn't kept" in caplog.text
    with pytest.raises(ArtifactRefused):
        sequence.check(manifests[0])
