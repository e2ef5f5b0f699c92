"""The values that travel between stages, and the legend of their shapes.

Shape legend, used in names and docstrings everywhere:

    N  frames in a batch        H, W  rows and columns of pixels
    C  channels, always 3       K     classes

A suffix names the axis order: ``image_hwc`` is ``[H, W, C]``, ``batch_nhwc`` is ``[N, H, W, C]``,
``logits_nk`` is ``[N, K]``. Durations are float seconds; ``captured_at`` and ``scored_at`` are Unix
seconds; every name that ends in ``_mono_s`` is on the monotonic clock and is never written out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

ImageHwc: TypeAlias = NDArray[np.uint8]
"""One picture, ``[H, W, C]`` uint8. BGR where OpenCV made it, RGB once it is a sample."""

BatchNhwc: TypeAlias = NDArray[np.uint8]
"""Samples side by side, ``[N, H, W, C]`` uint8 RGB."""

LogitsNk: TypeAlias = NDArray[np.float32]
"""What a network says of a batch, ``[N, K]`` float32, before any activation; of a regression the
values themselves."""

Headers: TypeAlias = tuple[tuple[str, bytes | None], ...]
"""A Kafka record's headers, in its order; a name may come twice."""

Delivery: TypeAlias = Literal["lossless", "live", "strict"]
Task: TypeAlias = Literal["single-label", "multi-label", "regression"]
"""What a network's K outputs are: one class of K, K questions answered by yes or no, K values."""

ONE_OUTPUT: Mapping[Task, str] = {
    "single-label": "class",
    "multi-label": "label",
    "regression": "value",
}
OUTPUTS: Mapping[Task, str] = {
    "single-label": "classes",
    "multi-label": "labels",
    "regression": "values",
}
"""What a person calls one output of a task's network, and several."""

Values: TypeAlias = dict[str, float]
"""What a regression says of one frame, by the values' names in the model's order."""

Format: TypeAlias = Literal["onnx"]
"""What an artifact may hold its network in besides TorchScript."""

Backend: TypeAlias = Literal["torchscript", "onnxruntime"]
"""Who runs a network."""

ShedReason: TypeAlias = Literal["superseded", "deadline", "overload"]
RejectReason: TypeAlias = Literal[
    "empty",
    "unsupported_type",
    "too_many_bytes",
    "too_many_pixels",
    "corrupt",
    "bad_output",
    "unfinished",
]
RefusalReason: TypeAlias = Literal[
    "missing",
    "incomplete",
    "untrusted",
    "replayed",
    "forbidden",
    "corrupt",
    "incompatible",
    "no_format",
    "wrong_on_golden",
    "probe",
    "too_slow",
    "shadow",
    "canary",
    "no_room",
    "unreachable",
]
"""The reasons that an ``ArtifactRefused`` gives: a closed set, as they label a metric."""


class Position(Struct, frozen=True, gc=False):
    """Where a frame stands in its source: what may be committed is decided from these alone.

    ``topic`` is the Kafka topic, or the name of a file, folder or camera. ``generation`` counts the
    assignments of a partition to this worker; outcomes of an older one are refused.
    """

    topic: str
    partition: int
    offset: int
    generation: int = 0

    @property
    def topic_partition(self) -> tuple[str, int]:
        """Its partition, by which frames are counted and committed."""
        return self.topic, self.partition


