"""What stands in the holes of a table: donors from the full conditionals of its columns, in a chain.

Each column has trees that say it from all others, each grown on its own draw of the weights of the rows (the Bayesian
bootstrap); a hole takes its value from a donor of the leaf of one of them. Donors are rows whose value was observed.
What other columns lack is filled first by trees that were shown rows with holes, then drawn again in sweeps, given all
else. A centre is the same with the median of many donors of more trees, or the most frequent of them, in place of one.

Trees say steps; where columns are nearly sums of others a line says more. The first trees of a number, and those of its
centre, may say what the line through the others leaves of it: a hole then takes the value of the column that is nearest
to what its own line says and what the line of a donor, fitted without the donor, leaves of the donor. Which of the two
is better is found on a fifth of the rows, said by trees of the others (the continuous ranked probability score); in few
rows lines are taken that say a fifth of their column.

Draws of one cell are each as likely as donors are, and together they fill their range evenly, as the points of a
lattice do. The points of five draws change places among them, on their own for each cell and sweep, so that what is
drawn in one column says of another what it should and no more: place k is a k + b modulo 5.

Up to ten draws use four trees of each column, the next ten four others, and so on up to sixteen (half as many to begin
with, in many rows): a draw is the same however many follow. The first four find their splits on all rows. Splits make
the rows that they are found on look more alike than others are, and intervals of such donors alone are too narrow: four
fifths of the rows find the splits of the other trees, whose donors are those and the rest, which come as new rows do.
In small tables they would find the same few donors again, fewer than the 39 that an interval of 95 % takes, and so have
larger leaves there.
Source: van Buuren and Groothuis-Oudshoorn 2011 (chained equations); Burgette and Reiter 2010 (trees in them);
Rubin 1981 (the Bayesian bootstrap); Athey and Imbens 2016 (donors that found no split); Meinshausen 2006 (intervals by
forests); Stekhoven and Buehlmann 2012 (centres by forests); Roberts 2018 (the lattice); Quinlan 1992 (trees and lines).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mode

from caminito._random import Stream, uniform
from caminito.denoiser import Codes, LeafTree
from caminito.estimators.coded import CodedTable
from caminito.estimators.lines import TableLines
from caminito.training import fit_leaves

__all__ = ["Imputer"]

Floats = NDArray[np.float64]

_STEP = 1000  # of its draws, apart from those of samples
_ROWS, _SHARE = 5000, 8  # that a tree is grown on, at most: so many, or an eighth of them
_FEATURES = 12  # columns that a split is looked for among, at most
_SHOWN = 4 / 5  # of the rows, which splits of further trees are found on
_MANY = 1500  # rows from which a first sweep has half as many trees, and the table itself a sweep less
_SMALL, _LEAST = 1500, 8  # leaves of further trees have 1500 / n rows of a table of n, and at most 8 for that
_APART = np.array([0.7548776662466927, 0.5698402909980532])  # of a tree and of a donor, from one draw to the next
_TOGETHER = 5  # draws that change places: a prime
_FEW, _FORESTS = 10, 4  # draws that use the same trees; how many times other trees, if there are so many draws
_CELLS = 1 << 22  # that are drawn at once, at most
_TELLING, _TOLD = 500, 4000  # rows from which a fifth of them tell which is better, and that are asked at most
_SAID = 0.2  # share of a column that its line says at least, where there are fewer
_BETTER = 0.95  # error of trees with lines there over that of trees alone, below which they are taken
_DRAWN, _MASKED, _CENTRAL = _KINDS = ("drawn", "masked", "central")  # of trees
_CENTRE_TREES, _CENTRE_SWEEPS, _CENTRE_DONORS = 16, 3, 5  # donors of each tree


@dataclass(frozen=True)
class _Grown:
    """A tree and the rows of the table that it was grown on; where it says what lines leave of them, that and which."""

    tree: LeafTree
    rows: NDArray[np.intp]
    left: Floats | None = None
    lines: int = 0


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
        self._forests: dict[tuple[int, str], list[_Grown]] = {}
        self._by_lines: dict[int, bool] = {}

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
        known = np.tile(matrix, (len(draws), 1))
        holes, codes = np.isnan(known), np.tile(self.table.places(matrix), (len(draws), 1))
        for sweep in range(self.sweeps + 1):
            trees = partial(self._of_draws, forest=forest, first=sweep == 0)
            u = self._uniforms(seed, sweep, where, draws)
            self._sweep(codes, holes, known, trees, u, by_lines=sweep > 0 and forest == 0)
        numbers = np.where(holes, self.table.numbers(codes), known)
        return np.asarray(numbers.reshape(len(draws), *matrix.shape))

    def centre(self, matrix: Floats) -> Floats:
        """Rows with holes, NaN, without them: medians, and the most frequent of what has no order; shape (n, p)."""
        where = np.flatnonzero(np.isnan(matrix[:, self.among]).any(axis=1))
        known = matrix[where]
        holes, codes = np.isnan(known), self.table.places(known)
        for sweep in range(_CENTRE_SWEEPS + 1 if len(where) else 0):
            trees = partial(self._of_centre, first=sweep == 0)
            self._sweep(codes, holes, known, trees, None, by_lines=sweep > 0)
        found = matrix.copy()
        found[where] = np.where(holes, self.table.numbers(codes), known)
        return found

    def _of_draws(self, column: int, *, forest: int, first: bool) -> list[_Grown]:
        count = self._begun if first else self.trees
        return self._forest(column, _MASKED if first else _DRAWN, (forest + 1) * count)[-count:]

    def _of_centre(self, column: int, *, first: bool) -> list[_Grown]:
        if first:
            return self._forest(column, _MASKED, self._begun)
        return self._forest(column, _DRAWN, self.trees) + self._forest(column, _CENTRAL, _CENTRE_TREES - self.trees)

    def _sweep(
        self,
        codes: Codes,
        holes: NDArray[np.bool_],
        known: Floats,
        trees: Callable[[int], Sequence[_Grown]],
        u: Floats | None,
        *,
        by_lines: bool,
    ) -> None:
        """Fill the holes of codes, column by column, by donors that u says, or without it by the middle of many; all
        else is known. Lines are for sweeps that find no holes any more.
        """
        columns = [(column, rows) for column in self.order if len(rows := np.flatnonzero(holes[:, column]))]
        said = {column for column, _ in columns if by_lines and self._said_by_lines(column)}
        numbers = np.where(holes, self.table.numbers(codes), known)[:, self._lines.columns] if said else None
        for column, rows in columns:
            seen = numbers[rows] if numbers is not None and column in said else None
            if u is None:
                codes[rows, column] = self._middle(trees(column), column, codes[rows], seen)
            else:
                codes[rows, column] = self._donated(trees(column), column, codes[rows], seen, u[rows, column])
            if numbers is not None and column in self._lines.columns:
                numbers[rows, self._lines.columns.index(column)] = self.table.values[column][codes[rows, column]]

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
        few = len(codes) < _MANY
        for _ in range(self.sweeps + few if holes[:, self.among].any() else 0):
            for column in self.order:
                rows = np.flatnonzero(holes[:, column])
                if len(rows):
                    grown = self._tree(column, codes, rng)
                    codes[rows, column] = self._donated([grown], column, codes[rows], None, rng.random((len(rows), 2)))
        return codes

    def _forest(self, column: int, kind: str, trees: int) -> list[_Grown]:
        """Trees of a column: those of a first sweep know rows of which later columns have holes."""
        forest = self._forests.setdefault((column, kind), [])
        for number in range(len(forest), trees):
            rng = np.random.default_rng([self.seed, Stream.TABLE, column, _KINDS.index(kind), number])
            if kind == _MASKED:
                forest.append(self._masked_tree(column, self._whole, rng))
            else:
                further = kind == _DRAWN and number >= self.trees
                by_lines = not further and self._said_by_lines(column)
                lines = number + self.trees * (kind == _CENTRAL) if by_lines else None
                forest.append(self._tree(column, self._whole, rng, share=_SHOWN if further else 1.0, lines=lines))
        return forest[:trees]

    def _tree(
        self,
        column: int,
        codes: Codes,
        rng: np.random.Generator,
        *,
        share: float = 1.0,
        lines: int | None = None,
    ) -> _Grown:
        """One that says a column, where it was observed, from the others as in `codes`; a share finds splits."""
        rows = self._some_donors(column, rng, self._most)
        weights = np.maximum(rng.gamma(self.table.weights[rows]), 1e-12)
        if share == 1:
            return self._grown(column, codes[rows], rows, weights, rng, lines=lines)
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

    def _some_donors(self, column: int, rng: np.random.Generator, most: int) -> NDArray[np.intp]:
        rows = self._donors(column)
        return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))

    @property
    def _begun(self) -> int:
        """Trees of a first sweep: of many rows half as many say as much."""
        return self.trees if len(self.table.codes) < _MANY else (self.trees + 1) // 2

    @property
    def _most(self) -> int:
        return max(_ROWS, len(self.table.codes) // _SHARE)

    @cached_property
    def _lines(self) -> TableLines:
        return TableLines(self.table, self._whole, self.among, self.seed)

    def _said_by_lines(self, column: int) -> bool:
        """Whether first trees say what lines leave of a column: if they say a fifth of its rows better then, or, where
        there are too few rows to tell, if lines say a fair share of it.
        """
        if column not in self._by_lines:
            kind, values = self.table.columns[column].kind, self.table.values[column]
            numbers = column in self._lines.columns and kind != "boolean" and len(values) > 2
            self._by_lines[column] = numbers and self._better_by_lines(column)
        return self._by_lines[column]

    def _better_by_lines(self, column: int) -> bool:
        rng = np.random.default_rng([self.seed, Stream.TABLE, len(_KINDS) + 1, column])
        rows = self._some_donors(column, rng, _TOLD)
        weights = self.table.weights[rows]
        standard, left = (of(0, column, rows) for of in (self._lines.standard, self._lines.left))
        if len(rows) < _TELLING:
            remains, whole = (np.average(each**2, weights=weights) for each in (left, standard))
            return bool(remains < (1 - _SAID) * whole)
        order = rng.permutation(len(rows))
        cut = math.ceil(_SHOWN * len(rows))
        shown, aside = rows[np.sort(order[:cut])], order[cut:]
        codes, true, errors = self._whole[rows[aside]], self.table.matrix[rows[aside], column], []
        for lines in (None, 0):
            grown = self._grown(column, self._whole[shown], shown, self.table.weights[shown], rng, lines=lines)
            found = self._several(grown, column, codes, (standard - left)[aside])
            drawn = self.table.values[column][found]
            apart = np.abs(drawn[:, :, None] - drawn[:, None]).mean(axis=(1, 2)) / 2
            score = np.abs(drawn - true[:, None]).mean(axis=1) - apart
            errors.append(np.average(score, weights=weights[aside]))
        return bool(errors[1] < _BETTER * errors[0])

    def _grown(
        self,
        column: int,
        seen: Codes,
        rows: NDArray[np.intp],
        weights: Floats | None,
        rng: np.random.Generator,
        shown: NDArray[np.intp] | None = None,
        least: int = 0,
        lines: int | None = None,
    ) -> _Grown:
        """The tree of a column, or of what lines leave of it, from rows as they are seen; donors of a leaf stand in the
        order of what it says.

        Splits are found on those `shown`, places in that order. Leaves have `least` rows even where `min_rows` is less.
        """
        table, least = self.table, max(self.min_rows, least, 1 if weights is not None else 3)
        left = None if lines is None else self._lines.left(lines, column, rows)
        sort = np.argsort(table.codes[rows, column] if left is None else left, kind="stable")
        seen, rows = seen[sort], rows[sort]
        weights = None if weights is None else weights[sort]
        left = None if left is None else left[sort]
        seen[:, column] = table.codes[rows, column]
        tree = fit_leaves(
            seen,
            column,
            [other for other in self.among if other != column],
            numbers=left if left is not None else table.matrix[rows, column] if table.ordered[column] else None,
            ordered=table.ordered,
            min_rows=min(least, len(rows if shown is None else shown)),
            features=min(1.0, _FEATURES / max(len(self.among) - 1, 1)),
            weights=weights,
            shown=shown,
            seed=int(rng.integers(2**31)),
        )
        return _Grown(tree, rows, left, lines or 0)

    def _given(self, grown: _Grown, column: int, leaves: NDArray[np.intp], u: Floats, said: Floats | None) -> Codes:
        """Codes of the column from a donor of each leaf; where the tree says what lines leave, with what they say."""
        donors = grown.tree.donors(leaves, u).rows
        if grown.left is None or said is None:
            return np.asarray(self.table.codes[grown.rows[donors], column])
        return self._lines.place(grown.lines, column, said + grown.left[donors])

    def _said(self, grown: _Grown, column: int, numbers: Floats | None) -> Floats | None:
        """What the lines of a tree say of the column."""
        return None if numbers is None or grown.left is None else self._lines.said(grown.lines, column, numbers)

    def _several(self, grown: _Grown, column: int, codes: Codes, said: Floats | None) -> Codes:
        """Codes of the column by donors evenly along the leaf of each row, shape (B, donors)."""
        u = np.tile((np.arange(_CENTRE_DONORS) + 0.5) / _CENTRE_DONORS, len(codes))
        leaves = np.repeat(grown.tree.leaf(codes), _CENTRE_DONORS)
        said = None if said is None else np.repeat(said, _CENTRE_DONORS)
        return self._given(grown, column, leaves, u, said).reshape(len(codes), _CENTRE_DONORS)

    def _donated(self, forest: Sequence[_Grown], column: int, codes: Codes, numbers: Floats | None, u: Floats) -> Codes:
        """Codes of the column, for each row from a donor of one tree."""
        found = np.empty(len(codes), dtype=np.int32)
        which = (u[:, 0] * len(forest)).astype(np.intp)
        for number, grown in enumerate(forest):
            mine = np.flatnonzero(which == number)
            said = self._said(grown, column, None if numbers is None else numbers[mine])
            found[mine] = self._given(grown, column, grown.tree.leaf(codes[mine]), u[mine, 1], said)
        return found

    def _middle(self, forest: Sequence[_Grown], column: int, codes: Codes, numbers: Floats | None) -> Codes:
        """Codes of the column, for each row the median of donors of all trees, or the most frequent of their codes."""
        each = [self._several(grown, column, codes, self._said(grown, column, numbers)) for grown in forest]
        drawn = np.sort(np.concatenate(each, axis=1), axis=1)
        if self.table.ordered[column]:
            return np.asarray(drawn[:, drawn.shape[1] // 2])
        return np.asarray(mode(drawn, axis=1).mode)
