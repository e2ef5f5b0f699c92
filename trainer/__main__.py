"""``python -m trainer``: the verbs that need torch, without the rest of the command line."""

from __future__ import annotations

import sys
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
    registry: Annotated[str, typer.Option(help="Folder or fsspec URL.")] = "registry",
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and digits.")] = 0,
) -> None:
    """Train beside a worker and publish each better version; a JSON line for each."""
    from trainer import continuous

    continuous.demo_loop(registry, name, seed)


def main() -> None:
    """Runs a verb; a known error is one line on stderr."""
    try:
        app()
    except HeadraceError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
