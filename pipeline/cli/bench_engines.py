"""``headrace bench engines``: how fast backends run a network."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.bench_parts import AsJson, Net, Out, Progress, check_out, give, make_scenario


def bench_engines(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of all backends.")] = 5,
    net: Net = "reference-cnn",
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Measure how fast TorchScript and ONNX Runtime run a network on the CPU.

    In batches of 1, 8 and 32, with one thread and with all cores, by itself and beside as many
    threads as a worker's that decode. It takes headrace[onnx].
    """
    import tempfile

    from pipeline.bench.conditions import load_1m
    from pipeline.bench.engines import race_in_rounds
    from pipeline.bench.engines_report import make_report, tables

    check_out(out)
    load_before = load_1m()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        scenario = make_scenario(
            folder, "auto", 85, 1, rounds, net=net, device="cpu", backend="onnxruntime"
        )
        with Progress(rounds) as progress:
            measured = race_in_rounds(scenario, lambda: progress.tell("rounds"))
        report = make_report(scenario, measured, load_before)
    give(report, as_json, out, tables(report))
