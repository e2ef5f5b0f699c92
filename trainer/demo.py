"""The trainer of `headrace demo`: first from nothing, then beside the frames as night falls."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import NoReturn

import torch

from trainer.continuous import LoopSettings, Publication, train_and_publish
from trainer.data import SplitData
from trainer.fit import Training, identity_of
from trainer.options import Target
from trainer.run_folder import RunFolder
from trainer.settings import FitSettings
from trainer.watch.loop import Watch, WatchJob
from trainer.watch.rules import Rules

_LOW_PRIORITY = 10
"""Added to the niceness: the worker beside comes first."""

_MIN_INTERVAL_S = 9.0
"""A version that comes sooner would end the trial of the one before."""

_RULES = Rules(least_new=150, drift=1.0, pause_s=15.0)
"""Four cameras show few digits in a minute: by day the index is up to a half by chance."""

_LOOK_S = 1.0


def demo_loop(folder: Path, name: str, seed: int) -> None:
    """The demo's child process: one JSON line on stdout for each version published.

    In ``folder`` are ``registry``; ``run``, which is trained on; ``feedback``, labelled frames; and
    ``page``, a file in which the worker's address will be. Ends on SIGTERM or SIGINT.

    Raises:
        HeadraceError: see ``train_and_publish`` and ``Watch``.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    logging.basicConfig(level=logging.INFO)
    torch.set_num_threads(1)

    def report(publication: Publication) -> None:
        print(publication.to_json(), flush=True)
        if publication.round == 1:
            # The first version is waited for; what follows mustn't take time from the worker.
            os.nice(_LOW_PRIORITY)

    target = Target.of(name, str(folder / "registry"), [])
    settings = LoopSettings(seed=seed, min_interval_s=_MIN_INTERVAL_S)
    training, data = train_and_publish(target, settings, report)
    _keep(training, data, FitSettings(seed=seed), RunFolder(folder / "run"))
    job = WatchJob(
        run=folder / "run",
        target=target,
        feedback=folder / "feedback",
        rules=_RULES,
        workers=(_await_page(folder / "page"),),
        recent=500,
        replay=0.7,
        interval_s=_LOOK_S,
        # Old samples, darker and paler at random, are of some use at night, too.
        changes={"epochs": 8, "augment": ("color",)},
    )
    for trained in Watch(job, data).run():
        print(json.dumps(trained.to_dict()), flush=True)


def _keep(training: Training, data: SplitData, settings: FitSettings, run: RunFolder) -> None:
    """As `headrace train` would have left it: what a watch goes on from."""
    run.begin(identity_of(data, settings))
    run.save_best(training.network)


def _await_page(file: Path) -> str:
    pause = threading.Event()
    while not file.exists():
        pause.wait(_LOOK_S)
    return file.read_text()


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """Publishing is atomic, so any moment is a good one. At once, without Python's own end: that
    takes torch's threads down while one of them may still compute, and C++ aborts (torch 2.15)."""
    os._exit(0)
