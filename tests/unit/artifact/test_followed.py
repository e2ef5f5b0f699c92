"""Which version a worker begins with, where the one behind the alias was refused before."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.artifact.followed import Followed
from pipeline.artifact.keys import SigningKey
from pipeline.artifact.registry import Registry
from pipeline.config import ModelSettings
from pipeline.errors import ArtifactRefused
from pipeline.types import ModelIdentity
from tests.artifacts import LABELS, publish_tiny


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    there = Registry(str(tmp_path / "registry"))
    for bias in (0.1, 0.2, 0.3):
        publish_tiny(there, bias=bias)
    return there


def followed(registry: Registry, tmp_path: Path, *refused: int, name: str = "tiny") -> Followed:
    made = Followed.of(
        ModelSettings(name=name, registry=registry.url, state_folder=str(tmp_path / "state"))
    )
    made.prepare()
    for version in refused:
        manifest = registry.manifest("tiny", version)
        identity = ModelIdentity("tiny", version, manifest.sha256, 0)
        made.quarantine.add(identity, manifest.content, "shadow: why", 1.0)
    return made


def test_it_is_the_one_behind_the_alias(registry: Registry, tmp_path: Path) -> None:
    assert followed(registry, tmp_path, 2).first().manifest.version == 3


def test_below_a_refused_one_it_is_the_newest_that_is_not(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert followed(registry, tmp_path, 3).first().manifest.version == 2
    assert "tiny@3 was refused before (version 3 was refused, shadow: why" in caplog.text
    assert followed(registry, tmp_path, 2, 3).first().manifest.version == 1
    registry.set_alias("tiny", "latest", 2)  # 3 is above what the alias stands for
    assert followed(registry, tmp_path).first().manifest.version == 1


def test_one_with_another_contract_or_damage_is_passed_over(
    registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "registry" / "tiny" / "3" / "model.pt").write_bytes(b"")
    publish_tiny(registry, labels=("dim", *LABELS[1:]))
    publish_tiny(registry, bias=0.5)
    assert followed(registry, tmp_path, 5).first().manifest.version == 2


def careful(registry: Registry, tmp_path: Path, key: SigningKey) -> Followed:
    """Of a worker that has just started, and takes only what is signed."""
    made = Followed.of(
        ModelSettings(
            name="tiny",
            registry=registry.url,
            state_folder=str(tmp_path / "state"),
            trusted_keys=(str(key.public),),
        )
    )
    made.prepare()
    return made


def test_after_a_rollback_a_worker_that_takes_only_signed_ones_starts_again(
    registry: Registry, tmp_path: Path
) -> None:
    key = SigningKey.new()
    for version in (1, 3):  # somebody took the second one's signature away
        registry.sign(registry.read("tiny", version), key)
    before = careful(registry, tmp_path, key)
    before.took(3)
    manifest = before.first().manifest
    refused = ModelIdentity("tiny", 3, manifest.sha256, 0)
    before.quarantine.add(refused, manifest.content, "rolled_back: why", 1.0)
    again = careful(registry, tmp_path, key)
    artifact = again.first()
    assert artifact.manifest.version == 1
    again.took(1)
    registry.set_alias("tiny", "latest", 1)  # which asks for it, and isn't refused itself
    for each in (again, careful(registry, tmp_path, key)):
        with pytest.raises(ArtifactRefused) as replayed:
            each.first()
        assert replayed.value.reason == "replayed"


def test_many_refused_below_it_do_not_hide_a_good_one(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(4, 17):
        publish_tiny(registry, bias=number / 10)
    for version in range(4, 16):  # not even there: what was refused isn't read whole
        (tmp_path / "registry" / "tiny" / str(version) / "model.pt").unlink()
    assert followed(registry, tmp_path, *range(2, 17)).first().manifest.version == 1
    assert "can't take its place" not in caplog.text


def test_of_those_that_are_read_whole_it_looks_at_some(registry: Registry, tmp_path: Path) -> None:
    for number in range(4, 16):
        publish_tiny(registry, bias=number / 10)
    for version in range(5, 15):
        (tmp_path / "registry" / "tiny" / str(version) / "model.pt").unlink()
    with pytest.raises(ArtifactRefused) as refused:
        followed(registry, tmp_path, 15).first()
    assert refused.value.reason == "quarantined"


def test_where_there_is_none_it_says_what_to_do(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ArtifactRefused, match="move the alias to a good one") as refused:
        followed(registry, tmp_path, 1, 2, 3).first()
    assert refused.value.reason == "quarantined"


def test_a_version_that_was_named_by_its_number_is_what_was_meant(
    registry: Registry, tmp_path: Path
) -> None:
    assert followed(registry, tmp_path, 3, name="tiny@3").first().manifest.version == 3
