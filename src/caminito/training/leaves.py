"""Fitting trees whose leaves are donors: one column of a table from others.

scikit-learn grows the tree; numbers are said by variance, categories by Gini. No column is split into indicators: a
category is put on the line where the best cut is a cut of that line, by its mean of the target (Fisher 1958; Breiman et
al. 1984, section 4.2.2), or for more than two classes by the first principal axis of its class shares (Coppersmith et
al. 1999). Rows that are the same are one row with their weight, so a leaf counts rows that differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from caminito.denoiser.leaves import Codes, LeafTree, columns_seen

__all__ = ["fit_leaves"]

_CLASSES = 64  # of a target that its categories are put on a line by; the rarer ones count as one
_MANY = 500  # categories from which a target is said by what they go with
_AXES = 4


def fit_leaves(
    codes: Codes,
    target: int,
    columns: Sequence[int],
    *,
    numbers: NDArray[np.float64] | None = None,
    ordered: Sequence[bool],
    min_rows: int = 5,
    weights: NDArray[np.float64] | None = None,
    features: float = 1.0,
    seed: int = 0,
) -> LeafTree:
    """The tree that says column `target` from `columns`.

    Parameters
    ----------
    codes : int32 array, shape (rows, p)
        Each row once; -1 where a value is missing.
    target : int
    columns : sequence of int
    numbers : array, shape (rows,), optional
        Of an ordered target: its values, or their ranks; NaN where missing. Its codes unless given.
    ordered : sequence of bool, shape (p,)
        Whether the codes of each column have an order that means something.
    min_rows : int >= 1
        In a leaf.
    weights : array, shape (rows,), optional
        How often each row was seen.
    features : float in (0, 1]
        Share of the columns, drawn anew at each node, among which the best split is looked for.
    seed : int
        Decides between splits that are equally good.
    """
    if not columns:
        return _whole(len(codes), weights)
    said = codes[:, target]
    ranks = {
        place: _ranks(codes[:, column], said, numbers if ordered[target] else None, weights)
        for place, column in enumerate(columns)
        if not ordered[column]
    }
    seen = columns_seen(codes, columns, ranks)
    how = {"min_samples_leaf": min_rows, "max_features": features, "random_state": seed}
    if ordered[target]:
        tree = DecisionTreeRegressor(**how).fit(seen, _said(said, numbers), sample_weight=weights)
    elif said.max() >= _MANY:
        tree = DecisionTreeRegressor(**how).fit(seen, _likeness(said, seen, weights), sample_weight=weights)
    else:
        tree = DecisionTreeClassifier(**how).fit(seen, said, sample_weight=weights)
    grown = tree.tree_
    left, right = (np.asarray(side, dtype=np.int32) for side in (grown.children_left, grown.children_right))
    leaf = tree.apply(seen)
    order = np.argsort(leaf, kind="stable").astype(np.int32)
    last = np.cumsum(np.bincount(leaf, minlength=grown.node_count)).astype(np.int32)
    first = np.concatenate([[0], last[:-1]]).astype(np.int32)
    for node in range(grown.node_count - 1, -1, -1):  # children come after their parents
        if left[node] >= 0:
            first[node], last[node] = first[left[node]], last[right[node]]
    feature = np.where(left >= 0, grown.feature, -1).astype(np.int32)
    threshold = np.asarray(grown.threshold, dtype=np.float32)
    return LeafTree(columns, ranks, feature, threshold, left, right, order, first, last, weights)


def _whole(rows: int, weights: NDArray[np.float64] | None) -> LeafTree:
    """One leaf of all rows: where nothing is known."""
    none, zero, all_rows = (np.array([value], dtype=np.int32) for value in (-1, 0, rows))
    threshold, order = np.zeros(1, dtype=np.float32), np.arange(rows, dtype=np.int32)
    return LeafTree([], {}, none, threshold, none, none, order, zero, all_rows, weights)


def _said(codes: Codes, numbers: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """The ordered target, in the units of its spread; what is missing is a second column."""
    values = codes.astype(np.float64) if numbers is None else numbers
    missing = codes < 0
    if not missing.any():
        return values
    known = values[~missing]
    spread = float(known.std()) if len(known) else 0.0
    filled = np.where(missing, known.mean() if len(known) else 0.0, values)
    return np.stack([filled / spread if spread > 0 else filled, 2.0 * missing], axis=1)


def _likeness(codes: Codes, seen: NDArray[np.float32], weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """A target of very many categories as a few numbers: what each goes with on average, on its principal axes."""
    mass = np.ones(len(codes)) if weights is None else weights
    scaled = seen - np.average(seen, axis=0, weights=mass)
    scaled /= np.maximum(np.sqrt(np.average(scaled**2, axis=0, weights=mass)), 1e-12)
    at = codes % (int(codes.max()) + 2)  # -1, missing, is the last
    often = np.maximum(np.bincount(at, mass), 1e-9)
    means = np.stack([np.bincount(at, mass * column) / often for column in scaled.T], axis=1)
    _, axes = np.linalg.eigh(means.T @ (means * often[:, None]))
    return np.asarray(means @ axes[:, ::-1][:, :_AXES])[at]


def _ranks(
    codes: Codes, target: Codes, numbers: NDArray[np.float64] | None, weights: NDArray[np.float64] | None
) -> NDArray[np.float32]:
    """Where each category of a column stands on the line, missing last; float32, shape (values + 1,)."""
    count = int(codes.max(initial=0)) + 2
    at = codes % count  # -1, missing, is the last
    often = np.maximum(np.bincount(at, weights, count), 1e-9)
    if numbers is not None or target.max(initial=0) + (target.min(initial=0) < 0) <= 1:
        values = np.nan_to_num(target.astype(np.float64) if numbers is None else numbers)
        score = np.bincount(at, values if weights is None else weights * values, count) / often
    else:
        score = _principal(at, target, often, weights)
    ranks: NDArray[np.float32] = np.empty(count, dtype=np.float32)
    ranks[np.argsort(score, kind="stable")] = np.arange(count, dtype=np.float32)
    return ranks


def _principal(
    at: Codes, target: Codes, often: NDArray[np.float64], weights: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """The class shares of each category on their first principal axis, whose sign is fixed."""
    classes, inverse, counts = np.unique(target, return_inverse=True, return_counts=True)
    kept = np.argsort(-counts, kind="stable")[: _CLASSES - 1]
    column = np.full(len(classes), min(len(kept), len(classes) - 1))
    column[kept] = np.arange(len(kept))
    width = int(column.max()) + 1
    table = np.bincount(at * width + column[inverse], weights, len(often) * width).reshape(len(often), width)
    shares = table / often[:, None]
    shares -= np.average(shares, axis=0, weights=often)
    axis = np.linalg.svd(shares * np.sqrt(often)[:, None], full_matrices=False)[2][0]
    return np.asarray(shares @ axis * (1 if axis[np.abs(axis).argmax()] > 0 else -1))
