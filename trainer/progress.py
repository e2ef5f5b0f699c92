"""What training shows while it runs, on stderr: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class TrainingProgress(Protocol):
    """Who is told how far training is. Called on the training thread; must return at once."""

    def batch_done(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        """``batch`` of ``batches`` was learnt from; ``loss`` is the epoch's mean so far."""
        ...

    def say(self, line: str) -> None:
        """Something a person wants to know."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class PlainProgress:
    """Lines only, for logs."""

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file

    def batch_done(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        """Nothing: a log wants no line for each batch."""

    def say(self, line: str) -> None:
        """See ``TrainingProgress.say``."""
        print(line, file=self._file or sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


class SilentProgress(PlainProgress):
    """Nothing at all, where another process says it."""

    def say(self, line: str) -> None:
        """Nothing."""


class BarProgress:
    """A bar for the epoch that runs, and a line for each that is over."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False),
            transient=True,
        )
        self._task = self._bars.add_task("", total=None, epoch=0, loss=0.0, visible=False)

    def batch_done(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        """See ``TrainingProgress.batch_done``."""
        if batch == 1:
            self._bars.reset(self._task, total=batches, visible=True)
        self._bars.update(self._task, completed=batch, epoch=epoch, loss=loss)

    def say(self, line: str) -> None:
        """See ``TrainingProgress.say``."""
        self._bars.console.print(line, markup=False)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()


def progress_for_stderr() -> TrainingProgress:
    """Bars where stderr is a terminal, otherwise lines."""
    return BarProgress() if sys.stderr.isatty() else PlainProgress()
