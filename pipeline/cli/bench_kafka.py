"""``headrace bench kafka``: the worker from topic to topic, beside loops and other systems."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from pipeline.cli.bench_parts import (
    MODEL,
    AsJson,
    Out,
    Progress,
    Quality,
    check_out,
    give,
    make_scenario,
)

if TYPE_CHECKING:
    from pipeline.bench.kafka.compare import Plan
    from pipeline.bench.kafka.systems import Systems


def bench_kafka(
    frames: Annotated[
        int, typer.Option(min=300, help="Frames in a round; slower systems get fewer.")
    ] = 3000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, of full speed and of paces.")] = 3,
    paced_seconds: Annotated[
        float, typer.Option(min=0.1, help="How long a paced stream lasts.")
    ] = 8.0,
    quality: Quality = 93,
    servers: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT[,HOST:PORT]",
            help="A cluster that runs. [default: a broker is started for it, see `make kafka`]",
        ),
    ] = None,
    peers: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Measure these too: quix, arroyo, litserve, mlserver, with commas between them, "
            "all or none; installed in build/peers where they aren't there. [default: those that "
            "are there]",
        ),
    ] = None,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Measure the worker between two Kafka topics, against loops and other systems.

    Each system is a process that reads one topic and writes results to another, on the same broker
    in turn: a loop as it comes to mind, a competent one, Quix Streams and arroyo with the same
    network, the worker with its own decoding and with full decoding; servers that are asked over
    HTTP, LitServe and MLServer; and decode and forward alone. Frames a second with all frames on
    the topic beforehand; latency, from `send` to the result on its topic, at half of that speed.
    Needs a checkout: the programs to compare with are in its bench/.
    """
    import tempfile

    from pipeline.bench.conditions import load_1m
    from pipeline.bench.kafka.compare import compare
    from pipeline.bench.kafka.measure import Bench
    from pipeline.bench.kafka.peers import peers_named
    from pipeline.bench.kafka.plan import runs_in_all
    from pipeline.bench.kafka.process import require_proc
    from pipeline.bench.kafka.report import make_report, tables
    from pipeline.bench.kafka.systems import require_checkout

    check_out(out)
    require_checkout()
    require_proc()
    pythons = peers_named(peers)
    load_before = load_1m()
    with (
        _ended_as_by_ctrl_c(),
        tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder,
        _cluster(servers, Path(folder)) as addresses,
    ):
        plan, systems = prepare(Path(folder), quality, frames, rounds, paced_seconds, pythons)
        bench = Bench(addresses, systems, plan.auto.pictures, Path(folder))
        with Progress(runs_in_all(plan.peers, rounds)) as progress:
            measured = compare(plan, bench, progress.tell)
        report = make_report(measured, plan, pythons, servers is None, load_before)
    give(report, as_json, out, tables(report))


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """SIGTERM takes the way of Ctrl-C: else broker and system would be left behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _cluster(servers: str | None, folder: Path) -> Iterator[tuple[str, ...]]:
    """The brokers that are there, or one that is started and ended."""
    from pipeline.bench.kafka.broker import own_broker
    from pipeline.kafka.address import parse_kafka_url

    if servers is not None:
        address, _ = parse_kafka_url(f"kafka://{servers}/any")
        yield address.servers
        return
    with own_broker(folder / "broker") as address:
        yield (address,)


def prepare(
    folder: Path,
    quality: int,
    frames: int,
    rounds: int,
    paced_s: float,
    peers: Mapping[str, Path],
) -> tuple[Plan, Systems]:
    """Publishes the network twice, which differ in nothing but how JPEGs are decoded for it."""
    import torch

    from pipeline.artifact.manifest import MODEL_FILE
    from pipeline.bench.kafka.compare import Plan
    from pipeline.bench.kafka.plan import HEADRACE, HEADRACE_FULL
    from pipeline.bench.kafka.systems import Systems

    auto = make_scenario(str(folder), "auto", quality, frames, rounds)
    full = make_scenario(str(folder), "full", quality, frames, rounds)
    weights = folder / "weights.pt"
    torch.save(cast(torch.nn.Module, auto.network).state_dict(), weights)
    version = auto.model.partition("@")[2]
    systems = Systems(
        registry=auto.registry,
        models={HEADRACE: auto.model, HEADRACE_FULL: full.model},
        model_file=Path(auto.registry) / MODEL / version / MODEL_FILE,
        weights_file=weights,
        peers=peers,
    )
    return Plan(auto, full, frames, rounds, paced_s, tuple(peers)), systems
