"""How likely a row is to a chain of jumps: the sum over columns of the log of what its leaf gives to the value.

    log q(x) = sum_j log q(x_j | leaf_j(x)),     q(v | node) = (W_node h(v) + c q(v | parent)) / (W_node + c),

with W the weight of the rows of a node and h(v) the share of them that has the value. What the node above says counts
as c = 10 rows more, up to the root: a leaf of five rows does not know what is impossible. On rows kept aside that is
worth several nats per row over c = 1. Values are counted one by one in columns of up to 40 different ones, in
categories, and where a value is an atom of its column or missing. Between those a number has a density, and h is the
histogram of the numbers of the node, several in a bin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from caminito.denoiser import Codes, LeafTree, RevealChain
from caminito.estimators.coded import CodedTable

__all__ = ["counted", "log_shares"]

Floats = NDArray[np.float64]

_ABOVE = 10.0  # rows that the node above counts as
_COUNTED = 40  # different values of a number that are counted one by one, at most


def counted(table: CodedTable, column: int) -> bool:
    """Whether each value of a column has a probability, rather than a density."""
    return not table.ordered[column] or len(table.values[column]) <= _COUNTED


def log_shares(chain: RevealChain, table: CodedTable, matrix: Floats, columns: Sequence[int]) -> Floats:
    """Sum over `columns` of log q(x_j | what was revealed before), shape (n,); -inf for values that cannot be."""
    codes = table.places(matrix)
    total = np.zeros(len(matrix))
    with np.errstate(divide="ignore"):
        for column in columns:
            tree = chain.trees[column]
            total += np.log(_likelihood(tree, tree.leaf(codes), codes[:, column], matrix[:, column], table, column))
    return total


def _likelihood(
    tree: LeafTree, leaf: NDArray[np.intp], codes: Codes, x: Floats, table: CodedTable, column: int
) -> Floats:
    values, every = table.values[column], counted(table, column)
    atoms = np.empty(0) if every else np.array(table.columns[column].atoms)
    state, mine = (_states(of, values, atoms, every) for of in (table.codes[:, column], codes))
    kinds = len(values) + 1 if every else len(atoms) + 2

    def share(rows: Codes, here: NDArray[np.intp]) -> tuple[Floats, float]:
        mass = np.bincount(state[rows], table.weights[rows], kinds)
        return mass[mine[here]] / mass.sum(), float(mass.sum())

    found = _mixed(tree, leaf, share)
    if every:
        found[~np.isnan(x) & (values[codes] != x)] = 0.0
        return found
    between, numbers = state == kinds - 1, table.matrix[:, column]
    root = _Histogram.of(numbers[between], table.weights[between])
    free = np.flatnonzero(mine == kinds - 1)

    def density(rows: Codes, here: NDArray[np.intp]) -> tuple[Floats, float]:
        rows = rows[between[rows]]
        if not len(rows):
            return np.zeros(len(here)), 0.0
        return _Histogram.of(numbers[rows], table.weights[rows], root).at(x[free[here]]), table.weights[rows].sum()

    found[free] *= _mixed(tree, leaf[free], density)
    return found


def _mixed(
    tree: LeafTree, leaf: NDArray[np.intp], own: Callable[[Codes, NDArray[np.intp]], tuple[Floats, float]]
) -> Floats:
    """q at the leaf of each query, from the root down; own(rows of a node, queries there) are its h and its W."""
    first = tree.first[leaf]
    place = np.argsort(first, kind="stable")
    bounds = np.searchsorted(first[place], [tree.first, tree.last])
    found = np.zeros(len(leaf))
    for node in range(len(tree.feature)):  # a node comes before its children
        here = place[bounds[0, node] : bounds[1, node]]
        if len(here):
            h, mass = own(tree.order[tree.first[node] : tree.last[node]], here)
            above = 0.0 if node == 0 else _ABOVE
            found[here] = (mass * h + above * found[here]) / (mass + above)
    return found


def _states(codes: Codes, values: Floats, atoms: Floats, every: bool) -> NDArray[np.intp]:
    """0 for missing, then a number for each value that is counted, the last for all others."""
    if every:
        return codes.astype(np.intp) + 1
    state = np.full(len(values) + 1, len(atoms) + 1)
    state[np.searchsorted(values, atoms)] = 1 + np.arange(len(atoms))
    state[-1] = 0
    return np.asarray(state[codes])


class _Histogram:
    """Bins that meet halfway between numbers, a few numbers in each; the outer ones reach as far out as in."""

    def __init__(self, edges: Floats, density: Floats) -> None:
        self.edges, self.density = edges, density

    @classmethod
    def of(cls, numbers: Floats, weights: Floats, within: _Histogram | None = None) -> _Histogram:
        """That of numbers and their weights; of the numbers of a node, within that of all."""
        values, inverse = np.unique(numbers, return_inverse=True)
        mass = np.bincount(inverse, weights)
        each = max(3, round(np.sqrt(len(values))))
        middle = (values[1:] + values[:-1]) / 2
        inner = middle[each - 1 :: each][: max(len(values) // each - 1, 0)]
        low, high = (values[0], values[-1]) if within is None else _ends(values, within)
        edges = np.concatenate([[low], inner, [high]])
        into = np.searchsorted(inner, values)
        share = np.bincount(into, mass, len(edges) - 1) / mass.sum()
        return cls(edges, share / np.diff(edges))

    def at(self, x: Floats) -> Floats:
        """The density at x, 0 outside."""
        place = np.searchsorted(self.edges, x, side="right") - 1
        place = np.where(x == self.edges[-1], len(self.density) - 1, place)
        inside = (place >= 0) & (place < len(self.density))
        return np.where(inside, self.density[np.clip(place, 0, len(self.density) - 1)], 0.0)


def _ends(values: Floats, within: _Histogram) -> tuple[float, float]:
    """Half a mean gap beyond the numbers of a leaf; the bin of all rows around a single one."""
    if len(values) > 1:
        half = (values[-1] - values[0]) / (len(values) - 1) / 2
        return max(values[0] - half, within.edges[0]), min(values[-1] + half, within.edges[-1])
    place = int(np.clip(np.searchsorted(within.edges, values[0], side="right") - 1, 0, len(within.density) - 1))
    return float(within.edges[place]), float(within.edges[place + 1])
