"""A run on MLflow's pages too: the one file that knows mlflow."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pipeline.errors import ConfigError
from trainer.checkpoint import write_atomically
from trainer.fit import EpochReport
from trainer.tracking import scalars

if TYPE_CHECKING:
    pass

_EXPERIMENT = "headrace"
_KEPT = "mlflow.json"
"""In the run's folder: where this run is known by what id, so that a resumed one goes on there."""


@dataclass(frozen=True, slots=True)
class MlflowTarget:
    """Where and as what: ``uri`` is a server's or ``sqlite:///FILE``, ``settings`` the parameters.

    ``say`` is told if MLflow is lost on the way.
    """

    uri: str
    folder: Path
    settings: Mapping[str, object]
    say: Callable[[str], None]


class MlflowRun:
    """Logs each epoch's scalars as a run of the experiment ``headrace``, named as the run's folder.

    The client is this object's own: nothing of MLflow's global state is used. MLflow that can't be
    reached when training begins is an error; later training goes on without it.

    Raises:
        ConfigError: the package mlflow isn't installed, or what ``uri`` names can't be used.
    """

    def __init__(self, target: MlflowTarget) -> None:
        try:
            from mlflow.entities import Metric, Param
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
            from sqlalchemy.exc import SQLAlchemyError
        except ImportError as cause:
            raise ConfigError(
                "--mlflow needs the package mlflow: python -m pip install 'headrace[mlflow]'"
            ) from cause
        self._target, self._metric, self._param = target, Metric, Param
        self._run_id = ""
        # MLflow passes on what its database raises.
        self._failures = (MlflowException, SQLAlchemyError)
        self._is_lost = False
        try:
            self._client = MlflowClient(tracking_uri=target.uri)
            self._experiment_id = self._experiment()
        except self._failures as cause:
            first_line = str(cause).partition("\n")[0]
            raise ConfigError(
                f"what --mlflow names can't be used: {first_line}"
                " Expected the address of an MLflow server, or sqlite:///FILE."
            ) from cause

    def _earlier_run(self) -> str | None:
        kept = self._target.folder / _KEPT
        if not kept.exists():
            return None
        known: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        if known["uri_sha256"] != self._uri_sha256():
            return None
        self._client.update_run(known["run_id"], status="RUNNING")
        return known["run_id"]

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(_EXPERIMENT)
        return found.experiment_id if found else self._client.create_experiment(_EXPERIMENT)

    def _begin(self) -> None:
        """With the first epoch that is over: settings that are refused before leave no run."""
        if earlier := self._earlier_run():
            self._run_id = earlier
            return
        name = self._target.folder.name
        self._run_id = self._client.create_run(self._experiment_id, run_name=name).info.run_id
        said = self._target.settings.items()
        params = [self._param(name, str(value)) for name, value in said]
        self._client.log_batch(self._run_id, params=params)

    def _uri_sha256(self) -> str:
        """The address itself may hold a password."""
        return hashlib.sha256(self._target.uri.encode()).hexdigest()

    def epoch_done(self, report: EpochReport) -> None:
        """See ``EpochListener.epoch_done``."""
        if not self._run_id:
            self._try(self._begin)
        if not self._run_id:
            return
        now_ms = time.time_ns() // 1_000_000
        metrics = [
            self._metric(name, value, now_ms, report.record.epoch)
            for name, value in scalars(report).items()
        ]
        self._try(lambda: self._client.log_batch(self._run_id, metrics=metrics))
        kept = {"uri_sha256": self._uri_sha256(), "run_id": self._run_id}
        write_atomically(self._target.folder / _KEPT, json.dumps(kept).encode() + b"\n")

    def _try(self, call: Callable[[], object]) -> None:
        if self._is_lost:
            return
        try:
            call()
        except self._failures as cause:
            # Not again at each epoch: its client has waited for minutes already.
            self._is_lost = True
            first_line = str(cause).partition("\n")[0]
            self._target.say(f"training goes on without MLflow, which fails: {first_line}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._run_id:
            return
        status = "FINISHED" if kind is None else "FAILED"
        self._try(lambda: self._client.set_terminated(self._run_id, status))
