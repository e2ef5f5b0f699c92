from __future__ import annotations

from pathlib import Path

from pipeline.artifact.registry import Registry
from trainer.continuous import LoopSettings, Publication, PublicationPolicy, train_and_publish
from trainer.options import Target


def test_only_what_is_better_by_the_least_gain_is_published_and_not_too_often():
    policy = PublicationPolicy(LoopSettings(min_gain=0.01, min_interval_s=4.0))
    assert policy.wants(0.2, now_s=0.0)
    assert not policy.wants(0.5, now_s=3.9)
    assert policy.wants(0.5, now_s=4.0)
    assert not policy.wants(0.505, now_s=20.0)
    assert not policy.wants(0.4, now_s=30.0)
    assert policy.wants(0.51, now_s=31.0)


def test_a_plateau_is_a_number_of_rounds_without_gain():
    policy = PublicationPolicy(LoopSettings(patience_rounds=3))
    for number, accuracy in enumerate([0.5, 0.9, 0.9, 0.8]):
        policy.wants(accuracy, now_s=float(number))
    assert not policy.at_plateau
    policy.wants(0.905, now_s=9.0)
    assert policy.at_plateau
    policy.wants(0.95, now_s=10.0)
    assert not policy.at_plateau


def test_the_loop_publishes_better_and_better_versions(tmp_path: Path):
    published: list[Publication] = []
    settings = LoopSettings(
        first_samples=128,
        samples_per_round=128,
        most_samples=600,
        heldout_samples=100,
        min_interval_s=0.0,
    )
    train_and_publish(
        Target.of("digits", str(tmp_path), []),
        settings,
        published.append,
        is_wanted=lambda: len(published) < 3,
    )
    assert [each.manifest.version for each in published] == [1, 2, 3]
    accuracies = [each.accuracy for each in published]
    assert accuracies == sorted(accuracies)
    assert Registry(str(tmp_path)).versions("digits") == [1, 2, 3]
    for each in published:
        reference = each.manifest.reference
        assert reference is not None
        assert reference.scores is not None
        assert sum(reference.scores.predicted) == reference.samples == 100
