"""May this artifact score? Whether it keeps the contract, and whether it counts as it should."""

from __future__ import annotations

import numpy as np

from pipeline.artifact.artifact import Artifact
from pipeline.artifact.manifest import Contract, Manifest
from pipeline.engine.base import Engine, EngineFailed, EngineOutOfMemory, no_room
from pipeline.errors import ArtifactRefused
from pipeline.preprocess import PreprocessSpec
from pipeline.types import LogitsNk


def check_compatible(candidate: Contract, active: Contract) -> None:
    """Checks that ``candidate`` may take the place of ``active`` under a running stream.

    Raises:
        ArtifactRefused: ``incompatible``: task, labels or preprocessing differ; says in what.
    """
    differences = []
    if candidate.task != active.task:
        differences.append(f"task {candidate.task!r}, expected {active.task!r}")
    if candidate.labels != active.labels:
        differences.append(_label_difference(candidate.labels, active.labels))
    if candidate.preprocess_sha256 != active.preprocess_sha256:
        differences.append(_preprocess_difference(candidate, active))
    if differences:
        raise ArtifactRefused(
            "incompatible",
            f"the contract differs from the active model's: {'; '.join(differences)}: publish it "
            f"under another name, or restart the worker to take it",
        )


def _label_difference(candidate: tuple[str, ...], active: tuple[str, ...]) -> str:
    if len(candidate) != len(active):
        return f"{len(candidate)} labels, expected {len(active)}"
    index = next(
        i for i, pair in enumerate(zip(candidate, active, strict=True)) if len({*pair}) > 1
    )
    return f"label {index} is {candidate[index]!r}, expected {active[index]!r}"


def _preprocess_difference(candidate: Contract, active: Contract) -> str:
    fields: list[str] = []
    for key in PreprocessSpec.model_fields:  # a dump leaves out what is as usual
        got, expected = getattr(candidate.preprocess, key), getattr(active.preprocess, key)
        if got != expected:
            fields.append(f"{key} {got!r} for {expected!r}")
    return f"preprocessing differs ({', '.join(fields) or 'its digest'})"


def check_golden_shapes(manifest: Manifest, artifact: Artifact) -> None:
    """Checks that the golden vectors fit the manifest's contract.

    Raises:
        ArtifactRefused: ``corrupt``: other shapes or types, no vectors, or logits not finite.
    """
    inputs_nhwc, logits_nk = artifact.golden.inputs_nhwc, artifact.golden.logits_nk
    contract = manifest.contract
    count = inputs_nhwc.shape[0] if inputs_nhwc.ndim else 0
    expected_nhwc = (count, *contract.preprocess.sample_shape_hwc)
    expected_nk = (count, len(contract.labels))
    problem = ""
    if inputs_nhwc.dtype != np.uint8 or logits_nk.dtype != np.float32:
        problem = f"types {inputs_nhwc.dtype} and {logits_nk.dtype}, expected uint8 and float32"
    elif count < 1 or inputs_nhwc.shape != expected_nhwc or logits_nk.shape != expected_nk:
        problem = (
            f"shapes {inputs_nhwc.shape} and {logits_nk.shape}, expected "
            f"{('N', *expected_nhwc[1:])} and {('N', *expected_nk[1:])} with one N above 0"
        )
    elif not np.isfinite(logits_nk).all():
        problem = "logits that aren't finite"
    if problem:
        raise ArtifactRefused(
            "corrupt",
            f"golden vectors of {manifest.name}@{manifest.version} have {problem}: "
            f"publish the model again",
        )


def check_golden(engine: Engine, artifact: Artifact) -> None:
    """Runs the golden inputs and compares. Blocks for one batch; the caller owns the engine.

    Raises:
        ArtifactRefused: ``wrong_on_golden``: another shape, a value that isn't finite, or a logit
            further off than the manifest's tolerance; ``no_room``: nothing can be said of it.
    """
    inputs_nhwc = artifact.golden.inputs_nhwc
    try:
        got_nk = engine.score(inputs_nhwc)
    except EngineOutOfMemory as cause:
        manifest = artifact.manifest
        what = f"the {len(inputs_nhwc)} golden inputs of {manifest.name}@{manifest.version}"
        raise no_room(what, engine.device) from cause
    except EngineFailed as cause:
        raise _wrong(artifact, f"the network raises on its golden inputs ({cause})") from cause
    problem = _golden_problem(got_nk, artifact)
    if problem:
        raise _wrong(artifact, f"{problem}, on {engine.device}")


def _golden_problem(got_nk: LogitsNk, artifact: Artifact) -> str:
    expected_nk = artifact.golden.logits_nk
    if got_nk.shape != expected_nk.shape:
        return f"its output has the shape {got_nk.shape}, expected {expected_nk.shape}"
    if not np.isfinite(got_nk).all():
        return "its output has values that aren't finite"
    difference = float(np.abs(got_nk.astype(np.float64) - expected_nk.astype(np.float64)).max())
    tolerance = artifact.manifest.golden_tolerance
    if difference > tolerance:
        return f"a logit is {difference:.3g} off, expected at most {tolerance:.3g}"
    return ""


def _wrong(artifact: Artifact, problem: str) -> ArtifactRefused:
    manifest = artifact.manifest
    return ArtifactRefused(
        "wrong_on_golden",
        f"{manifest.name}@{manifest.version} fails its golden test: {problem}: export and publish "
        f"it again",
    )
