"""Bundled digits and exact samplers: each law is checked by a probability that its definition fixes."""

import numpy as np
import pytest

from caminito._errors import ConfigError
from caminito.data import TOYS, checkerboard, eight_gaussians, load_digits, spiral, swiss_roll

N = 40_000


def test_digits_are_those_of_scikit_learn() -> None:
    X, y = load_digits()
    assert X.shape == (1797, 8, 8) and X.dtype == np.float64 and y.dtype == np.int64
    assert (X.min(), X.max()) == (0.0, 16.0)
    np.testing.assert_array_equal(X, np.rint(X))
    np.testing.assert_array_equal(np.bincount(y), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])


@pytest.mark.parametrize("name", sorted(TOYS))
def test_points_are_a_function_of_seed_and_of_nothing_else(name: str) -> None:
    np.random.seed(0)
    first = TOYS[name](100, 3)
    np.random.seed(1)
    np.testing.assert_array_equal(first, TOYS[name](100, 3))
    assert (first != TOYS[name](100, 4)).any()
    with pytest.raises(ConfigError, match="n:"):
        TOYS[name](0, 3)
    with pytest.raises(ConfigError, match="seed"):
        TOYS[name](5, -1)


def test_checkerboard_is_uniform_on_the_dark_squares() -> None:
    points = checkerboard(N, 0)
    cell = np.floor(points).astype(int)
    assert (cell.sum(1) % 2 == 0).all() and cell.min() == -2 and cell.max() == 1
    counts = np.unique(cell, axis=0, return_counts=True)[1]
    assert len(counts) == 8
    # chi-square with 7 degrees of freedom exceeds 29.9 with probability 1e-4; inside a square, uniform on [0, 1)^2
    assert ((counts - N / 8) ** 2 / (N / 8)).sum() < 29.9
    inside = points - cell
    np.testing.assert_allclose(inside.mean(0), 0.5, atol=4.5 * np.sqrt(1 / 12 / N))
    np.testing.assert_allclose(inside.var(0), 1 / 12, atol=4.5 * np.sqrt(1 / 180 / N))


def test_swiss_roll_has_the_moments_of_its_definition() -> None:
    points = swiss_roll(N, 0)
    # E|x|^2 = (E t^2 + 2 * .25) / 100 with t uniform on [a, 3a], a = 1.5 pi: E t^2 = 13 a^2 / 3
    a = 1.5 * np.pi
    square = (points**2).sum(1)
    expected = (13 * a**2 / 3 + 0.5) / 100
    np.testing.assert_allclose(square.mean(), expected, atol=4.5 * square.std() / np.sqrt(N))
    # E[t cos t], E[t sin t] by the primitives cos t + t sin t and sin t - t cos t
    mean = np.array(
        [
            (np.cos(3 * a) + 3 * a * np.sin(3 * a) - np.cos(a) - a * np.sin(a)) / (2 * a),
            (np.sin(3 * a) - 3 * a * np.cos(3 * a) - np.sin(a) + a * np.cos(a)) / (2 * a),
        ]
    )
    assert (np.abs(points.mean(0) - mean / 10) <= 4.5 * points.std(0) / np.sqrt(N)).all()


def test_eight_gaussians_have_equal_weights_and_the_stated_radius_and_spread() -> None:
    points = eight_gaussians(N, 0)
    nearest = np.rint(np.arctan2(points[:, 1], points[:, 0]) / (np.pi / 4)).astype(int) % 8
    counts = np.bincount(nearest, minlength=8)
    assert ((counts - N / 8) ** 2 / (N / 8)).sum() < 29.9
    square = (points**2).sum(1)  # E|x|^2 = 2 + 2 * .02
    np.testing.assert_allclose(square.mean(), 2.04, atol=4.5 * square.std() / np.sqrt(N))
    # distance to the own centre: E d^2 = .04; nearer to another centre with probability 1.4e-4
    centre = np.sqrt(2) * np.stack([np.cos(nearest * np.pi / 4), np.sin(nearest * np.pi / 4)], 1)
    spread = ((points - centre) ** 2).sum(1)
    np.testing.assert_allclose(spread.mean(), 0.04, atol=4.5 * spread.std() / np.sqrt(N) + 1e-4)


def test_spiral_lies_on_its_arm() -> None:
    points = spiral(N, 0)
    square = (points**2).sum(1)  # radius 2 sqrt(u): E r^2 = 2, and noise 2 * .0025
    np.testing.assert_allclose(square.mean(), 2.005, atol=4.5 * square.std() / np.sqrt(N))
    arm = np.linspace(0.0, 1.0, 4000)
    curve = 2 * arm[:, None] * np.stack([np.cos(3 * np.pi * arm), np.sin(3 * np.pi * arm)], 1)
    gap = np.sqrt(((points[:500, None] - curve[None]) ** 2).sum(-1)).min(1)
    assert gap.max() <= 0.05 * np.sqrt(-2 * np.log(1e-4 / 500)) + 2e-3  # Rayleigh tail of 500 points, grid of the curve
