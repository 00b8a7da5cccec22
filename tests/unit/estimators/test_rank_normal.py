"""Numbers by rank: normal on one side, in the right shares and places on the other."""

import numpy as np
from scipy.stats import kstest

from caminito.estimators.rank_normal import RankNormal

RNG = np.random.default_rng(0)
GRID = RNG.choice([0.0, 1.0, 2.5], 3000, p=[0.7, 0.2, 0.1])
SMOOTH = RNG.gamma(1.5, size=3000)
X = np.column_stack([GRID, SMOOTH])
RANKS = RankNormal(X, [True, False])


def test_columns_become_standard_normal_whatever_they_are():
    z = RANKS.encode(X, RNG.random(X.shape))
    for column in z.T:
        assert kstest(column, "norm").pvalue > 0.01


def test_what_is_encoded_comes_back():
    back = RANKS.decode(RANKS.encode(X, RNG.random(X.shape)))
    assert np.array_equal(back[:, 0], GRID)
    assert np.allclose(back[:, 1], SMOOTH, rtol=1e-9)


def test_normal_numbers_give_values_in_their_shares_and_never_others():
    made = RANKS.decode(RNG.normal(size=(20_000, 2)) * [1, 1])
    for value, share in zip([0.0, 1.0, 2.5], [np.mean(v == GRID) for v in (0.0, 1.0, 2.5)]):
        assert abs((made[:, 0] == value).mean() - share) < 5 * np.sqrt(share * (1 - share) / 20_000)
    far = RANKS.decode(np.array([[-40.0, -40.0], [40.0, 40.0]]))
    assert np.array_equal(far, [[0.0, SMOOTH.min()], [2.5, SMOOTH.max()]])


def test_a_value_that_no_row_has_goes_between_its_neighbours():
    z = RANKS.encode(np.array([[0.9, (np.sort(SMOOTH)[10] + np.sort(SMOOTH)[11]) / 2]]))
    low, high = RANKS.encode(np.column_stack([[1.0, 1.0], np.sort(SMOOTH)[10:12]]))
    assert z[0, 0] == low[0] and low[1] < z[0, 1] < high[1]


def test_a_constant_column_stays_constant():
    ranks = RankNormal(np.full((9, 2), 4.0), [True, False])
    assert (ranks.decode(RNG.normal(size=(5, 2))) == 4.0).all()
    assert (ranks.encode(np.full((1, 2), 4.0)) == 0).all()
