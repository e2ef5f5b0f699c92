"""One of two processes, as `torchrun` starts them but for its watch over them.

joined_program.py lost       process 1 ends in the middle
joined_program.py differs    they have other data
joined_program.py unused     the network has a parameter that nothing uses
joined_program.py agrees     they exchange what there is to exchange, and say it
"""

from __future__ import annotations

import os
import sys

import torch
from torch import Tensor, nn

from pipeline.errors import HeadraceError
from trainer.distributed import Ranks, joined


class Forgetful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(2, 1), nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def act(what: str, ranks: Ranks) -> None:
    if what == "lost":
        if not ranks.is_first:
            os._exit(9)
        ranks.total(torch.ones(1))
    elif what == "differs":
        ranks.check_same({"labels": "ab", "data": f"data {ranks.rank}"})
    elif what == "unused":
        learner = ranks.learner(Forgetful(), torch.device("cpu"))
        for _ in range(2):
            learner(torch.ones(3, 2)).sum().backward()
    else:
        ranks.check_same({"data": "one"})
        total = ranks.total(torch.tensor([1.0 + ranks.rank])).item()
        first = ranks.from_first(lambda: f"of {ranks.rank}")
        ranks.draw_apart(7)
        print(ranks.rank, total, first, torch.rand(1).item())


if __name__ == "__main__":
    try:
        with joined("cpu") as device:
            act(sys.argv[1], Ranks.current())
    except HeadraceError as error:
        print(type(error).__name__, error)
