"""Boosted trees as arrays say what scikit-learn's say."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor

from caminito.denoiser import Boosted
from caminito.errors import ConfigError

RNG = np.random.default_rng(0)
WORDS = np.concatenate([RNG.permutation(40), RNG.integers(0, 40, 560)])
X = np.column_stack([WORDS, RNG.integers(0, 2, 600), RNG.normal(size=(600, 2))])
X[::7, 3] = np.nan
Y = np.column_stack([np.sin(WORDS) + X[:, 2], np.where(np.isnan(X[:, 3]), 3.0, X[:, 3]), X[:, 1] * X[:, 2]])


def boosted(outputs: int, **how) -> list[HistGradientBoostingRegressor]:
    model = HistGradientBoostingRegressor(max_iter=9, categorical_features=[0, 1], early_stopping=False, **how)
    return [HistGradientBoostingRegressor(**model.get_params()).fit(X, Y[:, k]) for k in range(outputs)]


@pytest.mark.parametrize("how", [{}, {"max_leaf_nodes": 2}, {"max_depth": 2}, {"min_samples_leaf": 400}])
@pytest.mark.parametrize("outputs", [1, 3])
def test_boosted_trees_of_arrays_predict_what_the_fitted_ones_do(how, outputs):
    fitted = boosted(outputs, **how)
    new = RNG.permuted(X, axis=0)
    new = np.concatenate([new] * 8)  # more rows than are predicted at once
    wanted = np.stack([model.predict(new) for model in fitted], axis=1)
    trees = Boosted.of(fitted)
    assert np.abs(trees.predict(new) - wanted).max() < 1e-6  # leaves are kept in single precision
    assert np.array_equal(Boosted.from_arrays(trees.arrays()).predict(new), trees.predict(new))
    assert np.array_equal(trees.predict(new[7:9]), trees.predict(new)[7:9])


def test_numbers_alone_need_no_categories():
    model = HistGradientBoostingRegressor(max_iter=5).fit(X[:, 2:3], Y[:, 0])
    assert np.abs(Boosted.of([model]).predict(X[:, 2:3])[:, 0] - model.predict(X[:, 2:3])).max() < 1e-6


def test_what_is_not_boosted_is_refused():
    for other in (ExtraTreesRegressor(3).fit(X[:, :2], Y[:, 0]), HistGradientBoostingRegressor()):
        with pytest.raises(ConfigError, match="expected a fitted HistGradientBoosting"):
            Boosted.of([other])
