"""The gate's options, which ``train`` and ``publish`` have in common."""

from __future__ import annotations

from typing import Annotated

import typer

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
