"""``python -m trainer``, which kills itself (SIGKILL) at the moment that it is told.

    dying_trainer.py step N ARGUMENTS…        after the optimiser's step number N
    dying_trainer.py NAME N ARGUMENTS…        before the file NAME is replaced for the Nth time

Both are seen from outside, by torch's hook and Python's audit events: what runs is the trainer.
Of several processes, the first one dies.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

from trainer.__main__ import main


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_after_step(last: int) -> None:
    from torch.optim.optimizer import register_optimizer_step_post_hook

    steps = itertools.count(1)

    def stepped(*_of_torch: Any) -> None:
        if next(steps) == last:
            die()

    register_optimizer_step_post_hook(stepped)


def die_before_replacing(name: str, last: int) -> None:
    times = itertools.count(1)

    def happened(event: str, about: tuple[Any, ...]) -> None:
        if event == "os.rename" and Path(about[1]).name == name and next(times) == last:
            die()

    sys.addaudithook(happened)


if __name__ == "__main__":
    moment, number, *arguments = sys.argv[1:]
    if os.environ.get("RANK", "0") != "0":
        pass
    elif moment == "step":
        die_after_step(int(number))
    else:
        die_before_replacing(moment, int(number))
    sys.argv = ["trainer", *arguments]
    main()
