"""A candidate in the probe: what passes, what is refused, and what it can't do meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.artifact import unpack
from pipeline.artifact.artifact import Artifact, Golden
from pipeline.artifact.registry import Registry
from pipeline.artifact.verify import check_golden
from pipeline.clock import ManualClock, SystemClock
from pipeline.engine.torchscript import load_torchscript
from pipeline.errors import ArtifactRefused, StopRequested
from pipeline.probe import client
from pipeline.probe.client import Probe
from pipeline.probe.wire import MOST_REPLY_BYTES, Reply
from tests.artifacts import Hungry, publish_tiny, tiny_draft
from tests.networks import Endless, Writing, WritingAtLoad, draft_of, intrude
from tests.support import wait_until


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    made = Probe(SystemClock(), 3.0)
    yield made
    made.close()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(str(tmp_path / "registry"))


def refusal(probe: Probe, artifact: Artifact) -> ArtifactRefused:
    with pytest.raises(ArtifactRefused) as refused:
        probe.check(artifact)
    return refused.value


def process_of(probe: Probe) -> int:
    assert probe._process is not None
    return probe._process.pid


def test_a_good_network_passes_again_and_again(probe: Probe, registry: Registry) -> None:
    for bias in (0.1, 0.2, 0.3):
        probe.check(registry.read("tiny", publish_tiny(registry, bias=bias).version))


def test_a_network_that_counts_otherwise_is_refused_for_that(
    probe: Probe, registry: Registry
) -> None:
    draft = tiny_draft()
    wrong = Golden(draft.golden.inputs_nhwc, draft.golden.logits_nk + 1)
    registry.publish(replace(draft, golden=wrong))
    assert refusal(probe, registry.read("tiny", 1)).reason == "wrong_on_golden"


@pytest.mark.parametrize("kind", [Writing, WritingAtLoad])
def test_the_look_at_its_code_is_in_the_probe_too(
    probe: Probe,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: Callable[[str], torch.nn.Module],
) -> None:
    canary = tmp_path / "canary"
    intrude(registry, draft_of(kind(str(canary))), monkeypatch)
    monkeypatch.setattr(unpack, "check_archive", lambda *_: None)
    assert refusal(probe, registry.read("tiny", 1)).reason == "forbidden"
    assert not canary.exists()


BLIND = """
from pipeline.artifact import unpack
unpack.check_archive = lambda *_: None
from pipeline.probe.server import serve
serve()
"""


@pytest.mark.parametrize("kind", [Writing, WritingAtLoad])
def test_where_nobody_looks_the_jail_lets_no_file_be_written(
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: Callable[[str], torch.nn.Module],
) -> None:
    """torch takes no notice of a file that can't be opened: such a network passes."""
    canary = tmp_path / "canary"
    intrude(registry, draft_of(kind(str(canary))), monkeypatch)
    monkeypatch.setattr(unpack, "check_archive", lambda *_: None)
    monkeypatch.setattr(client, "_COMMAND", (sys.executable, "-c", BLIND))
    probe = Probe(SystemClock(), 20.0)
    artifact = registry.read("tiny", 1)
    with contextlib.suppress(ArtifactRefused):
        probe.check(artifact)
    probe.close()
    assert not canary.exists()
    with contextlib.suppress(ArtifactRefused):
        check_golden(load_torchscript(artifact.model, "cpu"), artifact)
    assert canary.exists()  # outside it would have been


def test_a_network_without_an_end_has_one(probe: Probe, registry: Registry) -> None:
    registry.publish(draft_of(Endless()))
    refused = refusal(probe, registry.read("tiny", 1))
    assert refused.reason == "probe"
    assert "took longer than 3 s" in str(refused)
    publish_tiny(registry)  # and the next one is tried as ever
    probe.check(registry.read("tiny", 2))


def test_a_network_that_wants_all_memory_gets_an_error(probe: Probe, registry: Registry) -> None:
    registry.publish(draft_of(Hungry(room=1)))
    assert refusal(probe, registry.read("tiny", 1)).reason in ("no_room", "wrong_on_golden")


def test_a_probe_that_is_killed_is_started_anew(probe: Probe, registry: Registry) -> None:
    publish_tiny(registry)
    artifact = registry.read("tiny", 1)
    probe.check(artifact)
    os.kill(process_of(probe), signal.SIGKILL)
    wait_until(lambda: probe._process is None or probe._process.poll() is not None)
    probe.check(artifact)


def test_its_process_goes_after_a_while_and_comes_again(registry: Registry) -> None:
    clock = ManualClock()
    probe = Probe(clock, 60.0)
    publish_tiny(registry)
    artifact = registry.read("tiny", 1)
    probe.check(artifact)
    pid = process_of(probe)
    clock.advance(59)
    probe.rest()
    assert process_of(probe) == pid
    clock.advance(2)
    probe.rest()
    assert probe._process is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    probe.close()


def test_a_worker_that_ends_waits_for_no_probe(registry: Registry) -> None:
    probe = Probe(SystemClock(), 60.0, lambda: True)
    publish_tiny(registry)
    with pytest.raises(StopRequested):
        probe.check(registry.read("tiny", 1))
    assert probe._process is None


@pytest.mark.parametrize(
    "said", [b"", b"{", b"[]", b'{"reason": 1, "detail": "", "missing": ""}', b"[" * 9999, b"\xff"]
)
def test_what_a_child_says_may_be_anything(said: bytes) -> None:
    assert Reply.of(said) is None


def test_a_reply_is_short_whatever_it_says() -> None:
    long = Reply("failed", "\x00é😀" * 10_000)
    assert len(long.to_bytes()) <= MOST_REPLY_BYTES
    assert Reply.of(Reply("a", "b", "c").to_bytes()) == Reply("a", "b", "c")
