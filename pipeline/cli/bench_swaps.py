"""``headrace bench swaps``: what frames feel of swaps, while they are scored."""

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


def bench_swaps(
    swaps: Annotated[int, typer.Option(min=1, help="How often the model is swapped.")] = 100,
    load: Annotated[
        float,
        typer.Option(min=0.05, max=0.95, help="The stream's share of the worker's full speed."),
    ] = 0.7,
    apart: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="Seconds between them. A worker keeps the probe's process for a minute: beyond "
            "that it is started for each, which takes seconds of CPU, and minutes of rests.",
        ),
    ] = 1.5,
    frames: Annotated[
        int,
        typer.Option(min=20, help="Frames to find out the full speed with, at each fifth swap."),
    ] = 4000,
    quality: Quality = 85,
    net: Net = "reference-cnn",
    device: Device = "auto",
    backend: Backend = Backends.torchscript,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Measure the ages of frames while the model is swapped, against those just before.

    A worker scores a stream that doesn't wait, and an alias moves to and fro between two versions:
    each time the version is probed, loaded, held to its golden outputs, warmed and exchanged. What
    is compared stands side by side in time, so that the ratios hold on a busy machine too. Result
    rows go to the folder for temporary files: two to three gigabytes for a hundred swaps at
    1,800 frames/s.
    """
    import tempfile

    from pipeline.bench.conditions import load_1m
    from pipeline.bench.scenario import threads_as_before
    from pipeline.bench.swap_report import make_report, tables
    from pipeline.bench.swapping import Plan, swap_again_and_again
    from pipeline.logs import configure_logs

    check_out(out)
    configure_logs("error")  # a worker runs in this process, and the tables say how it fared
    load_before = load_1m()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        scenario = make_scenario(
            *(folder, "auto", quality, frames, 1),
            net=net,
            device=device,
            backend=backend.value,
        )
        with Progress(swaps) as progress, threads_as_before(scenario.machine):
            plan = Plan(load, swaps, apart, frames)
            measured = swap_again_and_again(scenario, plan, lambda: progress.tell("swaps"))
        report = make_report(scenario, measured, load_before)
    give(report, as_json, out, tables(report))
