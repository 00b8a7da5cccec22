"""What stands in the holes of a table: donors from the full conditionals of its columns, in a chain.

Each column has trees that say it from all others, each grown on its own draw of the weights of the rows (the Bayesian
bootstrap); a hole takes its value from a donor of the leaf of one of them. Donors are rows whose value was observed.
What other columns lack is filled first by trees that were shown rows with holes, then drawn again in sweeps, given all
else. A centre is the same with the median of many donors of more trees, or the most frequent of them, in place of one.

Trees say steps; where columns are nearly sums of others a line says more. The first trees of a number, and those of its
centre, may say what the line through the others leaves of it: a hole then takes what its own line says and what a
donor's line, fitted without the donor, leaves of the donor, and the nearest value that the column has. Which of the two
is better is found on a fifth of the rows, said by trees of the others (the continuous ranked probability score); in few
rows lines are taken that say a fifth of their column.

Draws of one cell are each as likely as donors are, and together they fill their range evenly, as the points of a
lattice do. The points of five draws change places among them, on their own for each cell and sweep, so that what is
drawn in one column says of another what it should and no more: place k is a k + b modulo 5.

Up to ten draws use four trees of each column, the next ten four others, and so on up to sixteen: a draw is the
same however many follow. The first four find their splits on all rows. Splits make the rows that they are found on look
more alike than others are, and intervals of such donors alone are too narrow: four fifths of the rows find the splits
of the other trees, whose donors are those and the rest, which come as new rows do. In small tables they would find the
same few donors again, fewer than the 39 that an interval of 95 % takes, and so have larger leaves there.
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
from caminito.estimators.lines import Lines
from caminito.training import fit_leaves

__all__ = ["Imputer"]

Floats = NDArray[np.float64]

_STEP = 1000  # of its draws, apart from those of samples
_ROWS, _SHARE = 5000, 8  # that a tree is grown on, at most: so many, or an eighth of them
_FEATURES = 12  # columns that a split is looked for among, at most
_SHOWN = 4 / 5  # of the rows, which splits of further trees are found on
_SMALL, _LEAST = 1500, 8  # leaves of further trees have 1500 / n rows of a table of n, and at most 8 for that
_APART = np.array([0.7548776662466927, 0.5698402909980532])  # of a tree and of a donor, from one draw to the next
_TOGETHER = 5  # draws that change places: a prime
_FEW, _FORESTS = 10, 4  # draws that use the same trees; how many times other trees, if there are so many draws
_CELLS = 1 << 22  # that are drawn at once, at most
_TELLING, _SAID = 500, 0.2  # rows from which a fifth of them tell; share of a column that else its line says at least
_BETTER = 0.95  # error of trees with lines there over that of trees alone, below which they are taken
_DRAWN, _MASKED, _CENTRAL = _KINDS = ("drawn", "masked", "central")  # of trees
_CENTRE_TREES, _CENTRE_SWEEPS, _CENTRE_DONORS = 16, 3, 5  # donors of each tree


@dataclass(frozen=True)
class _Grown:
    """A tree and the rows of the table that it was grown on; the lines, where it says what they leave, and that."""

    tree: LeafTree
    rows: NDArray[np.intp]
    lines: Lines | None = None
    left: Floats | None = None


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
        self._leads: dict[int, bool] = {}
        self._lines: dict[int, Lines] = {}

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

            def drawn(column: int, rows: NDArray[np.intp], numbers: Floats | None, *, first: bool, u: Floats) -> Codes:
                count = self._begun if first else self.trees
                trees = self._forest(column, _MASKED if first else _DRAWN, (forest + 1) * count)[-count:]
                return self._donated(trees, column, codes[rows], numbers, u[rows, column])

            self._sweep(codes, holes, partial(drawn, first=sweep == 0, u=u), first=sweep == 0)
        numbers = np.where(holes, self.table.numbers(codes), np.tile(matrix, (len(draws), 1)))
        return np.asarray(numbers.reshape(len(draws), *matrix.shape))

    def centre(self, matrix: Floats) -> Floats:
        """Rows with holes, NaN, without them: medians, and the most frequent of what has no order; shape (n, p)."""
        where = np.flatnonzero(np.isnan(matrix[:, self.among]).any(axis=1))
        holes, codes = np.isnan(matrix[where]), self.table.places(matrix[where])

        def middle(column: int, rows: NDArray[np.intp], numbers: Floats | None, *, first: bool) -> Codes:
            if first:
                trees = self._forest(column, _MASKED, self._begun)
            else:
                further = self._forest(column, _CENTRAL, _CENTRE_TREES - self.trees)
                trees = self._forest(column, _DRAWN, self.trees) + further
            return self._middle(trees, column, codes[rows], numbers)

        for sweep in range(_CENTRE_SWEEPS + 1 if len(where) else 0):
            self._sweep(codes, holes, partial(middle, first=sweep == 0), first=sweep == 0)
        found = matrix.copy()
        found[where] = np.where(holes, self.table.numbers(codes), matrix[where])
        return found

    def _sweep(
        self,
        codes: Codes,
        holes: NDArray[np.bool_],
        fill: Callable[[int, NDArray[np.intp], Floats | None], Codes],
        *,
        first: bool,
    ) -> None:
        """Fill the holes of codes, column by column, given the numbers that lines are drawn through: there are holes in
        them in the first sweep, and none are given.
        """
        columns = [(column, rows) for column in self.order if len(rows := np.flatnonzero(holes[:, column]))]
        led = set() if first else {column for column, _ in columns if self._led(column)}
        numbers = self.table.numbers(codes)[:, self._lined] if led else None
        for column, rows in columns:
            codes[rows, column] = fill(column, rows, None if numbers is None or column not in led else numbers[rows])
            if numbers is not None and column in self._lined:
                numbers[rows, self._lined.index(column)] = self.table.values[column][codes[rows, column]]

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
                led = not further and self._led(column)
                lines = self._line(number + self.trees * (kind == _CENTRAL)) if led else None
                forest.append(self._tree(column, self._whole, rng, share=_SHOWN if further else 1.0, lines=lines))
        return forest[:trees]

    def _tree(
        self,
        column: int,
        codes: Codes,
        rng: np.random.Generator,
        *,
        share: float = 1.0,
        lines: Lines | None = None,
    ) -> _Grown:
        """One that says a column, where it was observed, from the others as in `codes`; a share finds splits."""
        rows = self._donors(column)
        if len(rows) > self._most:
            rows = np.sort(rng.choice(rows, self._most, replace=False))
        weights = np.maximum(rng.gamma(self.table.weights[rows]), 1e-12)
        if share == 1:
            return self._grown(column, codes[rows], rows, weights, rng, lines=lines)
        shown = np.sort(rng.permutation(len(rows))[: math.ceil(share * len(rows))])
        least = min(_LEAST, round(_SMALL / self.table.weights[rows].sum()))
        return self._grown(column, codes[rows], rows, weights, rng, shown, least, lines)

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
    def _begun(self) -> int:
        """Trees of a first sweep: of many rows half as many say as much."""
        return self.trees if len(self.table.codes) < _SMALL else (self.trees + 1) // 2

    @property
    def _most(self) -> int:
        return max(_ROWS, len(self.table.codes) // _SHARE)

    @cached_property
    def _lined(self) -> list[int]:
        """Columns that lines are drawn through."""
        return [j for j in self.among if self.table.ordered[j] and len(self.table.values[j]) > 1]

    def _line(self, number: int) -> Lines:
        """Lines through the rows, or through some of very many, with weights of their own draw."""
        if number not in self._lines:
            rng, rows = np.random.default_rng([self.seed, Stream.TABLE, len(_KINDS), number]), len(self.table.codes)
            some = np.arange(rows) if rows <= _ROWS else np.sort(rng.choice(rows, _ROWS, replace=False))
            weights = np.maximum(rng.gamma(self.table.weights[some]), 1e-12)
            self._lines[number] = Lines.of(self.table.numbers(self._whole[some])[:, self._lined], weights)
        return self._lines[number]

    def _left(self, column: int, rows: NDArray[np.intp], lines: Lines) -> Floats:
        """What lines leave of a column, each of them without the row itself; of very many no row says much."""
        place = self._lined.index(column)
        if len(self.table.codes) <= _ROWS:
            return lines.left[rows, place]
        numbers = self.table.numbers(self._whole[rows])[:, self._lined]
        return lines.standard(self.table.matrix[rows, column], place) - lines.said(numbers, place)

    def _led(self, column: int) -> bool:
        """Whether trees say what the line leaves of a column: if they say a fifth of its rows better then, or, where
        there are too few rows to tell, if the line says a fair share of it.
        """
        if column not in self._leads:
            kind, values = self.table.columns[column].kind, len(self.table.values[column])
            numbers = column in self._lined and kind != "boolean" and values > 2
            self._leads[column] = bool(numbers) and self._better_led(column)
        return self._leads[column]

    def _better_led(self, column: int) -> bool:
        rng, rows = np.random.default_rng([self.seed, Stream.TABLE, len(_KINDS) + 1, column]), self._donors(column)
        if len(rows) > self._most:
            rows = np.sort(rng.choice(rows, self._most, replace=False))
        weights, true, lines = self.table.weights[rows], self.table.matrix[rows, column], self._line(0)
        if len(rows) < _TELLING:
            standard = lines.standard(true, self._lined.index(column))
            remains = np.average(self._left(column, rows, lines) ** 2, weights=weights)
            return bool(remains < (1 - _SAID) * np.average(standard**2, weights=weights))
        order = rng.permutation(len(rows))
        cut = math.ceil(_SHOWN * len(rows))
        shown, aside = rows[np.sort(order[:cut])], order[cut:]
        codes, errors = self._whole[rows[aside]], []
        even = np.tile((np.arange(_CENTRE_DONORS) + 0.5) / _CENTRE_DONORS, len(aside))
        numbers = self.table.numbers(codes)[:, self._lined]
        for each in (None, lines):
            grown = self._grown(column, self._whole[shown], shown, self.table.weights[shown], rng, lines=each)
            leaves = np.repeat(grown.tree.leaf(codes), _CENTRE_DONORS)
            found = self._given(grown, column, leaves, even, numbers).reshape(len(aside), _CENTRE_DONORS)
            drawn = self.table.values[column][found]
            apart = np.abs(drawn[:, :, None] - drawn[:, None]).mean(axis=(1, 2)) / 2
            score = np.abs(drawn - true[aside, None]).mean(axis=1) - apart
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
        lines: Lines | None = None,
    ) -> _Grown:
        """The tree of a column, or of what lines leave of it, from rows as they are seen; donors of a leaf stand in the
        order of what it says.

        Splits are found on those `shown`, places in that order. Leaves have `least` rows even where `min_rows` is less.
        """
        table, least = self.table, max(self.min_rows, least, 1 if weights is not None else 3)
        left = None if lines is None else self._left(column, rows, lines)
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
        return _Grown(tree, rows, lines, left)

    def _given(self, grown: _Grown, column: int, leaves: NDArray[np.intp], u: Floats, numbers: Floats | None) -> Codes:
        """Codes of the column from a donor of each leaf; where the tree says what lines leave, with what they say."""
        donors = grown.tree.donors(leaves, u).rows
        if grown.lines is None or grown.left is None or numbers is None:
            return np.asarray(self.table.codes[grown.rows[donors], column])
        place = self._lined.index(column)
        said = np.repeat(grown.lines.said(numbers, place), len(donors) // len(numbers))
        return self.table.place(column, grown.lines.number(said + grown.left[donors], place))

    def _donated(self, forest: Sequence[_Grown], column: int, codes: Codes, numbers: Floats | None, u: Floats) -> Codes:
        """Codes of the column, for each row from a donor of one tree."""
        found = np.empty(len(codes), dtype=np.int32)
        which = (u[:, 0] * len(forest)).astype(np.intp)
        for number, grown in enumerate(forest):
            mine = np.flatnonzero(which == number)
            if len(mine):
                known = None if numbers is None else numbers[mine]
                found[mine] = self._given(grown, column, grown.tree.leaf(codes[mine]), u[mine, 1], known)
        return found

    def _middle(self, forest: Sequence[_Grown], column: int, codes: Codes, numbers: Floats | None) -> Codes:
        """Codes of the column, for each row the median of donors of all trees, or the most frequent of their codes."""
        even = (np.arange(_CENTRE_DONORS) + 0.5) / _CENTRE_DONORS
        u, each = np.tile(even, len(codes)), []
        for grown in forest:
            leaves = np.repeat(grown.tree.leaf(codes), _CENTRE_DONORS)
            each.append(self._given(grown, column, leaves, u, numbers).reshape(len(codes), _CENTRE_DONORS))
        drawn = np.sort(np.concatenate(each, axis=1), axis=1)
        if self.table.ordered[column]:
            return np.asarray(drawn[:, drawn.shape[1] // 2])
        return np.asarray(mode(drawn, axis=1).mode)
