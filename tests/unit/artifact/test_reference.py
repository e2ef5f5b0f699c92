"""Reference statistics in a manifest, and manifests of before there were any."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.artifact.artifact import Draft
from pipeline.artifact.parse import parse_manifest
from pipeline.artifact.publish import manifest_json, manifest_of
from pipeline.artifact.reference import Reference
from pipeline.artifact.registry import Registry
from pipeline.errors import ArtifactRefused
from pipeline.statistics import InputTally, ScoreTally
from tests.artifacts import golden_inputs, tiny_draft

OLD = b"""{
  "schema": "headrace.artifact/1",
  "name": "tiny",
  "version": 1,
  "created_at": "2026-11-01T00:00:00.000+00:00",
  "sha256": "%s",
  "size_bytes": 7,
  "golden_sha256": "%s",
  "golden_tolerance": 0.001,
  "contract": {
    "task": "single-label",
    "labels": [
      "dark",
      "light"
    ],
    "preprocess": {
      "width": 24,
      "height": 24,
      "resize": "stretch",
      "interpolation": "pyramid",
      "decode": "auto"
    },
    "preprocess_sha256": "%s"
  },
  "torch_version": "2.9.0",
  "exported_by": "script",
  "metrics": {},
  "notes": {}
}
"""
"""As it was written before there were references."""


def reference(classes: int = 3) -> Reference:
    inputs, scores = InputTally(), ScoreTally(classes)
    inputs.add(golden_inputs(count=6))
    scores.add(np.eye(6, classes, dtype=np.float32) * 3)
    true = (6, *[0] * (classes - 1))
    return Reference.of(inputs, scores, true)


def draft(**changes: Any) -> Draft:
    return replace(tiny_draft(), reference=reference(), **changes)


def test_a_reference_is_read_back_as_it_was_published(tmp_path: Path):
    registry = Registry(str(tmp_path))
    registry.publish(draft())
    read = registry.read("tiny", 1).manifest.reference
    assert read == reference()
    assert read is not None
    assert read.samples == 6
    assert sum(read.inputs.sharpness.counts) == 6
    assert read.scores is not None
    assert sum(read.scores.predicted) == sum(read.scores.confidence.counts) == 6
    assert read.scores.true == (6, 0, 0)
    live = InputTally(*(each.bins for _, each in read.inputs))
    live.add(golden_inputs(count=6))
    assert live.sharpness.counts == read.inputs.sharpness.counts


def test_it_stays_small(tmp_path: Path):
    Registry(str(tmp_path)).publish(draft())
    assert (tmp_path / "tiny" / "1" / "manifest.json").stat().st_size < 4096


def test_a_version_that_is_published_again_keeps_it(tmp_path: Path):
    registry = Registry(str(tmp_path))
    registry.publish(draft())
    registry.publish(Draft.again(registry.read("tiny", 1)))
    assert registry.manifest("tiny", 2).reference == reference()


def test_an_older_manifest_is_read_and_written_byte_for_byte():
    digest = hashlib.sha256(b"").hexdigest().encode()
    spec = tiny_draft().contract.preprocess.digest.encode()
    old = OLD % (digest, digest, spec)
    manifest = parse_manifest(old, "tiny", 1)
    assert manifest.reference is None
    assert manifest_json(manifest) == old


def test_what_is_refused_and_gone_back_to_does_not_depend_on_it():
    with_one, without = (
        manifest_of(each, each.golden.to_bytes(), 1) for each in (draft(), tiny_draft())
    )
    assert with_one.content == without.content


@pytest.mark.parametrize("classes", [2, 4])
def test_a_reference_of_other_labels_is_no_drafts(classes: int):
    wrong = replace(tiny_draft(), reference=reference(classes))
    with pytest.raises(ArtifactRefused, match=rf"is of {classes} labels, expected 3"):
        manifest_of(wrong, wrong.golden.to_bytes(), 1)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("samples",), 0),
        (("inputs", "brightness", "counts"), [-1]),
        (("inputs", "brightness", "counts"), [0] * 1001),
        (("inputs", "brightness", "counts"), [10**400]),
        (("inputs", "brightness", "low"), 300.0),
        (("inputs", "brightness", "low"), -1e308),
        pytest.param(("samples",), 10**400, id="samples without end"),
        (("scores", "predicted"), [10**400, 0, 0]),
        (("scores", "predicted"), [1]),
        (("scores", "more"), 1),
    ],
)
def test_a_manifest_with_a_reference_that_is_none_is_corrupt(path: tuple[str, ...], value: object):
    document = json.loads(manifest_json(manifest_of(draft(), draft().golden.to_bytes(), 1)))
    place = document["reference"]
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(ArtifactRefused) as refused:
        parse_manifest(json.dumps(document).encode(), "tiny", 1)
    assert refused.value.reason == "corrupt"


def test_bins_too_narrow_to_count_in_are_none():
    document = json.loads(manifest_json(manifest_of(draft(), draft().golden.to_bytes(), 1)))
    document["reference"]["inputs"]["brightness"] |= {"low": 0.0, "high": 5e-324}
    with pytest.raises(ArtifactRefused) as refused:
        parse_manifest(json.dumps(document).encode(), "tiny", 1)
    assert refused.value.reason == "corrupt"


def test_nothing_counted_is_no_reference():
    with pytest.raises(ValidationError):
        Reference.of(InputTally())
