"""From an eager network to an artifact: TorchScript, frozen, compared, with golden vectors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.artifact.artifact import Draft, Golden
from pipeline.artifact.manifest import Contract
from pipeline.artifact.reference import Reference
from pipeline.engine.device import reason_of
from pipeline.errors import ConfigError
from pipeline.types import BatchNhwc, Format
from trainer.compare import scale_of
from trainer.data import Samples
from trainer.served import CalibratedNetwork, ServedNetwork
from trainer.torchscript import NETWORK_ERRORS, compile_network

GOLDEN_COUNT = 8

_GOLDEN_TOLERANCE = 1e-3
"""Greatest difference of a golden logit, relative to the largest: the worker's machine has other
instructions and other thread counts than the exporter's."""


@dataclass(frozen=True, slots=True)
class About:
    """What a draft says of itself besides its network."""

    name: str
    contract: Contract
    metrics: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    reference: Reference | None = None


def make_draft(
    served: nn.Module, samples_nhwc: BatchNhwc, about: About, formats: Collection[Format] = ()
) -> Draft:
    """Compiles ``served`` and packs it with its golden vectors, ready to be published.

    Args:
        served: uint8 NHWC to logits, on the CPU; is put in evaluation mode.
        samples_nhwc: At least 8 samples to compare on; the first 8 become golden inputs.
        about: Name, contract, metrics, notes and reference statistics.
        formats: What it is to be published in besides TorchScript.

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
        golden_tolerance=_GOLDEN_TOLERANCE * scale_of(logits_nk),
        metrics=about.metrics,
        notes=about.notes,
        reference=about.reference,
        formats={each: _EXPORTERS[each](served, compiled.model, batch_nhwc) for each in formats},
    )


def _export_onnx(served: nn.Module, model: bytes, batch_nhwc: Tensor) -> bytes:
    from trainer.onnx_export import export_onnx  # of an extra

    return export_onnx(served, model, batch_nhwc)


_EXPORTERS: Mapping[Format, Callable[[nn.Module, bytes, Tensor], bytes]] = {"onnx": _export_onnx}


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
    except NETWORK_ERRORS as cause:
        pixels = "grey of [N, 1" if _channels_of(served) == 1 else "RGB of [N, 3"
        raise ConfigError(
            f"the network fails on float32 {pixels}, {height}, {width}]: {reason_of(cause)}. Are"
            " --size (WIDTHxHEIGHT) and --channels those that it was trained with?"
        ) from cause
    if not isinstance(logits_nk, Tensor):
        raise ConfigError(
            f"the network gives a {type(logits_nk).__name__}, expected one tensor of logits [N, K]."
            " Wrap it so that forward returns the logits alone."
        )
    if logits_nk.ndim != 2 or logits_nk.shape[0] != len(batch_nhwc) or not logits_nk.shape[1]:
        raise ConfigError(
            f"the network gives {list(logits_nk.shape)} for {len(batch_nhwc)} samples,"
            f" expected logits of [{len(batch_nhwc)}, K], one for each class."
        )
    if not logits_nk.is_floating_point() or not torch.isfinite(logits_nk).all():
        raise ConfigError(
            "the network gives numbers that aren't finite floats (NaN or infinite, or integers)."
            " Check its weights, and --mean and --std."
        )
    _check_rows_apart(served, batch_nhwc, logits_nk)
    if classes is not None and logits_nk.shape[1] != classes:
        raise ConfigError(f"the network has {logits_nk.shape[1]} classes, expected {classes}")
    return logits_nk.float()


def _channels_of(served: nn.Module) -> int:
    if isinstance(served, CalibratedNetwork):
        served = served.served
    return served.channels if isinstance(served, ServedNetwork) else 3


def _check_rows_apart(served: nn.Module, batch_nhwc: Tensor, logits_nk: Tensor) -> None:
    """A worker puts frames of several streams into one batch, and pads it: none may matter to
    another, as they do in a batch normalisation that was left in training mode.

    Raises:
        ConfigError: a sample's logits depend on its neighbours.
    """
    try:
        with torch.inference_mode():
            alone_1k = served(batch_nhwc[:1])
    except NETWORK_ERRORS as cause:
        raise ConfigError(
            f"the network fails on a batch of one: {reason_of(cause)}. Frames come one by one;"
            " is it in evaluation mode?"
        ) from cause
    difference = float((alone_1k.float() - logits_nk[:1].float()).abs().max())
    if difference > _GOLDEN_TOLERANCE * scale_of(logits_nk):
        raise ConfigError(
            f"the network's answer for a sample changes by {difference:.3g} with the other samples"
            " of its batch, expected none. Is a batch normalisation in training mode?"
        )
