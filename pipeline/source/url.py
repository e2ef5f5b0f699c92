"""From a source's URL to a source. Nothing is opened here, and nothing slow is imported early."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from pipeline.clock import Clock
from pipeline.durations import parse_duration
from pipeline.errors import ConfigError
from pipeline.kafka.access import KafkaAccess
from pipeline.metrics import Metrics
from pipeline.source.base import NoProgress, Progress, Source
from pipeline.source.camera import CameraSource
from pipeline.source.directory import DirectorySource
from pipeline.source.kafka_url import parse_kafka_source
from pipeline.source.mjpeg import MjpegSource
from pipeline.source.options import (
    DEFAULT_MAX_AGE_S,
    LIVE_OPTION_NAMES,
    LiveOptions,
    Options,
    natural_int,
    positive_float,
    positive_int,
)
from pipeline.source.synthetic import DigitOptions, SyntheticSource
from pipeline.source.video import VideoSource

if TYPE_CHECKING:
    from pipeline.kafka.seat import Seat

SOURCE_FORMS = (
    "kafka://HOST:PORT/TOPIC, a video's path, dir:PATH, camera:0, rtsp://HOST/PATH,"
    " http://HOST/PATH (MJPEG), synthetic:digits"
)
_MOST_STREAMS = 1024
"""Of one source: each holds pictures of its own, and far fewer keep any machine busy."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)

