"""The gate before real artifacts in a real registry: who is compared, and which alias moves."""

from __future__ import annotations

import functools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.artifact.keys import SigningKey
from pipeline.artifact.registry import Registry
from pipeline.errors import PublishRefused
from pipeline.probe.client import Probe
from pipeline.probe.verified import patient_probe
from tests.artifacts import (
    LABELS,
    Hungry,
    expected_logits,
    golden_inputs,
    publish_tiny,
    scripted,
    tiny_draft,
)
from trainer.data import Samples
from trainer.evaluate import Predictions
from trainer.gate import GateSettings, compare
from trainer.gated import GATE_NOTE, Compared, Gate, Gated
from trainer.incumbent import Heldout
from trainer.options import Target
from trainer.reference import reference_of

GOOD, BAD = 0.0, -2.0
"""Biases of the tiny network: with the one it always says "bright", with the other "dark"."""

COUNT = 40


class Bright(Samples):
    """Noise that is called bright: all right for a good network."""

    labels = LABELS
    digest = "bright"

    def __init__(self) -> None:
        self.samples_nhwc = golden_inputs(count=COUNT)

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self.samples_nhwc[index]), 2


def heldout(bias: float, wrong: int = 0) -> Heldout:
    """What a candidate of that bias says, but for the first ``wrong`` samples."""
    samples = Bright()
    logits_nk = expected_logits(samples.samples_nhwc, bias=bias)
    logits_nk[:wrong] = logits_nk[:wrong, ::-1]
    classes = torch.full((COUNT,), 2)
    return Heldout(samples, Predictions(LABELS, torch.from_numpy(logits_nk), classes))


MakeGate: TypeAlias = Callable[..., Gate]


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    """One for all: its process takes seconds to start."""
    with patient_probe() as probe:
        yield probe


@pytest.fixture
def gate(probe: Probe) -> MakeGate:
    return functools.partial(make_gate, probe)


def make_gate(
    probe: Probe,
    url: Path,
    bias: float,
    say: Callable[[str], None] = print,
    aliases: tuple[str, ...] = (),
    **more: Any,
) -> Gate:
    judged = more.pop("heldout", heldout(bias))
    keys = more.pop("key", None), more.pop("trusted", ())
    target = Target.of("tiny", str(url), list(aliases), *keys)
    return Gate(target, tiny_draft(bias=bias), judged, GateSettings(**more), probe, say)


def verdicts(gated: Gated) -> list[tuple[int, str]]:
    return [(each.version, each.verdict) for each in gated.compared]


def test_the_first_version_has_nothing_to_be_compared_with(tmp_path: Path, gate: MakeGate):
    gated = gate(tmp_path / "new", BAD).publish()
    gated.check("")
    assert gated.compared == ()
    assert gated.published is not None
    assert GATE_NOTE not in gated.published.notes
    assert Registry(str(tmp_path / "new")).aliases("tiny") == {"latest": 1}


def test_a_worse_one_is_not_written_and_the_alias_stays(tmp_path: Path, gate: MakeGate):
    publish_tiny(str(tmp_path))
    lines: list[str] = []
    gated = gate(tmp_path, BAD, lines.append).publish()
    assert verdicts(gated) == [(1, "worse")]
    assert gated.published is None
    with pytest.raises(
        PublishRefused, match=r"worse than tiny@1 \(latest\): accuracy 0.00%.*100.00%.*40 held-out"
    ) as refused:
        gated.check("Do that")
    assert str(refused.value).endswith(". Do that")
    assert refused.value.exit_code == 1
    registry = Registry(str(tmp_path))
    assert registry.versions("tiny") == [1]
    assert lines[0] == "running tiny@1 on 40 held-out samples"
    (said,) = gated.to_dict()["compared"]
    assert (said["incumbent"], said["accuracy"], said["incumbent_accuracy"]) == (1, 0.0, 1.0)
    assert (said["samples"], said["gained"], said["lost"]) == (COUNT, 0, COUNT)


