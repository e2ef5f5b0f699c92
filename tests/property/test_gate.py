"""The gate's verdict: what it must say of any pair of networks."""

from __future__ import annotations

import math
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.gate import SIGNIFICANT, Comparison, Measure, compare, flipped_p, mid_p

RIGHT = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200)
TOLERANCES = st.sampled_from([0.0, 0.01, 0.2])


def of(pairs: list[tuple[bool, bool]]) -> Comparison:
    ours, theirs = np.array(pairs).T
    return compare(ours, theirs)


@given(st.integers(0, 120), st.integers(0, 120))
def test_the_probability_is_the_binomials(heads: int, tails: int):
    tosses = heads + tails
    above = sum(comb(tosses, more) for more in range(heads + 1, tosses + 1))
    exact = Fraction(2 * above + comb(tosses, heads), 2 ** (tosses + 1))
    assert mid_p(heads, tosses) == pytest.approx(float(exact), rel=1e-9, abs=1e-12)


@given(RIGHT, TOLERANCES)
def test_what_is_right_as_often_is_never_worse(pairs: list[tuple[bool, bool]], tolerance: float):
    found = of(pairs)
    if found.score >= found.incumbent_score:
        assert not found.is_worse(tolerance)


@given(RIGHT, TOLERANCES)
def test_of_two_at_most_one_is_worse(pairs: list[tuple[bool, bool]], tolerance: float):
    there = of(pairs)
    back = of([(theirs, ours) for ours, theirs in pairs])
    assert not (there.is_worse(tolerance) and back.is_worse(tolerance))
    assert there.p_value + back.p_value == pytest.approx(1)


@given(RIGHT, TOLERANCES, st.data())
def test_one_more_mistake_never_makes_it_acceptable(
    pairs: list[tuple[bool, bool]], tolerance: float, data: st.DataObject
):
    found = of(pairs)
    right = [number for number, (ours, _) in enumerate(pairs) if ours]
    if found.is_worse(tolerance) and right:
        number = data.draw(st.sampled_from(right))
        assert of([*pairs[:number], (False, pairs[number][1]), *pairs[number + 1 :]]).is_worse(
            tolerance
        )


@given(RIGHT)
def test_what_only_one_has_right_is_what_counts(pairs: list[tuple[bool, bool]]):
    both = of([*pairs, *[(True, True)] * 50, *[(False, False)] * 50])
    assert both.p_value == of(pairs).p_value


ERRORS = st.one_of(st.floats(0, 1e77), st.just(float("inf")), st.integers(0, 3).map(float))
ERROR_PAIRS = st.lists(st.tuples(ERRORS, ERRORS), min_size=1, max_size=40)


def of_errors(pairs: list[tuple[float, float]]) -> Comparison:
    ours, theirs = -np.array(pairs).T
    return compare(ours, theirs, "mse")


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["f1", "mse"]))
def test_scores_that_are_no_right_and_wrong_are_compared_too(seed: int, measure: Measure):
    rng = np.random.default_rng(seed)
    theirs_n = rng.uniform(-1.1, -0.9, 100)
    assert compare(theirs_n - 0.5, theirs_n, measure).is_worse(0.4)
    assert not compare(theirs_n - 0.5, theirs_n, measure).is_worse(0.6)
    assert not compare(theirs_n + 0.5, theirs_n, measure).is_worse(0.0)


def test_a_little_nearer_on_most_samples_and_far_off_on_the_others_is_worse():
    theirs_n = -np.ones(100)
    ours_n = np.where(np.arange(100) < 60, -0.99, -100.0)
    found = compare(ours_n, theirs_n, "mse")
    assert (found.gained, found.lost) == (60, 40)
    assert found.is_worse(0.0)
    assert not compare(theirs_n, ours_n, "mse").is_worse(0.0)


@settings(deadline=None)
@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=60))
def test_of_right_and_wrong_both_tests_say_the_same(differences: list[float]):
    lost, gained = differences.count(1), differences.count(-1)
    assert flipped_p(np.array(differences)) == pytest.approx(mid_p(lost, lost + gained), abs=0.025)


@settings(deadline=None)
@given(ERROR_PAIRS, TOLERANCES)
def test_errors_of_any_size_give_a_verdict_for_one_side_at_most(
    pairs: list[tuple[float, float]], tolerance: float
):
    there, back = of_errors(pairs), of_errors([(theirs, ours) for ours, theirs in pairs])
    assert not (there.is_worse(tolerance) and back.is_worse(tolerance))
    assert there.p_value + back.p_value == pytest.approx(1)
    assert 0 < there.p_value < 1
    ours, theirs = zip(*pairs, strict=True)
    assert [mean is None for mean in there.means] == [math.inf in each for each in (ours, theirs)]


@settings(deadline=None)
@given(ERROR_PAIRS, TOLERANCES, st.data())
def test_a_larger_error_never_makes_it_acceptable(
    pairs: list[tuple[float, float]], tolerance: float, data: st.DataObject
):
    number = data.draw(st.integers(0, len(pairs) - 1))
    ours, theirs = pairs[number]
    larger = data.draw(st.sampled_from([ours + 1, 2 * ours, 1e6 + ours, math.inf]))
    if of_errors(pairs).is_worse(tolerance):
        assert of_errors([*pairs[:number], (larger, theirs), *pairs[number + 1 :]]).is_worse(
            tolerance
        )


def test_errors_that_are_sometimes_infinite_are_worse_than_none():
    theirs_n = -np.random.default_rng(3).random(40)
    ours_n = np.where(np.arange(40) < 10, -np.inf, theirs_n)
    assert compare(ours_n, theirs_n, "mse").is_worse(0.2)
    assert not compare(theirs_n, ours_n, "mse").is_worse(0.2)
    assert not compare(ours_n, ours_n, "mse").is_worse(0.0)


def test_of_errors_with_a_long_tail_about_one_in_twenty_is_refused():
    rng = np.random.default_rng(9)
    refused = sum(
        compare(-rng.lognormal(0, 2, 50), -rng.lognormal(0, 2, 50), "mse").is_worse(0.0)
        for _ in range(300)
    )
    assert 0 < refused / 300 < 1.8 * SIGNIFICANT


def test_of_equally_good_ones_about_one_in_twenty_is_refused_at_most():
    rng = np.random.default_rng(7)
    refused = sum(
        compare(rng.random(400) < 0.85, rng.random(400) < 0.85).is_worse(0.0) for _ in range(2000)
    )
    assert refused / 2000 < 1.5 * SIGNIFICANT
    assert refused > 0  # it can tell something


def test_a_much_worse_one_is_found_on_a_hundred_samples():
    rng = np.random.default_rng(8)
    found = sum(
        compare(rng.random(100) < 0.70, rng.random(100) < 0.90).is_worse(0.0) for _ in range(500)
    )
    assert found / 500 > 0.9


def test_one_that_is_worse_on_a_tenth_and_as_good_on_the_rest_is_found_on_a_hundred_samples():
    rng = np.random.default_rng(9)
    found = 0
    for _ in range(500):
        incumbent = rng.random(100) < 0.95
        is_hit = np.arange(100) % 10 == 0
        found += compare(incumbent & ~is_hit, incumbent).is_worse(0.0)
    assert found == 500
