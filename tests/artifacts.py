"""Tiny real networks, published as real artifacts: for the tests of registry, engine and swap."""

from __future__ import annotations

import functools
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pipeline.artifact.artifact import Draft, Golden
from pipeline.artifact.manifest import (
    GOLDEN_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    Contract,
    Manifest,
)
from pipeline.artifact.names import LATEST
from pipeline.artifact.registry import Registry
from pipeline.preprocess import PreprocessSpec

LABELS = ("dark", "mid", "bright")
SPEC = PreprocessSpec(width=24, height=24)


class _Tiny(torch.nn.Module):
    """``[N, H, W, 3]`` uint8 → ``logits[n, k] = k * (mean pixel of n / 255 + bias)``."""

    def __init__(self, classes: int, bias: float) -> None:
        super().__init__()
        self.steps_k = torch.nn.Buffer(torch.arange(classes, dtype=torch.float32))
        self.bias = bias

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        mean_n1 = batch_nhwc.to(torch.float32).mean(dim=(1, 2, 3)).unsqueeze(1) / 255.0
        return (mean_n1 + self.bias) * self.steps_k


class _Slow(_Tiny):
    """The same answers, after work that grows with N and with ``rounds``."""

    def __init__(self, classes: int, rounds: int) -> None:
        super().__init__(classes, 0.0)
        self.rounds = rounds
        self.one = torch.nn.Buffer(torch.eye(256))

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        mean_n1 = batch_nhwc.to(torch.float32).mean(dim=(1, 2, 3)).unsqueeze(1) / 255.0
        # Of the input, so that it can't be computed once and for all.
        ones = self.one * (1.0 + 0.0 * mean_n1.unsqueeze(2))
        for _ in range(self.rounds):
            ones = torch.matmul(ones, self.one)
        return mean_n1 * ones[:, :1, 0] * self.steps_k


class Hungry(torch.nn.Module):
    """The tiny network's logits; for batches of more than ``room`` it wants 256 TiB, which is more
    than can be addressed."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        mean_n1 = batch_nhwc.to(torch.float32).mean(dim=(1, 2, 3)).unsqueeze(1) / 255.0
        if batch_nhwc.shape[0] > self.room:
            mean_n1 = mean_n1 + torch.empty([1 << 46], device=mean_n1.device)[0]
        return mean_n1 * torch.arange(3, device=mean_n1.device)


def expected_logits(
    batch_nhwc: NDArray[np.uint8], classes: int = len(LABELS), bias: float = 0.0
) -> NDArray[np.float32]:
    """What ``tiny_model_bytes`` answers, computed by numpy.

    With ``mean / 255 + bias`` above 0 the last class is the best one, below 0 the first; a higher
    ``bias`` means more confidence, so two models can be told apart by their results too.
    """
    mean_n1 = batch_nhwc.astype(np.float64).mean(axis=(1, 2, 3))[:, None] / 255
    return ((mean_n1 + bias) * np.arange(classes)).astype(np.float32)


@functools.cache
def tiny_model_bytes(classes: int = len(LABELS), bias: float = 0.0) -> bytes:
    """A scripted, frozen TorchScript file of ``_Tiny``: any H and W, any N."""
    return scripted(_Tiny(classes, bias))


@functools.cache
def tiny_onnx_bytes(classes: int = len(LABELS), bias: float = 0.0) -> bytes:
    """The same network as an ONNX file, built operator by operator."""
    shape_nhwc = ["n", "h", "w", 3]
    constants = [
        numpy_helper.from_array(np.array([1, 2, 3], np.int64), "hwc"),
        numpy_helper.from_array(np.float32(255), "white"),
        numpy_helper.from_array(np.float32(bias), "bias"),
        numpy_helper.from_array(np.arange(classes, dtype=np.float32), "steps"),
        numpy_helper.from_array(np.array([1], np.int64), "last"),
    ]
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "hwc"], ["mean_n"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean_n", "last"], ["mean_n1"]),
        helper.make_node("Div", ["mean_n1", "white"], ["light_n1"]),
        helper.make_node("Add", ["light_n1", "bias"], ["biased_n1"]),
        helper.make_node("Mul", ["biased_n1", "steps"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, shape_nhwc)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])],
        constants,
    )
    opset = helper.make_opsetid("", 18)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()


def with_onnx(draft: Draft, model: bytes | None = None, bias: float = 0.0) -> Draft:
    """A tiny draft that holds its network as ONNX too, or ``model``."""
    return replace(draft, formats={"onnx": model or tiny_onnx_bytes(bias=bias)})


def scripted(network: torch.nn.Module, *, is_frozen: bool = True) -> bytes:
    buffer = io.BytesIO()
    module = torch.jit.script(network.eval())
    torch.jit.save(torch.jit.freeze(module) if is_frozen else module, buffer)
    return buffer.getvalue()


def golden_inputs(spec: PreprocessSpec = SPEC, count: int = 4, seed: int = 0) -> NDArray[np.uint8]:
    """``[count, H, W, 3]`` of noise, darker to brighter."""
    rng = np.random.default_rng(seed)
    tops = np.linspace(32, 255, count)
    rows = [rng.integers(0, int(top), spec.sample_shape_hwc, np.uint8) for top in tops]
    return np.stack(rows)


def tiny_draft(
    name: str = "tiny",
    labels: tuple[str, ...] = LABELS,
    bias: float = 0.0,
    spec: PreprocessSpec = SPEC,
) -> Draft:
    """A draft of the tiny network, with golden logits from numpy, not from torch."""
    inputs_nhwc = golden_inputs(spec)
    return Draft(
        name=name,
        model=tiny_model_bytes(len(labels), bias),
        golden=Golden(inputs_nhwc, expected_logits(inputs_nhwc, len(labels), bias)),
        contract=Contract.of(labels, spec),
        exported_by="script",
        torch_version=torch.__version__,
        metrics={"accuracy": 0.5},
    )


def publish_tiny(
    registry: Registry | str,
    name: str = "tiny",
    labels: tuple[str, ...] = LABELS,
    bias: float = 0.0,
    spec: PreprocessSpec = SPEC,
    aliases: tuple[str, ...] = (LATEST,),
) -> Manifest:
    """Publishes a tiny network; give each version another ``bias`` to make its bytes differ."""
    target = Registry(registry) if isinstance(registry, str) else registry
    return target.publish(tiny_draft(name, labels, bias, spec), aliases)


def publish_slow(registry: Registry, name: str = "slow") -> Manifest:
    """Publishes a network that no camera's frames can all be scored by, with the tiny one's answers
    without a bias."""
    return registry.publish(slow_draft(name, 300))


@functools.cache
def slow_draft(name: str, rounds: int) -> Draft:
    """The tiny network's answers, after so many rounds of work: of 300 a tenth of a second a frame,
    or some."""
    return replace(tiny_draft(name), model=scripted(_Slow(len(LABELS), rounds)))


def make_manifest_agree(folder: Path) -> None:
    """Has the manifest of a version's folder name the files that lie beside it now: what somebody
    does who may write there."""
    path = folder / MANIFEST_FILE
    document = json.loads(path.read_bytes())
    model, golden = ((folder / name).read_bytes() for name in (MODEL_FILE, GOLDEN_FILE))
    document["sha256"] = hashlib.sha256(model).hexdigest()
    document["size_bytes"] = len(model)
    document["golden_sha256"] = hashlib.sha256(golden).hexdigest()
    path.write_text(json.dumps(document))
