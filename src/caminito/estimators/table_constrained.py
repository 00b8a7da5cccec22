"""Reverse jumps of a table whose columns are bound to one another: every row they end at meets the constraints.

A jump to a column that is bound to one known already reveals their difference, which is never negative, by a donor of a
tree grown to say it:  end = start + gap, or start = end - gap, whichever was known first. A jump to a column that a
formula gives, or that is the last one a formula needs, computes it. In each, donors are those whose value lies where
the row leaves room for it, in its leaf, or in the nearest node above that has some; so nothing is drawn in vain.

A row that comes to a dead end, as a price times a whole amount that should be a given total may, is drawn anew a few
times, then takes what is bound together, or all of it but the last value, from one training row.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.parallel import Parallel

from caminito._errors import ConditionError, ConfigError
from caminito._random import Stream, uniform
from caminito.denoiser import Codes, LeafTree
from caminito.estimators.coded import CodedTable
from caminito.estimators.reveal_jumps import Reveal, TreeKey, draws, evenly, tree_call
from caminito.estimators.table_constraints import Formula, Range, Rules
from caminito.estimators.table_explain import Jump, Names
from caminito.estimators.table_formula import once, solved, value

__all__ = ["BoundReveal", "Wanted", "only_reveal", "refilled", "refuse_unmet", "revealing"]

Floats = NDArray[np.float64]
Places = NDArray[np.intp]
Flags = NDArray[np.bool_]

_TRIES = 8  # walks of a row, before it takes what is bound together from a training row
_TURN = 0.618033988749895  # of its uniforms, from one walk to the next
_FILL = 10**6  # step of the draws of holes, apart from those of samples
_DONORS_TRIED = 2000  # training rows that a row at a dead end may take all but its last value from
_DONORS = 50_000_000  # that all trees keep: 200 MB
_CORNERS = 6  # columns of a formula that may be open at once for what is left of one to be bounded


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What rows have to have.

    Attributes
    ----------
    matrix : array, shape (B, p)
        Given values, encoded; only columns in `pattern` are looked at.
    pattern, chosen : tuple of int
        Columns that are given, and those of which one of several values will do.
    allowed : mapping of a chosen column to a bool array, shape (rows,)
        Training rows whose value will do.
    within : mapping of a chosen column to (low, high), encoded
        Where an interval will do.
    """

    matrix: Floats
    pattern: tuple[int, ...] = ()
    chosen: tuple[int, ...] = ()
    allowed: Mapping[int, Flags] = dataclasses.field(default_factory=dict)
    within: Mapping[int, tuple[float, float]] = dataclasses.field(default_factory=dict)


