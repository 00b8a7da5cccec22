"""Fitting trees whose leaves are donors: one column of a table from others.

scikit-learn grows the tree; numbers are said by variance, categories by Gini. No column is split into indicators: a
category is put on the line where the best cut is a cut of that line, by its mean of the target (Fisher 1958; Breiman et
al. 1984, section 4.2.2), or for more than two classes by the first principal axis of its class shares (Coppersmith et
al. 1999). Rows that are the same are one row with their weight, so a leaf counts rows that differ.

Of more than 60 000 rows, the first splits are found on a sample of 50 000, down to parts of about 1000 rows, where a
split that more rows would move is moved by less than a leaf; from there on every row counts, part by part. Of more than
400 000 rows, so many are split, into ten thousand leaves at most, and all are donors there. So the time of splitting
has a limit, and what is held beside the codes is one number for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from caminito._random import Stream, permutation
from caminito.denoiser.leaves import Codes, LeafTree, columns_seen

__all__ = ["fit_leaves"]

_CLASSES = 64  # of a target that its categories are put on a line by; the rarer ones count as one
_MANY = 500  # categories from which a target is said by what they go with
_AXES = 4
_LARGE, _SAMPLE, _PART = 60_000, 50_000, 1024  # rows from which first splits are found on so many, into such parts
_SPLIT = 400_000  # rows that all splits are found on

Rows = NDArray[np.integer[Any]] | slice
Grow = Callable[[Rows, int], Any]  # the tree of some rows, with so many at least in a leaf


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
    shown: NDArray[np.intp] | None = None,
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
    shown : int array, rising, optional
        Rows that splits are found on, so many of which a leaf has at least; all are donors.
    seed : int
        Decides between splits that are equally good.
    """
    if weights is not None and (weights == 1).all():
        weights = None
    if not columns:
        return _whole(len(codes), weights)
    said = codes[:, target]
    mass = weights
    if shown is not None:
        mass = np.zeros(len(codes))
        mass[shown] = 1.0 if weights is None else weights[shown]
    ranks = {
        place: _ranks(codes[:, column], said, numbers if ordered[target] else None, mass)
        for place, column in enumerate(columns)
        if not ordered[column]
    }
    kind: Any = DecisionTreeRegressor
    wanted: NDArray[Any] = said
    if ordered[target]:
        wanted = _said(said, numbers)
    elif said.max() >= _MANY:
        wanted = _likeness(said, codes, columns, ranks, mass)
    else:
        kind = DecisionTreeClassifier

    def grow(rows: Rows, least: int) -> Any:
        seen, mass = columns_seen(codes[rows], columns, ranks), None if weights is None else weights[rows]
        tree = kind(min_samples_leaf=least, max_features=features, random_state=seed)
        with config_context(assume_finite=True, skip_parameter_validation=True):  # of small trees, no small part
            tree = tree.fit(seen, wanted[rows], sample_weight=mass, check_input=False).tree_
        return tree, tree.apply(seen)

    if len(codes) > _LARGE:
        drawn = np.asarray(permutation(seed, Stream.TABLE, 12, len(codes)))
        if shown is not None:
            drawn = drawn[np.isin(drawn, shown)]
        grown = _in_parts(codes, columns, ranks, grow, min_rows, drawn[:_SPLIT])
    else:
        grown = _Grown.of(*grow(slice(None) if shown is None else shown, min_rows))

    def tree() -> LeafTree:
        nodes = (grown.feature, grown.threshold, grown.left, grown.right, grown.order, *grown.spans())
        return LeafTree(columns, ranks, *nodes, weights)

    if len(grown.order) < len(codes):
        grown = grown.with_rows(tree().leaf(codes))
    return tree()


class _Grown(NamedTuple):
    """The nodes of a tree, a node before its children, and rows leaf by leaf."""

    feature: Codes  # -1 at leaves, as in `left` and `right`
    threshold: NDArray[np.float32]
    left: Codes
    right: Codes
    order: Codes
    leaves: NDArray[np.intp]  # in the order of their rows
    sizes: NDArray[np.intp]  # of those leaves

    @classmethod
    def of(cls, tree: Any, leaf: NDArray[np.intp]) -> _Grown:
        """A tree of scikit-learn, and the leaf of each row."""
        left, right = (np.asarray(side, dtype=np.int32) for side in (tree.children_left, tree.children_right))
        feature = np.where(left >= 0, tree.feature, -1).astype(np.int32)
        threshold = np.asarray(tree.threshold, dtype=np.float32)
        leaves = np.flatnonzero(left < 0)
        sizes = np.bincount(leaf, minlength=tree.node_count)[leaves]
        return cls(feature, threshold, left, right, _sorted(leaf), leaves, sizes)

    def with_rows(self, leaf: NDArray[np.intp]) -> _Grown:
        """The same tree with other rows, given the leaf of each."""
        place = np.zeros(len(self.left), dtype=np.intp)
        place[self.leaves] = np.arange(len(self.leaves))
        where = place[leaf]
        return self._replace(order=_sorted(where), sizes=np.bincount(where, minlength=len(self.leaves)))

    def spans(self) -> tuple[Codes, Codes]:
        """Where in `order` the rows of each node begin and end."""
        last = np.zeros(len(self.left), dtype=np.int32)
        last[self.leaves] = np.cumsum(self.sizes)
        first = last.copy()
        first[self.leaves] -= self.sizes.astype(np.int32)
        for node in np.flatnonzero(self.left >= 0)[::-1]:
            first[node], last[node] = first[self.left[node]], last[self.right[node]]
        return first, last