def test_even_if_worse_publishes_it_and_notes_what_it_was_compared_with(
    tmp_path: Path, gate: MakeGate
):
    publish_tiny(str(tmp_path))
    gated = gate(tmp_path, BAD, even_if_worse=True).publish()
    gated.check("")
    registry = Registry(str(tmp_path))
    assert registry.aliases("tiny") == {"latest": 2}
    assert registry.manifest("tiny", 2).notes[GATE_NOTE].startswith("worse than tiny@1 (latest)")


def test_one_that_is_better_or_the_same_takes_its_place(tmp_path: Path, gate: MakeGate):
    publish_tiny(str(tmp_path), bias=BAD)
    for version in (2, 3):
        gated = gate(tmp_path, GOOD).publish()
        assert verdicts(gated) == [(version - 1, "not worse")]
        assert Registry(str(tmp_path)).aliases("tiny") == {"latest": version}


def test_what_chance_explains_and_what_is_tolerated_is_not_worse(tmp_path: Path, gate: MakeGate):
    publish_tiny(str(tmp_path))
    few = gate(tmp_path, GOOD, heldout=heldout(GOOD, wrong=3)).publish()
    assert verdicts(few) == [(1, "not worse")]
    more = heldout(GOOD, wrong=8)
    assert verdicts(gate(tmp_path, GOOD, heldout=more).publish()) == [(2, "worse")]
    tolerant = gate(tmp_path, GOOD, heldout=more, tolerance=0.25).publish()
    assert verdicts(tolerant) == [(2, "not worse")]


def test_every_alias_that_is_to_move_is_asked_about_its_version(tmp_path: Path, gate: MakeGate):
    publish_tiny(str(tmp_path), aliases=("latest", "prod"))
    publish_tiny(str(tmp_path), bias=BAD)
    assert Registry(str(tmp_path)).aliases("tiny") == {"latest": 2, "prod": 1}
    refused = gate(tmp_path, BAD, aliases=("prod",)).publish()
    assert verdicts(refused) == [(2, "not worse"), (1, "worse")]
    assert refused.published is None
    gate(tmp_path, BAD).publish().check("")
    assert Registry(str(tmp_path)).aliases("tiny") == {"latest": 3, "prod": 1}


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (shutil.rmtree, "no model 'tiny'"),
        (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "isn't JSON"),
        (lambda folder: (folder / "model.pt").write_bytes(b"torn"), "model.pt of tiny@1 has 4"),
    ],
    ids=["gone", "incomplete", "no manifest", "torn"],
)
def test_an_incumbent_that_no_worker_would_take_holds_nothing_back(
    tmp_path: Path, gate: MakeGate, spoil: Callable[[Path], Any], why: str
):
    publish_tiny(str(tmp_path))
    spoil(tmp_path / "tiny" / "1")
    gated = gate(tmp_path, BAD).publish()
    assert verdicts(gated) == [(1, "not compared")]
    assert gated.published is not None
    assert why in gated.compared[0].why_not
    assert Registry(str(tmp_path)).resolve("tiny") == gated.published.version


def test_an_incumbent_of_other_labels_is_not_compared_and_that_is_said(
    tmp_path: Path, gate: MakeGate
):
    publish_tiny(str(tmp_path), labels=("cat", "dog"))
    lines: list[str] = []
    gated = gate(tmp_path, BAD, lines.append).publish()
    assert verdicts(gated) == [(1, "not compared")]
    assert "3 labels, expected 2" in lines[-1]
    assert "publish it under another name, or restart the worker" in lines[-1]
    assert gated.published is not None
    assert "3 labels, expected 2" in gated.published.notes[GATE_NOTE]


