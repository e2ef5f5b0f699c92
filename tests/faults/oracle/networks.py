"""Networks that reveal themselves: a result alone tells which frame and which network made it."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch

from pipeline.artifact.artifact import Draft, Golden
from pipeline.artifact.keys import SigningKey
from pipeline.artifact.manifest import Contract, Manifest
from pipeline.artifact.names import LATEST
from pipeline.artifact.registry import Registry
from pipeline.preprocess import PreprocessSpec
from tests.artifacts import scripted
from tests.faults.oracle.identity import (
    CHUNK,
    CHUNK_BITS,
    LATE_BLOCK,
    SIDE,
    Identity,
    read_picture,
)

NAME = "oracle"
SPEC = PreprocessSpec(width=24, height=24)
_BLOCK = SPEC.width // SIDE
_SPREAD = 1.5
"""Between the lowest and the highest logit: a step of ``CHUNK`` then changes a confidence by some
1e-5 at least, and rows give six digits."""
_FACTORS = (1.0, 3.0, 7.0)

Flaw: TypeAlias = Literal["", "fails", "fails_late", "differs_late"]
"""What a network does wrong on frames, its golden test passed: it gives NaN or infinity for all,
or for late ones; or for late ones it names another class than it should."""


class _Revealing(torch.nn.Module):
    """``[N, 24, 24, 3]`` uint8 → ``[N, 5]``: zero, the three chunks of the identity in the pixels,
    and a number made of them and of the network's own constant, all scaled to ``_SPREAD``."""

    def __init__(self, constant: int) -> None:
        super().__init__()
        powers = 2.0 ** torch.arange(CHUNK_BITS - 1, -1, -1)
        self.powers = torch.nn.Buffer(powers)
        self.factors = torch.nn.Buffer(torch.tensor(_FACTORS))
        self.constant = float(constant)
        self.scale = _SPREAD / CHUNK
        self.chunk = float(CHUNK)
        self.shape = (SIDE, _BLOCK)

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        side, block = self.shape
        blocks = batch_nhwc.to(torch.float32).reshape(-1, side, block, side, block, 3)
        bits = (blocks.mean(dim=(2, 4, 5)) > 127.5).to(torch.float32)
        chunks = bits.reshape(bits.shape[0], 3, -1) @ self.powers
        own = torch.remainder(chunks @ self.factors + self.constant, self.chunk).unsqueeze(1)
        return torch.cat([torch.zeros_like(own), chunks, own], dim=1) * self.scale


class _Flawed(torch.nn.Module):
    """The same for noise, as golden inputs are; for frames, of dark and bright blocks, after its
    flaw. One that differs moves its own number by a whole turn, so that this is the highest where
    it wasn't and the other way round, and still tells the constant."""

    def __init__(self, constant: int, flaw: Flaw) -> None:
        super().__init__()
        self.inner = _Revealing(constant)
        self.shape = (SIDE, _BLOCK)
        self.late_block = LATE_BLOCK
        self.is_late_alone = flaw != "fails"
        self.differs = flaw == "differs_late"
        self.turn = _SPREAD

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        side, block = self.shape
        blocks = batch_nhwc.to(torch.float32).reshape(-1, side, block, side, block, 3)
        means = blocks.mean(dim=(2, 4, 5))
        is_bad = ((means - 127.5).abs() >= 60.0).flatten(1).all(dim=1)
        if self.is_late_alone:
            row, column = self.late_block
            is_bad = is_bad & (means[:, row, column] > 127.5)
        logits = self.inner(batch_nhwc)
        if not self.differs:
            return logits / (~is_bad).to(torch.float32).unsqueeze(1)
        own = logits[:, -1]
        is_highest = own > logits[:, :-1].amax(dim=1)
        turned = torch.where(is_highest, own - self.turn, own + self.turn)
        own = torch.where(is_bad, turned, own).unsqueeze(1)
        return torch.cat([logits[:, :-1], own], dim=1)


LABELS = ("zero", "high", "middle", "low", "own")
"""The same for all: a worker refuses a network with other labels than the active one's."""


@dataclass(frozen=True, slots=True)
class Revealed:
    """What a row's numbers say."""

    identity: Identity
    constant: int


def network_bytes(constant: int, flaw: Flaw = "") -> bytes:
    """The network as a TorchScript file, made once."""
    return _bytes_of(constant, flaw)


@functools.cache
def _bytes_of(constant: int, flaw: Flaw) -> bytes:
    return scripted(_Flawed(constant, flaw) if flaw else _Revealing(constant))


def golden_inputs(constant: int) -> np.ndarray:
    """Noise: no frame, whose blocks are dark or bright."""
    return np.random.default_rng(constant).integers(0, 256, (4, 24, 24, 3), np.uint8)


def expected_logits(inputs_nhwc: np.ndarray, constant: int) -> np.ndarray:
    """What the network answers, computed by numpy."""
    rows = []
    for image_hwc in inputs_nhwc:
        chunks = read_picture(image_hwc).chunks
        own = (sum(f * c for f, c in zip(_FACTORS, chunks, strict=True)) + constant) % CHUNK
        rows.append([0.0, *chunks, own])
    return (np.array(rows) * (_SPREAD / CHUNK)).astype(np.float32)


def publish_network(
    registry: str,
    constant: int,
    aliases: tuple[str, ...] = (LATEST,),
    *,
    flaw: Flaw = "",
    key: SigningKey | None = None,
) -> Manifest:
    """Publishes the network with this constant as the next version of ``NAME``, and signs it."""
    inputs_nhwc = golden_inputs(constant)
    draft = Draft(
        name=NAME,
        model=network_bytes(constant, flaw),
        golden=Golden(inputs_nhwc, expected_logits(inputs_nhwc, constant)),
        contract=Contract.of(LABELS, SPEC),
        exported_by="script",
        torch_version=torch.__version__,
        metrics={"accuracy": 0.5},
    )
    return Registry(registry).publish(draft, aliases, key)


def reveal(body: dict) -> Revealed | None:
    """Reads a scored row; None if its numbers are no network's of ours."""
    confidences = {each["class_id"]: each["confidence"] for each in body["predictions"]}
    labels = {each["class_id"]: each["class"] for each in body["predictions"]}
    if labels != dict(enumerate(LABELS)):
        return None
    numbers = [
        round(math.log(confidences[place] / confidences[0]) * CHUNK / _SPREAD)
        for place in range(1, len(LABELS))
    ]
    *chunks, own = numbers
    if not all(0 <= chunk < CHUNK for chunk in chunks) or not -CHUNK <= own < 2 * CHUNK:
        return None
    mixed = sum(int(f) * c for f, c in zip(_FACTORS, chunks, strict=True))
    return Revealed(Identity.of_chunks(tuple(chunks)), (own - mixed) % CHUNK)
