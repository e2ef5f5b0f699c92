"""``headrace trainer``: a trainer beside running workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from pipeline.cli.kafka import ConfigFile, bare_topic, kafka_access
from pipeline.cli.signals import sigterm_as_ctrl_c
from pipeline.cli.terminal import say
from pipeline.cli.training_options import (
    Device,
    EvenIfWorse,
    Formats,
    GateTolerance,
    RegistryUrl,
    Threads,
    TrustedKey,
)
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.kafka.address import KafkaAddress

app = typer.Typer(
    help="Train a model anew as the world changes.", no_args_is_help=True, add_completion=False
)

_SPOOL = "feedback"
_REPLAY = 0.5


@app.callback()
def _group() -> None:
    """Train a model anew as the world changes."""


@app.command()
def watch(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The run of `headrace train` that is served.")
    ],
    publish: Annotated[str, typer.Option(metavar="NAME", help="The model's name.")],
    feedback: Annotated[
        str,
        typer.Option(
            metavar="DIR|KAFKA_URL", help="Labelled frames: LABEL/NAME.jpg, or a topic of labels."
        ),
    ],
    frames: Annotated[
        str | None,
        typer.Option(metavar="KAFKA_URL", help="With a topic of labels: the frames' topic."),
    ] = None,
    worker: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="A worker's page, which tells of drift; repeatable."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="What it learnt from: old samples are learnt again.")
    ] = None,
    drift: Annotated[
        float, typer.Option(min=0, help="Train from this population stability index on.")
    ] = 0.25,
    least: Annotated[int, typer.Option(min=10, help="New labels that a training needs.")] = 100,
    every: Annotated[
        int | None, typer.Option(min=1, help="Train after so many new labels without drift, too.")
    ] = None,
    pause: Annotated[float, typer.Option(min=0, help="Seconds between two trainings.")] = 60.0,
    recent: Annotated[
        int, typer.Option(min=10, help="The newest labels, so many of which are learnt from.")
    ] = 2000,
    replay: Annotated[
        float | None,
        typer.Option(
            min=0, max=0.95, help="With --data: share of old samples in a training. [default: 0.5]"
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data in a training.")] = 5,
    lr: Annotated[
        float | None, typer.Option(min=0, help="Learning rate (default: the run's).")
    ] = None,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 5.0,
    trainings: Annotated[
        int | None, typer.Option(min=1, help="End after so many (default: at Ctrl-C).")
    ] = None,
    alias: Annotated[
        list[str] | None, typer.Option(help="Moves to new versions besides 'latest'; repeatable.")
    ] = None,
    sign: Annotated[
        Path | None, typer.Option(metavar="KEY", help="Sign them with this private key.")
    ] = None,
    formats: Formats = "",
    even_if_worse: EvenIfWorse = False,
    gate_tolerance: GateTolerance = None,
    trusted_key: TrustedKey = None,
    registry: RegistryUrl = "registry",
    threads: Threads = None,
    device: Device = "auto",
    config: ConfigFile = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each training.")
    ] = False,
) -> None:
    """Watch a served model: train it on new labels as they come, where its frames have drifted.

    What is trained goes through the gate and is published as any version; workers swap to it as
    they do. Killed at any point, the same command goes on.
    """
    for option, is_idle, goes_with in (
        ("--replay", replay is not None and data is None, "--data"),
        ("--least", least > recent, f"a --recent of as many, which is {recent}"),
        ("--every", every is not None and every > recent, f"a --recent of as many, not {recent}"),
        ("--worker", any(not _is_page(each) for each in worker or ()), "http://HOST:PORT"),
    ):
        if is_idle:
            raise ConfigError(f"{option} goes with {goes_with}: else it would have no effect")
    topics = _topics(feedback, frames, config)
    import torch

    from pipeline.engine.device import choose_device
    from trainer.fit import TrainingStopped
    from trainer.gate import GateSettings
    from trainer.load import DataChoice, load_data
    from trainer.options import Target
    from trainer.progress import PlainProgress
    from trainer.watch.known_run import known_run
    from trainer.watch.loop import Watch, WatchJob
    from trainer.watch.rules import Rules

    if threads is not None:
        torch.set_num_threads(threads)
    changes: dict[str, Any] = {"epochs": epochs, "device": choose_device(device)}
    if lr is not None:
        changes["lr"] = lr
    job = WatchJob(
        run=run,
        target=Target.of(publish, registry, alias or [], sign, trusted_key or [], formats),
        feedback=run / _SPOOL if topics else Path(feedback),
        topics=topics,
        workers=tuple(worker or ()),
        rules=Rules(least_new=least, drift=drift, every=every, pause_s=pause),
        gate=GateSettings(gate_tolerance or 0.0, even_if_worse),
        recent=recent,
        replay=_REPLAY if replay is None else replay,
        interval_s=interval,
        trainings=trainings,
        changes=changes,
    )
    if not job.workers and every is None:
        raise ConfigError(
            "nothing would ever start a training: give --worker URL, which tells of drift, or"
            " --every N labels"
        )
    try:
        with sigterm_as_ctrl_c():
            old = data and load_data(DataChoice(data), known_run(run).spec, PlainProgress())
            for trained in Watch(job, old or None).run():
                typer.echo(json.dumps(trained.to_dict()) if as_json else str(trained))
    except (KeyboardInterrupt, TrainingStopped):
        say("stopped; the same command goes on")


def _is_page(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


def _topics(
    feedback: str, frames: str | None, config: Path | None
) -> tuple[KafkaAddress, KafkaAddress] | None:
    is_topic = feedback.startswith("kafka:")
    if is_topic != (frames is not None):
        raise ConfigError(
            "--frames KAFKA_URL goes with --feedback KAFKA_URL: labels name frames, which are"
            " fetched from their topic"
        )
    if frames is None:
        return None
    access = kafka_access(config)
    return bare_topic(feedback, access), bare_topic(frames, access)
