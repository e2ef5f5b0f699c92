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
        help="How much lower its accuracy may be, 0.01 being one point. [default: 0]",
    ),
]
TrustedKey = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY",
        help="Run what it replaces only if this key signed it, or one of; repeatable.",
    ),
]
