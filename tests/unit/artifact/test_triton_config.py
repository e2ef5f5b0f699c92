"""Triton's config says the same as the contract."""

from __future__ import annotations

import json
import re

from pipeline.artifact.manifest import Contract
from pipeline.artifact.triton import config_pbtxt
from pipeline.preprocess import PreprocessSpec


def test_it_names_shapes_types_and_the_backend() -> None:
    contract = Contract.of(("a", "b"), PreprocessSpec(width=32, height=24))
    text = config_pbtxt("net", contract)
    assert 'name: "net"' in text
    assert 'platform: "pytorch_libtorch"' in text
    assert re.search(r'"INPUT__0"\s+data_type: TYPE_UINT8\s+dims: \[ 24, 32, 3 \]', text)
    assert re.search(r'"OUTPUT__0"\s+data_type: TYPE_FP32\s+dims: \[ 2 \]', text)
    assert re.search(r'key: "task"\s+value: { string_value: "single-label" }', text)
    assert text.count("{") == text.count("}")


def test_labels_survive_two_rounds_of_quoting() -> None:
    labels = ('say "cheese"', "back\\slash", "new\nline", "Käse", "tab\t")
    text = config_pbtxt("net", Contract.of(labels, PreprocessSpec(width=8, height=8)))
    quoted = re.search(r'key: "labels"\s+value: { string_value: "(.*)" }', text)
    assert quoted is not None
    # The text format's escapes that can occur here: \\ and \".
    unquoted = re.sub(r"\\(.)", r"\1", quoted[1])
    assert tuple(json.loads(unquoted)) == labels
