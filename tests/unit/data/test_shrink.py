"""Items on a coarser grid are means of blocks."""

import numpy as np
import pytest

from caminito.data import shrink
from caminito.errors import ConfigError, DataError, ShapeError


@pytest.mark.parametrize(
    ("shape", "axis", "small"),
    [
        ((5, 6, 4), "image", (5, 3, 2)),
        ((5, 6, 4, 3), "image", (5, 3, 2, 3)),
        ((5, 6, 4), None, (5, 3, 2)),
        ((5, 3, 6, 4), 1, (5, 3, 3, 2)),
        ((5, 6, 4, 3), -1, (5, 3, 2, 3)),
        ((5, 2, 6), 1, (5, 2, 3)),
        ((5, 4, 6, 2), None, (5, 2, 3, 1)),
    ],
)
def test_each_value_is_the_mean_of_its_block_whatever_the_layout(shape, axis, small):
    X = np.random.default_rng(0).normal(size=shape)
    out = shrink(X, 2, channel_axis=axis)
    assert out.shape == small and out.flags["C_CONTIGUOUS"]
    for index in np.ndindex(small):
        block = tuple(slice(2 * i, 2 * i + 2) if n != m else i for i, n, m in zip(index, shape, small))
        assert out[index] == pytest.approx(X[block].mean(), abs=1e-14)


def test_whole_numbers_are_rounded_to_the_nearest_and_halves_to_even():
    X = np.array([[[0, 1, 1, 2], [0, 1, 1, 2], [255, 255, 3, 0], [255, 254, 0, 0]]], dtype=np.uint8)
    out = shrink(X, 2)
    assert out.dtype == np.uint8 and out.tolist() == [[[0, 2], [255, 1]]]


def test_twice_is_once_by_the_product_and_once_by_one_is_nothing():
    X = np.random.default_rng(0).normal(size=(300, 12, 60))
    np.testing.assert_allclose(shrink(shrink(X, 2), 3), shrink(X, 6), atol=1e-14)
    assert np.array_equal(shrink(X, 1), X)
    assert shrink(X.astype(np.float32), 4).dtype == np.float32


@pytest.mark.parametrize(
    ("X", "factor", "error", "words"),
    [
        (np.zeros((2, 9, 8)), 2, ShapeError, "sides that 2 divides, got 9 x 8"),
        (np.zeros((2, 9)), 3, ShapeError, "rows of numbers cannot be shrunk"),
        (np.zeros(9), 3, ShapeError, "rows of numbers cannot be shrunk"),
        (np.zeros((2, 8, 8)), 0, ConfigError, "whole number >= 1, got 0"),
        (np.zeros((2, 8, 8)), 1.5, ConfigError, "whole number >= 1, got 1.5"),
        (np.full((2, 8, 8), "a"), 2, DataError, "real numbers"),
    ],
)
def test_what_cannot_be_shrunk_is_refused(X, factor, error, words):
    with pytest.raises(error, match=words):
        shrink(X, factor)