def test_without_held_out_data_it_says_so_once(tmp_path: Path, gate: MakeGate):
    publish_tiny(str(tmp_path), aliases=("latest", "prod"))
    publish_tiny(str(tmp_path))
    lines: list[str] = []
    gated = gate(tmp_path, BAD, lines.append, aliases=("prod",), heldout=None).publish()
    assert verdicts(gated) == [(2, "not compared"), (1, "not compared")]
    assert len(lines) == 1
    assert "not compared with tiny@2 (latest): there is no held-out data" in lines[0]


def test_with_a_key_nothing_is_run_that_it_did_not_sign(tmp_path: Path, gate: MakeGate):
    key = tmp_path / "key.pem"
    SigningKey.new().write(key)
    models = tmp_path / "models"
    publish_tiny(str(models))
    lines: list[str] = []
    unsigned = gate(models, GOOD, lines.append, key=key).publish()
    assert verdicts(unsigned) == [(1, "not compared")]
    assert "tiny@1 isn't signed" in lines[-1]
    signed = gate(models, BAD, lines.append, key=key).publish()
    assert verdicts(signed) == [(2, "worse")]
    other = tmp_path / "other.pem"
    SigningKey.new().write(other)
    trusted = [f"{key}.pub"]
    assert verdicts(gate(models, BAD, key=other, trusted=trusted).publish()) == [(2, "worse")]
    assert verdicts(gate(models, BAD, key=other).publish()) == [(2, "not compared")]


class Fails(torch.nn.Module):
    """On more samples than a golden batch has."""

    def forward(self, batch_nhwc: Tensor) -> Tensor:
        if batch_nhwc.shape[0] > 8:
            raise ValueError("too many for me")
        return torch.zeros(batch_nhwc.shape[0], 3)


class Narrows(torch.nn.Module):
    """To two classes, on more samples than a golden batch has."""

    def forward(self, batch_nhwc: Tensor) -> Tensor:
        return torch.zeros(batch_nhwc.shape[0], 2 if batch_nhwc.shape[0] > 8 else 3)


def publish_odd(url: Path, network: torch.nn.Module) -> None:
    """One with golden vectors that it stands."""
    draft = tiny_draft()
    logits_nk = network(torch.from_numpy(draft.golden.inputs_nhwc)).float().numpy()
    golden = replace(draft.golden, logits_nk=logits_nk)
    Registry(str(url)).publish(replace(draft, model=scripted(network), golden=golden))


@pytest.mark.parametrize(
    ("network", "why"),
    [(Fails(), "tiny@1 fails on held-out samples: .*too many for me"), (Narrows(), r"\(32, 2\)")],
    ids=["fails", "narrows"],
)
def test_an_incumbent_that_fails_on_real_samples_holds_nothing_back(
    tmp_path: Path, gate: MakeGate, network: torch.nn.Module, why: str
):
    publish_odd(tmp_path, network)
    gated = gate(tmp_path, BAD).publish()
    assert verdicts(gated) == [(1, "not compared")]
    assert re.search(why, gated.compared[0].why_not)


def test_an_incumbent_that_there_is_no_memory_for_is_not_passed_over(
    tmp_path: Path, gate: MakeGate
):
    publish_odd(tmp_path, Hungry(room=8))
    with pytest.raises(PublishRefused, match=r"tiny@1 can't be compared .* no memory .*--even-if-"):
        gate(tmp_path, GOOD).publish()
    assert Registry(str(tmp_path)).versions("tiny") == [1]
    told = gate(tmp_path, GOOD, even_if_worse=True).publish()
    assert verdicts(told) == [(1, "not compared")]
    assert Registry(str(tmp_path)).aliases("tiny") == {"latest": 2}


