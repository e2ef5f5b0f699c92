"""Predictions that are made up, so that their figures are known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch

from trainer.evaluate import Predictions


def named(labels: Sequence[str], pairs: Iterable[tuple[int, int]]) -> Predictions:
    """Of pairs of what a sample is and what it was named."""
    pairs = list(pairs)
    logits_nk = torch.zeros(len(pairs), len(labels))
    for row, (_, name) in enumerate(pairs):
        logits_nk[row, name] = 4.0
    classes = torch.tensor([true for true, _ in pairs], dtype=torch.int64)
    return Predictions(tuple(labels), logits_nk, classes)


def sure(rows: Iterable[tuple[float, bool]]) -> Predictions:
    """Of two classes, by how sure of the first (above a half) and whether that was right."""
    rows = list(rows)
    logits_nk = torch.tensor(
        [[math.log(share), math.log(max(1 - share, 1e-30))] for share, _ in rows]
    ).reshape(-1, 2)
    classes = torch.tensor([0 if is_right else 1 for _, is_right in rows], dtype=torch.int64)
    return Predictions(("yes", "no"), logits_nk, classes)


def drawn(samples: int, temperature: float, seed: int = 0) -> Predictions:
    """Of five classes, drawn from the softmax of the logits divided by ``temperature``."""
    generator = torch.Generator().manual_seed(seed)
    true_nk = 2 * torch.randn(samples, 5, generator=generator)
    classes = torch.multinomial(true_nk.softmax(1), 1, generator=generator).squeeze(1)
    return Predictions(tuple("abcde"), true_nk * temperature, classes)
