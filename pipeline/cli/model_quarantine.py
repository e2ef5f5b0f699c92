"""``headrace models quarantine``: what workers refuse as they refused it before."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.model_parts import AsJson, print_json
from pipeline.cli.tables import print_lines


def quarantine(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which model.")],
    state_folder: Annotated[
        str,
        typer.Option(
            metavar="FOLDER",
            envvar="HEADRACE_MODEL__STATE_FOLDER",
            help="The workers' `model.state_folder`.",
        ),
    ],
    release: Annotated[
        int | None,
        typer.Option(metavar="VERSION", help="Let go of what was refused as this version."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which contents workers refused for what they are, and let one go.

    A content that is let go is tried again when the alias moves to a version of it, and scores at
    once where a worker starts while the alias stands for it.
    """
    from pipeline.artifact.names import check_name
    from pipeline.artifact.quarantine import Quarantine
    from pipeline.errors import ConfigError

    kept = Quarantine(state_folder, check_name(name))
    if release is not None and not kept.release(release):
        known = ", ".join(str(each.version) for each in kept.entries()) or "none"
        raise ConfigError(
            f"nothing was refused as {name}@{release} in {state_folder}, expected one of: {known}"
        )
    entries = kept.entries()
    if as_json:
        print_json([each.model_dump() for each in entries])
    elif entries:
        rows = [
            (f"{name}@{each.version}", each.sha256[:8], _utc(each.at), each.why) for each in entries
        ]
        print_lines(("model", "sha256", "refused (UTC)", "why"), rows)
    else:
        typer.echo(f"nothing of {name} is in quarantine in {state_folder}", err=True)


def _utc(unix_s: float) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d %H:%M}"
