"""Frechet distance: Wasserstein-2 between the two Gaussians that share the sets' means and covariances.

    d^2 = |m_x - m_y|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2)

With A = R^T R and B = S^T S the last trace is the sum of the singular values of R S^T, so no matrix square root of a
nearly singular product is taken: R and S come from the centred rows by QR.

Source: Dowson & Landau 1982, eq. 4; in a network's features it is the FID of Heusel et al. 2017.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import ConfigError, DataError
from caminito.metrics._rows import Array, Rows, blocks, pair_of_rows

__all__ = ["frechet_distance", "frechet_features"]


def frechet_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Squared Frechet distance of two sets of items or features, as the FID is quoted.

    Parameters
    ----------
    x, y : array, shapes (n, ...) and (m, ...)
        Two sets of events of one size, at least two each.

    Returns
    -------
    float
        In squared data units. Biased upwards by about 1/n: compare only figures of equal n and m.

    Raises
    ------
    DataError, NonFiniteError, ShapeError
        If the sets cannot be compared.

    Notes
    -----
    Exact for the sample means and (n - 1)-covariances, float64, also with fewer items than dimensions.
    Source: Dowson & Landau 1982, eq. 4.

    Examples
    --------
    >>> round(frechet_distance([[-1.0], [1.0]], [[1.0], [5.0]]), 12)  # (3 - 0)^2 + (2 sqrt 2 - sqrt 2)^2
    11.0
    """
    first, second = pair_of_rows(x, y)
    mean_x, root_x = _moments(first)
    mean_y, root_y = _moments(second)
    gap = mean_x - mean_y
    overlap = np.linalg.svd(root_x @ root_y.T, compute_uv=False).sum()
    return float(max(0.0, gap @ gap + np.sum(root_x**2) + np.sum(root_y**2) - 2.0 * overlap))


def frechet_features(
    x: ArrayLike,
    y: ArrayLike,
    features: Callable[[NDArray[np.generic]], ArrayLike],
    *,
    batch_size: int = 256,
) -> float:
    """Squared Frechet distance in the features of any network.

    Parameters
    ----------
    x, y : array, shapes (n, ...) and (m, ...)
        Two sets of events.
    features : callable
        Takes a batch of events as they are in `x`, shape (b, ...), and returns a row of numbers each, shape (b, size).
    batch_size : int
        How many events `features` is shown at once.

    Returns
    -------
    float
        In squared units of the features; see `frechet_distance`.

    Raises
    ------
    ConfigError
        If `batch_size` < 1.
    DataError
        If `features` does not return one row per event.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size: expected at least 1, got {batch_size}.")
    return frechet_distance(_embed(x, features, batch_size), _embed(y, features, batch_size))


def _embed(x: ArrayLike, features: Callable[[NDArray[np.generic]], ArrayLike], batch_size: int) -> Array:
    events = np.asarray(x)
    parts = []
    for start in range(0, len(events), batch_size):
        batch = events[start : start + batch_size]
        part = np.asarray(features(batch), dtype=np.float64)
        if part.ndim < 2 or len(part) != len(batch):
            raise DataError(
                f"features: expected one row of numbers for each of {len(batch)} events, got shape {part.shape}. "
                "Return an array of shape (batch, size)."
            )
        parts.append(part.reshape(len(batch), -1))
    if not parts:
        raise DataError(f"expected at least two events, got an array of shape {events.shape}.")
    return np.concatenate(parts)


def _moments(rows: Rows) -> tuple[Array, Array]:
    """The mean, and a root R of the covariance R^T R; R has no more rows than there are items or columns."""
    mean = np.sum([block.sum(axis=0) for _, block in blocks(rows)], axis=0) / len(rows)
    root: Array = np.empty((0, rows.shape[1]))
    for _, block in blocks(rows):
        root = np.concatenate([root, (block - mean) / np.sqrt(len(rows) - 1)])
        if len(root) > rows.shape[1]:
            root = np.asarray(np.linalg.qr(root, mode="r"))
    return mean, root
