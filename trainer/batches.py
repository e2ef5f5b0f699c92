"""The training data's batches: which samples, in what order, and by which processes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, WeightedRandomSampler

from pipeline.errors import ConfigError, HeadraceError
from trainer.augment import AugmentedSamples, Draw
from trainer.balance import sample_weights
from trainer.data import Loader, Samples
from trainer.distributed import Ranks
from trainer.settings import FitSettings

_MOST_WEIGHTED = 2**24
"""torch.multinomial takes no more."""


class TrainingBatches:
    """Batches of one epoch after the other, by one DataLoader, whose workers stay.

    The order, and how samples are augmented, follow from the epoch's seed alone, not from the
    workers. With several ranks each gets its share of the batches that one process would get, but
    that a last batch with fewer than two samples for each is left out, unless it is the only one.
    Samples that grow between epochs need ``workers`` of 0: a worker has its own copy. Owned by: the
    training thread.

    Raises:
        ConfigError: a rank would get nothing, or the classes can't be balanced.
    """

    def __init__(self, samples: Samples, settings: FitSettings, ranks: Ranks) -> None:
        if settings.batch_size < ranks.count:
            raise ConfigError(
                f"--batch-size is {settings.batch_size}, expected at least one sample for each of"
                f" the {ranks.count} processes: it is what they learn from together"
            )
        weights = sample_weights(samples) if settings.balance == "sampling" else None
        self._order = _EpochBatches(samples, settings, ranks, weights)
        self._workers_seeds = torch.Generator()
        dataset = samples
        if settings.augment:
            height, width = samples[0][0].shape[:2]
            dataset = AugmentedSamples(samples, settings.augment, height, width)
        self._loader: Loader = DataLoader(
            dataset,
            batch_sampler=self._order,
            num_workers=settings.workers,
            # Else it would draw from torch's, on which dropout depends.
            generator=self._workers_seeds,
            pin_memory=settings.device.startswith("cuda"),
            persistent_workers=settings.workers > 0,
        )

    @property
    def samples(self) -> int:
        """Samples of an epoch, those of all ranks."""
        return self._order.samples

    def epoch(self, epoch_seed: int) -> Loader:
        """The epoch's batches; to be gone through before the next epoch's."""
        self._order.epoch_seed = epoch_seed
        self._workers_seeds.manual_seed(epoch_seed)
        return self._loader


class _EpochBatches(Sampler[list[int] | list[Draw]]):
    """Of each batch this rank's share: indices, or with augmentation draws."""

    def __init__(
        self, samples: Samples, settings: FitSettings, ranks: Ranks, weights_n: Tensor | None
    ) -> None:
        self.epoch_seed = 0
        self._samples, self._weights_n = samples, weights_n
        self._size, self._ranks = settings.batch_size, ranks
        self._is_augmented = bool(settings.augment)
        if weights_n is not None and len(weights_n) > _MOST_WEIGHTED:
            raise ConfigError(
                f"--balance sampling takes {_MOST_WEIGHTED} samples at most, and these are"
                f" {len(weights_n)}. Use --balance weights."
            )

    @property
    def samples(self) -> int:
        """Of all ranks together."""
        count = len(self._samples)
        rest = count % self._size
        # One sample has no variance: batch normalisation refuses a share of so few.
        return count - rest if count > self._size and rest < 2 * self._ranks.count else count

    def __len__(self) -> int:
        return math.ceil(self.samples / self._size)

    def __iter__(self) -> Iterator[list[int] | list[Draw]]:
        order = epoch_order(len(self._samples), self.epoch_seed, self._weights_n)
        for start in range(0, self.samples, self._size):
            places = self._ranks.share(range(start, min(start + self._size, self.samples)))
            if self._is_augmented:
                yield [Draw(order[place], _seed(self.epoch_seed, place)) for place in places]
            else:
                yield [order[place] for place in places]


def epoch_order(samples: int, epoch_seed: int, weights_n: Tensor | None = None) -> list[int]:
    """All indices shuffled; or, with ``weights_n``, as many drawn by weight, some again and again.

    Without weights it is the order of ``DataLoader(shuffle=True)`` with a generator of that seed,
    in which runs were begun before this function was.
    """
    generator = torch.Generator().manual_seed(epoch_seed)
    if weights_n is not None:
        return list(WeightedRandomSampler(weights_n.tolist(), samples, generator=generator))
    torch.empty((), dtype=torch.int64).random_(generator=generator)  # its workers' seed
    return torch.randperm(samples, generator=generator).tolist()


def _seed(epoch_seed: int, place: int) -> int:
    """Of the epoch and the place in its order, as a sample may come twice. torch's CPU generator
    takes the lower 32 bits alone, and seeds that are close to each other give no like numbers."""
    digest = hashlib.blake2b(f"{epoch_seed} {place}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


@contextmanager
def naming_lost_workers() -> Iterator[None]:
    """Makes what befalls DataLoader workers an error that says what to do.

    torch raises it from a signal's handler, wherever the training thread is.

    Raises:
        HeadraceError: a worker died, or an error was raised in one.
    """
    try:
        yield
    except RuntimeError as cause:
        if not str(cause).startswith("DataLoader worker"):
            raise
        raise HeadraceError(
            f"a process that prepared samples is gone: {str(cause).strip()} Was memory, or that of"
            " /dev/shm, used up? Go on with --resume and fewer --workers, or none."
        ) from cause
    except HeadraceError as cause:
        # One from a worker has that one's traceback for a message; its last line is the error.
        name, _, message = str(cause).strip().rpartition("\n")[2].partition(": ")
        if "in DataLoader worker process" not in str(cause) or not name:
            raise
        raise type(cause)(message) from cause
