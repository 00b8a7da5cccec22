"""Forests as arrays say what scikit-learn's say."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from caminito.denoiser import Forest
from caminito.errors import ConfigError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(300, 4)), RNG.normal(size=(300, 3))


@pytest.mark.parametrize(
    "regressor",
    [
        DecisionTreeRegressor(min_samples_leaf=3),
        DecisionTreeRegressor(max_depth=1),
        DecisionTreeRegressor(min_samples_leaf=300),
        ExtraTreesRegressor(7, min_samples_leaf=4, random_state=0),
        RandomForestRegressor(5, random_state=0),
    ],
)
@pytest.mark.parametrize("columns", [1, 3])
def test_a_forest_of_arrays_predicts_what_the_fitted_one_does(regressor, columns):
    fitted = regressor.fit(X, Y[:, 0] if columns == 1 else Y)
    new = RNG.normal(size=(500, 4))
    wanted = fitted.predict(new).reshape(500, columns)
    forest = Forest.of(fitted)
    assert np.abs(forest.predict(new) - wanted).max() < 1e-6  # leaves are kept in single precision
    assert np.array_equal(Forest.from_arrays(forest.arrays()).predict(new), forest.predict(new))


def test_what_is_no_forest_is_refused():
    for other in (GradientBoostingRegressor(n_estimators=3).fit(X, Y[:, 0]), DecisionTreeRegressor()):
        with pytest.raises(ConfigError, match="expected a fitted tree"):
            Forest.of(other)
