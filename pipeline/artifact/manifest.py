"""The manifest: what an artifact says of itself, and the contract that a worker holds it to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.artifact.reference import Reference
from pipeline.preprocess import PreprocessSpec
from pipeline.types import Format, Task

MODEL_FILE = "model.pt"
GOLDEN_FILE = "golden.npz"
TRITON_FILE = "config.pbtxt"
MANIFEST_FILE = "manifest.json"
FORMAT_FILES: Mapping[Format, str] = {"onnx": "model.onnx"}
"""Beside ``model.pt``, where the publisher made them."""

_SHA256 = r"^[0-9a-f]{64}$"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Contract(_Strict):
    """What a worker must know to feed a model and to read its answer.

    The input is always ``[N, H, W, 3]`` uint8 RGB, prepared after ``preprocess``; normalisation is
    inside the model. The output is ``[N, K]`` float32, one for each of ``labels``: logits, of a
    regression the values that are named so.
    """

    task: Task = "single-label"
    labels: tuple[str, ...] = Field(min_length=1)
    preprocess: PreprocessSpec
    preprocess_sha256: str = Field(pattern=_SHA256)

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) != len(labels):
            raise ValueError("two classes have one label")
        return labels

    @classmethod
    def of(
        cls, labels: tuple[str, ...], preprocess: PreprocessSpec, task: Task = "single-label"
    ) -> Contract:
        """The contract for these labels and this preprocessing, its digest filled in."""
        digest = preprocess.digest
        return cls(task=task, labels=labels, preprocess=preprocess, preprocess_sha256=digest)


class FormatFile(_Strict):
    """The same network in another format, for other backends than TorchScript's."""

    sha256: str = Field(pattern=_SHA256)
    size_bytes: int = Field(ge=1)


class Manifest(_Strict):
    """``manifest.json``. Written last, so an artifact without one is not there yet."""

    schema_: Literal["headrace.artifact/1"] = Field(default="headrace.artifact/1", alias="schema")
    name: str
    version: int = Field(ge=1)
    created_at: str = Field(description="RFC 3339, UTC")
    sha256: str = Field(pattern=_SHA256, description="of model.pt")
    size_bytes: int = Field(ge=1, description="of model.pt")
    golden_sha256: str = Field(pattern=_SHA256, description="of golden.npz")
    golden_tolerance: float = Field(
        default=1e-3, gt=0, description="greatest difference of a golden logit"
    )
    contract: Contract
    torch_version: str
    exported_by: Literal["script", "trace"]
    metrics: dict[str, float] = Field(default_factory=dict, description="on held-out data")
    notes: dict[str, str] = Field(default_factory=dict)
    reference: Reference | None = Field(default=None, description="what held-out data looked like")
    formats: dict[Format, FormatFile] = Field(
        default_factory=dict, description="files beside model.pt that hold the same network"
    )

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @model_validator(mode="after")
    def _reference_is_of_these_labels(self) -> Manifest:
        scores = self.reference and self.reference.scores
        if scores:
            for counts in filter(None, (scores.predicted, scores.true)):
                if len(counts) != len(self.contract.labels):
                    got, expected = len(counts), len(self.contract.labels)
                    raise ValueError(f"the reference is of {got} labels, expected {expected}")
        return self

    @property
    def content(self) -> str:
        """What a refusal is about, and a way back leads to. Not the network's digest alone: with
        wrong labels or golden vectors beside it a good network is refused, and must still be good
        where all of it is right."""
        of = {"sha256", "golden_sha256", "golden_tolerance", "contract"}
        return self.model_dump_json(include=of | ({"formats"} if self.formats else set()))
