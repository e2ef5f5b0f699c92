"""``headrace feed``: a source's frames onto a Kafka topic."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.feed import Fed


def feed(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A source URL, as of `headrace worker`.")
    ],
    topic: Annotated[
        str, typer.Argument(metavar="KAFKA_URL", help="kafka://HOST:PORT[,HOST:PORT]/TOPIC")
    ],
    fps: Annotated[
        float | None, typer.Option(min=0.001, help="Frames of the source a second (default: all).")
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Frames of the source, then the end.")
    ] = None,
    streams: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Send each frame under NAME-0, NAME-1, …"),
    ] = None,
    quality: Annotated[
        int, typer.Option(min=1, max=100, help="JPEG quality for frames that come decoded.")
    ] = 90,
    create: Annotated[
        bool, typer.Option("--create", help="Make the topic, for frames of up to 16 MiB.")
    ] = False,
    partitions: Annotated[
        int, typer.Option(min=1, max=1000, help="Partitions of a topic that --create makes.")
    ] = 4,
    config: Annotated[
        Path | None,
        typer.Option(
            "-c",
            "--config",
            envvar="HEADRACE_CONFIG",
            metavar="FILE",
            help="Settings as TOML; of them [kafka] is used, TLS and passwords.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with a summary as one line of JSON on stdout.")
    ] = False,
) -> None:
    """Put a video, camera, folder or synthetic stream on Kafka.

    Frames of one stream keep their order: the stream's name is the record's key. Ctrl-C ends it
    when all that was sent is acknowledged. How it gets into the cluster (TLS, passwords) is said by
    the settings kafka.…, in a file or as HEADRACE_KAFKA__…, as for a worker.
    """
    import threading

    from pipeline.cli.terminal import say
    from pipeline.clock import SystemClock
    from pipeline.feed import Feed, FeedOptions
    from pipeline.kafka.access import KafkaAccess
    from pipeline.kafka.address import parse_kafka_url
    from pipeline.kafka.connection import create_topic
    from pipeline.lifecycle import stopping_on_signals
    from pipeline.logs import configure_logs
    from pipeline.settings import load_settings
    from pipeline.source.url import Surroundings, make_source

    configure_logs("warning")
    access = KafkaAccess.of(load_settings(config, {}).settings.kafka)
    address, query = parse_kafka_url(topic, access)
    if query:
        raise typer.BadParameter(f"a topic takes no options, got {query!r}")
    clock = SystemClock()
    wanted = make_source(source, Surroundings(clock, kafka=access))
    if create and create_topic(address, partitions):
        say(f"made the topic {address.topic} with {partitions} partitions")
    stop = threading.Event()
    options = FeedOptions(fps, count, streams, quality)
    with stopping_on_signals(stop.set, stop.set), _progress(count, streams or 1) as tell:
        fed = Feed(wanted, address, options, clock).run(stop, tell)
    if as_json:
        typer.echo(json.dumps(fed.to_json()))
    else:
        mebibytes = fed.size_bytes / (1 << 20)
        say(f"{fed.records} frames sent, {mebibytes:.1f} MiB, in {fed.duration_s:.1f} s")


@contextmanager
def _progress(count: int | None, streams: int) -> Iterator[Callable[[Fed], None]]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _fed: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None if count is None else count * streams)

        def tell(fed: Fed) -> None:
            rate = fed.records / fed.duration_s if fed.duration_s else 0.0
            bar.update(task, completed=fed.records, description=f"{rate:.0f} frames/s")

        yield tell
