"""From an eager network to an artifact: TorchScript, frozen, compared, with golden vectors."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.artifact.artifact import Draft, Golden
from pipeline.artifact.manifest import Contract
from pipeline.errors import ConfigError
from pipeline.types import BatchNhwc
from trainer.data import Samples
from trainer.served import ServedNetwork

ExportedBy: TypeAlias = Literal["script", "trace"]

GOLDEN_COUNT = 8

_BATCH_SIZES = (1, 3, 8)
"""One more than once: a traced network may have the example's batch size baked in."""

_EXPORT_TOLERANCE = 1e-4
"""Greatest difference between compiled and eager logits, relative to the largest logit: frozen
convolutions sum in another order, and float32 carries about seven digits."""

_GOLDEN_TOLERANCE = 1e-3
"""As above, on another machine: other instructions and other thread counts than the exporter's."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A frozen TorchScript file, and how it was made."""

    model: bytes
    exported_by: ExportedBy


@dataclass(frozen=True, slots=True)
class About:
    """What a draft says of itself besides its network."""

    name: str
    contract: Contract
    metrics: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


def make_draft(served: ServedNetwork, samples_nhwc: BatchNhwc, about: About) -> Draft:
    """Compiles ``served`` and packs it with its golden vectors, ready to be published.

    Args:
        served: On the CPU; is put in evaluation mode.
        samples_nhwc: At least 8 samples to compare on; the first 8 become golden inputs.
        about: Name, contract, metrics and notes.

    Raises:
        ConfigError: the output isn't ``[N, K]`` finite numbers, or can't be compiled faithfully.
    """
    served.eval()
    batch_nhwc = torch.from_numpy(samples_nhwc)
    logits_nk = check_output(served, batch_nhwc, classes=len(about.contract.labels))
    compiled = compile_network(served, batch_nhwc)
    golden = Golden(
        inputs_nhwc=samples_nhwc[:GOLDEN_COUNT],
        logits_nk=logits_nk[:GOLDEN_COUNT].numpy().astype(np.float32),
    )
    return Draft(
        name=about.name,
        model=compiled.model,
        golden=golden,
        contract=about.contract,
        exported_by=compiled.exported_by,
        torch_version=torch.__version__,
        golden_tolerance=_GOLDEN_TOLERANCE * _scale(logits_nk),
        metrics=about.metrics,
        notes=about.notes,
    )


def golden_samples(samples: Samples) -> BatchNhwc:
    """Samples to compare on, spread evenly over ``samples``; repeated where there are few."""
    chosen = [index * len(samples) // GOLDEN_COUNT for index in range(GOLDEN_COUNT)]
    return np.stack([samples[index][0].numpy() for index in chosen])


def check_output(served: nn.Module, batch_nhwc: Tensor, classes: int | None = None) -> Tensor:
    """Runs the eager network and gives its logits, ``[N, K]`` float32.

    Raises:
        ConfigError: it can't take such a batch, or gives something else than ``[N, K]`` finite
            floating-point numbers, or K isn't ``classes``.
    """
    height, width = batch_nhwc.shape[1:3]
    try:
        with torch.inference_mode():
            logits_nk = served(batch_nhwc)
    except (RuntimeError, ValueError, TypeError, IndexError) as cause:
        raise ConfigError(
            f"the network fails on float32 RGB of [N, 3, {height}, {width}]: {_reason(cause)}."
            " Is --size (WIDTHxHEIGHT) the one that it was trained with?"
        ) from cause
    if not isinstance(logits_nk, Tensor):
        raise ConfigError(
            f"the network gives a {type(logits_nk).__name__}, expected one tensor of logits [N, K]."
            " Wrap it so that forward returns the logits alone."
        )
    if logits_nk.ndim != 2 or logits_nk.shape[0] != len(batch_nhwc):
        raise ConfigError(
            f"the network gives {list(logits_nk.shape)} for {len(batch_nhwc)} samples,"
            f" expected logits of [{len(batch_nhwc)}, K], one for each class."
        )
    if not logits_nk.is_floating_point() or not torch.isfinite(logits_nk).all():
        raise ConfigError(
            "the network gives numbers that aren't finite floats (NaN or infinite, or integers)."
            " Check its weights, and --mean and --std."
        )
    if classes is not None and logits_nk.shape[1] != classes:
        raise ConfigError(f"the network has {logits_nk.shape[1]} classes, expected {classes}")
    return logits_nk.float()


def compile_network(served: nn.Module, batch_nhwc: Tensor) -> Compiled:
    """Scripts ``served``, or traces it where scripting can't, freezes it and compares it.

    Raises:
        ConfigError: neither way gives the eager network's logits at batch sizes 1, 3 and 8.
    """
    problems: list[str] = []
    ways: tuple[ExportedBy, ...] = ("script", "trace")
    for way in ways:
        try:
            model = _saved(_compiled(served, batch_nhwc, way))
            _check_equal(served, model, batch_nhwc)
        except (
            RuntimeError,
            ValueError,
            TypeError,
            AttributeError,
            NotImplementedError,
            OSError,
        ) as e:
            problems.append(f"{way}: {_reason(e)}")
        else:
            return Compiled(model, way)
    raise ConfigError(
        "the network can't be compiled to TorchScript. "
        + "; ".join(problems)
        + ". Take what Python alone can do out of its forward, or publish a TorchScript file."
    )


def _compiled(served: nn.Module, batch_nhwc: Tensor, way: ExportedBy) -> torch.jit.ScriptModule:
    with warnings.catch_warnings(), torch.inference_mode(mode=False), torch.no_grad():
        # What tracing warns of (sizes that become constants) is checked with other batch sizes.
        warnings.simplefilter("ignore")
        if way == "script":
            compiled = torch.jit.script(served)
        else:
            compiled = torch.jit.trace_module(served, {"forward": batch_nhwc}, check_trace=False)
        return torch.jit.freeze(compiled.eval())


def _saved(compiled: torch.jit.ScriptModule) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(compiled, buffer)
    return buffer.getvalue()


def _check_equal(served: nn.Module, model: bytes, batch_nhwc: Tensor) -> None:
    """Compares what a worker will load with the eager network.

    Raises:
        ValueError: they differ.
    """
    loaded = torch.jit.load(io.BytesIO(model), map_location="cpu")
    with torch.inference_mode():
        for size in _BATCH_SIZES:
            # Repeatedly: from the second call on TorchScript runs an optimised graph.
            expected_nk = served(batch_nhwc[:size])
            for _ in range(3):
                difference = (loaded(batch_nhwc[:size]) - expected_nk).abs().max().item()
                if not difference <= _EXPORT_TOLERANCE * _scale(expected_nk):
                    raise ValueError(
                        f"compiled logits differ by {difference:.3g} at batch size {size}"
                    )


def _scale(logits_nk: Tensor) -> float:
    return max(1.0, logits_nk.abs().max().item())


def _reason(error: Exception) -> str:
    """The line of an error that says what happened: TorchScript's interpreter says it last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1 if "TorchScript interpreter" in lines[0] else 0]
