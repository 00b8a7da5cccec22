"""A tree whose leaves know their rows.

Fitted to say column j of a table from other columns, a leaf holds rows that are alike in those: to draw a value of
column j, draw one of them, a donor, and take its value. What comes out has been seen, so types, grids, limits and gaps
of a column need no care.

    q(x_j | x_known) = sum over rows r of leaf(x_known):  w_r / W  at  x_rj

Rows of any node are neighbours in one order of all rows, so every node has donors, not the leaves alone: where only
some values are allowed and a leaf has none of them, its parent is asked.
Source: Reiter 2005 (trees whose leaves are donors); as reverse jumps of an absorbing process: Austin et al. 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Codes", "Donors", "LeafTree"]

Codes = NDArray[np.int32]  # (rows, columns): place of each value among those of its column, -1 for missing
Places = NDArray[np.intp]
Reals = NDArray[np.float64]


class Donors(NamedTuple):
    """Rows drawn, and the share of the leaf's weight that was allowed; both of shape (B,)."""

    rows: Places
    share: Reals


class LeafTree:
    """A binary tree over codes, with the rows of each node.

    Parameters
    ----------
    columns : sequence of int
        What is known: columns of the codes, in the order of `feature`.
    ranks : mapping of a place in `columns` to float32 array, shape (values + 1,)
        Where each value of a category stands on the line that is split; missing last. Others are split by their code.
    feature, threshold, left, right : array, shape (nodes,)
        Children of node k, the left for values <= threshold; feature -1 at leaves. A node comes before its children.
    order : int array, shape (rows,)
        Rows, those of a node side by side.
    first, last : int array, shape (nodes,)
        Rows of node k are order[first[k]:last[k]].
    weights : float array, shape (rows,), optional
        Of rows, in their own order; all alike unless given.
    """

    def __init__(
        self,
        columns: Sequence[int],
        ranks: Mapping[int, NDArray[np.float32]],
        feature: Codes,
        threshold: NDArray[np.float32],
        left: Codes,
        right: Codes,
        order: Codes,
        first: Codes,
        last: Codes,
        weights: Reals | None = None,
    ) -> None:
        self.columns, self.ranks = list(columns), dict(ranks)
        self.feature, self.threshold, self.left, self.right = feature, threshold, left, right
        self.order, self.first, self.last = order, first, last
        alike = weights is None or bool((weights == 1).all())
        self._weights = None if weights is None or alike else weights[order]
        self._mass = None if self._weights is None else _summed(self._weights)  # the place itself, where all are alike
        self.parent = np.full(len(feature), -1, dtype=np.int32)
        inner = np.flatnonzero(feature >= 0)
        self.parent[left[inner]] = inner
        self.parent[right[inner]] = inner

    @property
    def leaves(self) -> int:
        """Number of leaves."""
        return int(np.sum(self.feature < 0))

    def leaf(self, codes: Codes) -> Places:
        """The leaf of each row of codes, shape (B,)."""
        inner = self.feature >= 0
        found = np.zeros(len(codes), dtype=np.intp)
        if not inner[0]:
            return found
        here = np.arange(len(inner))  # a leaf leads to itself
        feature = np.where(inner, self.feature, 0).astype(np.intp)
        threshold = np.where(inner, self.threshold, np.float32(np.inf))
        child = np.stack([np.where(inner, side, here) for side in (self.left, self.right)], axis=1).ravel()
        for begin in range(0, len(codes), _BLOCK):
            seen = columns_seen(codes[begin : begin + _BLOCK], self.columns, self.ranks)
            width, values = seen.shape[1], seen.ravel()
            rows = np.arange(len(seen))
            at, start = np.zeros(len(seen), dtype=np.intp), rows * width
            while len(rows):
                for _ in range(_LEVELS):
                    larger = values.take(start + feature.take(at)) > threshold.take(at)
                    at = child.take(2 * at + larger)
                going = inner.take(at)
                found[begin + rows] = at
                rows, at, start = rows[going], at[going], start[going]
        return found

    def donors(self, node: Places, u: Reals, allowed: NDArray[np.bool_] | None = None) -> Donors:
        """A row of each node, by weight, as u in [0, 1) says.

        Parameters
        ----------
        node : int array, shape (B,)
        u : array, shape (B,)
        allowed : bool array, shape (rows,), optional
            Rows to draw from; at least one. Where a node has none, the nearest node above that has some is drawn from,
            and the share is that of a leaf which had half a row of them.
        """
        first, last = self.first[node].copy(), self.last[node].copy()
        if allowed is None:
            return Donors(self._drawn(self._mass, first, last, u), np.ones(len(node)))
        mass = _summed(np.where(allowed[self.order], 1.0 if self._weights is None else self._weights, 0.0))
        whole = last - first if self._mass is None else self._mass[last] - self._mass[first]
        share = (mass[last] - mass[first]) / whole
        empty = np.flatnonzero(share == 0)
        share[empty] = 0.5 / (last - first)[empty]
        at = node[empty].astype(np.int32)
        while len(at):
            found = mass[self.last[at]] > mass[self.first[at]]
            first[empty[found]], last[empty[found]] = self.first[at[found]], self.last[at[found]]
            empty, at = empty[~found], self.parent[at[~found]]
        return Donors(self._drawn(mass, first, last, u), share)

    def _drawn(self, mass: Reals | None, first: Codes, last: Codes, u: Reals) -> Places:
        if mass is None:
            place = (first + u * (last - first)).astype(np.intp)
        else:
            place = _place(mass, mass[first] + u * (mass[last] - mass[first]))
        return self.order[np.clip(place, first, last - 1)].astype(np.intp)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What `from_arrays` makes the tree of again."""
        named = {name: getattr(self, name) for name in _ARRAYS}
        widths = np.array([len(r) for r in self.ranks.values()], dtype=np.int32)
        ranks = np.concatenate([*self.ranks.values(), np.empty(0, np.float32)])
        places = np.array(list(self.ranks), dtype=np.int32)
        columns = np.array(self.columns, dtype=np.int32)
        return named | {"columns": columns, "ranked": places, "widths": widths, "ranks": ranks}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], weights: Reals | None = None) -> LeafTree:
        """The tree of `arrays`."""
        parts = np.split(arrays["ranks"], np.cumsum(arrays["widths"])[:-1]) if len(arrays["widths"]) else []
        ranks = dict(zip(arrays["ranked"].tolist(), parts))
        return cls(arrays["columns"].tolist(), ranks, **{n: arrays[n] for n in _ARRAYS}, weights=weights)  # type: ignore[arg-type]


_BLOCK, _LEVELS = 8192, 3  # rows that are led down together, and levels after which those at a leaf are left out
_ARRAYS = ("feature", "threshold", "left", "right", "order", "first", "last")


def columns_seen(codes: Codes, columns: Sequence[int], ranks: Mapping[int, NDArray[np.float32]]) -> NDArray[np.float32]:
    """What a tree splits: codes of the columns, those of categories by their rank; float32, shape (B, k)."""
    seen = np.empty((len(codes), len(columns)), dtype=np.float32)
    for place, column in enumerate(columns):
        given = codes[:, column]
        seen[:, place] = ranks[place][given] if place in ranks else given  # -1, missing, is the last rank
    return seen


def _summed(values: Reals) -> Reals:
    return np.concatenate([[0.0], np.cumsum(values)])


def _place(mass: Reals, at: Reals) -> Places:
    """np.searchsorted(mass, at, side="right") - 1, which is faster for numbers that rise."""
    rising = np.argsort(at)
    place = np.empty(len(at), dtype=np.intp)
    place[rising] = np.searchsorted(mass, at[rising], side="right") - 1
    return place
