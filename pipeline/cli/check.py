"""``headrace check``: whether a worker could run with these settings, and what would run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from pipeline.cli.options import Given, with_worker_options
from pipeline.cli.tables import print_table

if TYPE_CHECKING:
    from pipeline.cli.checks import Report


@with_worker_options
def check(given: Given) -> None:
    """Try what a worker would need, and say what would run.

    Opens each source and reads one frame, looks whether results could be written (without making
    a file), and loads the model and runs its golden inputs. Exit codes: 0 all is well, 1 something
    can't be used now, 2 something is wrong with what was asked for.
    """
    from pipeline.cli.checks import check_all
    from pipeline.logs import configure_logs

    configure_logs("error")  # the table says it all
    report = check_all(given.effective().settings)
    if given.as_json:
        typer.echo(json.dumps(_to_json(report), ensure_ascii=False))
    else:
        _show(report)
    raise typer.Exit(report.exit_code)


def _to_json(report: Report) -> dict[str, object]:
    return {
        "ok": report.exit_code == 0,
        "checks": [
            {"what": each.what, "name": each.name, "ok": each.is_ok, "detail": each.detail}
            for each in report.findings
        ],
        "would_run": report.would_run,
    }


def _show(report: Report) -> None:
    print_table(
        ("", "what", "which", "found"),
        [
            ("✓" if each.is_ok else "✗", each.what, each.name, each.detail)
            for each in report.findings
        ],
    )
    print_table(
        ("would run", ""), [(key, _said(value)) for key, value in sorted(report.would_run.items())]
    )


def _said(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(each)}" for key, each in value.items())
    if isinstance(value, list):
        return "; ".join(_said(each) for each in value)
    return str(value)
