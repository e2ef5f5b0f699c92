"""``python -m trainer``: the verbs that need torch, without the rest of the command line."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.publish import publish
from pipeline.cli.train import train
from pipeline.errors import HeadraceError

app = typer.Typer(
    help="Train networks and publish them for workers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(train)
app.command()(publish)


@app.command("demo-loop", hidden=True)
def demo_loop(
    name: Annotated[str, typer.Option(help="The model's name.")],
    folder: Annotated[Path, typer.Option(help="Of the demo: see trainer.demo.")] = Path(),
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and digits.")] = 0,
    until_stdin_ends: Annotated[
        bool, typer.Option("--until-stdin-ends", help="End when standard input does.")
    ] = False,
) -> None:
    """Train beside a worker, publish each better version, and train on as its frames drift; a JSON
    line for each version."""
    if until_stdin_ends:  # before torch is imported, which takes long
        threading.Thread(target=_end_with_stdin, name="stdin", daemon=True).start()
    from trainer import demo

    demo.demo_loop(folder, name, seed)


def _end_with_stdin() -> None:
    """Ends this process, wherever it is, when whoever holds the other end of its pipe is gone.

    Publishing is atomic, so any moment is a good one.
    """
    while os.read(0, 4096):
        pass
    os._exit(0)


def main() -> None:
    """Runs a verb; a known error is one line on stderr."""
    try:
        app()
    except HeadraceError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
