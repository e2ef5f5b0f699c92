"""The options that ``worker``, ``check`` and ``config`` share: those of a worker's settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.durations import parse_duration
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.settings import Effective


@dataclass(frozen=True, slots=True)
class Given:
    """What the user asked for, and the form of the answer."""

    said: Mapping[str, Any]
    as_json: bool

    def effective(self) -> Effective:
        """The options, merged with environment and file.

        Raises:
            ConfigError: they don't fit together, or the file can't be read.
        """
        return _merge(self.said)


def with_worker_options(body: Callable[[Given], None]) -> Callable[..., None]:
    """Makes a verb of ``body``: it takes a worker's options."""

    def verb(**said: Any) -> None:
        body(Given(said, said["as_json"]))

    verb.__name__ = body.__name__
    verb.__doc__ = body.__doc__
    # Typer reads a verb's options from its signature; this one is shared by three verbs.
    vars(verb)["__signature__"] = inspect.signature(worker_options, eval_str=True)
    return verb


def config_option(help_text: str) -> Any:
    """The option of all verbs that read settings from a file."""
    return typer.Option("-c", "--config", envvar="HEADRACE_CONFIG", metavar="FILE", help=help_text)


def worker_options(
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Where frames come from: a video's path, dir:PATH, camera:0, rtsp://…, http://…, "
            "kafka://HOST:PORT/TOPIC, synthetic:digits. Repeatable.",
        ),
    ] = None,
    sink: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Where results go: jsonl:PATH, kafka://HOST:PORT/TOPIC, stdout:, null:. "
            "Repeatable. [default: stdout:]",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[@VERSION or @ALIAS]",
            help="Which model scores; a name or alias is followed as it moves.",
        ),
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Folder or fsspec URL. [default: registry]"),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda or cuda:N. [default: auto]")
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="Who runs the network: torchscript, onnxruntime (published with --formats onnx), "
            "or auto, the winner of a race. [default: torchscript]"
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address of the page. [default: 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port of page, metrics and health; 0: any free one. [default: 8080]"),
    ] = None,
    no_server: Annotated[
        bool, typer.Option("--no-server", help="Serve no page, metrics and health.")
    ] = False,
    max_frames: Annotated[
        int | None, typer.Option(metavar="N", help="Stop after so many frames; 0: never.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", help="Most frames in a batch. [default: 32 or 64]")
    ] = None,
    max_wait: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Longest wait of a batch's oldest frame for company. [default: 20ms]",
        ),
    ] = None,
    slo: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="So soon after they are decoded 95 % of frames are to be scored. [default: 0, "
            "no goal]",
        ),
    ] = None,
    dead_letter: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where rejected frames go. [default: beside the first jsonl: sink]",
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(metavar="N", help="Processes that this one starts: only 1 yet.")
    ] = 1,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error. [default: info]")
    ] = None,
    config: Annotated[
        Path | None, config_option("Settings as TOML; no file is read unless it is named.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Answer in JSON, on standard output.")
    ] = False,
) -> None:
    """The signature that ``with_worker_options`` gives its verbs; never called."""


def _merge(said: Mapping[str, Any]) -> Effective:
    from pipeline.settings import load_settings

    if said["processes"] != 1:
        raise ConfigError(
            f"--processes is {said['processes']}, expected 1: start the same command several times;"
            " workers of one Kafka consumer group share its partitions"
        )
    overrides = {
        "sources": tuple(said["source"] or ()) or None,
        "sinks": tuple(said["sink"] or ()) or None,
        "model.name": said["model"],
        "model.registry": said["registry"],
        "engine.device": said["device"],
        "engine.backend": said["backend"],
        "server.host": said["host"],
        "server.port": said["port"],
        "server.enabled": False if said["no_server"] else None,
        "lifecycle.max_frames": said["max_frames"],
        "batch.max_size": said["batch_size"],
        "batch.max_wait_s": _seconds("--max-wait", said["max_wait"]),
        "batch.slo_s": _seconds("--slo", said["slo"]),
        "sink.dead_letter": said["dead_letter"],
        "log_level": said["log_level"],
    }
    return load_settings(said["config"], overrides)


def _seconds(option: str, text: str | None) -> float | None:
    if text is None or text == "0":
        return None if text is None else 0.0
    try:
        return parse_duration(text)
    except ValueError as cause:
        raise ConfigError(f"{option}: {cause}") from cause
