from __future__ import annotations

from trainer.early_stopping import EarlyStopping


def test_training_ends_after_so_many_epochs_without_gain():
    stopping = EarlyStopping(patience=2)
    assert not stopping.is_due([])
    assert not stopping.is_due([0.5, 0.5])
    assert stopping.is_due([0.5, 0.5, 0.4])
    assert not stopping.is_due([0.5, 0.4, 0.6])


def test_an_equal_accuracy_is_no_gain():
    assert EarlyStopping(patience=1).is_due([0.5, 0.5])


def test_a_gain_below_min_delta_does_not_count_until_it_adds_up():
    stopping = EarlyStopping(patience=3, min_delta=0.1)
    assert stopping.without_gain([0.5, 0.56]) == 1
    assert stopping.without_gain([0.5, 0.56, 0.62]) == 0


def test_without_patience_training_never_ends_early():
    assert not EarlyStopping().is_due([0.5] * 1000)
