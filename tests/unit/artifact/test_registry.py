"""What is published is found again, on a folder and on an object store alike."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifact.manifest import Contract
from pipeline.artifact.registry import Registry
from pipeline.errors import ArtifactRefused, ConfigError
from tests.artifacts import LABELS, SPEC, expected_logits, publish_tiny, tiny_draft


@pytest.fixture(params=["path", "file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    folder = tmp_path / "registry"
    return {
        "path": str(folder),
        "file": folder.as_uri(),
        "memory": f"memory://{uuid.uuid4().hex}/registry",
    }[request.param]


def test_an_artifact_comes_back_as_it_was_published(url: str) -> None:
    draft = tiny_draft(bias=0.25)
    manifest = Registry(url).publish(draft)
    artifact = Registry(url).read("tiny", 1)
    assert artifact.manifest == manifest
    assert artifact.model == draft.model
    np.testing.assert_array_equal(artifact.golden.inputs_nhwc, draft.golden.inputs_nhwc)
    np.testing.assert_array_equal(
        artifact.golden.logits_nk, expected_logits(draft.golden.inputs_nhwc, bias=0.25)
    )
    assert manifest.contract == Contract.of(LABELS, SPEC)
    assert manifest.created_at.endswith("+00:00")


def test_versions_count_up_and_latest_follows(url: str) -> None:
    registry = Registry(url)
    for expected in (1, 2, 3):
        assert publish_tiny(registry, bias=expected / 10).version == expected
        assert registry.resolve("tiny") == expected
    assert registry.models() == ["tiny"]
    assert registry.versions("tiny") == [1, 2, 3]
    assert registry.aliases("tiny") == {"latest": 3}


def test_a_selector_is_a_version_an_alias_or_nothing(url: str) -> None:
    registry = Registry(url)
    publish_tiny(registry, aliases=("latest", "prod"))
    publish_tiny(registry)
    assert registry.resolve("tiny", "1") == 1
    assert registry.resolve("tiny", "prod") == 1
    assert registry.resolve("tiny", "latest") == 2
    assert registry.resolve("tiny", "") == 2


def test_an_alias_moves_forwards_and_back(url: str) -> None:
    registry = Registry(url)
    publish_tiny(registry)
    publish_tiny(registry)
    registry.set_alias("tiny", "latest", 1)
    registry.set_alias("tiny", "prod", 2)
    assert registry.aliases("tiny") == {"latest": 1, "prod": 2}
    publish_tiny(registry)
    assert registry.aliases("tiny") == {"latest": 3, "prod": 2}


def test_without_the_alias_latest_the_highest_version_is_meant(url: str) -> None:
    registry = Registry(url)
    publish_tiny(registry, aliases=())
    publish_tiny(registry, aliases=("canary",))
    assert registry.aliases("tiny") == {"canary": 2}
    assert registry.resolve("tiny") == 2


def test_a_slower_publisher_does_not_undo_a_faster_ones_alias(url: str) -> None:
    registry = Registry(url)
    publish_tiny(registry)
    publish_tiny(registry, aliases=())
    publish_tiny(registry, aliases=())
    registry.set_alias("tiny", "latest", 3)
    # What the publisher of version 2 does last, after 3 was published:
    from pipeline.artifact.publish import move_alias
    from pipeline.artifact.storage import open_storage

    move_alias(open_storage(url), "tiny", "latest", 2, only_forwards=True)
    assert registry.resolve("tiny") == 3


def test_an_alias_moves_only_from_where_it_was_seen(url: str) -> None:
    registry = Registry(url)
    assert registry.standing("tiny", "latest") == 0
    for _ in range(3):
        publish_tiny(registry, aliases=())
    assert registry.advance("tiny", "latest", 2, since=0) == 2
    assert registry.advance("tiny", "latest", 3, since=1) == 2
    assert registry.standing("tiny", "latest") == 2
    assert registry.advance("tiny", "latest", 3, since=2) == 3
    assert registry.advance("tiny", "latest", 2, since=3) == 3
    with pytest.raises(ConfigError):
        registry.standing("..", "latest")


def test_threads_that_publish_at_once_get_distinct_versions(url: str) -> None:
    registry = Registry(url)
    start = threading.Barrier(4)

    def publish(index: int) -> list[int]:
        start.wait(20)
        return [publish_tiny(registry, bias=index / 8).version for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        versions = [version for each in pool.map(publish, range(4)) for version in each]
    assert sorted(versions) == list(range(1, 21))
    assert registry.versions("tiny") == list(range(1, 21))
    assert registry.resolve("tiny") == 20
    for version in versions:
        registry.read("tiny", version)


def test_models_are_apart(url: str) -> None:
    registry = Registry(url)
    publish_tiny(registry, "a")
    publish_tiny(registry, "b", labels=("x", "y"))
    assert registry.models() == ["a", "b"]
    assert registry.manifest("b", 1).contract.labels == ("x", "y")
    assert registry.versions("c") == []
    assert registry.aliases("c") == {}


def test_what_is_missing_is_named_with_what_is_there(url: str) -> None:
    registry = Registry(url)
    publish_tiny(registry)
    for selector in ("2", "prod"):
        with pytest.raises(
            ArtifactRefused, match=r"tiny@\w+ in .* expected one of 1, latest"
        ) as no:
            registry.resolve("tiny", selector)
        assert no.value.reason == "missing"
    with pytest.raises(
        ArtifactRefused, match=r"no model 'other'.*there are: tiny.*--publish other"
    ):
        registry.resolve("other")
    with pytest.raises(ArtifactRefused) as no:
        registry.read("tiny", 9)
    assert no.value.reason == "missing"
    with pytest.raises(ArtifactRefused) as no:
        registry.set_alias("tiny", "prod", 9)
    assert no.value.reason == "missing"
    assert registry.aliases("tiny") == {"latest": 1}


def test_a_registry_that_is_not_there_says_how_to_make_one(url: str) -> None:
    registry = Registry(url)
    for ask in (
        registry.models,
        lambda: registry.versions("tiny"),
        lambda: registry.resolve("tiny"),
        lambda: registry.resolve("tiny", "3"),
        lambda: registry.read("tiny", 1),
    ):
        with pytest.raises(ArtifactRefused, match="train --publish NAME --registry") as refused:
            ask()
        assert refused.value.reason == "unreachable"
        assert url in str(refused.value)


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", ".hidden"])
def test_no_name_leads_out_of_the_registry(url: str, name: str, tmp_path: Path) -> None:
    registry = Registry(url)
    publish_tiny(registry)
    for ask in (
        lambda: registry.versions(name),
        lambda: registry.aliases(name),
        lambda: registry.resolve(name),
        lambda: registry.read(name, 1),
        lambda: registry.publish(replace(tiny_draft(), name=name)),
        lambda: registry.publish(tiny_draft(), aliases=(name,)),
        lambda: registry.set_alias("tiny", name, 1),
    ):
        with pytest.raises(ConfigError):
            ask()
    assert registry.versions("tiny") == [1]


@pytest.mark.parametrize(
    ("bad_url", "says"),
    [
        ("", "is empty"),
        ("nonsense://x", "expected a folder or an fsspec URL"),
        ("s3://bucket/models", r"pip install 'headrace\[s3\]'"),
        ("gs://bucket/models", r"pip install 'headrace\[gcs\]'"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_is_needed(bad_url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Registry(bad_url)
