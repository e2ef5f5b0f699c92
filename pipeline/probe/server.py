"""The probe's process: torch is imported once, and each candidate runs in a child of it.

It answers requests on standard input, one after the other, and ends with it. A child that has
computed something is never used again: whatever a candidate did to it ends with it.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import sys
import time
import warnings
from typing import NoReturn

import numpy as np
import torch

from pipeline.artifact.archive import check_archive
from pipeline.artifact.artifact import Draft, Golden
from pipeline.artifact.manifest import Contract
from pipeline.artifact.parse import parse_manifest
from pipeline.artifact.publish import manifest_json, manifest_of
from pipeline.artifact.unpack import Files, unpack
from pipeline.artifact.verify import check_golden
from pipeline.engine.backends import import_backend, load_backend
from pipeline.errors import ArtifactRefused, ConfigError
from pipeline.preprocess import PreprocessSpec
from pipeline.probe.jail import end_with_parent, enter, go_first, room_bytes
from pipeline.probe.wire import MOST_REPLY_BYTES, Reply, Request


def serve() -> None:
    """Answers the worker, with which this process ends, until standard input ends."""
    go_first()
    torch.set_num_threads(1)  # no thread may be there when it forks
    _import_all()
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    Reply().write_to(replies)  # it is ready
    while (request := Request.read_from(requests)) is not None:
        reply = _answer(request)
        del request  # else two networks are in memory while the next one is read
        reply.write_to(replies)


class _Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        return self.conv(batch_nhwc.permute(0, 3, 1, 2).float()).relu().mean(dim=(2, 3))


def _import_all() -> None:
    """Does all of it once with a network of its own: what is loaded late is loaded before the
    jail."""
    network = _Small().eval()
    inputs_nhwc = np.zeros((2, 8, 8, 3), np.uint8)
    with torch.inference_mode():
        logits_nk = network(torch.from_numpy(inputs_nhwc)).numpy()
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.freeze(torch.jit.script(network)), buffer)
    draft = Draft(
        name="small",
        model=buffer.getvalue(),
        golden=Golden(inputs_nhwc, logits_nk),
        contract=Contract.of(("a", "b", "c", "d"), PreprocessSpec(width=8, height=8)),
        exported_by="script",
        torch_version=torch.__version__,
    )
    golden = draft.golden.to_bytes()
    files = Files(manifest_json(manifest_of(draft, golden, 1)), draft.model, golden, {})
    reply = _probed(Request("small", 1, files, "torchscript", 0.0, 0.0), "")
    if reply.reason:
        raise RuntimeError(f"the probe refuses a network of its own: {reply.detail}")


def _answer(request: Request) -> Reply:
    """Runs one candidate in a child and gives what it says, or what became of it."""
    try:
        import_backend(request.backend)
    except ConfigError as cause:
        return Reply("no_room", str(cause))  # the candidate can do nothing for it
    reading, writing = os.pipe()
    own = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_probed(request, own, writing)
    os.close(writing)
    said = _read_within(reading, request.wall_s)
    os.close(reading)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if said is None or (not said and ended_by == signal.SIGXCPU):
        return Reply("too_slow", f"it took longer than {request.within_s:g} s")
    if not said and ended_by == signal.SIGKILL:
        return Reply("no_room", "it was killed, as the kernel does where memory runs out")
    return Reply.of(said) or Reply("died", _how_it_ended(status))


def _read_within(reading: int, seconds: float) -> bytes | None:
    """All that the child writes until it closes its end; None where that takes too long."""
    end = time.monotonic() + seconds
    said = b""
    while len(said) <= MOST_REPLY_BYTES:
        left_s = end - time.monotonic()
        if left_s <= 0 or not select.select([reading], [], [], left_s)[0]:
            return None
        more = os.read(reading, MOST_REPLY_BYTES)
        if not more:
            break
        said += more
    return said


def _how_it_ended(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"it died of {signal.Signals(os.WTERMSIG(status)).name}"
    return f"it ended with {os.waitstatus_to_exitcode(status)} and said nothing"


def _be_probed(request: Request, parent: int, writing: int) -> NoReturn:
    """The child: nothing of it comes back but one reply."""
    try:
        end_with_parent(parent)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.write(writing, _jailed(request).to_bytes())
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the candidate's
        os.write(writing, Reply("failed", f"{type(error).__name__}: {error}").to_bytes())
    finally:
        os._exit(0)


def _jailed(request: Request) -> Reply:
    try:
        missing = enter(request.files.network_bytes, request.within_s)
    except (OSError, ValueError) as cause:
        return Reply("no_room", f"its limits can't be set here: {cause}")
    return _probed(request, missing)


def _probed(request: Request, missing: str) -> Reply:
    try:
        manifest = parse_manifest(request.files.manifest, request.name, request.version)
        check_archive(f"model.pt of {request.name}@{request.version}", request.files.model)
        artifact = unpack(manifest, request.files)
        check_golden(load_backend(request.backend, artifact, "cpu"), artifact)
    except ArtifactRefused as refused:
        if refused.reason == "no_room":
            most = room_bytes(request.files.network_bytes) >> 20
            return Reply("no_room", f"it takes more than the {most} MiB that it may have")
        return Reply(refused.reason, str(refused))
    return Reply(missing=missing)