def _in_parts(
    codes: Codes,
    columns: Sequence[int],
    ranks: Mapping[int, NDArray[np.float32]],
    grow: Grow,
    min_rows: int,
    among: NDArray[np.intp],
) -> _Grown:
    """A tree of very many rows: first splits by some, those below each leaf of these by all rows there."""
    tree, _ = grow(np.sort(among[:_SAMPLE]), max(min_rows, _PART * _SAMPLE // len(among)))
    among = np.sort(among)
    blocks = (codes[among[begin : begin + _SAMPLE]] for begin in range(0, len(among), _SAMPLE))
    top = _Grown.of(tree, np.concatenate([tree.apply(columns_seen(block, columns, ranks)) for block in blocks]))
    parts, made = [], len(top.left)
    for leaf, rows in zip(top.leaves, np.split(among[top.order].astype(np.int32), np.cumsum(top.sizes)[:-1])):
        part = _Grown.of(*grow(rows, min_rows))
        number = np.arange(made - 1, made - 1 + len(part.left))  # of its nodes among all: the first is the leaf
        number[0] = leaf
        for name in ("left", "right"):
            side = getattr(part, name)
            getattr(top, name)[leaf] = number[side[0]] if side[0] >= 0 else -1
        top.feature[leaf], top.threshold[leaf] = part.feature[0], part.threshold[0]
        part = part._replace(
            left=np.where(part.left >= 0, number[part.left], -1).astype(np.int32),
            right=np.where(part.right >= 0, number[part.right], -1).astype(np.int32),
            order=rows[part.order],
            leaves=number[part.leaves],
        )
        parts.append(part)
        made += len(part.left) - 1
    whole = {name: [getattr(part, name) for part in parts] for name in _Grown._fields}
    nodes = {
        name: np.concatenate([getattr(top, name), *(each[1:] for each in whole[name])]) for name in _Grown._fields[:4]
    }
    return _Grown(**nodes, **{name: np.concatenate(whole[name]) for name in _Grown._fields[4:]})


def _sorted(leaf: NDArray[np.intp]) -> Codes:
    """Rows, leaf by leaf."""
    few = leaf.astype(np.uint16) if len(leaf) and leaf.max() < 2**16 else leaf  # sorted by their digits
    return np.argsort(few, kind="stable").astype(np.int32)


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


def _likeness(
    target: Codes,
    codes: Codes,
    columns: Sequence[int],
    ranks: Mapping[int, NDArray[np.float32]],
    weights: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """A target of very many categories as a few numbers: what each goes with on average, on its principal axes."""
    count = int(target.max()) + 2
    at = target % count  # -1, missing, is the last
    often = np.maximum(np.bincount(at, weights, count), 1e-9)
    means = np.empty((count, len(columns)))
    for place, column in enumerate(columns):
        seen = columns_seen(codes, [column], {0: ranks[place]} if place in ranks else {})[:, 0].astype(np.float64)
        seen -= np.average(seen, weights=weights)
        seen /= max(float(np.sqrt(np.average(seen**2, weights=weights))), 1e-12)
        means[:, place] = np.bincount(at, seen if weights is None else weights * seen, count) / often
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
    tally = np.bincount(target + 1)  # -1, missing, is the first
    classes = np.flatnonzero(tally)
    inverse, counts = (np.cumsum(tally > 0) - 1)[target + 1], tally[classes]
    kept = np.argsort(-counts, kind="stable")[: _CLASSES - 1]
    column = np.full(len(classes), min(len(kept), len(classes) - 1))
    column[kept] = np.arange(len(kept))
    width = int(column.max()) + 1
    table = np.bincount(at * width + column[inverse], weights, len(often) * width).reshape(len(often), width)
    shares = table / often[:, None]
    shares -= np.average(shares, axis=0, weights=often)
    axis = np.linalg.svd(shares * np.sqrt(often)[:, None], full_matrices=False)[2][0]
    return np.asarray(shares @ axis * (1 if axis[np.abs(axis).argmax()] > 0 else -1))