# What a camera's own query may say without being a secret; other values are masked in names.
_HARMLESS = frozenset({"camera", "channel", "codec", "profile", "stream", "subtype", "trackid"})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What sources need of the worker that they are in. ``progress`` and ``metrics`` may be left
    away where only a look is taken (``headrace check``), ``kafka`` where there is none;
    ``seat`` is there in strict mode. A call that takes ``stall_timeout_s`` counts as hung."""

    clock: Clock
    progress: Progress = field(default_factory=NoProgress)
    metrics: Metrics = field(default_factory=Metrics)
    kafka: KafkaAccess = field(default_factory=KafkaAccess)
    seat: Seat | None = None
    sources: int = 1
    stall_timeout_s: float = math.inf


def make_sources(urls: Iterable[str], around: Surroundings) -> list[Source]:
    """Makes the sources of one worker; no two have the same name, as positions carry it, and none
    from a disk the same stream.

    Raises:
        ConfigError: see ``make_source``.
    """
    sources: list[Source] = []
    urls = list(urls)
    around = replace(around, sources=len(urls))
    for url in urls:
        sources.append(make_source(url, around, beside=sources))
    return sources


def make_source(url: str, around: Surroundings, *, beside: Iterable[Source] = ()) -> Source:
    """Makes the source that a URL names, without opening it.

    A source whose name or stream one of ``beside`` has gets a number: ``clip~2.mp4``.

    Raises:
        ConfigError: an unknown scheme or option, a file that isn't there, or a camera's time-out
            that would be taken for a call that hangs.
    """
    source = _make_source(url, around, _Names(beside))
    blocks_s = source.info.blocks_s
    if blocks_s >= around.stall_timeout_s:
        raise ConfigError(
            f"{source.info.name}: with its open_timeout and read_timeout it may take {blocks_s:g} s"
            f" to open, and after {around.stall_timeout_s:g} s a call counts as hung and the worker"
            " ends; lower them, or raise lifecycle.stall_timeout_s"
        )
    return source


def _make_source(url: str, around: Surroundings, names: _Names) -> Source:
    clock = around.clock
    match = _SCHEME.fullmatch(url)
    scheme, rest = (match[1].lower(), match[2]) if match else ("", url)
    if scheme in ("rtsp", "rtsps", "http", "https"):
        return _from_network(scheme, url, clock, names)
    if scheme == "camera":
        return _from_device(rest, clock, names)
    if scheme == "synthetic":
        return _synthetic(rest, clock, names)
    if scheme in ("", "file", "dir"):
        return _from_disk(scheme, rest, clock, names)
    if scheme == "kafka":
        return _from_kafka(url, around, names)
    raise ConfigError(f"unknown source {_without_secrets(url)!r}, expected {SOURCE_FORMS}")


class _Names:
    """Names that no other source has."""

    def __init__(self, others: Iterable[Source]) -> None:
        self.others = frozenset(each.info.name for each in others)
        # A video's stream is its name without the suffix; clip.mp4 and clip.mkv are two streams.
        videos = (each.info.name for each in others if isinstance(each, VideoSource))
        self._taken = self.others.union(Path(name).stem for name in videos)

    def distinct(self, name: str, suffix: str = "") -> str:
        number, chosen = 1, name
        while not self._taken.isdisjoint((chosen, chosen + suffix)):
            number += 1
            chosen = f"{name}~{number}"
        return chosen + suffix


def _from_network(scheme: str, url: str, clock: Clock, names: _Names) -> Source:
    live, url = _split_live_options(scheme, url)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        # Not what urlsplit says: a '#' or '/' in a password makes it take the password for a port.
        raise ConfigError(
            f"{scheme}: the address has no valid port; expected {scheme}://HOST:PORT/PATH, with"
            " each of # / ? @ : % in a user or password percent-encoded (%23 %2F %3F %40 %3A %25)"
        ) from None
    if not host:
        raise ConfigError(f"{scheme}: no host in the address, expected {scheme}://HOST:PORT/PATH")
    name = names.distinct(_without_secrets(url))
    if scheme.startswith("rtsp"):
        return CameraSource(name, url, live, clock)
    return MjpegSource(name, url, live, clock)


def _split_live_options(scheme: str, url: str) -> tuple[LiveOptions, str]:
    """Takes our options out of a camera's URL; what is left of its query is the camera's own,
    byte for byte."""
    base, _, query = url.partition("?")
    ours: list[str] = []
    theirs: list[str] = []
    for part in filter(None, query.split("&")):
        is_ours = part.partition("=")[0] in LIVE_OPTION_NAMES
        (ours if is_ours else theirs).append(part)
    live = Options(scheme, "&".join(ours)).take_live()
    return live, base + ("?" + "&".join(theirs) if theirs else "")


def _without_secrets(url: str) -> str:
    """The URL as it may be shown: no user, no password, no unknown value of a query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition(":")[0] + ":…"
    if "@" in url and "@" not in parts.netloc:  # behind an unescaped # / or ? in a password
        return f"{parts.scheme}://…{url.rpartition('@')[2].partition('?')[0]}"
    address = parts.netloc.rpartition("@")[2]
    query = [
        (name, value if name.lower() in _HARMLESS else "***")
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    return urlunsplit((parts.scheme, address, parts.path, urlencode(query, safe="*"), ""))


def _from_kafka(url: str, around: Surroundings, names: _Names) -> Source:
    # Imported here: other sources need no Kafka client.
    from pipeline.source.kafka import KafkaSource

    wanted = parse_kafka_source(url, around.kafka)
    address = wanted.address
    if address.topic in names.others:
        raise ConfigError(f"{address}: another source has the name {address.topic!r} already")
    return KafkaSource(
        wanted,
        around.clock,
        around.progress,
        around.metrics,
        around.seat,
        is_only=around.sources == 1,
    )


def _from_device(rest: str, clock: Clock, names: _Names) -> Source:
    index, _, query = rest.partition("?")
    options = Options("camera", query)
    live = options.take_live()
    options.refuse_others()
    if not (index.isascii() and index.isdigit()):
        raise ConfigError(f"camera: got {index!r}, expected the camera's number, camera:0")
    return CameraSource(names.distinct(f"camera-{int(index)}"), int(index), live, clock)


def _synthetic(rest: str, clock: Clock, names: _Names) -> Source:
    kind, _, query = rest.partition("?")
    if kind != "digits":
        raise ConfigError(f"synthetic: got {kind!r}, expected synthetic:digits")
    options = Options("synthetic:digits", query)
    wanted = DigitOptions(
        fps=options.take("fps", positive_float, None),
        streams=options.take("streams", _streams, 1),
        count=options.take("count", positive_int, None),
        seed=options.take("seed", natural_int, 0),
        width=options.take("width", _picture_side, 640),
        height=options.take("height", _picture_side, 360),
        cycle=options.take("cycle", positive_int, None),
        night=options.take("night", natural_int, None),
    )
    if wanted.night is not None and wanted.cycle is not None:
        raise ConfigError("synthetic:digits: got night and cycle, expected one of them")
    mode = options.take("mode", _mode, "lossless")
    max_age_s = options.take("max_age", parse_duration, DEFAULT_MAX_AGE_S)
    options.refuse_others()
    if mode == "live":
        wanted = replace(wanted, max_age_s=max_age_s)
    return SyntheticSource(names.distinct("digits"), wanted, clock)


def _streams(text: str) -> int:
    streams = positive_int(text)
    if streams > _MOST_STREAMS:
        raise ValueError(f"got {text!r}, expected at most {_MOST_STREAMS}")
    return streams


def _mode(text: str) -> str:
    if text not in ("lossless", "live"):
        raise ValueError(f"got {text!r}, expected lossless or live")
    return text


def _picture_side(text: str) -> int:
    side = positive_int(text)
    if not 16 <= side <= 4096:
        raise ValueError(f"got {text!r}, expected 16 to 4096 pixels")
    return side


def _from_disk(scheme: str, rest: str, clock: Clock, names: _Names) -> Source:
    path, query = _existing_path(rest)
    options = Options(scheme or "file", query)
    fps = options.take("fps", positive_float, None)
    options.refuse_others()
    if path.is_dir():
        return DirectorySource(names.distinct(path.resolve().name or "root"), path, clock, fps)
    if scheme == "dir":
        raise ConfigError(f"dir: {path} is a file, expected a folder; leave dir: away for a video")
    return VideoSource(names.distinct(path.stem, path.suffix), path, clock, fps)


def _existing_path(rest: str) -> tuple[Path, str]:
    """Finds the file or folder meant, and the query behind it.

    As it is written, or with percent escapes resolved; a question mark may be part of a name.
    """
    if rest.startswith("//"):  # file:///path, or file://localhost/path
        rest = "/" + rest[2:].partition("/")[2]
    base, _, query = rest.partition("?")
    for text, its_query in ((rest, ""), (base, query), (unquote(base), query)):
        path = Path(text).expanduser()
        if text and path.exists():
            return path, its_query
    raise ConfigError(
        f"there is no file or folder {base!r} (looked in {Path.cwd()});"
        f" expected a source: {SOURCE_FORMS}"
    )
