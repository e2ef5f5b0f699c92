"""``headrace bench``: the worker beside a plain loop and beside the ceiling, in one run."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.bench.scenario import Scenario

_MODEL = "bench"
_WIDTH = 110


class Decode(StrEnum):
    """How JPEGs are decoded."""

    auto = "auto"
    full = "full"


def bench(
    frames: Annotated[int, typer.Option(min=20, help="Frames in a round.")] = 1500,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds at full speed.")] = 5,
    decode: Annotated[
        Decode, typer.Option(help="auto: JPEGs no larger than needed; full: all of them.")
    ] = Decode.auto,
    quality: Annotated[
        int, typer.Option(min=1, max=100, help="The JPEGs' quality: 93 has 57 KB, 85 has 27 KB.")
    ] = 93,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as one line of JSON.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON to this file too.")] = None,
) -> None:
    """Measure the worker against a plain loop, and against decode and forward alone.

    All run in turn on the same pictures from memory, so that ratios hold on a busy machine too.
    """
    import tempfile

    from rich.console import Console

    from pipeline.bench.compare import compare, runs_in_all
    from pipeline.bench.report import load_1m, make_report, tables
    from pipeline.errors import ConfigError

    if out is not None and not out.absolute().parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.absolute().parent}; make it first")
    load_before = load_1m()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        scenario = _scenario(folder, decode.value, quality, frames, rounds)
        with _Progress(runs_in_all(rounds)) as progress:
            comparison = compare(scenario, progress.tell)
        report = make_report(comparison, scenario, load_before)
    if out is not None:
        out.write_text(json.dumps(report, indent=2) + "\n")
    if as_json:
        typer.echo(json.dumps(report))
    else:
        # In a file or a log nothing is gained by folding rows.
        Console(width=None if sys.stdout.isatty() else _WIDTH).print(tables(report))


def _scenario(folder: str, decode: str, quality: int, frames: int, rounds: int) -> Scenario:
    """Publishes the reference network, untrained (its speed doesn't depend on its weights), to a
    registry in ``folder``."""
    from typing import Literal, cast

    import numpy as np
    import torch

    from pipeline.artifact.manifest import Contract
    from pipeline.artifact.registry import Registry
    from pipeline.bench.scenario import Scenario, make_pictures, this_machine
    from pipeline.cores import usable_cores
    from pipeline.digits.data import LABELS
    from pipeline.preprocess import PreprocessSpec, load_sample
    from trainer.export import GOLDEN_COUNT, About, make_draft
    from trainer.nets import REFERENCE_SIZE, build_net
    from trainer.served import TRAINING_NORMALISATION, ServedNetwork

    width, height = REFERENCE_SIZE
    spec = PreprocessSpec(width=width, height=height, decode=cast(Literal["auto", "full"], decode))
    machine = this_machine(usable_cores())
    pictures = make_pictures(quality)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        served = ServedNetwork(build_net("reference-cnn", len(LABELS)), TRAINING_NORMALISATION)
    samples_nhwc = np.stack([load_sample(each, spec) for each in pictures[:GOLDEN_COUNT]])
    registry = f"{folder}/registry"
    about = About(_MODEL, Contract.of(LABELS, spec))
    manifest = Registry(registry).publish(make_draft(served, samples_nhwc, about))
    return Scenario(
        pictures=pictures,
        quality=quality,
        spec=spec,
        network=served,
        labels=LABELS,
        registry=registry,
        model=f"{_MODEL}@{manifest.version}",
        folder=folder,
        machine=machine,
        frames=frames,
        rounds=rounds,
    )


class _Progress:
    """A bar on stderr that is drawn between runs only: its own thread would be measured too."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._bar = Progress(
            *columns, console=Console(stderr=True), auto_refresh=False, transient=True
        )
        self._task = self._bar.add_task("", total=total)
        self._begun = 0

    def tell(self, what: str) -> None:
        """Shows what runs now, and all before it as done."""
        self._bar.update(self._task, completed=self._begun, description=what, refresh=True)
        self._begun += 1

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()
