"""``headrace keys``: who may sign models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Make and show the keys that sign models.",
    no_args_is_help=True,
    add_completion=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]


@app.command()
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the private key goes.")],
    as_json: AsJson = False,
) -> None:
    """Make an Ed25519 key: FILE signs and is to be kept secret, FILE.pub is to be trusted.

    With a passphrase in HEADRACE_SIGNING_PASSPHRASE the private key is encrypted; signing takes
    the passphrase from there, too.
    """
    from pipeline.artifact.keys import SigningKey

    key = SigningKey.new()
    public = key.write(file)
    if as_json:
        typer.echo(
            json.dumps({"private": str(file), "public": str(public), "key": str(key.public)})
        )
        return
    typer.echo(
        f"{file} signs: `headrace publish --sign {file}`, `headrace train --sign {file}`. Keep it"
        f' secret.\n{public} is for workers: model.trusted_keys = ["{key.public}"] in their'
        " settings, or this file's path there."
    )


@app.command()
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A private or public key.")],
    as_json: AsJson = False,
) -> None:
    """Show a key's public part as model.trusted_keys takes it."""
    from pipeline.artifact.keys import public_part

    key = public_part(file)
    typer.echo(json.dumps({"key": str(key)}) if as_json else str(key))
