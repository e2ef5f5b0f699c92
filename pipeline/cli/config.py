"""``headrace config``: the effective settings, and where each came from."""

from __future__ import annotations

import json

import typer

from pipeline.cli.options import Given, with_worker_options
from pipeline.cli.tables import print_table


@with_worker_options
def config(given: Given) -> None:
    """Show the effective settings and where each came from; secrets are masked.

    Options win over HEADRACE_… variables, those over the file, the file over defaults.
    """
    rows = given.effective().rows()
    if given.as_json:
        answer = {row.key: {"value": row.value, "from": row.origin} for row in rows}
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    print_table(
        ("setting", "value", "from"),
        [(row.key, _shown(row.value), row.origin) for row in rows],
    )


def _shown(value: object) -> str:
    """A value as the settings file would say it."""
    if isinstance(value, list):
        return f"[{', '.join(_shown(each) for each in value)}]"
    return json.dumps(value, ensure_ascii=False)
