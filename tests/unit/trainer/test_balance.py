from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError
from pipeline.types import Task
from trainer.balance import (
    balanced,
    class_counts,
    class_weights,
    lines_on_classes,
    sample_weights,
)
from trainer.batches import epoch_order
from trainer.data import Samples


class Unbalanced(Samples):
    """Black pictures of these classes."""

    def __init__(
        self, classes: Sequence[int], labels: str = "abc", task: Task = "single-label"
    ) -> None:
        self.labels, self.task = tuple(labels), task
        self._classes = classes

    def __len__(self) -> int:
        return len(self._classes)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.zeros(4, 4, 3, dtype=torch.uint8), self._classes[index]

    @property
    def digest(self) -> str:
        return ""


FEW = Unbalanced([0] * 80 + [1] * 15 + [2] * 5)


def test_all_classes_together_weigh_the_same_and_a_sample_1_on_the_mean():
    weights = class_weights(FEW)
    shares = weights * torch.tensor(class_counts(FEW))
    assert shares.tolist() == pytest.approx([100 / 3] * 3)
    assert float(sample_weights(FEW).mean()) == pytest.approx(1.0)


def test_the_weighted_loss_is_the_mean_of_the_samples_by_weight():
    torch.manual_seed(0)
    loss_of = balanced(nn.CrossEntropyLoss(), FEW, "weights")
    logits_nk, classes = torch.randn(6, 3), torch.tensor([0, 0, 1, 2, 2, 0])
    each = nn.functional.cross_entropy(logits_nk, classes, reduction="none")
    weights = torch.tensor([100 / 240, 100 / 45, 100 / 15])[classes]
    torch.testing.assert_close(loss_of(logits_nk, classes), (each * weights).mean())
    # Two small batches, each by its share, are the large one.
    parts = (4 * loss_of(logits_nk[:4], classes[:4]) + 2 * loss_of(logits_nk[4:], classes[4:])) / 6
    torch.testing.assert_close(parts, loss_of(logits_nk, classes))
    plain = nn.CrossEntropyLoss()
    assert balanced(plain, FEW, "none") is plain
    assert balanced(plain, FEW, "sampling") is plain


def test_sampling_draws_all_classes_about_as_often_and_by_the_seed_alone():
    weights = sample_weights(FEW)
    targets = FEW.targets()
    drawn = Counter(
        targets[index] for seed in range(30) for index in epoch_order(100, seed, weights)
    )
    assert sum(drawn.values()) == 3000
    assert all(850 < drawn[class_id] < 1150 for class_id in range(3))  # five standard deviations
    assert epoch_order(100, 7, weights) == epoch_order(100, 7, weights)
    assert epoch_order(100, 7, weights) != epoch_order(100, 8, weights)


def test_a_class_without_samples_is_refused_with_its_name():
    for balance in (class_weights, sample_weights):
        with pytest.raises(ConfigError, match="no sample to learn b from"):
            balance(Unbalanced([0, 2, 2]))


def test_a_task_without_classes_cannot_be_balanced():
    with pytest.raises(ConfigError, match=r"pictures of one class each, .* are multi-label"):
        class_weights(Unbalanced([0, 1], task="multi-label"))


def test_what_is_said_of_the_classes():
    assert lines_on_classes(Unbalanced([0, 0, 1, 2]), "none") == []
    assert lines_on_classes(Unbalanced([0, 1], task="regression"), "none") == []
    counts = "samples to learn each class from: c 5, b 15, a 80"
    assert lines_on_classes(FEW, "weights") == [counts]
    said = lines_on_classes(FEW, "none")
    assert said[0] == counts
    assert "has 80 and the rarest 5: consider --balance" in said[1]
    many = Unbalanced(list(range(26)), "abcdefghijklmnopqrstuvwxyz")
    assert lines_on_classes(many, "sampling")[0].endswith(" t 1 and 6 more")
