"""``headrace bench load``: how old frames are by how much comes in."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.bench_parts import (
    AsJson,
    Backend,
    Backends,
    Device,
    Net,
    Out,
    Progress,
    Quality,
    check_out,
    give,
    make_scenario,
)


def bench_load(
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each level lasts.")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of all levels.")] = 3,
    frames: Annotated[
        int, typer.Option(min=20, help="Frames to find out the full speed with, in each round.")
    ] = 4000,
    slo: Annotated[
        float,
        typer.Option(min=0.0, help="The worker's `batch.slo_s`, in seconds; 0: no goal."),
    ] = 0.0,
    quality: Quality = 85,
    net: Net = "reference-cnn",
    device: Device = "auto",
    backend: Backend = Backends.torchscript,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Measure the ages of frames at 30 to 90 % of the worker's speed, and at three times of it.

    Streams don't wait for the worker: a frame's age counts from when it was due, so that one that
    comes late because the one before it did is as old as it is. Beyond its speed, and with eight
    cameras, the streams are live: what is too much is shed, and counted.
    """
    import tempfile
    from dataclasses import replace

    from pipeline.bench.conditions import load_1m
    from pipeline.bench.load_report import make_report, tables
    from pipeline.bench.loads import measure_loads, runs_in_all
    from pipeline.logs import configure_logs

    check_out(out)
    configure_logs("error")  # workers run in this process, and the tables say how they fared
    load_before = load_1m()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        scenario = make_scenario(
            *(folder, "auto", quality, frames, rounds),
            net=net,
            device=device,
            backend=backend.value,
        )
        scenario = replace(scenario, slo_s=slo)
        with Progress(runs_in_all(rounds)) as progress:
            measured = measure_loads(scenario, seconds, progress.tell)
        report = make_report(scenario, measured, load_before)
    give(report, as_json, out, tables(report))
