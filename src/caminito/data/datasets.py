"""Data that ship with the package: the digits of scikit-learn, and exact samplers of four laws in the plane.

The samplers draw independent points of known laws, as many as one likes, so a learned sampler can be held against the
law itself and against its floor (two exact samples of the same size). Each is a function of (n, seed) alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from caminito._errors import ConfigError

__all__ = ["TOYS", "checkerboard", "eight_gaussians", "load_digits", "spiral", "swiss_roll"]

Floats = NDArray[np.float64]


def load_digits() -> tuple[Floats, NDArray[np.int64]]:
    """Handwritten digits bundled with scikit-learn: 1797 images 8x8 of whole numbers 0..16, and their labels 0..9.

    Nothing is downloaded. Source: E. Alpaydin, C. Kaynak 1998, Optical Recognition of Handwritten Digits (UCI),
    test part.

    Returns
    -------
    images : float64 array (1797, 8, 8)
    labels : int64 array (1797,)
    """
    from sklearn.datasets import load_digits as bundled  # here: it takes a second, and few need it

    digits = bundled()
    return digits.images.astype(np.float64), digits.target.astype(np.int64)


def checkerboard(n: int, seed: int) -> Floats:
    """Uniform on the 8 dark unit squares of a 4x4 board on [-2, 2]^2; shape (n, 2).

    A square [i, i+1) x [j, j+1) is dark when i + j is even.
    """
    generator = _generator(n, seed)
    x = generator.uniform(-2.0, 2.0, n)
    row = 2 * generator.integers(-1, 1, n) + np.floor(x) % 2
    return np.stack([x, row + generator.random(n)], axis=1)


def swiss_roll(n: int, seed: int) -> Floats:
    """The plane section of the Swiss roll: ((t cos t, t sin t) + 0.5 eps) / 10, t = 1.5 pi (1 + 2u); shape (n, 2).

    u is uniform on [0, 1), eps standard normal. Source: Marsland 2009, as in scikit-learn's make_swiss_roll.
    """
    generator = _generator(n, seed)
    t = 1.5 * np.pi * (1.0 + 2.0 * generator.random(n))
    points = np.stack([t * np.cos(t), t * np.sin(t)], axis=1)
    return (points + 0.5 * generator.standard_normal((n, 2))) / 10.0


def eight_gaussians(n: int, seed: int) -> Floats:
    """Eight Gaussians of equal weight, evenly on a circle; shape (n, 2).

    The circle has radius 2 / sqrt(2) and the Gaussians standard deviation 0.2 / sqrt(2): the coordinates then have
    variance 1.02.
    """
    generator = _generator(n, seed)
    angle = np.pi / 4.0 * generator.integers(0, 8, n)
    centres = 2.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (centres + 0.2 * generator.standard_normal((n, 2))) / np.sqrt(2.0)


def spiral(n: int, seed: int) -> Floats:
    """One arm of an Archimedean spiral, 1.5 turns to radius 2, with noise 0.05; shape (n, 2).

    (r cos a, r sin a) + 0.05 eps with a = 3 pi sqrt(u), r = 2 a / (3 pi): points are about evenly spaced along the arm.
    """
    generator = _generator(n, seed)
    radius = np.sqrt(generator.random(n))
    angle = 3.0 * np.pi * radius
    arm = 2.0 * np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return arm + 0.05 * generator.standard_normal((n, 2))


TOYS: Mapping[str, Callable[[int, int], Floats]] = MappingProxyType(
    {"checkerboard": checkerboard, "swiss_roll": swiss_roll, "eight_gaussians": eight_gaussians, "spiral": spiral}
)
"""The samplers by name."""


def _generator(n: int, seed: int) -> np.random.Generator:
    if n < 1:
        raise ConfigError(f"n: expected a positive number of points, got {n}.")
    if seed < 0:
        raise ConfigError(f"seed: expected a non-negative integer, got {seed}.")
    return np.random.Generator(np.random.Philox(seed))
