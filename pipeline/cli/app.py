"""The command ``headrace``: its verbs, each imported only when it is called.

``headrace --help`` must answer at once, and torch alone takes seconds to import; so the verbs'
names and helps stand here, and their modules are loaded by name.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from pipeline.errors import EXIT_FAILED, HeadraceError
from pipeline.urls import mask_text


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: ``module:attribute`` of a function, or of a ``Typer`` with verbs of its own."""

    name: str
    place: str
    help: str

    def load(self) -> Any:
        """Imports the verb and gives it as a command."""
        module, _, attribute = self.place.partition(":")
        target = getattr(import_module(module), attribute)
        if not isinstance(target, typer.Typer):
            single = _typer()
            single.command(self.name)(target)
            target = single
        target.rich_markup_mode = None
        command = get_command(target)
        command.name = self.name
        return command


VERBS = (
    Verb("demo", "pipeline.cli.demo:demo", "Show everything at once: frames, training, swaps."),
    Verb("worker", "pipeline.cli.worker:worker", "Run a worker: frames in, results out."),
    Verb("feed", "pipeline.cli.feed:feed", "Put a source's frames on a Kafka topic."),
    Verb("replay", "pipeline.cli.replay:replay", "Put dead letters or a range through again."),
    Verb("status", "pipeline.cli.status:status", "Show how far a group is on a Kafka topic."),
    Verb("train", "pipeline.cli.train:train", "Train a network, and publish it if told."),
    Verb("publish", "pipeline.cli.publish:publish", "Make a network of your own an artifact."),
    Verb("trainer", "pipeline.cli.trainer_watch:app", "Train a model anew as the world changes."),
    Verb("models", "pipeline.cli.models:app", "List, show, verify, promote and roll back models."),
    Verb("keys", "pipeline.cli.keys:app", "Make and show the keys that sign models."),
    Verb("check", "pipeline.cli.check:check", "Try sources, sinks and model; say what would run."),
    Verb("config", "pipeline.cli.config:config", "Show the settings and where each came from."),
    Verb("bench", "pipeline.cli.bench:app", "Measure the worker beside what it replaces."),
)


class LazyVerbs(TyperGroup):
    """A group whose listed commands are placeholders; what is called is loaded first."""

    def get_help_option(self, ctx: Any) -> Any:
        """Gives ``--help`` a default: to make False of None, Typer 0.29 imports pydantic."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Takes ``--debug`` wherever it stands: one adds it to the end of what just failed."""
        if "--debug" in args:
            args = ["--debug", *(arg for arg in args if arg != "--debug")]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Loads the verb that is called."""
        name, placeholder, rest = super().resolve_command(ctx, args)
        verb = next((verb for verb in VERBS if verb.name == name), None)
        return name, placeholder if verb is None else verb.load(), rest

    def invoke(self, ctx: Any) -> Any:
        """Runs the verb; a known error is one line, and its exit code."""
        try:
            return super().invoke(ctx)
        except HeadraceError as error:
            if ctx.params.get("debug"):
                typer.echo(mask_text("".join(traceback.format_exception(error))), err=True)
            typer.echo(f"headrace: {mask_text(str(error))}", err=True)
            raise typer.Exit(error.exit_code) from error
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            where = f" for {error.filename}" if error.filename else ""
            typer.echo(f"headrace: no space left{where}: free some and start again", err=True)
            raise typer.Exit(EXIT_FAILED) from error


def _typer(**more: Any) -> typer.Typer:
    # Plain help: rich would take half of the time there is, and [default: …] for its markup.
    return typer.Typer(
        rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False, **more
    )


def _placeholder() -> None:
    """Stands for a verb in the list of verbs."""


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"headrace {version('headrace')}")
        raise typer.Exit


def _about(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, too.")
    ] = False,
) -> None:
    """Headrace runs a network on streams of frames, in real time.

    Results go to standard output, logs to standard error. Exit codes: 0 done, 1 failed, 2 wrong
    use or settings, 75 start me again.
    """
    from pipeline.logs import configure_logs, terminal_console

    configure_logs("debug" if debug else "info", terminal_console())


def make_app() -> typer.Typer:
    """Makes the command line's application."""
    app = _typer(cls=LazyVerbs, no_args_is_help=True, callback=_about)
    for verb in VERBS:
        register: Callable[..., Any] = app.command(verb.name, help=verb.help)
        register(_placeholder)
    return app


def main() -> None:
    """The console script ``headrace``. Ends the process."""
    _occupy_standard_streams()
    make_app()(prog_name="headrace")


def _occupy_standard_streams() -> None:
    """Puts something where a supervisor closed standard input, output or error.

    Else the next file opened would get the number: libpng's complaints, which go to 2, would stand
    between the results. What is put at 1 can't be written, so that a sink there fails, not lies.
    """
    for fd, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest number that is free: this one
    # Python's own are None then, and neither is closed before the process ends.
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
