"""What a server shows, without a worker behind it: outcomes of real pictures, made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from msgspec.structs import replace

from pipeline.clock import ManualClock
from pipeline.metrics import FrameCounts, Metrics
from pipeline.server.app import make_app
from pipeline.server.run import HttpServer
from pipeline.sink.live import LiveView
from pipeline.types import Frame, ImageHwc, ModelIdentity, Position, Prediction, Scored, Timings

LABELS = tuple("0123456789")


def identity(version: int = 1, name: str = "digits") -> ModelIdentity:
    return ModelIdentity(name, version, f"{version:064x}", epoch=version)


def frame(
    payload: bytes | ImageHwc = b"",
    *,
    stream: str = "door",
    offset: int = 0,
    captured_at: float = 1_700_000_000.0,
    truth: str | None = None,
    max_age_s: float | None = None,
) -> Frame:
    return Frame(
        position=Position("synthetic", 0, offset),
        stream=stream,
        payload=payload,
        captured_at=captured_at,
        received_mono_s=1000.0,
        truth=truth,
        max_age_s=max_age_s,
    )


def scored(
    of: Frame,
    *,
    says: str = "3",
    confidence: float = 0.9,
    age_s: float = 0.02,
    model: ModelIdentity | None = None,
) -> Scored:
    others = [label for label in LABELS if label != says][:4]
    rest = [(1 - confidence) * part for part in (0.5, 0.25, 0.15, 0.1)]
    pairs = [(says, confidence), *zip(others, rest, strict=True)]
    return Scored(
        frame=of,
        model=model or identity(),
        predictions=tuple(Prediction(label, LABELS.index(label), part) for label, part in pairs),
        scored_at=of.captured_at + age_s,
        width=640,
        height=360,
        timings=Timings(0.001, 0.002, 0.003, 0.004),
    )


def scored_labels(of: Frame, confidences: dict[str, float]) -> Scored:
    """A multi-label model's, the labels in the given order."""
    said = tuple(
        Prediction(label, at, part) for at, (label, part) in enumerate(confidences.items())
    )
    return replace(scored(of), task="multi-label", predictions=said)


def scored_values(of: Frame, values: dict[str, float]) -> Scored:
    """A regression's."""
    return replace(scored(of), task="regression", predictions=(), values=values)


@dataclass
class WatchedState:
    """The server's view of a worker, set by the test."""

    live: LiveView = field(default_factory=lambda: LiveView(ManualClock()))
    metrics: Metrics = field(default_factory=Metrics)
    not_live: str | None = None
    not_ready: str | None = None
    active: ModelIdentity | None = field(default_factory=identity)
    frames: FrameCounts = field(default_factory=lambda: FrameCounts({}, {}, {}, {}, 0))

    def liveness(self) -> str | None:
        return self.not_live

    def readiness(self) -> str | None:
        return self.not_ready

    def model(self) -> ModelIdentity | None:
        return self.active

    def counts(self) -> FrameCounts:
        return self.frames


@contextmanager
def serving(state: WatchedState) -> Iterator[str]:
    """The real server on a free port; gives its address."""
    server = HttpServer(make_app(state), "127.0.0.1", 0)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()
