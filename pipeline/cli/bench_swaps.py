"""``headrace bench swaps``: what frames feel of swaps, while they are scored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.bench_parts import Progress, check_out, give, make_scenario

_FULL_SPEED_RUNS = 3


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
            "that it is started for each, which takes seconds of CPU.",
        ),
    ] = 1.5,
    frames: Annotated[
        int, typer.Option(min=20, help="Frames to find out the full speed with, thrice.")
    ] = 4000,
    quality: Annotated[
        int, typer.Option(min=1, max=100, help="The JPEGs' quality: 93 has 57 KB, 85 has 28 KB.")
    ] = 85,
    net: Annotated[
        str,
        typer.Option(help="reference-cnn at 24x24, or torchvision:NAME at 224x224, untrained."),
    ] = "reference-cnn",
    device: Annotated[
        str, typer.Option(help="Where it computes: auto, cpu, cuda or cuda:N.")
    ] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as one line of JSON.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON to this file too.")] = None,
) -> None:
    """Measure the ages of frames while the model is swapped, against those just before.

    A worker scores a stream that doesn't wait, and an alias moves to and fro between two versions:
    each time the version is probed, loaded, held to its golden outputs, warmed and exchanged. What
    is compared stands side by side in time, so that the ratios hold on a busy machine too. Result
    rows go to the folder for temporary files: half a gigabyte for a hundred swaps at 1,500
    frames/s.
    """
    import tempfile

    from pipeline.bench.conditions import load_1m
    from pipeline.bench.rounds import spread
    from pipeline.bench.scenario import use_threads
    from pipeline.bench.subject import worker_at_full_speed
    from pipeline.bench.swap_report import make_report, tables
    from pipeline.bench.swapping import Plan, swap_again_and_again
    from pipeline.logs import configure_logs

    check_out(out)
    configure_logs("error")  # a worker runs in this process, and the tables say how it fared
    load_before = load_1m()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        scenarios = [
            make_scenario(folder, "auto", quality, frames, 1, net=net, device=device)
            for _ in range(2)
        ]
        first, versions = scenarios[0], [int(each.model.partition("@")[2]) for each in scenarios]
        try:
            with Progress(1 + _FULL_SPEED_RUNS + swaps) as progress:
                progress.tell("warm-up")
                worker_at_full_speed(first, frames)
                speeds: list[float] = []
                for _ in range(_FULL_SPEED_RUNS):
                    progress.tell("the worker at full speed")
                    speeds.append(worker_at_full_speed(first, frames).frames_per_s)
                full_speed = spread(speeds)
                fps = load * full_speed.median
                measured = swap_again_and_again(
                    first,
                    (versions[0], versions[1]),
                    Plan(fps, swaps, apart),
                    lambda: progress.tell(f"swaps, at {fps:.0f} frames/s"),
                )
        finally:
            use_threads(first.machine.torch_threads, first.machine.opencv_threads)
        report = make_report(first, measured, full_speed, load, load_before)
    give(report, as_json, out, tables(report))
