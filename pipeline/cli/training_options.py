"""Options that ``train``, ``publish`` and ``trainer watch`` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Alias = Annotated[list[str] | None, typer.Option(help="Moves to it besides 'latest'; repeatable.")]
Sign = Annotated[Path | None, typer.Option(metavar="KEY", help="Sign it with this private key.")]
RegistryUrl = Annotated[
    str, typer.Option(envvar="HEADRACE_MODEL__REGISTRY", help="Folder or fsspec URL.")
]
Formats = Annotated[
    str,
    typer.Option(
        metavar="NAME,…",
        help="What it is published in besides TorchScript: onnx, for workers whose engine.backend"
        " is onnxruntime.",
    ),
]
Grayscale = Annotated[
    bool, typer.Option("--grayscale", help="Colours become luma, in three equal channels.")
]
Window = Annotated[
    str | None,
    typer.Option(metavar="BLACK,WHITE", help="Of 16-bit pictures: values to show, as 0,4095."),
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Torch's threads (default: torch's choice).")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:INDEX.")]
EvenIfWorse = Annotated[
    bool,
    typer.Option("--even-if-worse", help="Publish it even if it is worse than what it replaces."),
]
GateTolerance = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="SHARE",
        help="How much lower its accuracy or mean F1 may be, 0.01 being one point; of a regression"
        " how much larger its MSE, as a share of the other's. [default: 0]",
    ),
]
TrustedKey = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY",
        help="Run what it replaces only if this key signed it, or one of; repeatable.",
    ),
]
