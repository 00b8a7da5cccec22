"""The split: a partition that depends on (n, fraction, seed) alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caminito._errors import ConfigError, DataError
from caminito.data import holdout


@settings(deadline=None)
@given(st.integers(2, 500), st.floats(0.0, 1.0, exclude_min=True, exclude_max=True), st.integers(0, 2**40))
def test_holdout_is_a_partition_of_the_asked_size_and_repeats(n: int, fraction: float, seed: int) -> None:
    train, val = holdout(n, fraction, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, val])), np.arange(n))
    assert len(val) == min(max(round(fraction * n), 1), n - 1)
    again = holdout(n, fraction, seed)
    np.testing.assert_array_equal(train, again[0])
    np.testing.assert_array_equal(val, again[1])


def test_every_item_is_held_out_equally_often() -> None:
    n, trials = 10, 2000
    times = np.zeros(n)
    for seed in range(trials):
        times[holdout(n, 0.3, seed)[1]] += 1
    # binomial(2000, .3): sd 20.5; the largest of 10 exceeds 4.5 sd with probability 7e-5 under any one choice of seeds
    assert np.abs(times - 600).max() <= 4.5 * np.sqrt(trials * 0.3 * 0.7)


def test_impossible_splits_are_refused() -> None:
    with pytest.raises(DataError, match="at least 2 items"):
        holdout(1, 0.5, 0)
    for fraction in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="fraction"):
            holdout(10, fraction, 0)
