"""Jumps of an absorbing noise: it masks columns, and a jump back reveals one, by a donor row of the leaf that fits.

A row is a function of (seed, index) alone: row i is the same in a batch of any size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.parallel import Parallel, delayed

from caminito._random import Stream, uniform
from caminito.denoiser import LeafTree, RevealChain
from caminito.estimators.coded import CodedTable
from caminito.training import fit_leaves

__all__ = ["Reveal", "TreeKey", "draws", "evenly", "least_of_categories", "tree_call"]

Floats = NDArray[np.float64]
TreeKey = tuple[int, tuple[int, ...]]  # column, and the columns that it is said from

_GOLDEN = (math.sqrt(5) - 1) / 2
_LARGE = 5000  # rows
_DONORS = 50_000_000  # that all trees grown for conditions keep: 200 MB


def least_of_categories(table: CodedTable, min_rows: int) -> int:
    """Different rows in a leaf that says a category, at least: twice as many in large tables.

    What such a leaf says are shares, and where all leaves are as small as those of numbers, whole rows come too near to
    rows of the table.
    """
    return min_rows * (2 if len(table.codes) > _LARGE else 1)


def draws(seed: int, attempt: int, rows: int, columns: int, first: int = 0) -> Floats:
    """Uniforms of rows first, first + 1, ..., shape (rows, columns)."""
    flat = uniform(seed, Stream.TABLE, 2 * attempt, rows * columns, start=first * columns)
    return np.asarray(flat).reshape(rows, columns)


def evenly(seed: int, rows: int, first: int = 0) -> Floats:
    """Numbers of rows first, first + 1, ... that fill [0, 1) evenly, however many: a golden-ratio sequence."""
    begin = float(uniform(seed, Stream.TABLE, 1, 1))
    return np.asarray((begin + _GOLDEN * (first + np.arange(rows))) % 1.0)


def tree_call(table: CodedTable, key: TreeKey, min_rows: int, seed: int) -> Any:
    """The call that grows a tree: joblib makes it."""
    column, known = key
    numbers = table.matrix[:, column] if table.ordered[column] else None
    return delayed(fit_leaves)(
        table.codes,
        column,
        known,
        numbers=numbers,
        ordered=table.ordered,
        min_rows=least_of_categories(table, min_rows) if numbers is None else min_rows,
        weights=table.weights,
        seed=seed,
    )


class Reveal:
    """Chains of trees, one for each order in which columns are asked for, grown when they are.

    Chains share their trees: what one column depends on is the same whatever came before in which order.

    Parameters
    ----------
    table : CodedTable
    order : sequence of int
        In which columns are revealed where nothing is given.
    min_rows : int
        Different rows in a leaf, at least.
    seed : int
    trees : mapping of (column, columns known) to LeafTree, optional
        Those that are grown already.
    n_jobs : int, optional
        Trees that are grown at once, in threads, which share the table.
    """

    name = "reveal"

    def __init__(
        self,
        table: CodedTable,
        order: Sequence[int],
        *,
        min_rows: int,
        seed: int = 0,
        trees: Mapping[TreeKey, LeafTree] | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.table, self.order, self.min_rows, self.seed = table, list(order), min_rows, seed
        self.n_jobs = n_jobs
        self.trees = {} if trees is None else dict(trees)

    def fit(self) -> Reveal:
        """Grow the chain of the usual order."""
        self.chain(())
        return self

    def chain(self, given: tuple[int, ...], chosen: tuple[int, ...] = ()) -> RevealChain:
        """The chain that begins with `given`, which have no trees, and reveals `chosen` next."""
        rest = [column for column in self.order if column not in (*given, *chosen)]
        order = (*given, *chosen, *rest)
        keys = {order[k]: (order[k], tuple(sorted(order[:k]))) for k in range(len(given), len(order))}
        new = [key for key in keys.values() if key not in self.trees]
        calls = (tree_call(self.table, key, self.min_rows, self.seed) for key in new)
        grown = self.trees | dict(zip(new, Parallel(n_jobs=self.n_jobs, prefer="threads")(calls)))
        trees = {column: grown[key] for column, key in keys.items()}
        usual = {(column, tuple(sorted(self.order[:k]))) for k, column in enumerate(self.order)}
        if (len(self.trees) + len(trees)) * len(self.table.matrix) > _DONORS:
            self.trees = {key: tree for key, tree in self.trees.items() if key in usual}
        self.trees |= {keys[column]: tree for column, tree in trees.items()}
        return RevealChain(order, trees, self.table.codes)

    def draw(
        self, rows: int, seed: int, *, first: int = 0, attempt: int = 0, where: NDArray[np.intp] | None = None
    ) -> Floats:
        """Rows as numbers, shape (rows, p); or those of them at `where`, rising."""
        chain = self.chain(())
        u = draws(seed, attempt, rows, len(self.order), first)
        if attempt == 0:
            u[:, chain.order[0]] = evenly(seed, rows, first)
        return self.table.numbers(chain.reveal(u if where is None else u[where]).codes)
