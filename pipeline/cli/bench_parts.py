"""What the verbs of ``headrace bench`` share: options, the scenario, the bar, where reports go."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipeline.bench.scenario import Scenario

MODEL = "bench"
"""The name of the network in the scenario's registry."""
_WIDTH = 110
_TORCHVISION_SIZE = (224, 224)

Net = Annotated[
    str, typer.Option(help="reference-cnn at 24x24, or torchvision:NAME at 224x224, untrained.")
]
Quality = Annotated[
    int, typer.Option(min=1, max=100, help="The JPEGs' quality: 93 has 57 KB, 85 has 28 KB.")
]
Device = Annotated[str, typer.Option(help="Where it computes: auto, cpu, cuda or cuda:N.")]


class Backends(StrEnum):
    """Who runs a network, without a race."""

    torchscript = "torchscript"
    onnxruntime = "onnxruntime"


Backend = Annotated[Backends, typer.Option(help="Who runs the worker's network.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as one line of JSON.")]
Out = Annotated[Path | None, typer.Option(help="Write the JSON to this file too.")]


def check_out(out: Path | None) -> None:
    """Refuses a file that can't be written, before there is anything to write.

    Raises:
        ConfigError: its folder isn't there.
    """
    if out is not None and not out.absolute().parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.absolute().parent}; make it first")


def give(
    report: Mapping[str, Any], as_json: bool, out: Path | None, tables: RenderableType
) -> None:
    """Prints a report as tables or as one line of JSON, and writes it to a file where told."""
    from rich.console import Console

    if out is not None:
        out.write_text(json.dumps(report, indent=2) + "\n")
    if as_json:
        typer.echo(json.dumps(report))
    else:
        # In a file or a log nothing is gained by folding rows.
        Console(width=None if sys.stdout.isatty() else _WIDTH).print(tables)


def make_scenario(
    folder: str,
    decode: str,
    quality: int,
    frames: int,
    rounds: int,
    *,
    net: str = "reference-cnn",
    device: str = "cpu",
    backend: Literal["torchscript", "onnxruntime"] = "torchscript",
) -> Scenario:
    """Publishes a network, untrained (its speed doesn't depend on its weights), to a registry in
    ``folder``.

    Raises:
        ConfigError: there is no such network, device or backend.
    """
    import numpy as np
    import torch

    from pipeline.artifact.manifest import Contract
    from pipeline.artifact.registry import Registry
    from pipeline.bench.scenario import Scenario, make_pictures, this_machine
    from pipeline.cores import usable_cores
    from pipeline.digits.data import LABELS
    from pipeline.engine.backends import FORMAT_OF, check_backend
    from pipeline.engine.device import choose_device
    from pipeline.preprocess import PreprocessSpec, load_sample
    from pipeline.types import Format
    from trainer.export import GOLDEN_COUNT, About, make_draft
    from trainer.nets import REFERENCE_SIZE, build_net
    from trainer.served import TRAINING_NORMALISATION, ServedNetwork

    device = choose_device(device)
    check_backend(backend, device)
    width, height = size = REFERENCE_SIZE if net == "reference-cnn" else _TORCHVISION_SIZE
    spec = PreprocessSpec(width=width, height=height, decode=cast(Literal["auto", "full"], decode))
    machine = this_machine(usable_cores())
    pictures = make_pictures(quality)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        served = ServedNetwork(build_net(net, len(LABELS), size), TRAINING_NORMALISATION)
    samples_nhwc = np.stack([load_sample(each, spec) for each in pictures[:GOLDEN_COUNT]])
    registry = f"{folder}/registry"
    about = About(MODEL, Contract.of(LABELS, spec))
    formats: list[Format] = [FORMAT_OF[backend]] if backend in FORMAT_OF else []
    manifest = Registry(registry).publish(make_draft(served, samples_nhwc, about, formats))
    return Scenario(
        pictures=pictures,
        quality=quality,
        spec=spec,
        network=served.to(device),
        net=net,
        device=device,
        labels=LABELS,
        registry=registry,
        model=f"{MODEL}@{manifest.version}",
        folder=folder,
        machine=machine,
        frames=frames,
        rounds=rounds,
        backend=backend,
    )


class Progress:
    """A bar on stderr that is drawn between runs only: its own thread would be measured too."""

    def __init__(self, total: int) -> None:
        from rich import progress
        from rich.console import Console

        columns = (
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.description}"),
        )
        self._bar = progress.Progress(
            *columns, console=Console(stderr=True), auto_refresh=False, transient=True
        )
        self._task = self._bar.add_task("", total=total)
        self._begun = 0

    def tell(self, what: str) -> None:
        """Shows what runs now, and all before it as done."""
        self._bar.update(self._task, completed=self._begun, description=what, refresh=True)
        self._begun += 1

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()
