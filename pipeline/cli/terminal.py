"""What a running worker shows on a terminal: a table that is drawn anew four times a second."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from pipeline.worker import Worker

_DRAWN_HZ = 4


@contextmanager
def live_table(worker: Worker, title: str) -> Iterator[None]:
    """Shows the worker's figures on stderr while the block runs, where that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    with Live(
        console=console,
        get_renderable=lambda: figures(worker, title),
        refresh_per_second=_DRAWN_HZ,
        transient=True,
    ):
        yield


def figures(worker: Worker, title: str) -> Table:
    """The worker's figures of this moment."""
    from rich.table import Table

    seen = worker.live.snapshot()
    so_far = worker.summary()
    model = worker.model()
    age = seen["age_ms"]
    accuracy = seen["accuracy"]
    table = Table(title=title, title_justify="left", show_header=False, min_width=60)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("frames/s", f"{seen['frames_per_s']:.1f}")
    table.add_row(
        "age p50 / p99", "-" if age is None else f"{age['p50']:.1f} ms / {age['p99']:.1f} ms"
    )
    if accuracy is not None:
        table.add_row("accuracy", f"{accuracy:.1%} of the last {seen['accuracy_frames']}")
    table.add_row(
        "model",
        "loading"
        if model is None
        else f"{model.name}@{model.version} ({model.sha256[:12]}), epoch {model.epoch}",
    )
    table.add_row("swaps", str(so_far.swaps))
    table.add_row(
        "received",
        f"{so_far.received} = {so_far.scored} scored + {so_far.shed} shed + "
        f"{so_far.rejected} rejected + {so_far.in_flight} in flight",
    )
    return table


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int | None, str], None]]:
    """A bar on stderr where that is a terminal, nothing elsewhere. What it gives is called with how
    much is done, of how much (None: nobody knows), and words to stand beside it."""
    if not sys.stderr.isatty():
        yield lambda _done, _total, _words: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int | None, words: str) -> None:
            bar.update(task, completed=done, total=total, description=words)

        yield show


def say(text: str) -> None:
    """One line for the person at the terminal: on stderr, as stdout is for results."""
    print(text, file=sys.stderr, flush=True)
