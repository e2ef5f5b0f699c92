"""``headrace bench``: the worker beside a plain loop and beside the ceiling, in one run."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from pipeline.cli.bench_engines import bench_engines
from pipeline.cli.bench_kafka import bench_kafka
from pipeline.cli.bench_load import bench_load
from pipeline.cli.bench_parts import (
    AsJson,
    Backend,
    Backends,
    Net,
    Out,
    Progress,
    check_out,
    give,
    make_scenario,
)
from pipeline.cli.bench_swaps import bench_swaps
from pipeline.errors import ConfigError

app = typer.Typer(add_completion=False, subcommand_metavar="[engines|kafka|load|swaps]")
app.command("engines")(bench_engines)
app.command("kafka")(bench_kafka)
app.command("load")(bench_load)
app.command("swaps")(bench_swaps)


class Decode(StrEnum):
    """How JPEGs are decoded."""

    auto = "auto"
    full = "full"


@app.callback(invoke_without_command=True)
def bench(
    ctx: typer.Context,
    frames: Annotated[int, typer.Option(min=20, help="Frames in a round.")] = 1500,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds at full speed.")] = 5,
    decode: Annotated[
        Decode, typer.Option(help="auto: JPEGs no larger than needed; full: all of them.")
    ] = Decode.auto,
    quality: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            max=100,
            help="The JPEGs' quality; give it again for another one beside it. "
            "[default: 85, which has 28 KB, and 93, which has 57]",
        ),
    ] = None,
    net: Net = "reference-cnn",
    device: Annotated[
        str, typer.Option(help="Where all of them compute: auto, cpu, cuda or cuda:N.")
    ] = "auto",
    backend: Backend = Backends.torchscript,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Measure the worker against a plain loop, and against decode and forward alone.

    All run in turn on the same pictures from memory, so that ratios hold on a busy machine too. How
    much a JPEG's own bytes leave to gain depends on how many they are: so there are two sizes.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx)
        return
    import tempfile

    from pipeline.bench.compare import compare, runs_in_all
    from pipeline.bench.conditions import load_1m
    from pipeline.bench.report import make_report, tables
    from pipeline.bench.scenario import QUALITIES
    from pipeline.logs import configure_logs

    check_out(out)
    configure_logs("warning")  # workers run in this process, and the tables say how they fared
    load_before = load_1m()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        scenarios = [
            make_scenario(
                *(folder, decode.value, each, frames, rounds),
                net=net,
                device=device,
                backend=backend.value,
            )
            for each in quality or QUALITIES
        ]
        with Progress(runs_in_all(rounds) * len(scenarios)) as progress:
            measured = [(each, compare(each, progress.tell)) for each in scenarios]
        report = make_report(measured, load_before)
    give(report, as_json, out, tables(report))


def _refuse_options(ctx: typer.Context) -> None:
    """Refuses this verb's options before another's name: they would do nothing."""
    for name in ctx.params:
        # By its name: Typer has moved the enumeration's place from version to version.
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ConfigError(
                f"an option of `headrace bench` stands before {ctx.invoked_subcommand!r}: put it"
                f" behind, as far as `headrace bench {ctx.invoked_subcommand} --help` has it"
            )
