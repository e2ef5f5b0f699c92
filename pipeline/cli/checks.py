"""What ``headrace check`` tries: everything that a worker needs, touched once and let go."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifact.followed import Followed
from pipeline.cli.listening import check_listens
from pipeline.clock import SystemClock
from pipeline.config import Settings
from pipeline.cores import default_decode_threads, usable_cores
from pipeline.engine.active import ActiveModel
from pipeline.engine.choice import candidates, choose, probed
from pipeline.engine.device import choose_device
from pipeline.engine.loading import Loader, torch_threads
from pipeline.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    ConfigError,
    FrameRejected,
    HeadraceError,
    SourceUnavailable,
)
from pipeline.image_header import read_header
from pipeline.kafka.access import KafkaAccess
from pipeline.kafka.address import KafkaAddress, parse_kafka_url
from pipeline.metrics import Metrics
from pipeline.probe.client import Probe
from pipeline.sink.url import check_no_twins, make_dead_letters, make_sink, make_strict_sink
from pipeline.source.base import Source
from pipeline.source.kafka_url import make_seat, strict_options
from pipeline.source.url import Surroundings, make_sources
from pipeline.types import OUTPUTS, Frame
from pipeline.urls import mask_text, mask_url

if TYPE_CHECKING:
    from pipeline.kafka.seat import Seat

_FIRST_FRAME_WITHIN_S = 10.0
"""Above every camera's own time-outs, 5 s to open and 5 s to read unless its URL says more."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. ``exit_code`` is 0 where it is fit for use."""

    what: str
    name: str
    detail: str
    exit_code: int

    @property
    def is_ok(self) -> bool:
        """Whether a worker could use it."""
        return self.exit_code == EXIT_DONE


