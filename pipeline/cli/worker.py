"""``headrace worker``: the verb; the work is in ``pipeline.worker``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import typer

from pipeline.cli.options import Given, with_worker_options
from pipeline.cli.starting import Starting, stoppable_from_the_start
from pipeline.cli.terminal import live_table, say
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.config import Settings
    from pipeline.summary import Summary


@with_worker_options
def worker(given: Given) -> None:
    """Run a worker until its sources end, --max-frames came in, or SIGTERM or Ctrl-C.

    A finished or stopped run drains: each frame that came in gets its outcome. A second signal
    ends at once. With --json a one-line summary ends standard output.
    """
    with stoppable_from_the_start(as_json=given.as_json) as starting:
        summary = _run(_settings(given), starting)
    if given.as_json:
        typer.echo(json.dumps(summary.to_json()))
    else:
        _report(summary)
    if summary.error is not None:
        raise summary.error


def _settings(given: Given) -> Settings:
    from pipeline.logs import configure_logs, terminal_console

    settings = given.effective().settings
    if not settings.model.name:
        raise ConfigError("no model: give --model NAME; `headrace models list` shows what is there")
    configure_logs(settings.log_level, terminal_console())
    return settings


def _run(settings: Settings, starting: Starting) -> Summary:
    from pipeline.clock import SystemClock
    from pipeline.service import serving
    from pipeline.watchdog import guarded
    from pipeline.worker import Worker

    made = Worker(settings)
    starting.has_made(made)
    limit_s = settings.lifecycle.stall_timeout_s
    with guarded(made.stuck, limit_s, SystemClock()), serving(made, settings.server) as url:
        if "stdout:" in settings.sinks and sys.stdout.isatty():
            return made.run()  # the results themselves are on the terminal
        with live_table(made, f"headrace worker   {url}"):
            return made.run()


def _report(summary: Summary) -> None:
    say(
        f"{summary.received} frames received = {summary.scored} scored + {summary.shed} shed + "
        f"{summary.rejected} rejected + {summary.in_flight} in flight, "
        f"{summary.frames_per_s:.1f} frames/s, {summary.swaps} swaps, {summary.duration_s:.1f} s"
    )
