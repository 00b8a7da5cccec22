"""What stands in the holes of a table: donors from the full conditionals of its columns, in a chain.

Each column has trees that say it from all others, each grown on its own draw of the weights of the rows (the Bayesian
bootstrap); a hole takes its value from a donor of the leaf of one of them. Donors are rows whose value was observed.
What other columns lack is filled first by trees that were shown rows with holes, then drawn again in sweeps, given all
else. A centre is the same with the median of many donors of more trees, or the most frequent of them, in place of one.

Draws of one cell are each as likely as donors are, and together they fill their range evenly, as the points of a
lattice do. The points of five draws change places among them, on their own for each cell and sweep, so that what is
drawn in one column says of another what it should and no more: place k is a k + b modulo 5.

Up to ten draws use four trees of each column, the next ten four others, and so on up to sixteen: a draw is the
same however many follow. The first four find their splits on all rows. Splits make the rows that they are found on look
more alike than others are, and intervals of such donors alone are too narrow: two thirds of the rows find the splits of
the other trees, whose donors are those and the rest, which come as new rows do. In small tables they would find the
same few donors again, fewer than the 39 that an interval of 95 % takes, and so have larger leaves there.
Source: van Buuren and Groothuis-Oudshoorn 2011 (chained equations); Burgette and Reiter 2010 (trees in them);
Rubin 1981 (the Bayesian bootstrap); Athey and Imbens 2016 (donors that found no split); Meinshausen 2006 (intervals by
forests); Stekhoven and Buehlmann 2012 (centres by forests); Roberts 2018 (the lattice).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mode

from caminito._random import Stream, uniform
from caminito.denoiser import Codes, LeafTree
from caminito.estimators.coded import CodedTable
from caminito.training import fit_leaves

__all__ = ["Imputer"]

Floats = NDArray[np.float64]

_STEP = 1000  # of its draws, apart from those of samples
_ROWS, _SHARE = 5000, 8  # that a tree is grown on, at most: so many, or an eighth of them
_FEATURES = 12  # columns that a split is looked for among, at most
_SHOWN = 2 / 3  # of the rows, which splits of further trees are found on
_SMALL, _LEAST = 1500, 8  # leaves of further trees have 1500 / n rows of a table of n, and at most 8 for that
_APART = np.array([0.7548776662466927, 0.5698402909980532])  # of a tree and of a donor, from one draw to the next
_TOGETHER = 5  # draws that change places: a prime
_FEW, _FORESTS = 10, 4  # draws that use the same trees; how many times other trees, if there are so many draws
_CELLS = 1 << 22  # that are drawn at once, at most
_CENTRE_TREES, _CENTRE_SWEEPS, _CENTRE_DONORS = 16, 3, 5  # donors of each tree


@dataclass(frozen=True)
class _Grown:
    """A tree and the rows of the table that it was grown on."""

    tree: LeafTree
    rows: NDArray[np.intp]


class Imputer:
    """Full conditionals of the columns of a table, grown when they are asked for.

    Parameters
    ----------
    table : CodedTable
    among : sequence of int
        Columns that are known, or to be filled.
    min_rows : int
        Different rows in a leaf, at least.
    trees, sweeps : int
        Trees of a column for a few draws, of which many have four times as many; how often each hole is drawn again.
    seed : int
        Of the trees.
    """

    def __init__(
        self,
        table: CodedTable,
        among: Sequence[int],
        *,
        min_rows: int = 3,
        trees: int = 4,
        sweeps: int = 2,
        seed: int = 0,
    ) -> None:
        self.table, self.among = table, list(among)
        self.min_rows, self.trees, self.sweeps, self.seed = min_rows, trees, sweeps, seed
        share = (table.codes < 0).mean(axis=0)
        self.order = sorted(self.among, key=lambda column: (share[column], column))
        self._forests: dict[tuple[int, bool], list[_Grown]] = {}

    def fill(self, matrix: Floats, seed: int, draws: int = 1) -> Floats:
        """Rows with holes, NaN, without them, `draws` times; shape (draws, n, p).

        Row i is a function of its values, seed and i alone.
        """
        found = np.repeat(matrix[None], draws, axis=0)
        turn = np.arange(draws) // _FEW % _FORESTS
        for forest in range(min(_FORESTS, -(-draws // _FEW))):
            mine = np.flatnonzero(turn == forest)
            step = max(1, _CELLS // (len(mine) * matrix.shape[1]))
            for begin in range(0, len(matrix), step):
                where = begin + np.flatnonzero(np.isnan(matrix[begin : begin + step, self.among]).any(axis=1))
                if len(where):
                    found[np.ix_(mine, where)] = self._filled(matrix[where], where, seed, mine, forest)
        return found

    def _filled(
        self, matrix: Floats, where: NDArray[np.intp], seed: int, draws: NDArray[np.intp], forest: int
    ) -> Floats:
        """Rows number `where`, which all have holes, without them, by one of the forests; shape (draws, n, p)."""
        holes = np.tile(np.isnan(matrix), (len(draws), 1))
        codes = np.tile(self.table.places(matrix), (len(draws), 1))
        for sweep in range(self.sweeps + 1):
            u = self._uniforms(seed, sweep, where, draws)
            for column in self.order:
                rows = np.flatnonzero(holes[:, column])
                if len(rows):
                    trees = self._forest(column, first=sweep == 0, trees=(forest + 1) * self.trees)[-self.trees :]
                    codes[rows, column] = self._donated(trees, column, codes[rows], u[rows, column])
        numbers = np.where(holes, self.table.numbers(codes), np.tile(matrix, (len(draws), 1)))
        return np.asarray(numbers.reshape(len(draws), *matrix.shape))

    def centre(self, matrix: Floats) -> Floats:
        """Rows with holes, NaN, without them: medians, and the most frequent of what has no order; shape (n, p)."""
        where = np.flatnonzero(np.isnan(matrix[:, self.among]).any(axis=1))
        holes, codes = np.isnan(matrix[where]), self.table.places(matrix[where])
        for sweep in range(_CENTRE_SWEEPS + 1 if len(where) else 0):
            for column in self.order:
                rows = np.flatnonzero(holes[:, column])
                if len(rows):
                    trees = _CENTRE_TREES if sweep else self.trees
                    forest = self._forest(column, first=sweep == 0, trees=trees)
                    codes[rows, column] = self._middle(forest, column, codes[rows])
        found = matrix.copy()
        found[where] = np.where(holes, self.table.numbers(codes), matrix[where])
        return found

    def _uniforms(self, seed: int, sweep: int, where: NDArray[np.intp], draws: NDArray[np.intp]) -> Floats:
        """Two for each cell of each draw: which tree, and which donor; shape (draws * n, p, 2)."""
        first, width = int(where[0]), len(self.table.columns)

        def drawn(step: int, each: int) -> Floats:
            start, count = first * width * each, (int(where[-1]) - first + 1) * width * each
            flat = np.asarray(uniform(seed, Stream.TABLE, step, count, start=start))
            return flat.reshape(-1, width, each)[where - first]

        begin = drawn(_STEP + sweep, 2)
        u = np.empty((len(draws), *begin.shape))
        for together in np.unique(draws // _TOGETHER):
            mine = np.flatnonzero(draws // _TOGETHER == together)
            pair = (drawn(_STEP * (2 + int(together)) + sweep, 1) * (_TOGETHER * (_TOGETHER - 1))).astype(np.intp)
            factor, shift = 1 + pair // _TOGETHER, pair % _TOGETHER if together else 0  # the very first has place 0
            for place in mine:
                at = together * _TOGETHER + (factor * (draws[place] % _TOGETHER) + shift) % _TOGETHER
                u[place] = (begin + at * _APART) % 1.0
        return u.reshape(-1, width, 2)

    @cached_property
    def _whole(self) -> Codes:
        """The codes of the table itself without holes, each sweep by trees grown on the one before."""
        codes = self.table.codes.copy()
        holes, rng = codes < 0, np.random.default_rng([self.seed, Stream.TABLE])
        for _ in range(self.sweeps + 1 if holes[:, self.among].any() else 0):
            for column in self.order:
                rows = np.flatnonzero(holes[:, column])
                if len(rows):
                    grown = self._tree(column, codes, rng)
                    codes[rows, column] = self._donated([grown], column, codes[rows], rng.random((len(rows), 2)))
        return codes

    def _forest(self, column: int, *, first: bool, trees: int | None = None) -> list[_Grown]:
        """Trees of a column; the first ones know rows of which later columns have holes."""
        trees = self.trees if trees is None else trees
        forest = self._forests.setdefault((column, first), [])
        for number in range(len(forest), trees):
            rng = np.random.default_rng([self.seed, Stream.TABLE, column, first, number])
            if first:
                forest.append(self._masked_tree(column, self._whole, rng))
            else:
                share = 1.0 if number < self.trees else _SHOWN
                forest.append(self._tree(column, self._whole, rng, share=share))
        return forest[:trees]

    def _tree(self, column: int, codes: Codes, rng: np.random.Generator, *, share: float = 1.0) -> _Grown:
        """One that says a column, where it was observed, from the others as in `codes`; a share finds splits."""
        rows = self._donors(column)
        if len(rows) > self._most:
            rows = np.sort(rng.choice(rows, self._most, replace=False))
        weights = np.maximum(rng.gamma(self.table.weights[rows]), 1e-12)
        if share == 1:
            return self._grown(column, codes[rows], rows, weights, rng)
        shown = np.sort(rng.permutation(len(rows))[: math.ceil(share * len(rows))])
        least = min(_LEAST, round(_SMALL / self.table.weights[rows].sum()))
        return self._grown(column, codes[rows], rows, weights, rng, shown, least)

    def _masked_tree(self, column: int, codes: Codes, rng: np.random.Generator) -> _Grown:
        """One that knows rows without the columns that are filled later: each row lacks a share of its own of them."""
        rows, weights = self._donors(column), self.table.weights
        share = weights[rows] / weights[rows].sum()
        count = min(self._most, max(len(rows), round(float(weights[rows].sum()))))
        rows = np.sort(rng.choice(rows, count, p=share))  # row by row: those that are alike lack different columns
        seen, later = codes[rows], self.order[self.order.index(column) + 1 :]
        gone = rng.random((count, len(later))) < rng.random((count, 1))
        seen[:, later] = np.where(gone, -1, seen[:, later])
        return self._grown(column, seen, rows, None, rng)

    def _donors(self, column: int) -> NDArray[np.intp]:
        return np.flatnonzero(self.table.codes[:, column] >= 0)

    @property
    def _most(self) -> int:
        return max(_ROWS, len(self.table.codes) // _SHARE)

    def _grown(
        self,
        column: int,
        seen: Codes,
        rows: NDArray[np.intp],
        weights: Floats | None,
        rng: np.random.Generator,
        shown: NDArray[np.intp] | None = None,
        least: int = 0,
    ) -> _Grown:
        """The tree of a column from rows as they are seen; donors of a leaf stand in the order of their values.

        Splits are found on those `shown`, places in that order. Leaves have `least` rows even where `min_rows` is less.
        """
        table, least = self.table, max(self.min_rows, least, 1 if weights is not None else 3)
        sort = np.argsort(table.codes[rows, column], kind="stable")
        seen, rows = seen[sort], rows[sort]
        weights = None if weights is None else weights[sort]
        seen[:, column] = table.codes[rows, column]
        tree = fit_leaves(
            seen,
            column,
            [other for other in self.among if other != column],
            numbers=table.matrix[rows, column] if table.ordered[column] else None,
            ordered=table.ordered,
            min_rows=min(least, len(rows if shown is None else shown)),
            features=min(1.0, _FEATURES / max(len(self.among) - 1, 1)),
            weights=weights,
            shown=shown,
            seed=int(rng.integers(2**31)),
        )
        return _Grown(tree, rows)

    def _donated(self, forest: Sequence[_Grown], column: int, codes: Codes, u: Floats) -> Codes:
        """Codes of the column, for each row from a donor of one tree."""
        found = np.empty(len(codes), dtype=np.int32)
        which = (u[:, 0] * len(forest)).astype(np.intp)
        for number, grown in enumerate(forest):
            mine = np.flatnonzero(which == number)
            donors = grown.tree.donors(grown.tree.leaf(codes[mine]), u[mine, 1]).rows
            found[mine] = self.table.codes[grown.rows[donors], column]
        return found

    def _middle(self, forest: Sequence[_Grown], column: int, codes: Codes) -> Codes:
        """Codes of the column, for each row the median of donors of all trees, or the most frequent of their codes."""
        even = (np.arange(_CENTRE_DONORS) + 0.5) / _CENTRE_DONORS
        u, each = np.tile(even, len(codes)), []
        for grown in forest:
            leaves = np.repeat(grown.tree.leaf(codes), _CENTRE_DONORS)
            rows = grown.rows[grown.tree.donors(leaves, u).rows]
            each.append(self.table.codes[rows, column].reshape(len(codes), _CENTRE_DONORS))
        drawn = np.sort(np.concatenate(each, axis=1), axis=1)
        if self.table.ordered[column]:
            return np.asarray(drawn[:, drawn.shape[1] // 2])
        return np.asarray(mode(drawn, axis=1).mode)
