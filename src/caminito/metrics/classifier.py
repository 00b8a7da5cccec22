"""Classifier two-sample test: can a classifier tell which set an item came from?

Accuracy 1/2 means it cannot; 1 means that the sets are apart. The default judge, one nearest neighbour with
leave-one-out, needs no training and sees copies too: far *below* 1/2 means that items of the two sets come in twins.

Source: Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import ConfigError
from caminito.metrics._rows import Rows, distance_blocks, equal_sizes, pair_of_rows

__all__ = ["c2st"]


def c2st(
    x: ArrayLike,
    y: ArrayLike,
    *,
    neighbours: int = 1,
    classifier: Any = None,
    folds: int | None = None,
    seed: int = 0,
) -> float:
    """Accuracy of a classifier that tells `x` from `y`, always judged on items it was not shown.

    Parameters
    ----------
    x, y : array, shape (n, ...)
        Two sets of n events each.
    neighbours : int
        How many nearest neighbours vote.
    classifier : scikit-learn classifier, optional
        Judge instead of the neighbours; it is cloned, never fitted in place.
    folds : int, optional
        Number of parts for cross-validation. By default each item is left out alone (neighbours) or 5 (a classifier).
        With `folds=2` the neighbours are looked for in the other half only: fewer, so the judge is milder.
    seed : int
        Of the folds; leave-one-out has no randomness.

    Returns
    -------
    float
        In [0, 1]; 1/2 = indistinguishable (by leave-one-out (n - 1) / (2 n - 1), which is its exact mean). Its standard
        error is about 1 / sqrt(8 n) and more, for neighbours judge each other.

    Raises
    ------
    ConfigError
        If `neighbours` or `folds` do not fit the number of items.
    DataError, NonFiniteError, ShapeError
        If the sets cannot be compared, or differ in length.

    Notes
    -----
    Source: Lopez-Paz & Oquab 2017, section 3; leave-one-out 1-NN as in Xu et al. 2018, arXiv:1806.07755.
    """
    first, second = pair_of_rows(x, y)
    equal_sizes(first, second)
    count = len(first)
    if folds is not None and not 2 <= folds <= count:
        raise ConfigError(f"folds: expected 2 to {count} (items per set) or None, got {folds}.")
    rows = np.concatenate([first, second])
    side = np.repeat([False, True], count)
    if classifier is not None:
        return _cross_validated(rows, side, classifier, folds or 5, seed)
    part = np.arange(2 * count) if folds is None else _folds(count, folds, seed)
    fewest = 2 * count - int(np.bincount(part).max())
    if not 1 <= neighbours <= fewest:
        raise ConfigError(f"neighbours: expected 1 to {fewest} (items left to vote), got {neighbours}.")
    return _neighbours(rows, side, part, neighbours)


def _folds(count: int, folds: int, seed: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(count) % folds for _ in range(2)])


def _neighbours(rows: Rows, side: NDArray[np.bool_], part: NDArray[np.int64], neighbours: int) -> float:
    """Accuracy of a vote; among equally far neighbours the voters are drawn at random, in expectation."""
    from scipy.stats import hypergeom

    right = 0.0
    for some, squared in distance_blocks(rows, rows):
        squared[part[some, None] == part] = np.inf
        same = side[some, None] == side
        radius = np.partition(squared, neighbours - 1, axis=1)[:, neighbours - 1, None]
        inside, edge = squared < radius, squared == radius
        drawn = hypergeom(edge.sum(axis=1), (edge & same).sum(axis=1), neighbours - inside.sum(axis=1))
        missing = neighbours / 2 - (inside & same).sum(axis=1)
        right += float(np.sum(drawn.sf(np.floor(missing)) + 0.5 * drawn.pmf(missing)))
    return right / len(rows)


def _cross_validated(rows: Rows, side: NDArray[np.bool_], classifier: Any, folds: int, seed: int) -> float:
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    splits = StratifiedKFold(folds, shuffle=True, random_state=seed)
    guess = cross_val_predict(classifier, rows.astype(np.float64, copy=False), side, cv=splits)
    return float(np.mean(guess == side))
