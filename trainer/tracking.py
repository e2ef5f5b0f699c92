"""Who else is told of each epoch: TensorBoard here, MLflow in its own file; each by an extra."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from pipeline.errors import ConfigError
from trainer.fit import EpochReport


class EpochListener(Protocol):
    """Told of each epoch when it is kept in the run's folder. Called on the training thread.

    Entered before training begins, and left when it is over or has failed.
    """

    def epoch_done(self, report: EpochReport) -> None:
        """One epoch is over. May block shortly; the next epoch waits."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def scalars(report: EpochReport) -> dict[str, float]:
    """An epoch's figures by name: those of ``history.jsonl``, and more on held-out data."""
    record = report.record.to_dict()
    return {
        **{name: value for name, value in record.items() if name != "epoch" and value is not None},
        **report.evaluation.figures,
    }


class TensorBoard:
    """Writes scalars as event files into a run's folder: ``tensorboard --logdir runs`` shows them.

    Raises:
        ConfigError: the package tensorboard isn't installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as cause:
            raise ConfigError(
                "--tensorboard needs the package tensorboard:"
                " python -m pip install 'headrace[tensorboard]'"
            ) from cause
        self._folder, self._make_writer = folder, SummaryWriter
        self._writer: SummaryWriter | None = None

    def epoch_done(self, report: EpochReport) -> None:
        """See ``EpochListener.epoch_done``."""
        epoch = report.record.epoch
        if self._writer is None:
            # The first epoch that is told of, also of a resumed run: what an earlier process wrote
            # of it and of later ones is void, as it is in last.pt.
            self._writer = self._make_writer(str(self._folder), purge_step=epoch)
        for name, value in scalars(report).items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()
