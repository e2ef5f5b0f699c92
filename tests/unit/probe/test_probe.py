"""A candidate in the probe: what passes, what is refused, and what it can't do meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto

from pipeline.artifact.artifact import Artifact, Golden
from pipeline.artifact.registry import Registry
from pipeline.clock import ManualClock, SystemClock
from pipeline.engine import torchscript
from pipeline.engine.gentle import Rests
from pipeline.engine.torchscript import load_torchscript
from pipeline.errors import ArtifactRefused, StopRequested
from pipeline.probe import client
from pipeline.probe.client import Probe
from pipeline.probe.wire import MOST_REPLY_BYTES, Reply
from pipeline.types import Backend
from tests.artifacts import (
    Hungry,
    make_manifest_agree,
    publish_tiny,
    tiny_draft,
    tiny_onnx_bytes,
    with_onnx,
)
from tests.networks import Endless, Writing, WritingAtLoad, draft_of
from tests.support import wait_until

BOTH: tuple[Backend, ...] = ("torchscript", "onnxruntime")


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


def children_of(process: int) -> list[int]:
    """While it has no thread but one."""
    return [*map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())]


def state_of(process: int) -> str:
    """ "" where it is gone."""
    if not Path(f"/proc/{process}/stat").exists():
        return ""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


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
def test_a_network_that_writes_files_is_refused_and_writes_none(
    probe: Probe, registry: Registry, tmp_path: Path, kind: Callable[[str], torch.nn.Module]
) -> None:
    canary = tmp_path / "canary"
    registry.publish(draft_of(kind(str(canary))))
    assert refusal(probe, registry.read("tiny", 1)).reason == "forbidden"
    assert not canary.exists()


def test_a_candidate_is_run_by_the_backend_that_will_run_it(
    probe: Probe, registry: Registry
) -> None:
    """Its ONNX file, when that is what the worker runs; its TorchScript file doesn't matter then,
    nor the other way round."""
    good = registry.read("tiny", registry.publish(with_onnx(tiny_draft())).version)
    for backend in BOTH:
        probe.check(good, backend=backend)
    draft = with_onnx(tiny_draft(), tiny_onnx_bytes(bias=0.5))
    wrong = registry.read("tiny", registry.publish(draft).version)
    probe.check(wrong)
    with pytest.raises(ArtifactRefused, match=r"a logit is 1 off") as refused:
        probe.check(wrong, backend="onnxruntime")
    assert refused.value.reason == "wrong_on_golden"
    probe.check(good, backend="onnxruntime")


def test_an_onnx_file_that_is_none_or_wants_other_files_is_refused(
    probe: Probe, registry: Registry, tmp_path: Path
) -> None:
    elsewhere = ModelProto.FromString(tiny_onnx_bytes())
    tensor = elsewhere.graph.initializer[3]
    (tmp_path / "steps").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(tmp_path / "steps"))
    for model, reason in ((b"junk", "corrupt"), (elsewhere.SerializeToString(), "forbidden")):
        version = registry.publish(with_onnx(tiny_draft(), model)).version
        with pytest.raises(ArtifactRefused) as refused:
            probe.check(registry.read("tiny", version), backend="onnxruntime")
        assert refused.value.reason == reason


BLIND = """
import sys
from pipeline.engine import torchscript
torchscript.forbidden_operator = lambda _: ""
from pipeline.probe.server import serve
from pipeline.probe.wire import Reply
Reply().write_to(sys.stdout.buffer)
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
    registry.publish(draft_of(kind(str(canary))))
    monkeypatch.setattr(client, "_COMMAND", (sys.executable, "-c", BLIND))
    probe = Probe(SystemClock(), 20.0)
    artifact = registry.read("tiny", 1)
    probe.check(artifact)
    probe.close()
    assert not canary.exists()
    monkeypatch.setattr(torchscript, "forbidden_operator", lambda _: "")
    load_torchscript(artifact.model, "cpu").score(artifact.golden.inputs_nhwc)
    assert canary.exists()  # outside it would have been


def test_golden_vectors_packed_by_another_hand_are_those_that_were_hashed(
    probe: Probe, registry: Registry, tmp_path: Path
) -> None:
    publish_tiny(registry)
    folder = tmp_path / "registry" / "tiny" / "1"
    golden = registry.read("tiny", 1).golden
    np.savez(folder / "golden.npz", inputs=golden.inputs_nhwc, logits=golden.logits_nk)
    make_manifest_agree(folder)
    probe.check(registry.read("tiny", 1))


