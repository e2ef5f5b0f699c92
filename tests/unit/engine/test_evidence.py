from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.evidence import Bet, MeanBet

SEEDS = range(9)


def frames_until_won(p0: float, rate: float, seed: int, most: int) -> int | None:
    """How many frames it took, looked at after each."""
    bet = Bet(p0)
    for so in np.random.default_rng(seed).random(most) < rate:
        bet.note(1, int(so))
        if bet.is_won:
            return bet.frames
    return None


@pytest.mark.parametrize("p0", [0.02, 0.1, 0.5])
def test_false_alarms_are_as_rare_as_promised_however_often_one_looks(p0: float) -> None:
    """At the very edge of what is allowed, 1 of 100 is the most: of 120 runs more than five would
    be false alarms in 1 of 700 cases."""
    alarms = sum(frames_until_won(p0, p0, seed, 2000) is not None for seed in range(120))
    assert alarms <= 5


@pytest.mark.parametrize(
    ("p0", "rate", "within"), [(0.05, 0.1, 400), (0.05, 0.2, 80), (0.5, 0.6, 450), (0.1, 1.0, 10)]
)
def test_what_is_above_is_found_soon(p0: float, rate: float, within: int) -> None:
    """Medians that such bets were found to have: 250, 38 and 264 for the first three."""
    taken = [frames_until_won(p0, rate, seed, 5000) for seed in range(60)]
    assert statistics.median(each or 5000 for each in taken) <= within


def test_what_is_below_is_never_found() -> None:
    assert all(frames_until_won(0.2, 0.1, seed, 3000) is None for seed in range(50))


@given(
    st.floats(0.01, 0.99),
    st.lists(st.integers(1, 64).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))),
)
def test_the_money_is_the_mean_of_the_products(p0: float, batches: list[tuple[int, int]]) -> None:
    """With large numbers; batch by batch as frame by frame."""
    bet = Bet(p0)
    for frames, so in batches:
        bet.note(frames, so)
    frames = sum(each for each, _ in batches)
    so = sum(each for _, each in batches)
    assert (bet.frames, bet.so) == (frames, so)
    assert bet.share == (so / frames if frames else 0.0)
    stakes = [stake / p0 for stake in (0.02, 0.05, 0.1, 0.2, 0.4, 0.7)]
    logs = [so * math.log1p(s * (1 - p0)) + (frames - so) * math.log1p(-s * p0) for s in stakes]
    assert bet._purse.logs == pytest.approx(logs)


def test_once_won_it_stays_won() -> None:
    bet = Bet(0.1)
    bet.note(20, 20)
    assert bet.is_won
    bet.note(10_000, 0)
    assert bet.is_won


@pytest.mark.parametrize(("p0", "alpha"), [(0.0, 0.01), (1.0, 0.01), (0.5, 0.0), (0.5, 1.0)])
def test_what_cannot_be_bet_on_is_refused(p0: float, alpha: float) -> None:
    with pytest.raises(ValueError, match="expected both between 0 and 1"):
        Bet(p0, alpha)


def values_until_won(most: float, mean: float, seed: int, at_most: int) -> int | None:
    """How many values it took, looked at after each; they spread by 0.2 about their mean."""
    bet = MeanBet(most)
    for value in np.random.default_rng(seed).uniform(mean - 0.2, mean + 0.2, at_most):
        bet.note(np.array([value]))
        if bet.is_won:
            return bet.count
    return None


@pytest.mark.parametrize("most", [0.05, 0.2, 0.5])
def test_a_mean_at_the_edge_raises_no_more_false_alarms_than_promised(most: float) -> None:
    alarms = sum(values_until_won(most, most, seed, 1000) is not None for seed in range(40))
    assert alarms <= 2


def test_a_mean_above_is_found_the_sooner_the_higher_it_is() -> None:
    taken = {
        mean: statistics.median(
            values_until_won(0.2, mean, seed, 5000) or 5000 for seed in range(9)
        )
        for mean in (0.25, 0.4, 0.8)
    }
    assert taken[0.8] < taken[0.4] < taken[0.25] < 1000


def test_a_mean_below_is_never_found() -> None:
    assert all(values_until_won(0.2, 0.1, seed, 1000) is None for seed in range(9))


@given(st.lists(st.lists(st.floats(-1, 1), max_size=20), max_size=20))
def test_a_mean_of_batches_is_the_mean_of_all(batches: list[list[float]]) -> None:
    bet = MeanBet(0.2)
    for values in batches:
        bet.note(np.array(values))
    everything = [value for values in batches for value in values]
    assert bet.count == len(everything)
    assert bet.mean == pytest.approx(statistics.fmean(everything) if everything else 0.0)
    logs = [
        sum(math.log1p(stake * ((1 + value) / 2 - 0.6) / 0.6) for value in everything)
        for stake in (0.02, 0.05, 0.1, 0.2, 0.4, 0.7)
    ]
    assert bet._purse.logs == pytest.approx(logs, abs=1e-9)
