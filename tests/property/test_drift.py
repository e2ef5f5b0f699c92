"""Whatever the counts are: what the drift index must never say."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.drift import drift

COUNTS = st.lists(st.integers(0, 500), min_size=1, max_size=40).filter(lambda c: sum(c) >= 100)
SHARES = st.lists(st.floats(0.001, 1), min_size=2, max_size=32)


@given(COUNTS, COUNTS)
def test_it_is_finite_never_negative_and_the_same_from_both_sides(one: list[int], other: list[int]):
    size = max(len(one), len(other))
    one, other = (each + [0] * (size - len(each)) for each in (one, other))
    there, back = drift(one, other), drift(other, one)
    assert there is not None
    assert back is not None
    assert np.isfinite(there.psi)
    assert there.psi >= 0
    assert abs(there.psi - back.psi) < 1e-9 * (1 + there.psi)
    assert there.excess <= there.psi
    assert abs(sum(there.live_shares) - 1) < 1e-9
    assert abs(sum(there.reference_shares) - 1) < 1e-9


@given(COUNTS, st.integers(1, 20))
def test_as_many_times_the_same_counts_have_hardly_drifted(counts: list[int], times: int):
    measured = drift(counts, [each * times for each in counts])
    assert measured is not None
    assert measured.excess == 0


@given(SHARES, st.integers(200, 5000), st.integers(200, 5000), st.integers(0, 2**32 - 1))
def test_draws_of_one_distribution_stay_small(
    weights: list[float], before: int, now: int, seed: int
):
    rng = np.random.default_rng(seed)
    shares = np.array(weights) / sum(weights)
    measured = drift(
        rng.multinomial(before, shares).tolist(), rng.multinomial(now, shares).tolist()
    )
    assert measured is not None
    # Its spread is sqrt(2 (B - 1)) (1/n + 1/m), 0.08 at the worst: six of those.
    spread = (2 * (len(shares) - 1)) ** 0.5 * (1 / before + 1 / now)
    assert measured.excess < max(0.05, 6 * spread)


@given(st.integers(2, 32), st.integers(200, 5000), st.integers(200, 5000))
def test_all_that_went_into_another_bin_is_a_large_drift(bins: int, before: int, now: int):
    measured = drift([before] + [0] * (bins - 1), [0] * (bins - 1) + [now])
    assert measured is not None
    assert measured.excess > 5