def test_a_probe_imports_nothing_from_the_folder_where_it_is_started(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('not this one')")
    publish_tiny(registry)
    artifact = registry.read("tiny", 1)
    monkeypatch.chdir(tmp_path)
    with contextlib.closing(Probe(SystemClock(), 60.0)) as probe:
        probe.check(artifact)


def test_why_it_does_not_start_is_said(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_COMMAND", (sys.executable, "-c", "raise SystemExit('no torch')"))
    publish_tiny(registry)
    refused = refusal(Probe(SystemClock(), 60.0), registry.read("tiny", 1))
    assert refused.reason == "no_room"
    assert "it doesn't start: no torch" in str(refused)


def test_a_network_without_an_end_has_one(probe: Probe, registry: Registry) -> None:
    registry.publish(draft_of(Endless()))
    refused = refusal(probe, registry.read("tiny", 1))
    assert refused.reason == "too_slow"
    assert "took longer than 3 s" in str(refused)
    assert "model.probe_timeout_s" in str(refused)
    publish_tiny(registry)  # and the next one is tried as ever
    probe.check(registry.read("tiny", 2))


def test_a_network_that_wants_all_memory_gets_an_error(probe: Probe, registry: Registry) -> None:
    registry.publish(draft_of(Hungry(room=1)))
    assert refusal(probe, registry.read("tiny", 1)).reason == "no_room"


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


def test_beside_frames_it_is_stopped_now_and_then(registry: Registry) -> None:
    """While it starts and while a candidate runs, and its child with it."""
    registry.publish(draft_of(Endless()))
    stopped_at_once: set[int] = set()

    def stopped(seconds: float) -> None:
        processes = [process_of(probe), *children_of(process_of(probe))]
        wait_until(lambda: {state_of(each) for each in processes} <= {"T", "Z", ""})
        stopped_at_once.add(len(processes))
        threading.Event().wait(seconds)

    with contextlib.closing(Probe(SystemClock(), 2.0, most_rests_s=1.0)) as probe:
        with pytest.raises(ArtifactRefused) as refused:
            probe.check(registry.read("tiny", 1), Rests(stopped, times=lambda: 1.0))
        assert refused.value.reason == "too_slow"
        assert stopped_at_once == {1, 2}


def test_what_it_rests_counts_for_nothing_and_then_it_goes_on(registry: Registry) -> None:
    publish_tiny(registry)
    artifact = registry.read("tiny", 1)
    with contextlib.closing(Probe(SystemClock(), 5.0, most_rests_s=6.0)) as probe:
        probe.check(artifact)
        began = time.monotonic()
        # The first rest of all is longer than it may take.
        probe.check(artifact, Rests(lambda _: threading.Event().wait(6), times=lambda: 1.0))
        assert time.monotonic() - began >= 6
        assert state_of(process_of(probe)) != "T"


def test_a_probe_that_has_rested_for_long_is_let_alone(registry: Registry) -> None:
    publish_tiny(registry)
    waits: list[float] = []

    def rest(seconds: float) -> None:
        waits.append(seconds)
        threading.Event().wait(seconds)

    with contextlib.closing(Probe(SystemClock(), 60.0, most_rests_s=0.5)) as probe:
        probe.check(registry.read("tiny", 1), Rests(rest, times=lambda: 10.0))
    start_and_try, longest_rest_s = 2, 1.0
    assert 0.4 <= sum(waits) <= start_and_try * (0.5 + longest_rest_s)


def test_a_probe_ends_when_nobody_wants_to_know(registry: Registry) -> None:
    registry.publish(draft_of(Endless()))
    pids: list[int] = []

    def not_any_more() -> None:
        probe.rest()  # as a worker does it: one that is busy stays
        if children := children_of(process_of(probe)):
            pids.extend((process_of(probe), *children))
            raise StopRequested("the alias stands for another version")

    rests = Rests(threading.Event().wait, not_any_more, lambda: 0.0)
    with contextlib.closing(Probe(SystemClock(), 60.0)) as probe:
        with pytest.raises(StopRequested):
            probe.check(registry.read("tiny", 1), rests)
        assert probe._process is None
        wait_until(lambda: {state_of(each) for each in pids} <= {"Z", ""})


KILLED = """
import os, signal, sys
from pipeline.artifact.registry import Registry
from pipeline.clock import SystemClock
from pipeline.engine.gentle import Rests
from pipeline.probe.client import Probe

def end(_):
    print(probe._process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

probe = Probe(SystemClock(), 60.0)
probe.check(Registry(sys.argv[1]).read("tiny", 1), Rests(end, times=lambda: 1.0))
"""


def test_a_worker_that_is_killed_leaves_no_stopped_probe_behind(
    registry: Registry, tmp_path: Path
) -> None:
    publish_tiny(registry)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "registry")]
    worker = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert worker.returncode == -signal.SIGKILL, worker.stderr
    left = int(worker.stdout)
    try:
        wait_until(lambda: state_of(left) in ("Z", ""))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(left, signal.SIGKILL)


@pytest.mark.parametrize(
    "said", [b"", b"{", b"[]", b'{"reason": 1, "detail": "", "missing": ""}', b"[" * 9999, b"\xff"]
)
def test_what_a_child_says_may_be_anything(said: bytes) -> None:
    assert Reply.of(said) is None


def test_a_reply_is_short_whatever_it_says() -> None:
    for text in ("\x00é😀", "😀", "\x00"):
        long = Reply("failed" * 1000, text * 10_000, text * 10_000)
        assert len(long.to_bytes()) <= MOST_REPLY_BYTES
    assert "\n" not in Reply("failed", "one\ntwo").to_bytes().decode().strip()
    assert Reply.of(Reply("a", "b", "c").to_bytes()) == Reply("a", "b", "c")
