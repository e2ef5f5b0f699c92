"""Whatever happens to an artifact's files: it is read as it was published, or refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.artifact.artifact import Artifact, Golden
from pipeline.artifact.manifest import GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE, TRITON_FILE
from pipeline.artifact.registry import Registry
from pipeline.errors import ArtifactRefused, ConfigError
from pipeline.preprocess import PreprocessSpec
from tests.artifacts import publish_tiny, tiny_draft

FILES = (MODEL_FILE, GOLDEN_FILE, MANIFEST_FILE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    publish_tiny(str(tmp_path), bias=0.1)
    publish_tiny(str(tmp_path), bias=0.2)
    return tmp_path


def _refusal(root: Path, version: int = 1) -> ArtifactRefused:
    with pytest.raises(ArtifactRefused) as refused:
        Registry(str(root)).read("tiny", version)
    return refused.value


def _artifact_or_reason(root: Path) -> Artifact | str:
    try:
        return Registry(str(root)).read("tiny", 1)
    except ArtifactRefused as refused:
        return refused.reason


def _change_manifest(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = root / "tiny" / "1" / MANIFEST_FILE
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("tenth", range(10))
def test_a_file_cut_at_any_tenth_is_corrupt(root: Path, file: str, tenth: int) -> None:
    path = root / "tiny" / "1" / file
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * tenth // 10])
    assert _refusal(root).reason == "corrupt"
    assert Registry(str(root)).read("tiny", 2).manifest.version == 2


@pytest.mark.parametrize("file", [MODEL_FILE, GOLDEN_FILE])
@settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_is_corrupt(root: Path, file: str, where: float, bit: int) -> None:
    path = root / "tiny" / "1" / file
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[int(where * len(content))] ^= 1 << bit
    path.write_bytes(flipped)
    refused = _refusal(root)
    path.write_bytes(content)
    assert refused.reason == "corrupt"
    assert "sha256" in str(refused)


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_manifest_with_a_flipped_bit_never_lets_other_bytes_through(
    root: Path, where: float, bit: int
) -> None:
    path = root / "tiny" / "1" / MANIFEST_FILE
    content = path.read_bytes()
    honest = Registry(str(root)).read("tiny", 1)
    flipped = bytearray(content)
    flipped[int(where * len(content))] ^= 1 << bit
    path.write_bytes(flipped)
    read = _artifact_or_reason(root)
    path.write_bytes(content)
    if isinstance(read, str):
        assert read in {"corrupt", "incompatible"}
    else:
        # A flip in a note, a metric or the date changes nothing that scores.
        assert read.model == honest.model
        assert read.manifest.contract.preprocess == honest.manifest.contract.preprocess


@pytest.mark.parametrize("file", [MODEL_FILE, GOLDEN_FILE])
def test_a_file_of_another_version_is_corrupt(root: Path, file: str) -> None:
    (root / "tiny" / "1" / file).write_bytes((root / "tiny" / "2" / file).read_bytes())
    assert _refusal(root).reason == "corrupt"


def test_a_manifest_of_another_version_is_corrupt(root: Path) -> None:
    other = (root / "tiny" / "2" / MANIFEST_FILE).read_bytes()
    (root / "tiny" / "1" / MANIFEST_FILE).write_bytes(other)
    refused = _refusal(root)
    assert refused.reason == "corrupt"
    assert "says that it is tiny@2" in str(refused)


def test_a_version_copied_under_another_model_is_corrupt(root: Path) -> None:
    (root / "tiny").rename(root / "other")
    with pytest.raises(ArtifactRefused, match="says that it is tiny@1"):
        Registry(str(root)).read("other", 1)


@pytest.mark.parametrize("file", [MODEL_FILE, GOLDEN_FILE])
def test_a_missing_file_is_incomplete(root: Path, file: str) -> None:
    (root / "tiny" / "1" / file).unlink()
    refused = _refusal(root)
    assert refused.reason == "incomplete"
    assert file in str(refused)


def test_a_version_without_a_manifest_is_not_there_and_its_number_stays_taken(root: Path) -> None:
    registry = Registry(str(root))
    (root / "tiny" / "3").mkdir()
    (root / "tiny" / "3" / MODEL_FILE).write_bytes(b"half")
    assert registry.versions("tiny") == [1, 2]
    assert registry.resolve("tiny") == 2
    assert _refusal(root, 3).reason == "incomplete"
    with pytest.raises(ArtifactRefused, match="interrupted") as refused:
        registry.resolve("tiny", "3")
    assert refused.value.reason == "incomplete"
    with pytest.raises(ArtifactRefused):
        registry.set_alias("tiny", "prod", 3)
    assert publish_tiny(registry).version == 4
    assert (root / "tiny" / "3" / MODEL_FILE).read_bytes() == b"half"


def test_a_manifest_of_a_later_schema_is_incompatible_and_says_to_update(root: Path) -> None:
    _change_manifest(root, lambda document: document.update(schema="headrace.artifact/2"))
    refused = _refusal(root)
    assert refused.reason == "incompatible"
    assert "update" in str(refused)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(schema="something.else/1"),
        lambda d: d.update(surprise=1),
        lambda d: d.pop("sha256"),
        lambda d: d.update(size_bytes=d["size_bytes"] + 1),
        lambda d: d.update(version=0),
        lambda d: d.update(golden_tolerance=-1),
        lambda d: d["contract"].update(labels=[]),
        lambda d: d["contract"].update(labels=["a", "a", "b"]),
        lambda d: d["contract"].update(labels=["a", "b"]),
        lambda d: d["contract"].update(task="detection"),
        lambda d: d["contract"].update(preprocess_sha256="0" * 64),
        lambda d: d["contract"]["preprocess"].update(resize="letterbox"),
        lambda d: d["contract"]["preprocess"].update(width=32),
    ],
)
def test_a_manifest_that_contradicts_its_artifact_is_corrupt(
    root: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    _change_manifest(root, change)
    assert _refusal(root).reason == "corrupt"


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_a_manifest_that_is_no_manifest_is_corrupt(root: Path, content: bytes) -> None:
    (root / "tiny" / "1" / MANIFEST_FILE).write_bytes(content)
    assert _refusal(root).reason == "corrupt"


@pytest.mark.parametrize("content", [b"", b"two", b"-1", b"0", b"1 2", b"\xff\x00", b"9" * 400])
def test_an_alias_without_a_number_is_corrupt_and_no_alias(root: Path, content: bytes) -> None:
    (root / "tiny" / "latest").write_bytes(content)
    registry = Registry(str(root))
    assert registry.aliases("tiny") == {}
    with pytest.raises(ArtifactRefused, match="models promote") as refused:
        registry.resolve("tiny")
    assert refused.value.reason == "corrupt"
    registry.set_alias("tiny", "latest", 2)
    assert registry.resolve("tiny") == 2


def test_an_alias_to_a_version_that_is_gone_is_missing(root: Path) -> None:
    (root / "tiny" / "latest").write_text("7\n")
    with pytest.raises(ArtifactRefused) as refused:
        Registry(str(root)).resolve("tiny")
    assert refused.value.reason == "missing"


def test_other_files_and_folders_are_neither_versions_nor_aliases(root: Path) -> None:
    (root / "tiny" / "007").mkdir()
    (root / "tiny" / "old").mkdir()
    (root / "tiny" / "notes.md").write_text("hello")
    (root / "tiny" / "9").write_text("9")
    (root / "README").write_text("hello")
    (root / "empty").mkdir()
    registry = Registry(str(root))
    assert registry.models() == ["tiny"]
    assert registry.versions("tiny") == [1, 2]
    assert registry.aliases("tiny") == {"latest": 2}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_a_file_without_an_end_is_not_there(root: Path, file: str, kind: str) -> None:
    path = root / "tiny" / "1" / file
    path.unlink()
    path.symlink_to("/dev/zero") if kind == "device" else os.mkfifo(path)
    assert _refusal(root).reason == "incomplete"


def test_an_alias_without_an_end_is_none(root: Path) -> None:
    (root / "tiny" / "zero").symlink_to("/dev/zero")
    (root / "tiny" / "circle").symlink_to("circle")
    registry = Registry(str(root))
    assert registry.aliases("tiny") == {"latest": 2}
    with pytest.raises(ArtifactRefused, match="expected one of 1, 2, latest"):
        registry.resolve("tiny", "zero")


@pytest.mark.parametrize("file", [MODEL_FILE, MANIFEST_FILE])
def test_a_file_that_grew_to_a_terabyte_is_corrupt_without_being_read(
    root: Path, file: str
) -> None:
    with (root / "tiny" / "1" / file).open("r+b") as grown:
        grown.truncate(1 << 40)  # sparse: nothing of it is on the disk
    assert _refusal(root).reason == "corrupt"


@pytest.mark.parametrize("path", ["file", "file/models"])
def test_a_file_can_be_no_registry(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("no folder")
    for url in (str(tmp_path / path), (tmp_path / path).as_uri()):
        with pytest.raises(ConfigError, match="expected a folder"):
            Registry(url)


def test_a_registry_that_became_a_file_is_unreachable(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "file"))
    (tmp_path / "file").write_text("no folder")
    for ask in (registry.models, lambda: registry.publish(tiny_draft())):
        with pytest.raises(ArtifactRefused) as refused:
            ask()
        assert refused.value.reason == "unreachable"


def test_a_draft_that_contradicts_itself_is_refused_and_takes_no_number(root: Path) -> None:
    draft = tiny_draft()
    golden, contract = draft.golden, draft.contract
    not_finite = golden.logits_nk.copy()
    not_finite[0, 0] = np.nan
    doubles: Any = golden.logits_nk.astype(np.float64)
    other_spec = PreprocessSpec(width=32, height=24)
    for bad in (
        replace(draft, model=b""),
        replace(draft, golden=Golden(golden.inputs_nhwc[:0], golden.logits_nk[:0])),
        replace(draft, golden=Golden(golden.inputs_nhwc[:1], golden.logits_nk)),
        replace(draft, golden=Golden(golden.inputs_nhwc, doubles)),
        replace(draft, golden=Golden(golden.inputs_nhwc, not_finite)),
        replace(draft, contract=contract.model_copy(update={"labels": ("a", "b")})),
        replace(draft, contract=contract.model_copy(update={"preprocess": other_spec})),
        replace(draft, metrics={"loss": float("nan")}),
        replace(draft, golden_tolerance=0.0),
    ):
        with pytest.raises(ArtifactRefused):
            Registry(str(root)).publish(bad)
    assert sorted(path.name for path in (root / "tiny").iterdir() if path.is_dir()) == ["1", "2"]


def test_tritons_config_stands_in_the_version_and_at_the_model(root: Path) -> None:
    at_the_model = (root / "tiny" / TRITON_FILE).read_text()
    assert (root / "tiny" / "2" / TRITON_FILE).read_text() == at_the_model
    assert 'name: "tiny"' in at_the_model


def test_a_publish_leaves_nothing_beside_the_layout(root: Path) -> None:
    inside = sorted(path.name for path in (root / "tiny").iterdir())
    assert inside == [".lock", "1", "2", "config.pbtxt", "latest"]
    assert sorted(path.name for path in (root / "tiny" / "1").iterdir()) == [
        "config.pbtxt",
        "golden.npz",
        "manifest.json",
        "model.pt",
    ]
