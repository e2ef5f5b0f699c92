"""Eager networks to ONNX, for workers whose backend is ONNX Runtime."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.engine.base import EngineFailed, EngineOutOfMemory
from pipeline.engine.device import reason_of
from pipeline.engine.onnxruntime_engine import load_onnxruntime
from pipeline.errors import ArtifactRefused, ConfigError
from pipeline.types import BatchNhwc, LogitsNk
from trainer.compare import check_equal
from trainer.torchscript import NETWORK_ERRORS, load_torchscript, quietly

_INPUT, _OUTPUT = "images", "logits"
_OPSET = 18


def export_onnx(served: nn.Module, model: bytes, batch_nhwc: Tensor) -> bytes:
    """An ONNX file of ``served`` for any batch size, once ONNX Runtime was seen to give its logits
    from it.

    By ``torch.export``, or else from ``model``, its TorchScript file: a network that came as such a
    file can't be exported otherwise, and some Python can't.

    Raises:
        ConfigError: neither way gives the eager network's logits at batch sizes 1, 3 and 8.
    """
    problems: list[str] = []
    ways: tuple[tuple[str, Callable[[], bytes]], ...] = (
        ("torch.export", lambda: _exported(served, batch_nhwc)),
        ("from TorchScript", lambda: _converted(model, batch_nhwc)),
    )
    for way, export in ways:
        try:
            with _silently():
                made = export()
            score = load_onnxruntime(made, threads=1).score
            check_equal(served, partial(_scored, score), batch_nhwc)
        except (*NETWORK_ERRORS, torch.onnx.OnnxExporterError) as cause:
            problems.append(f"{way}: {reason_of(cause)}")
        except (ArtifactRefused, EngineFailed, EngineOutOfMemory) as cause:
            problems.append(f"{way}: {cause}")
        else:
            return made
    raise ConfigError(
        "the network can't be exported to ONNX. "
        + "; ".join(problems)
        + ". Publish it without --formats onnx, for workers whose backend is torchscript."
    )


def _exported(served: nn.Module, batch_nhwc: Tensor) -> bytes:
    made = torch.onnx.export(
        served,
        (batch_nhwc,),
        input_names=[_INPUT],
        output_names=[_OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
        opset_version=_OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    if made is None:
        raise ValueError("torch made nothing")
    return made.model_proto.SerializeToString()


def _scored(score: Callable[[BatchNhwc], LogitsNk], batch_nhwc: Tensor) -> Tensor:
    return torch.from_numpy(score(batch_nhwc.numpy()))


def _converted(model: bytes, batch_nhwc: Tensor) -> bytes:
    buffer = io.BytesIO()
    file = cast(str, buffer)  # it takes either, which its types don't say
    axes = {name: {0: "n"} for name in (_INPUT, _OUTPUT)}
    torch.onnx.export(
        load_torchscript(model),
        (batch_nhwc,),
        file,
        input_names=[_INPUT],
        output_names=[_OUTPUT],
        dynamic_axes=axes,
        opset_version=_OPSET,
        dynamo=False,
    )
    return buffer.getvalue()


@contextlib.contextmanager
def _silently() -> Iterator[None]:
    """Without what torch warns of and logs: what comes of it is compared."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with quietly():
            yield
    finally:
        logging.disable(before)