class BoundReveal(Reveal):
    """`Reveal` under rules; parameters as there, and

    rules : Rules
    """

    def __init__(
        self,
        table: CodedTable,
        order: Sequence[int],
        rules: Rules,
        *,
        min_rows: int,
        seed: int = 0,
        trees: Mapping[TreeKey, LeafTree] | None = None,
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(table, rules.sequence(order), min_rows=min_rows, seed=seed, trees=trees, n_jobs=n_jobs)
        self.rules = rules
        self._cells = {column: rules.common(column, table.matrix[:, column]) for column in rules.bound}
        self._ends = {
            column: (float(np.nanmin(cells)), float(np.nanmax(cells))) for column, cells in self._cells.items()
        }
        gaps = [self._cells[order.high] - self._cells[order.low] for order in rules.orders]
        columns = [dataclasses.replace(table.columns[each.high], kind="number") for each in rules.orders]
        self.wide = CodedTable(np.column_stack([table.matrix, *gaps]), [*table.columns, *columns], table.weights)

    def fit(self) -> BoundReveal:
        """Grow the trees of the usual order."""
        keys: list[TreeKey] = []
        for number, column in enumerate(self.order):
            known = tuple(sorted(self.order[:number]))
            keys.append((self._said_by(column, known), known))
        calls = (tree_call(self.wide, key, self.min_rows, self.seed) for key in keys)
        self.trees |= dict(zip(keys, Parallel(n_jobs=self.n_jobs, prefer="threads")(calls)))
        return self

    def draw(self, rows: int, seed: int, *, first: int = 0, attempt: int = 0, where: Places | None = None) -> Floats:
        """Rows as numbers, shape (rows, p); or those of them at `where`, rising."""
        u = draws(seed, attempt, rows, len(self.order), first)
        if attempt == 0:
            u[:, self.order[0]] = evenly(seed, rows, first)
        u = u if where is None else u[where]
        return self.answer(u, Wanted(np.full(u.shape, np.nan)))

    def answer(self, u: Floats, wanted: Wanted) -> Floats:
        """Rows that have what is wanted, shape (B, p).

        Raises
        ------
        ConditionError
            If a row cannot have it and meet the rules.
        """
        rest = [column for column in self.order if column not in (*wanted.pattern, *wanted.chosen)]
        chosen = [column for column in self.order if column in wanted.chosen]
        return self._revealed(u, wanted, [*chosen, *rest], whole=False)

    def refill(self, matrix: Floats, holes: Flags, seed: int, draw: int | None) -> Floats:
        """Rows with the values at `holes` of bound columns drawn anew, given all others; none of them is missing then.

        Where `draw` is None, they are those in the middle of what they may be.
        """
        out, width = matrix.copy(), len(self.table.columns)
        u = np.full((len(matrix), width), 0.5)
        if draw is not None:
            u = np.asarray(uniform(seed, Stream.TABLE, _FILL + draw, u.size)).reshape(u.shape)
        among = range(holes.shape[1])
        for group in self.rules.groups:
            rows = np.flatnonzero(holes[:, group].any(axis=1))
            if not len(rows):
                continue
            kinds, inverse = np.unique(holes[rows][:, group], axis=0, return_inverse=True)
            for number, kind in enumerate(kinds):
                mine, open_ = rows[inverse.ravel() == number], np.array(group)[kind].tolist()
                given = tuple(column for column in among if column not in open_)
                jumps = [column for column in self.order if column in open_]
                out[mine] = self._revealed(u[mine], Wanted(out[mine], given), jumps, whole=True)
        return out

    def told(self, column: int, names: Sequence[Any], values_of: Names) -> Jump:
        """The jump to a column in the usual order: the tree of what it draws, maybe a difference."""
        known = self.order[: self.order.index(column)]
        said = self._said_by(column, known)
        titles = [*names, *(f"{names[order.high]} - {names[order.low]}" for order in self.rules.orders)]

        def values(of: int, numbers: Sequence[float]) -> list[Any]:
            if of < len(names):
                return values_of(of, numbers)
            return self.rules.distances(self.rules.orders[of - len(names)], numbers)

        return Jump(self._grown(said, known), said, self.wide, titles, values)

    # -- a walk -------------------------------------------------------------------------------------------------------

    def _revealed(self, u: Floats, wanted: Wanted, jumps: Sequence[int], *, whole: bool) -> Floats:
        made = _Walk(self, u, wanted, jumps, whole).go()
        for number in range(1, _TRIES + 1):
            bad = np.flatnonzero(self._fails(made, wanted, jumps))
            if not len(bad):
                return made
            u = (u + _TURN) % 1.0
            part = dataclasses.replace(wanted, matrix=wanted.matrix[bad])
            made[bad] = _Walk(self, u[bad], part, self._turned(jumps, number), whole).go()
        for row in np.flatnonzero(self._fails(made, wanted, jumps)):
            one = dataclasses.replace(wanted, matrix=wanted.matrix[[row]])
            for group in self.rules.groups:
                if set(group) & set(jumps) and self._fails(made[[row]], one, group).any():
                    made[row] = self._together(made[row], u[row], one, jumps, group, whole)
        return made

    def _turned(self, jumps: Sequence[int], number: int) -> list[int]:
        """Jumps in which every other time what a formula gives, though asked for, comes after what it is made of."""
        outputs = {formula.output for formula in self.rules.formulas}
        if number % 2 == 0 or not outputs & set(jumps):
            return list(jumps)
        return sorted(jumps, key=lambda column: self.order.index(column) if column in self.rules.bound else -1)

    def _fails(self, made: Floats, wanted: Wanted, jumps: Sequence[int]) -> Flags:
        found = self.rules.unmet(made, jumps)
        for column in set(wanted.chosen) & set(jumps):
            values = made[:, column]
            if column in wanted.within:
                low, high = wanted.within[column]
                found |= ~((values >= low) & (values <= high))
            else:
                seen = self.table.matrix[wanted.allowed[column], column]
                found |= ~(np.isin(values, seen) | (np.isnan(values) & np.isnan(seen).any()))
        return found

    def _together(
        self, made: Floats, u: Floats, wanted: Wanted, jumps: Sequence[int], group: Sequence[int], whole: bool
    ) -> Floats:
        """A row with a group of bound columns taken from one training row that has what is given; or but for the last
        jump, where there is none.
        """
        table, weights = self.table.matrix, self.table.weights
        given = [column for column in group if column not in jumps]
        free = [column for column in self.order if column in group and column in jumps]
        known = ~np.isnan(table[:, free]).any(axis=1) if whole else np.ones(len(table), dtype=bool)
        same = (table[:, given] == made[given]) | (np.isnan(table[:, given]) & np.isnan(made[given]))
        fits = known & same.all(axis=1)
        for column in set(free) & set(wanted.allowed):
            fits &= wanted.allowed[column]
        donors = np.flatnonzero(fits)
        if len(donors):
            mass = np.cumsum(weights[donors])
            donor = donors[min(int(np.searchsorted(mass, u[free[0]] * mass[-1], side="right")), len(donors) - 1)]
            out = made.copy()
            out[free] = table[donor, free]
            return out
        donors = np.flatnonzero(known)
        donors = np.roll(donors, -int(u[free[0]] * len(donors)))[:_DONORS_TRIED]
        rows = np.repeat(made[None], len(donors), axis=0)
        rows[:, free[:-1]] = table[donors][:, free[:-1]]
        pattern = tuple(column for column in range(len(made)) if column != free[-1] and column in self.order)
        part = dataclasses.replace(wanted, matrix=rows, pattern=pattern)
        walked = _Walk(self, np.repeat(u[None], len(rows), axis=0), part, free[-1:], whole).go()
        good = np.flatnonzero(~self._fails(walked, wanted, group))
        if len(good):
            return np.asarray(walked[good[0]])
        told = ", ".join(self.rules.shown(column, made[column]) for column in given)
        asked = ", ".join(str(self.table.columns[column].name) for column in free if column in wanted.chosen)
        raise ConditionError(
            f"condition: found no row that meets the constraints ({self.rules.describe()}) and has what is given"
            + (f" ({told})" if told else "")
            + (f" and asked of {asked}" if asked else "")
            + ". Ask for less, or for an interval instead of a value."
        )

    # -- trees --------------------------------------------------------------------------------------------------------

    def _said_by(self, column: int, known: Sequence[int]) -> int:
        """The column of `wide` that a jump reveals: a difference from a known column, or the column itself."""
        for number, order in enumerate(self.rules.orders):
            if column in (order.low, order.high) and (order.low + order.high - column) in known:
                return len(self.table.columns) + number
        return column

    def _grown(self, said: int, known: Sequence[int]) -> LeafTree:
        key = (said, tuple(sorted(known)))
        if key not in self.trees:
            if (len(self.trees) + 1) * len(self.table.matrix) > _DONORS:
                self.trees.clear()
            self.trees[key] = Parallel(n_jobs=1)([tree_call(self.wide, key, self.min_rows, self.seed)])[0]
        return self.trees[key]


class _Walk:
    """Rows on their way: numbers, codes, and which columns are known."""

    def __init__(self, model: BoundReveal, u: Floats, wanted: Wanted, jumps: Sequence[int], whole: bool) -> None:
        self.model, self.rules, self.table = model, model.rules, model.table
        self.u, self.wanted, self.jumps, self.whole = u, wanted, list(jumps), whole
        self.numbers = np.full(u.shape, np.nan)
        self.codes: Codes = np.full(u.shape, -1, dtype=np.int32)
        self.known: list[int] = list(wanted.pattern)
        self.numbers[:, self.known] = wanted.matrix[:, self.known]
        places = self.table.places(self.numbers)
        self.codes[:, self.known] = places[:, self.known]
        self.row = {c: self.rules.common(c, self.numbers[:, c]) for c in self.known if c in model._cells}

    def go(self) -> Floats:
        """The rows at the end of their jumps."""
        asked = [column for column in self.jumps if column in self.wanted.allowed]
        for number, column in enumerate(self.jumps):
            ahead = [self.wanted.allowed[each] for each in asked if each in self.jumps[number:]]
            allowed = np.logical_and.reduce(ahead) if ahead else None
            self._jump(column, allowed)
        return self.numbers

    def _jump(self, column: int, allowed: Flags | None) -> None:
        if column not in self.model._cells:
            self._donated(column, np.arange(len(self.u)), allowed, None, None)
        else:
            low, high = self._limits(column)
            left = np.ones(len(self.u), dtype=bool)
            for formula in self.rules.formulas:
                rows = np.flatnonzero(left & self._given_by(formula, column))
                if len(rows):
                    self._compute(formula, column, rows)
                    left[rows] = False
            for number, order in enumerate(self.rules.orders if column not in self._masked else ()):
                other = order.low if column == order.high else order.high if column == order.low else -1
                if other in self.row:
                    rows = np.flatnonzero(left & ~np.isnan(self.row[other]))
                    if len(rows):
                        self._apart(column, other, number, rows, low, high)
                        left[rows] = False
            rows = np.flatnonzero(left)
            if len(rows):
                self._donated(column, rows, allowed, low[rows], high[rows])
            self.row[column] = self.rules.common(column, self.numbers[:, column])
        self.known.append(column)

    @property
    def _masked(self) -> list[int]:
        """Columns of which some values are asked that are no interval: only donors know them."""
        return [column for column in self.wanted.chosen if column not in self.wanted.within]

    def _donated(
        self, column: int, rows: Places, allowed: Flags | None, low: Floats | None, high: Floats | None
    ) -> None:
        """Values of donors that lie within what is left."""
        tree = self.model._grown(column, self.known)
        node = tree.leaf(self.codes[rows])
        u = self.u[rows, column]
        ends = self.model._ends.get(column, (-np.inf, np.inf))
        wide = low is None or high is None or bool((low <= ends[0]).all() and (high >= ends[1]).all())
        free = low is None or high is None or (wide and not self.whole)
        if self.whole:
            seen = self.table.codes[:, column] >= 0
            allowed = seen if allowed is None else allowed & seen
        if free:
            donors = tree.donors(node, u, allowed).rows
            self.numbers[rows, column] = self.table.matrix[donors, column]
            self.codes[rows, column] = self.table.codes[donors, column]
            return
        assert low is not None and high is not None
        cells = self.model._cells[column]
        donors, inside = _drawn(tree, node, u, cells, self._weights(allowed), low, high, not self.whole)
        if not inside.all() and allowed is not None and not self.whole:
            own = self.wanted.allowed.get(column)  # without what comes after
            bad = np.flatnonzero(~inside)
            donors[bad], inside[bad] = _drawn(
                tree, node[bad], u[bad], cells, self._weights(own), low[bad], high[bad], missing=True
            )
        self.numbers[rows, column] = self.table.matrix[donors, column]
        self.codes[rows, column] = self.table.codes[donors, column]
        bad = np.flatnonzero(~inside)
        if len(bad):
            self._set(column, rows[bad], cells[donors[bad]], low[bad], high[bad])

    def _apart(self, column: int, other: int, number: int, rows: Places, low: Floats, high: Floats) -> None:
        """A value at a distance from one that is known; distances are those of donors."""
        wide = self.model.wide
        said = len(self.table.columns) + number
        tree = self.model._grown(said, self.known)
        node = tree.leaf(self.codes[rows])
        at, low, high = self.row[other][rows], low[rows], high[rows]
        after = column == self.rules.orders[number].high
        near, far = (low - at, high - at) if after else (at - high, at - low)
        donors = ~np.isnan(self.model._cells[other])
        if self.whole:
            donors &= ~np.isnan(self.model._cells[column])
        gaps = wide.matrix[:, said]
        rows_of, _ = _drawn(tree, node, self.u[rows, column], gaps, self._weights(donors), near, far, not self.whole)
        gap = gaps[rows_of]
        self._set(column, rows, at + gap if after else at - gap, low, high)

    def _compute(self, formula: Formula, column: int, rows: Places) -> None:
        """The value that a formula leaves; a row that it leaves none is found wanting at the end."""
        cells = {each: self.row[each][rows] for each in formula.columns if each != column}
        if column == formula.output:
            made = value(formula.node, cells)
        else:
            made = solved(formula.node, column, cells[formula.output], cells)
        low, high = self.rules.limits(column, {}, len(rows))
        made = np.where(np.isnan(made), self.model._ends[column][0], made)
        numbers = self.rules.codec.settle(self.table.columns[column].name, self.rules.encoded(column, made))
        common = self.rules.common(column, numbers)
        outside = (common < low) | (common > high)
        if outside.any():
            numbers[outside] = self.rules.fitted_in(column, made[outside], low[outside], high[outside])
        self._put(column, rows, self._with_holes(formula, column, rows, numbers))

    def _with_holes(self, formula: Formula, column: int, rows: Places, numbers: Floats) -> Floats:
        """Missing as often as training rows have it so, in which all else of the formula is known."""
        if self.whole or column in self.wanted.allowed:
            return numbers
        cells = self.model._cells
        others = np.stack([cells[each] for each in formula.columns if each != column])
        able = np.asarray(~np.isnan(others).any(axis=0), dtype=np.bool_)
        if not np.isnan(cells[column][able]).any():
            return numbers
        tree = self.model._grown(column, self.known)
        donors = tree.donors(tree.leaf(self.codes[rows]), self.u[rows, column], able).rows
        return np.where(np.isnan(cells[column][donors]), np.nan, numbers)

    def _given_by(self, formula: Formula, column: int) -> Flags:
        """Rows in which a formula leaves one value for the column."""
        others = [each for each in formula.columns if each != column]
        able = column == formula.output or (column in formula.inputs and once(formula.node, column))
        if not able or any(each not in self.row for each in others):
            return np.zeros(len(self.u), dtype=bool)
        return np.asarray(~np.isnan(np.stack([self.row[each] for each in others])).any(axis=0))

    def _set(self, column: int, rows: Places, common: Floats, low: Floats, high: Floats) -> None:
        """Values in common numbers, moved to where the column can have them; NaN is missing."""
        numbers = np.full(len(rows), np.nan)
        known = ~np.isnan(common)
        numbers[known] = self.rules.fitted_in(column, common[known], low[known], high[known])
        self._put(column, rows, numbers)

    def _put(self, column: int, rows: Places, numbers: Floats) -> None:
        self.numbers[rows, column] = numbers
        self.codes[rows, column] = self.table.place(column, numbers)

    def _weights(self, allowed: Flags | None) -> Floats:
        weights = self.table.weights
        return weights if allowed is None else np.where(allowed, weights, 0.0)

    # -- the room that is left ----------------------------------------------------------------------------------------

    def _limits(self, column: int) -> tuple[Floats, Floats]:
        """What rules, what is asked and, as far as those allow, the range of the training rows leave a column."""
        low, high = self._hard(column)
        for formula in self.rules.formulas:
            if column in formula.columns:
                self._narrow(formula, column, low, high)
        ends = self.model._ends[column]
        inner, outer = np.maximum(low, ends[0]), np.minimum(high, ends[1])
        some = inner <= outer
        return np.where(some, inner, low), np.where(some, outer, high)

    def _hard(self, column: int) -> tuple[Floats, Floats]:
        low, high = self.rules.limits(column, self.row, len(self.u))
        if column in self.wanted.within:
            ends = [float(self.rules.common(column, end)) for end in self.wanted.within[column]]
            low, high = np.maximum(low, ends[0]), np.minimum(high, ends[1])
        return low, high

    def _narrow(self, formula: Formula, column: int, low: Floats, high: Floats) -> None:
        """Take away what would leave a formula without a solution within the ranges of what is still open in it."""
        if column != formula.output and not once(formula.node, column):
            return
        if formula.output not in self.row and column != formula.output:
            ends = self._hard(formula.output)
            if np.isinf(ends[0]).all() and np.isinf(ends[1]).all():
                return
        others = [each for each in formula.columns if each != column]
        still = [each for each in others if each not in self.row]
        if len(still) > _CORNERS or (not still and not any(each in self.row for each in others)):
            return
        sides: dict[int, tuple[Floats, Floats]] = {}
        for each in still:
            a, b = self._hard(each)
            if each != formula.output:
                a, b = np.maximum(a, self.model._ends[each][0]), np.minimum(b, self.model._ends[each][1])
            sides[each] = (a, b)
        found = []
        for corner in itertools.product((0, 1), repeat=len(still)):
            cells = {each: self.row[each] for each in others if each in self.row}
            cells |= {each: sides[each][side] for each, side in zip(still, corner)}
            with np.errstate(all="ignore"):
                if column == formula.output:
                    found.append(np.asarray(value(formula.node, cells)))
                else:
                    target = cells[formula.output]
                    made = solved(formula.node, column, np.where(np.isinf(target), 0.0, target), cells)
                    if np.isinf(target).any():  # an open end stays open on its side
                        slope = solved(formula.node, column, 1.0 + np.zeros_like(target), cells) - solved(
                            formula.node, column, np.zeros_like(target), cells
                        )
                        made = np.where(np.isinf(target), np.sign(slope) * target, made)
                    found.append(made)
        reach = np.stack(np.broadcast_arrays(*found))
        least, most = reach.min(axis=0), reach.max(axis=0)  # NaN where a corner has no solution
        inner, outer = np.fmax(low, least), np.fmin(high, most)
        good = inner <= outer
        low[good], high[good] = inner[good], outer[good]


def _drawn(
    tree: LeafTree,
    node: Places,
    u: Floats,
    cells: Floats,
    weights: Floats,
    low: Floats,
    high: Floats,
    missing: bool,
) -> tuple[Places, Flags]:
    """Donors with low <= cells <= high, or missing where that may be, from a node or the nearest above that has some.

    Where not even the root has, the donor whose value is nearest, and False.
    """
    found, inside = np.zeros(len(node), dtype=np.intp), np.zeros(len(node), dtype=bool)
    going, at = np.arange(len(node)), node.astype(np.intp)
    while len(going):
        order = np.argsort(at, kind="stable")
        going, at = going[order], at[order]
        begins = np.flatnonzero(np.r_[True, at[1:] != at[:-1]])
        left = []
        for begin, end in zip(begins, [*begins[1:], len(at)]):
            mine, here = going[begin:end], at[begin]
            rows = tree.order[tree.first[here] : tree.last[here]]
            rows = rows[weights[rows] > 0]
            gone = np.isnan(cells[rows])
            known = rows[~gone]
            known = known[np.argsort(cells[known], kind="stable")]
            values = cells[known]
            mass = np.concatenate([[0.0], np.cumsum(weights[known])])
            holes = rows[gone] if missing else rows[:0]
            lost = np.concatenate([[0.0], np.cumsum(weights[holes])])
            a = np.searchsorted(values, low[mine], side="left")
            b = np.maximum(np.searchsorted(values, high[mine], side="right"), a)
            some = mass[b] - mass[a]
            good = (some > 0) | (lost[-1] > 0 if not len(known) else False)
            aim = u[mine] * (some + lost[-1])
            if len(known):
                place = np.searchsorted(mass, mass[a] + aim, side="right") - 1
                found[mine] = known[np.clip(place, a, np.maximum(b - 1, a)).clip(0, len(known) - 1)]
            void = good & (aim >= some) & (lost[-1] > 0)
            if void.any():
                place = np.searchsorted(lost, (aim - some)[void], side="right") - 1
                found[mine[void]] = holes[np.clip(place, 0, len(holes) - 1)]
            inside[mine] = good
            bad = mine[~good]
            if len(bad) and tree.parent[here] < 0 and len(known):
                middle = np.clip(np.searchsorted(values, low[bad]), 1, max(len(known) - 1, 1))
                after, before = np.minimum(middle, len(known) - 1), middle - 1
                nearer = np.abs(values[after] - low[bad]) < np.abs(values[before] - low[bad])
                found[bad] = known[np.where(nearer, after, before)]
            elif len(bad) and tree.parent[here] >= 0:
                left.append((bad, int(tree.parent[here])))
        going = np.concatenate([bad for bad, _ in left]) if left else np.arange(0)
        at = np.concatenate([np.full(len(bad), up) for bad, up in left]) if left else np.arange(0)
    return found, inside


def revealing(table: CodedTable, order: Sequence[int], rules: Rules | None, **how: Any) -> Reveal:
    """The chain of a table: one that keeps to rules, where they bind columns to one another."""
    return BoundReveal(table, order, rules, **how) if rules is not None and rules.bind else Reveal(table, order, **how)


def refilled(reveal: Reveal, drawn: Floats, holes: Flags, seed: int | None) -> Floats:
    """Draws (m, n, p) of filled rows, in which bound columns keep to the rules too; without a seed, centres."""
    if not isinstance(reveal, BoundReveal):
        return drawn
    numbers = range(len(drawn)) if seed is not None else [None]
    return np.stack([reveal.refill(rows, holes, seed or 0, number) for number, rows in zip(numbers, drawn)])


def only_reveal(modes: Sequence[str], rules: Rules, *, asked: bool) -> list[str]:
    """Those of the modes that can keep to the rules.

    Raises
    ------
    ConfigError
        If a mode was asked for that cannot.
    """
    able = [mode for mode in modes if mode == "reveal" or not (rules.bind or rules.choices)]
    if asked and not able:
        told = next(rule.text for rule in rules.rules if not isinstance(rule, Range))
        raise ConfigError(
            f"mode={modes[0]!r}: expected ranges as its only constraints, got {told!r}, which its jumps, of all "
            "numbers at once, do not keep to. Use mode='reveal' or 'auto'."
        )
    return able or ["reveal"]


def refuse_unmet(asked: Floats, rules: Rules) -> None:
    """Refuse values asked for that break a rule on their own.

    Raises
    ------
    ConditionError
    """
    for rule in rules.rules:
        rows = np.flatnonzero(rules.broken(rule, asked))
        if len(rows):
            raise ConditionError(
                f"condition: expected values that meet the constraint {rule.text!r}, got others for "
                f"{len(rows)} of {len(asked)} rows, the first of them row {rows[0]}. Change or free one of them."
            )
