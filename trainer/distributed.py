"""Several processes that train one network, as `torchrun` starts them.

They go through the same batches in the same order as one process would: each learns from its share
of a batch, and their gradients are added up. Rank 0 judges, writes the run's folder and publishes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.errors import ConfigError, HeadraceError
from trainer.randomness import seed_all
from trainer.run_folder import RunFolder, TrainingState

T = TypeVar("T")

_PATIENCE = timedelta(hours=1)
"""The others wait for as long as rank 0 judges. If one dies, `torchrun` ends all at once."""

_UNUSED = "Expected to have finished reduction"
"""What torch says in the second step when a parameter had no gradient in the first."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together; alone it is the first of one."""

    rank: int = 0
    count: int = 1

    @classmethod
    def current(cls) -> Ranks:
        """As torch's process group has it."""
        if not distributed.is_initialized():
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def is_first(self) -> bool:
        """Whether it judges, writes and publishes."""
        return self.rank == 0

    def share(self, batch: Sequence[int]) -> Sequence[int]:
        """What this rank learns from; of a batch with less than one for each, the first sample,
        which then counts nothing here: see ``part``."""
        return batch[self.rank :: self.count] or batch[:1]

    def part(self, samples: int) -> float:
        """This rank's part of a batch of so many samples, 0 to 1."""
        return len(range(self.rank, samples, self.count)) / samples

    def learner(self, network: nn.Module, device: torch.device) -> nn.Module:
        """``network``, which from now on has all ranks' gradients after a backward pass: their
        mean. Its weights become rank 0's."""
        if self.count == 1:
            return network
        devices = [device] if device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=devices)

    def summing(self, learner: nn.Module, ends_step: bool) -> AbstractContextManager[None]:
        """Around a forward and a backward pass: gradients are exchanged where the step ends."""
        if ends_step or not isinstance(learner, DistributedDataParallel):
            return nullcontext()
        return learner.no_sync()

    def total(self, value: Tensor) -> Tensor:
        """The sum of all ranks' values. Blocks until all are here."""
        if self.count > 1:
            distributed.all_reduce(value)
        return value

    def from_first(self, make: Callable[[], T]) -> T:
        """What ``make`` gives on rank 0, where alone it is called. Blocks until it is there."""
        if self.count == 1:
            return make()
        box: list[Any] = [make() if self.is_first else None]
        distributed.broadcast_object_list(box)
        return box[0]

    def draw_apart(self, epoch_seed: int) -> None:
        """Seeds the generators of all ranks but the first anew, so that dropout differs."""
        if not self.is_first:
            seed_all(epoch_seed * self.count + self.rank)

    def check_same(self, facts: Mapping[str, object]) -> None:
        """Compares what all ranks go by.

        Raises:
            ConfigError: one has something else; on all ranks.
        """
        if self.count == 1:
            return
        all_facts: list[Any] = [None] * self.count
        distributed.all_gather_object(all_facts, dict(facts))
        for rank, others in enumerate(all_facts):
            differing = [name for name in facts if others[name] != all_facts[0][name]]
            if differing:
                raise ConfigError(
                    f"process {rank} has another {differing[0]} than process 0:"
                    f" {others[differing[0]]}, not {all_facts[0][differing[0]]}. Give all the same"
                    " command, data and run's folder: on several machines, on a shared disk."
                )


class FollowedRun(RunFolder):
    """A run's folder on other ranks than the first: it is read, and rank 0 writes it."""

    def begin(self, about: dict[str, Any]) -> None:
        """Nothing."""

    def save_best(self, network: nn.Module) -> None:
        """Nothing."""

    def save_last(self, state: TrainingState, identity: dict[str, Any]) -> None:
        """Nothing."""

    def write_history(self, history: list[Any]) -> None:
        """Nothing."""


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Joins the processes that `torchrun` started, if it started this one; gives the device.

    Args:
        device: ``cpu`` or ``cuda:N``. With several processes on a machine each takes the CUDA
            device of its own number.

    Raises:
        ConfigError: there are fewer devices than processes, or the network can't be trained so.
        HeadraceError: another process ended.
    """
    if not distributed.is_torchelastic_launched() or os.environ["WORLD_SIZE"] == "1":
        yield device
        return
    if device.startswith("cuda"):
        device = f"cuda:{_own_device(torch.cuda.device_count())}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device != "cpu" else "gloo", timeout=_PATIENCE)
    try:
        yield device
    except RuntimeError as cause:
        first_line = str(cause).partition("\n")[0]
        if _UNUSED in first_line:
            raise ConfigError(
                "the network has parameters that its forward pass doesn't use: several processes"
                " can't train it. Leave them out, --freeze them, or train in one process."
            ) from cause
        if not _is_of_others(cause):
            raise
        raise HeadraceError(
            f"process {Ranks.current().rank} lost the others: {first_line} See what they said; the"
            " epochs that were over are kept, and --resume goes on."
        ) from cause
    finally:
        distributed.destroy_process_group()


def _own_device(devices: int) -> int:
    number = int(os.environ["LOCAL_RANK"])
    if number >= devices:
        raise ConfigError(
            f"there are {devices} CUDA devices, and process {number} finds none. Expected"
            f" --nproc-per-node {devices}, or --device cpu."
        )
    return number


def _is_of_others(cause: RuntimeError) -> bool:
    # gloo's errors have no class of their own.
    return isinstance(cause, distributed.DistError) or "gloo" in str(cause).lower()