@dataclass(slots=True)
class Report:
    """All findings, and what would run where they are good. Owned by: the verb's thread."""

    findings: list[Finding] = field(default_factory=list)
    would_run: dict[str, object] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0, or 2 where only the operator can mend something, else 1."""
        return max((each.exit_code for each in self.findings), default=EXIT_DONE)

    def attempt(self, what: str, name: str, body: Callable[[], str]) -> None:
        """Runs ``body``, which says what it found or raises a ``HeadraceError``."""
        name = mask_url(name)
        try:
            self.findings.append(Finding(what, name, mask_text(body()), EXIT_DONE))
        except HeadraceError as error:
            code = max(error.exit_code, EXIT_FAILED)
            self.findings.append(Finding(what, name, mask_text(str(error)), code))


def check_all(settings: Settings) -> Report:
    """Tries everything, one after the other. Blocks: a camera has its own time-outs, and a model
    is loaded and warmed as a worker would.

    Raises:
        ConfigError: the settings of Kafka's connections don't fit together.
    """
    report = Report()
    kafka = KafkaAccess.of(settings.kafka)
    _check_sources(settings, kafka, report)
    if not settings.sinks:
        report.attempt("sink", "", _without_sinks)
    for url in settings.sinks:
        report.attempt("sink", url, lambda url=url: _try_sink(url, kafka))
    url = settings.sink.dead_letter
    report.attempt("dead letters", url, lambda: _try_dead_letters(settings, kafka))
    check_strict(settings, kafka, report)
    if settings.server.enabled:
        address = f"{settings.server.host}:{settings.server.port}"
        report.attempt("server", address, lambda: _try_listen(settings))
    report.attempt("device", settings.engine.device, lambda: choose_device(settings.engine.device))
    _plan(settings, report.would_run)
    report.attempt("model", settings.model.name, lambda: _try_model(settings, report.would_run))
    return report


def _check_sources(settings: Settings, kafka: KafkaAccess, report: Report) -> None:
    try:
        limit_s = settings.lifecycle.stall_timeout_s
        around = Surroundings(SystemClock(), kafka=kafka, stall_timeout_s=limit_s)
        sources = make_sources(settings.sources, around)
        if not sources:
            raise ConfigError("no source: give at least one --source URL")
    except ConfigError as error:
        named = ", ".join(map(mask_url, settings.sources))
        report.findings.append(Finding("source", named, mask_text(str(error)), error.exit_code))
        return
    for url, source in zip(settings.sources, sources, strict=True):
        report.attempt("source", url, lambda source=source: _try_source(source))
    report.would_run["sources"] = [
        {
            "name": each.info.name,
            "delivery": each.info.delivery,
            "max_age_s": each.info.max_age_s,
            "is_finite": each.info.is_finite,
        }
        for each in sources
    ]


def check_strict(settings: Settings, kafka: KafkaAccess, report: Report) -> None:
    """Looks whether source and sinks fit strict mode, without taking the slot of a worker."""
    with suppress(ConfigError):  # a source that is none was found before
        strict = strict_options(settings.sources, kafka)
        if strict is not None and settings.sinks:
            seat = make_seat(strict, lambda _: False, Metrics())
            report.attempt("slot", strict.slot, lambda: _try_strict(settings, kafka, seat))


def _try_strict(settings: Settings, kafka: KafkaAccess, seat: Seat) -> str:
    make_strict_sink(settings, SystemClock(), kafka, seat)
    return f"would write as {seat.transactional_id}, and end another worker that does"


def _try_source(source: Source) -> str:
    """Opens it, reads one frame, closes it."""
    deadline = time.monotonic() + _FIRST_FRAME_WITHIN_S
    try:
        source.open()
        frames = source.poll(1, 1.0)
        while not frames and time.monotonic() < deadline:
            frames = source.poll(1, 1.0)
    finally:
        source.close()
    if not frames:
        raise SourceUnavailable(f"no frame came within {_FIRST_FRAME_WITHIN_S:g} s")
    return f"{source.info.delivery}; first frame: {_describe(frames[0])}"


def _describe(frame: Frame) -> str:
    if frame.defect is not None:
        return f"would be rejected ({frame.defect})"
    if not isinstance(frame.payload, bytes):
        height, width = frame.payload.shape[:2]
        return f"{width}x{height}"
    try:
        header = read_header(frame.payload)
    except FrameRejected as rejected:
        return f"would be rejected ({rejected})"
    return f"{header.width}x{header.height} {header.kind}, {len(frame.payload)} bytes"


def _without_sinks() -> str:
    raise ConfigError("no sink: give at least one --sink URL, null: keeps nothing")


def _try_sink(url: str, kafka: KafkaAccess) -> str:
    """Looks whether it could be written, without making a file or topic."""
    make_sink(url, SystemClock(), kafka)
    scheme, _, rest = url.partition(":")
    if scheme == "kafka":
        address, query = parse_kafka_url(url, kafka)
        if _has_topic(address):
            return "the topic is there"
        if query:
            return "would make the topic"
        raise ConfigError(
            f"there is no such topic; create it, or let '{url}?create=PARTITIONS' do it"
        )
    if scheme != "jsonl":
        return "nothing to open"
    return _try_path(Path(rest.removeprefix("//")).expanduser())


def _has_topic(address: KafkaAddress) -> bool:
    from pipeline.kafka.connection import has_topic  # others need no Kafka client

    return has_topic(address)


def _try_path(path: Path) -> str:
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}; make it first")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder, expected a file's path")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise ConfigError(f"not allowed to write {path}: give another path")
    usage = os.statvfs(folder)
    free_gb = usage.f_bavail * usage.f_frsize / 1e9
    rows = "goes on after its last row" if path.exists() else "would be made"
    return f"{rows}; {free_gb:.1f} GB free"


def _try_dead_letters(settings: Settings, kafka: KafkaAccess) -> str:
    check_no_twins(settings)
    url = settings.sink.dead_letter
    sink = make_dead_letters(url, settings.sources, settings.sinks, SystemClock(), kafka)
    if sink.name.startswith("kafka:"):
        address, _ = parse_kafka_url(sink.name, kafka)
        return f"{address}: the topic {'is there' if _has_topic(address) else 'would be made'}"
    if sink.name.startswith("jsonl:"):
        path = Path(sink.name.removeprefix("jsonl:"))
        return f"{path} {_try_path(path)}"
    return "let go, their rows say why"


def _try_listen(settings: Settings) -> str:
    check_listens(settings.server.host, settings.server.port)
    return "free" if settings.server.port else "any free port"


def _try_model(settings: Settings, would_run: dict[str, object]) -> str:
    """Reads, verifies and loads it, runs its golden inputs and warms every bucket."""
    if not settings.model.name:
        raise ConfigError("no model: give --model NAME; `headrace models list` shows what is there")
    followed = Followed.of(settings.model)
    artifact = followed.first()
    loader = Loader.of(settings, SystemClock())
    among = candidates(loader, artifact.manifest)
    if settings.model.probe != "never":
        with closing(Probe(SystemClock(), settings.model.probe_timeout_s)) as probe:
            among = probed(among, lambda each: probe.check(artifact, backend=each))
    loader = choose(loader, settings, artifact, among)
    would_run["backend"] = loader.backend_for(artifact.manifest)
    would_run["threads"] = loader.threads
    model = loader.load(artifact, epoch=1)
    try:
        return _describe_model(model, followed.is_alias, would_run)
    finally:
        model.engine.close()


def _describe_model(model: ActiveModel, is_followed: bool, would_run: dict[str, object]) -> str:
    identity, contract = model.identity, model.contract
    would_run["model"] = {
        "name": identity.name,
        "version": identity.version,
        "sha256": identity.sha256,
        "follows_alias": is_followed,
        "labels": len(contract.labels),
        "input_hwc": list(contract.preprocess.sample_shape_hwc),
        "device": model.engine.device,
    }
    would_run["buckets"] = list(model.infer_s)
    would_run["infer_ms"] = {
        str(size): round(1000 * seconds, 3) for size, seconds in model.infer_s.items()
    }
    height, width, _ = contract.preprocess.sample_shape_hwc
    return (
        f"{identity.name}@{identity.version}, sha256 {identity.sha256[:12]}, {width}x{height}, "
        f"{len(contract.labels)} {OUTPUTS[contract.task]}, right on its golden inputs on "
        f"{model.engine.device}"
    )


def _plan(settings: Settings, would_run: dict[str, object]) -> None:
    would_run |= {
        "decode_threads": settings.decode.threads or default_decode_threads(usable_cores()),
        "threads": torch_threads(settings),
        "max_wait_s": settings.batch.max_wait_s,
        "slo_s": settings.batch.slo_s,
        "in_flight_frames": settings.intake.max_frames,
        "in_flight_bytes": settings.intake.max_bytes,
        "drain_timeout_s": settings.lifecycle.drain_timeout_s,
        "stall_timeout_s": settings.lifecycle.stall_timeout_s,
    }
