"""``headrace feed``: a source's frames onto a Kafka topic."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.kafka import ConfigFile, bare_topic, kafka_access

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
    config: ConfigFile = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with a summary as one line of JSON on stdout.")
    ] = False,
) -> None:
    """Put a video, camera, folder or synthetic stream on Kafka.

    Frames of one stream keep their order: the stream's name is the record's key. Ctrl-C ends it
    when all that was sent is acknowledged, or some seconds after the last acknowledgement: then it
    says of how many frames nobody knows whether they arrived, and exits with 1. How it gets into
    the cluster (TLS, passwords) is said by the settings kafka.…, in a file or as
    HEADRACE_KAFKA__…, as for a worker.
    """
    import threading

    from pipeline.cli.terminal import progress_bar, say
    from pipeline.clock import SystemClock
    from pipeline.errors import StageFailed
    from pipeline.feed import Feed, FeedOptions
    from pipeline.kafka.connection import create_topic
    from pipeline.lifecycle import stopping_on_signals
    from pipeline.logs import configure_logs
    from pipeline.source.url import Surroundings, make_source

    configure_logs("warning")
    access = kafka_access(config)
    address = bare_topic(topic, access)
    clock = SystemClock()
    wanted = make_source(source, Surroundings(clock, kafka=access))
    if create and create_topic(address, partitions):
        say(f"made the topic {address.topic} with {partitions} partitions")
    stop = threading.Event()
    options = FeedOptions(fps, count, streams, quality)
    total = None if count is None else count * (streams or 1)
    with stopping_on_signals(stop.set, stop.set), progress_bar() as show:
        fed = Feed(wanted, address, options, clock).run(
            stop, lambda so_far: show(so_far.records, total, f"{_rate(so_far):.0f} frames/s")
        )
    if as_json:
        typer.echo(json.dumps(fed.to_json()))
    else:
        mebibytes = fed.size_bytes / (1 << 20)
        say(f"{fed.records} frames sent, {mebibytes:.1f} MiB, in {fed.duration_s:.1f} s")
    if fed.unknown:
        raise StageFailed(
            f"stopped while {address} didn't answer: whether {fed.unknown} more frames arrived"
            " isn't known"
        )


def _rate(fed: Fed) -> float:
    return fed.records / fed.duration_s if fed.duration_s else 0.0