def test_what_another_publisher_put_there_in_between_is_an_incumbent_too(
    tmp_path: Path, gate: MakeGate
):
    publish_tiny(str(tmp_path), bias=BAD)

    def meanwhile(line: str) -> None:
        if line.startswith("not worse than tiny@1"):
            publish_tiny(str(tmp_path), bias=GOOD)

    gated = gate(tmp_path, BAD, meanwhile).publish()
    assert verdicts(gated) == [(1, "not worse"), (2, "worse")]
    registry = Registry(str(tmp_path))
    assert registry.versions("tiny") == [1, 2, 3]
    assert registry.aliases("tiny") == {"latest": 2}
    with pytest.raises(PublishRefused, match=r"tiny@3 is published and latest doesn't move to it"):
        gated.check("")


def test_what_came_in_between_and_cannot_be_compared_is_said_with_what_is_published(
    tmp_path: Path, gate: MakeGate
):
    publish_tiny(str(tmp_path), bias=BAD)

    def meanwhile(line: str) -> None:
        if line.startswith("not worse than tiny@1"):
            publish_odd(tmp_path, Hungry(room=8))

    gated = gate(tmp_path, GOOD, meanwhile).publish()
    assert gated.published is not None
    assert gated.published.version == 3
    assert verdicts(gated) == [(1, "not worse")]
    registry = Registry(str(tmp_path))
    assert registry.versions("tiny") == [1, 2, 3]
    assert registry.aliases("tiny") == {"latest": 2}
    says = r"tiny@3 is published and latest doesn't move to it: tiny@2 can't be compared"
    with pytest.raises(PublishRefused, match=says):
        gated.check("")


def test_a_publisher_in_between_that_is_no_better_is_followed(tmp_path: Path, gate: MakeGate):
    publish_tiny(str(tmp_path), bias=BAD)

    def meanwhile(line: str) -> None:
        if line.startswith("not worse than tiny@1"):
            publish_tiny(str(tmp_path), bias=BAD)

    gated = gate(tmp_path, GOOD, meanwhile).publish()
    assert verdicts(gated) == [(1, "not worse"), (2, "not worse")]
    assert Registry(str(tmp_path)).aliases("tiny") == {"latest": 3}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", ["not worse than tiny@1", "not worse than tiny@2"])
def test_a_death_while_it_compares_moves_nothing(tmp_path: Path, gate: MakeGate, at: str):
    publish_tiny(str(tmp_path), bias=BAD)

    def meanwhile(line: str) -> None:
        if line.startswith(at):
            raise Killed
        if line.startswith("not worse than tiny@1"):
            publish_tiny(str(tmp_path), bias=BAD)

    with pytest.raises(Killed):
        gate(tmp_path, GOOD, meanwhile).publish()
    registry = Registry(str(tmp_path))
    assert registry.aliases("tiny") == {"latest": int(at[-1])}
    for version in registry.versions("tiny"):
        registry.read("tiny", version)


def test_errors_that_are_not_finite_are_said_as_such_and_are_null_in_json():
    theirs_n = -np.ones(COUNT)
    found = compare(np.full(COUNT, -np.inf), theirs_n, "mse")
    compared = Compared("tiny", 1, ("latest",), GateSettings(), found)
    assert "worse than tiny@1 (latest): mean squared error that isn't finite, the" in str(compared)
    said = compared.to_dict()
    assert (said["measure"], said["mse"], said["incumbent_mse"]) == ("mse", None, 1.0)
    assert (said["gained"], said["lost"]) == (0, COUNT)
    json.dumps(said, allow_nan=False)


def test_the_reference_counts_what_is_published():
    judged = heldout(GOOD, wrong=5)
    reference = reference_of(judged.samples, judged.predictions)
    assert reference.samples == COUNT
    assert reference.scores is not None
    assert reference.scores.true == (0, 0, COUNT)
    assert reference.scores.predicted == (5, 0, COUNT - 5)
    brightness = reference.inputs.brightness
    middles = np.linspace(brightness.low, brightness.high, len(brightness.counts) + 1)
    mean = np.average((middles[1:] + middles[:-1]) / 2, weights=brightness.counts)
    assert mean == pytest.approx(golden_inputs(count=COUNT).mean(), abs=8)
