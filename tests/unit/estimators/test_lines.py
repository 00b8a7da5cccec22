"""Least squares of every column from all others, against one regression at a time and one row left out at a time."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from caminito.estimators import lines
from caminito.estimators.lines import least_squares


@pytest.mark.parametrize("repeats", [False, True])
def test_each_line_and_what_it_leaves_are_those_of_a_ridge_regression_without_the_row(repeats, monkeypatch):
    monkeypatch.setattr(lines, "_RIDGES", np.array([1e-3, 0.1]))
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((12, 4)) @ rng.standard_normal((4, 4)) * [1, 10, 0.1, 1] + 5
    weights = rng.integers(1, 4, 12).astype(float) if repeats else np.ones(12)
    found, remains = least_squares(matrix, weights)
    z = np.column_stack([found.standard(matrix[:, j], j) for j in range(4)])
    np.testing.assert_allclose(np.average(z, axis=0, weights=weights), 0, atol=1e-12)
    np.testing.assert_allclose(np.average(z**2, axis=0, weights=weights), 1)
    for j in range(4):
        others, errors = np.delete(np.arange(4), j), []
        for share in (1e-3, 0.1):
            line = Ridge(alpha=share * weights.sum())
            left = np.empty(12)
            for row in range(12):
                rest = np.delete(np.arange(12), row)
                line.fit(z[rest][:, others], z[rest, j], sample_weight=weights[rest])
                left[row] = z[row, j] - line.predict(z[[row]][:, others])[0]
            line.fit(z[:, others], z[:, j], sample_weight=weights)
            errors.append((np.average(left**2, weights=weights), left, line.coef_))
        _, left, slopes = min(errors, key=lambda each: each[0])
        np.testing.assert_allclose(remains[:, j], left, rtol=1e-9)
        np.testing.assert_allclose(found.slopes[others, j], slopes, rtol=1e-9)
        assert found.slopes[j, j] == 0
        np.testing.assert_allclose(found.number(z[:, j], j), matrix[:, j])
        np.testing.assert_allclose(found.said(matrix, j), z[:, others] @ slopes, rtol=1e-9)


def test_constant_columns_and_more_columns_than_rows_have_lines():
    rng = np.random.default_rng(1)
    matrix = np.column_stack([np.full(8, 0.1), rng.standard_normal((8, 20))])
    found, left = least_squares(matrix, rng.gamma(np.ones(8)))
    assert np.isfinite(left).all() and np.isfinite(found.slopes).all()
    assert np.abs(left[:, 0]).max() < 1e-12 and found.scale[0] == 1


def test_what_a_line_says_of_a_row_is_the_same_whatever_rows_come_with_it():
    rng = np.random.default_rng(2)
    matrix = np.asfortranarray(rng.standard_normal((300, 17)))
    found, _ = least_squares(matrix, np.ones(300))
    whole = found.said(matrix, 3)
    for rows in (1, 2, 7, 100):
        np.testing.assert_array_equal(found.said(matrix[:rows], 3), whole[:rows])