class Frame(Struct, frozen=True, gc=False):
    """One picture as it came in, and what is known of it.

    ``payload`` is the encoded image (JPEG, PNG, WebP) as bytes, or ``[H, W, C]`` uint8 BGR where
    the source had to decode it itself (a video, an RTSP camera). ``max_age_s`` is set on live
    streams: a result later than ``captured_at + max_age_s`` is not fresh. ``truth`` is the label
    where a synthetic source knows it. ``defect`` is set by a source that knows the frame can't be
    decoded, ``defect_reason`` says as what it is rejected. ``tries`` counts the attempts at it that
    were given up as they didn't end. ``file`` is its file's name, where it is one of a folder.
    ``sha256`` is the digest that the sender promised, in hex. ``origin`` is the id that the frame
    had before a replay put it through again. ``key`` and ``headers`` are a Kafka record's own: dead
    letters and results carry them on.
    """

    position: Position
    stream: str
    payload: bytes | ImageHwc
    captured_at: float
    received_mono_s: float
    max_age_s: float | None = None
    truth: str | None = None
    defect: str | None = None
    defect_reason: RejectReason = "corrupt"
    tries: int = 0
    trace_id: str | None = None
    file: str | None = None
    sha256: str | None = None
    origin: str | None = None
    key: bytes | None = None
    headers: Headers = ()

    @property
    def frame_id(self) -> str:
        """``topic/partition/offset``: the same at each delivery of this frame, and of where it
        stood first if it was put through again."""
        at = self.position
        return self.origin or f"{at.topic}/{at.partition}/{at.offset}"

    @property
    def size_bytes(self) -> int:
        """Memory held by the payload."""
        payload = self.payload
        return len(payload) if isinstance(payload, bytes) else payload.nbytes

    def is_stale(self, now_unix_s: float) -> bool:
        """Whether a result at ``now_unix_s`` would be later than the frame's deadline."""
        return self.max_age_s is not None and now_unix_s - self.captured_at > self.max_age_s

    def without_payload(self) -> Frame:
        """The same frame with its bytes let go: for outcomes that wait in a queue."""
        return replace(self, payload=b"")


class ModelIdentity(Struct, frozen=True, gc=False):
    """The model that scored a frame. ``sha256`` is of the bytes that were loaded; ``epoch`` rises
    by one at each swap within a worker's life. Its fields are those of a result's ``model``."""

    name: str
    version: int
    sha256: str
    epoch: int

    @property
    def title(self) -> str:
        """``NAME@VERSION``, as people say it."""
        return f"{self.name}@{self.version}"


class Prediction(Struct, frozen=True, gc=False):
    """One class and the model's confidence in it, 0 to 1."""

    label: str
    class_id: int
    confidence: float


class Timings(Struct, frozen=True, gc=False):
    """Where a frame's time went, in seconds. ``batch_s`` is the wait for its batch to be full."""

    queue_s: float
    decode_s: float
    batch_s: float
    infer_s: float


class Scored(Struct, frozen=True, gc=False):
    """A frame that a model scored. ``width`` and ``height`` are the original picture's.

    The best prediction is the first. A regression has ``values`` and no predictions, the other
    tasks have predictions and None. Confidences add up to 1 over all classes of a single-label
    model; of a multi-label one each label's is its own.
    """

    frame: Frame
    model: ModelIdentity
    predictions: Sequence[Prediction]
    scored_at: float
    width: int
    height: int
    timings: Timings
    task: Task = "single-label"
    values: Values | None = None

    @property
    def top(self) -> Prediction | None:
        """The best prediction; a regression has none."""
        return self.predictions[0] if self.predictions else None

    @property
    def is_right(self) -> bool | None:
        """Whether the best prediction is what the source knows; None where it knows nothing, or
        where the model doesn't name one class of several."""
        truth = self.frame.truth
        if truth is None or self.task != "single-label":
            return None
        return self.predictions[0].label == truth


class Shed(Struct, frozen=True, gc=False):
    """A frame of a live stream that was given up in favour of a fresher one."""

    frame: Frame
    reason: ShedReason
    decided_at: float


class Rejected(Struct, frozen=True, gc=False):
    """A frame that can never work. ``detail`` says to a person what is wrong with it."""

    frame: Frame
    reason: RejectReason
    detail: str
    decided_at: float


Outcome: TypeAlias = Scored | Shed | Rejected


class TrialState(Struct, frozen=True, gc=False):
    """A candidate on trial: in the ``shadow``, or as a ``canary``. ``frames`` were compared so far,
    ``findings`` says to a person what was found; ``since`` is Unix seconds."""

    name: str
    version: int
    sha256: str
    rollout: Literal["shadow", "canary"]
    since: float
    frames: int
    findings: str


class SwapEvent(Struct, frozen=True, gc=False):
    """One try to swap. ``result`` is ``swapped``, ``rolled_back`` or a refusal's reason; ``at`` is
    Unix seconds."""

    at: float
    name: str
    version: int
    sha256: str
    epoch: int
    result: str
    detail: str = ""
    pause_s: float = 0.0
