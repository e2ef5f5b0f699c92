"""Recent data with replay of old: without the old a network forgets what it knew."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from torch import Tensor

from trainer.data import Samples, SplitData


class Mixed(Samples):
    """Some samples of each of several sets of the same labels and task."""

    def __init__(self, parts: Sequence[tuple[Samples, Sequence[int]]]) -> None:
        self.labels = parts[0][0].labels
        self.task = parts[0][0].task
        self._parts = parts
        self._ends = list(accumulate(len(chosen) for _, chosen in parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> tuple[Tensor, int | Tensor]:
        part = bisect_right(self._ends, index)
        samples, chosen = self._parts[part]
        return samples[chosen[index - (self._ends[part] - len(chosen))]]

    @property
    def digest(self) -> str:
        """See ``Samples.digest``."""
        digest = hashlib.sha256()
        for samples, chosen in self._parts:
            digest.update(samples.digest.encode() + np.array(chosen, np.int64).tobytes())
        return digest.hexdigest()


def with_replay(recent: SplitData, old: SplitData | None, share: float, seed: int) -> SplitData:
    """Recent data, and of the old so much that it makes up ``share`` (0 to below 1) of each part.

    Held-out old samples stay held out. Which are taken depends on ``seed`` alone.
    """
    if old is None:
        return recent
    return SplitData(
        _mixed(recent.train, old.train, share, seed),
        _mixed(recent.heldout, old.heldout, share, seed),
        recent.spec,
    )


def _mixed(recent: Samples, old: Samples, share: float, seed: int) -> Samples:
    wanted = min(len(old), round(len(recent) * share / (1 - share)))
    chosen = np.random.default_rng(seed).choice(len(old), wanted, replace=False)
    return Mixed([(recent, range(len(recent))), (old, sorted(chosen.tolist()))])
