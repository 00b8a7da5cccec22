"""What every row of a table has to meet: orders, ranges, choices and formulas, declared in words and checked.

    "start <= end"                 an order; also <, >=, > and chains a <= b < c
    "0 <= age <= 120"              a range; dates and labels in quotes: "'2020-01-01' <= start"
    "sex in ['F', 'M']"            a choice; also {"sex": ["F", "M"], "age": (0, 120)}, as conditions are said
    "total = price * amount"       a formula; the column is computed, not drawn

A comparison with a missing value counts as met. Orders are kept closed: from a <= b and b < c follows a < c, with the
least distance that the steps of the columns allow. All is said in common numbers: whole numbers and quantities as they
are, times in one unit from one origin.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from caminito._errors import ConfigError, DataError
from caminito.data import Column, TableCodec
from caminito.estimators.table_formula import names_in, parsed, unknown, value

__all__ = ["Formula", "OneOf", "Order", "Range", "Rules", "plain", "unplain"]

Floats = NDArray[np.float64]

_NEAR = 1e-6  # how far, relative to its terms, a formula may be off in a column without steps
_SHOWN = 5  # rows that are told
_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "D": 86_400 * 10**9}
_TIMES = ("datetime", "timedelta")
_KEPT = ("category", "boolean")  # kinds that no jump but `reveal` draws anew


@dataclasses.dataclass(frozen=True)
class Order:
    """Column `low` is at most column `high`, or less where `strict`."""

    low: int
    high: int
    strict: bool
    text: str


@dataclasses.dataclass(frozen=True)
class Range:
    """A column lies between two common numbers, both included or not."""

    column: int
    low: float
    high: float
    strict: bool
    text: str


@dataclasses.dataclass(frozen=True)
class OneOf:
    """A column has one of these numbers."""

    column: int
    numbers: tuple[float, ...]
    text: str


@dataclasses.dataclass(frozen=True)
class Formula:
    """Column `output` is what the expression comes to."""

    output: int
    inputs: tuple[int, ...]
    node: ast.expr = dataclasses.field(repr=False, compare=False)
    text: str

    @property
    def columns(self) -> tuple[int, ...]:
        """Inputs, then the output."""
        return (*self.inputs, self.output)


Rule = Order | Range | OneOf | Formula


class Rules:
    """The constraints of a table.

    Parameters
    ----------
    declared : str, mapping, or sequence of them
    codec : TableCodec, fitted

    Attributes
    ----------
    rules : list of Order, Range, OneOf and Formula
    orders, formulas : those that bind columns to one another

    Raises
    ------
    ConfigError
        If a text says nothing of the kind, a column is unknown (the nearest are named) or of a kind that has no such
        relation, or no row could meet them all.
    """

    def __init__(self, declared: Any, codec: TableCodec) -> None:
        self.codec, self.columns = codec, codec.columns_
        self._shift, self._scale, self.grain = _frames(self.columns)
        self.rules: list[Rule] = []
        for each in _each(declared):
            self.rules += self._read(each)
        self.orders = [rule for rule in self.rules if isinstance(rule, Order)]
        self.formulas = [rule for rule in self.rules if isinstance(rule, Formula)]
        self._refuse_circles()
        self.low, self.high = self._ranges()
        self.apart, self.strict = self._closed()
        self._spread_ranges()

    @property
    def bind(self) -> bool:
        """Whether columns are bound to one another: then rows are made by a chain that knows how."""
        return bool(self.orders or self.formulas)

    @property
    def choices(self) -> bool:
        """Whether some numbers are one of a few, which jumps of all numbers at once do not keep to."""
        return any(isinstance(r, OneOf) and self.columns[r.column].kind not in _KEPT for r in self.rules)

    @property
    def bound(self) -> list[int]:
        """Columns that are."""
        pairs = [column for order in self.orders for column in (order.low, order.high)]
        return sorted({*pairs, *(column for formula in self.formulas for column in formula.columns)})

    def together(self, column: int) -> list[int]:
        """Columns bound to this one, directly or by way of others; itself too."""
        links = [{order.low, order.high} for order in self.orders] + [set(each.columns) for each in self.formulas]
        found = {column}
        while grown := set().union(*(link for link in links if link & found)) - found:
            found |= grown
        return sorted(found)

    @property
    def groups(self) -> list[list[int]]:
        """Bound columns, those together that are bound together."""
        return [list(each) for each in dict.fromkeys(tuple(self.together(column)) for column in self.bound)]

    def sequence(self, order: Sequence[int]) -> list[int]:
        """An order of columns in which those a formula needs come before it, and columns of wider steps before others
        that they are bound to.
        """
        found = list(order)
        for group in self.groups:
            places = sorted(found.index(column) for column in group)
            ranked = sorted(group, key=lambda column: (self._rank(column), -self.step(column), found.index(column)))
            for place, column in zip(places, ranked):
                found[place] = column
        return found

    def step(self, column: int) -> float:
        """Distance of neighbouring values in common numbers; 0 for a continuum."""
        told = self.columns[column]
        if told.form == "float":
            return 0.0 if told.step is None else told.step
        return (told.step or 1.0) * self._scale[column]

    def common(self, column: int, numbers: Any) -> Floats:
        """Common numbers of encoded ones."""
        return np.asarray(self._shift[column] + self._scale[column] * np.asarray(numbers, dtype=np.float64))

    def encoded(self, column: int, common: Any) -> Floats:
        """The inverse of `common`."""
        return np.asarray((np.asarray(common, dtype=np.float64) - self._shift[column]) / self._scale[column])

    def fitted_in(self, column: int, common: Floats, low: Floats, high: Floats) -> Floats:
        """Encoded numbers that the column can have, nearest to those in common numbers, within [low, high]."""
        wanted = np.clip(common, low, np.maximum(low, high))
        found = self._settled(column, wanted)
        for toward, off in ((1, lambda at: at < low), (-1, lambda at: at > high)):
            outside = off(self.common(column, found))
            if outside.any():
                found[outside] = self._next(column, found[outside], toward)
        return found

    def limits(self, column: int, row: Mapping[int, Floats], rows: int) -> tuple[Floats, Floats]:
        """Least and greatest common number that orders and ranges leave a column, given common numbers of others."""
        low, high = np.full(rows, self.low[column]), np.full(rows, self.high[column])
        for other, known in row.items():
            if self.apart[other, column] > -np.inf:
                after = known + self.apart[other, column]
                low = np.fmax(low, np.nextafter(after, np.inf) if self.strict[other, column] else after)
            if self.apart[column, other] > -np.inf:
                before = known - self.apart[column, other]
                high = np.fmin(high, np.nextafter(before, -np.inf) if self.strict[column, other] else before)
        return low, high

    def broken(self, rule: Rule, matrix: Floats) -> NDArray[np.bool_]:
        """Which rows of an encoded matrix do not meet a rule; what is missing meets it."""
        cells = {column: self.common(column, matrix[:, column]) for column in _columns_of(rule)}
        match rule:
            case Order(low, high, strict):
                a, b = cells[low], cells[high]
                return np.asarray(a >= b if strict else a > b)
            case Range(column, low_end, high_end, strict):
                x = cells[column]
                return np.asarray((x <= low_end) | (x >= high_end) if strict else (x < low_end) | (x > high_end))
            case OneOf(column, numbers):
                x = matrix[:, column]
                return np.asarray(~np.isin(x, numbers) & ~np.isnan(x))
            case Formula(output=output, node=node):
                known = np.isfinite(np.stack([cells[each] for each in rule.columns])).all(axis=0)
                made = value(node, cells)
                return np.asarray(known & ~(np.abs(cells[output] - made) <= self._slack(rule, cells, made)))

    def within(self, matrix: Floats) -> Floats:
        """The matrix with numbers outside a declared range moved to its end."""
        for column in {rule.column for rule in self.rules if isinstance(rule, Range)}:
            common = self.common(column, matrix[:, column])
            off = (common < self.low[column]) | (common > self.high[column])
            if off.any():
                ends = (np.full(int(off.sum()), end[column]) for end in (self.low, self.high))
                matrix[off, column] = self.fitted_in(column, common[off], *ends)
        return matrix

    def unmet(self, matrix: Floats, among: Collection[int]) -> NDArray[np.bool_]:
        """Which rows break any rule on some of these columns."""
        found = np.zeros(len(matrix), dtype=bool)
        for rule in self.rules:
            if any(column in among for column in _columns_of(rule)):
                found |= self.broken(rule, matrix)
        return found

    def refuse_broken(self, matrix: Floats, what: str = "X") -> None:
        """Refuse rows that break a rule, with counts and the first of them.

        Raises
        ------
        DataError
        """
        told = []
        for rule in self.rules:
            rows = np.flatnonzero(self.broken(rule, matrix))
            if len(rows):
                first = ", ".join(map(str, rows[:_SHOWN])) + (", ..." if len(rows) > _SHOWN else "")
                values = ", ".join(self.shown(column, matrix[rows[0], column]) for column in _columns_of(rule))
                count = "1 row does" if len(rows) == 1 else f"{len(rows)} rows do"
                told.append(f"{count} not meet {rule.text!r}: {first} (in row {rows[0]}: {values})")
        if told:
            raise DataError(
                f"{what}: expected every row to meet the constraints, but {'; '.join(told)}. Rows count from 0. "
                "Correct or drop these rows, set what is wrong in them to missing, or leave the constraint out."
            )

    def exact_codec(self, matrix: Floats) -> TableCodec:
        """The codec, in which a column that a formula gives has steps only if new rows lie on them too."""
        state = self.codec.to_dict()
        rng = np.random.default_rng(0)
        for formula in self.formulas:
            cells = {column: self.common(column, matrix[:, column]) for column in formula.columns}
            made, step = value(formula.node, cells), self.step(formula.output)
            mixed = value(formula.node, {column: rng.permutation(cells[column]) for column in formula.inputs})
            rounded = bool((np.abs(cells[formula.output] - made) > 1e-9 * np.abs(made)).any())
            on_grid = step and not (np.abs(mixed - step * np.rint(mixed / step)) > 1e-9 * np.abs(mixed)).any()
            if not (rounded or on_grid):
                entry = state["columns"][formula.output]
                entry["step"] = None if entry["form"] == "float" else 1.0
        return TableCodec.from_dict(state)

    def distances(self, order: Order, common: Sequence[float]) -> list[Any]:
        """Differences of the columns of an order, as values: numbers, or spans of time."""
        if self.columns[order.low].kind not in _TIMES:
            whole = self.step(order.low) == round(self.step(order.low)) and self.step(order.high) >= 1
            return [int(each) if whole and each == round(each) else float(each) for each in common]
        import pandas as pd

        return [pd.Timedelta(round(each * self.grain), unit="ns") for each in common]

    def formula_of(self, column: int) -> str | None:
        """The formula that gives a column, if one does."""
        return next((each.text for each in self.formulas if each.output == column), None)

    def describe(self) -> str:
        """All of them in a line."""
        return "; ".join(dict.fromkeys(rule.text for rule in self.rules))

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read(self, declared: Any) -> list[Rule]:
        if isinstance(declared, Mapping):
            return [self._chosen(self._place(name), name, what) for name, what in declared.items()]
        if not isinstance(declared, str):
            raise ConfigError(
                "constraints: expected texts such as 'start <= end' or mappings such as {'sex': ['F', 'M']}, got "
                f"{type(declared).__name__}."
            )
        names = self.codec.names_
        sides = _sides(declared)
        if len(sides) == 2:
            return [self._formula(parsed(sides[0], names), parsed(sides[1], names), declared)]
        node = parsed(declared, names)
        for word in unknown(node):
            self._place(word)
        match node:
            case ast.Compare(left=ast.Name(id=name), ops=[ast.In()], comparators=[ast.List() | ast.Tuple() as values]):
                column = int(name[1:])
                return [self._one_of(column, [_constant(each, declared) for each in values.elts], declared)]
            case ast.Compare(left=left, ops=ops, comparators=rest):
                ends = [left, *rest]
                return [self._compared(a, op, b, declared) for a, op, b in zip(ends, ops, rest)]
        raise ConfigError(
            f"constraint {declared!r}: expected a comparison such as 'start <= end', a formula such as 'total = a + b' "
            "or a choice such as \"sex in ['F', 'M']\"."
        )

    def _place(self, name: Any) -> int:
        names = self.codec.names_
        if name in names:
            return names.index(name)
        near = difflib.get_close_matches(str(name), [str(each) for each in names], n=3)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else f" Known: {', '.join(map(str, names))}."
        raise ConfigError(f"constraint: expected columns of the table, got {name!r}.{hint}")

    def _chosen(self, column: int, name: Any, what: Any) -> Rule:
        if isinstance(what, tuple) and len(what) == 2:
            text = f"{'' if what[0] is None else f'{what[0]} <= '}{name}{'' if what[1] is None else f' <= {what[1]}'}"
            low, high = (self._end(column, end, text, sign) for end, sign in zip(what, (-np.inf, np.inf)))
            return Range(column, low, high, False, text)
        if isinstance(what, (list, set, frozenset)):
            values = sorted(what, key=str) if not isinstance(what, list) else what
            return self._one_of(column, values, f"{name} in {values}")
        raise ConfigError(f"constraint {name!r}: expected an interval (low, high) or a list of values, got {what!r}.")

    def _one_of(self, column: int, values: Sequence[Any], text: str) -> OneOf:
        name, numbers = self.codec.names_[column], []
        for each in values:
            try:
                numbers.append(float(self.codec.encode_values(name, [each])[0]))
            except DataError:
                if self.columns[column].labels is None:
                    raise
                continue  # allowed, and in no row
        if not numbers:
            raise ConfigError(f"constraint {text!r}: expected values that some row has, got none.")
        return OneOf(column, tuple(numbers), text)

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr, text: str) -> Rule:
        if isinstance(op, ast.Gt | ast.GtE):
            left, right = right, left
        if not isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
            raise ConfigError(f"constraint {text!r}: expected <, <=, >, >=, a single = for a formula, or 'in'.")
        strict = isinstance(op, ast.Lt | ast.Gt)
        match left, right:
            case ast.Name(id=low), ast.Name(id=high):
                return self._order(int(low[1:]), int(high[1:]), strict, text)
            case ast.Name(id=name), _:
                column = int(name[1:])
                return Range(column, -np.inf, self._end(column, _constant(right, text), text, np.inf), strict, text)
            case _, ast.Name(id=name):
                column = int(name[1:])
                return Range(column, self._end(column, _constant(left, text), text, -np.inf), np.inf, strict, text)
        _constant(left if isinstance(right, ast.Constant) else right, text)
        raise ConfigError(f"constraint {text!r}: expected a column to be compared, got none.")

    def _order(self, low: int, high: int, strict: bool, text: str) -> Order:
        a, b = self.columns[low], self.columns[high]
        for column in (a, b):
            if column.kind == "category" or (column.labels is not None and column.kind != "ordered"):
                raise ConfigError(
                    f"constraint {text!r}: expected columns that have an order, got {column.name!r}, of kind "
                    f"{column.kind}. Say its kind by types={{{column.name!r}: ...}}, or leave it out."
                )
        alike = a.labels == b.labels if "ordered" in (a.kind, b.kind) else _dimension(a) == _dimension(b)
        if not alike:
            raise ConfigError(
                f"constraint {text!r}: expected columns that can be compared, got {a.name!r} of kind {a.kind} and "
                f"{b.name!r} of kind {b.kind}" + (", with other labels." if a.kind == b.kind == "ordered" else ".")
            )
        return Order(low, high, strict, text)

    def _end(self, column: int, end: Any, text: str, usual: float) -> float:
        told = self.columns[column]
        if end is None:
            return usual
        if told.kind == "category" or (told.labels is not None and told.kind != "ordered"):
            raise ConfigError(
                f"constraint {text!r}: expected a range of a column that has an order, got {told.name!r}, of kind "
                f'{told.kind}. List its values: "{told.name} in [...]".'
            )
        if told.kind in ("integer", "number", "boolean") and isinstance(end, int | float | np.number):
            return float(end)
        try:
            return float(self.common(column, self.codec.encode_values(told.name, [end]))[0])
        except (DataError, ValueError) as error:
            raise ConfigError(f"constraint {text!r}: {error}") from error

    def _formula(self, left: ast.expr, right: ast.expr, text: str) -> Formula:
        for side in (left, right):
            names_in(side)
            for word in unknown(side):
                self._place(word)
        if not isinstance(left, ast.Name) and isinstance(right, ast.Name):
            left, right = right, left
        if not isinstance(left, ast.Name):
            raise ConfigError(f"constraint {text!r}: expected a column alone on one side of the =, got none.")
        output, inputs = int(left.id[1:]), tuple(names_in(right))
        if not inputs:
            raise ConfigError(f"constraint {text!r}: expected columns in the formula, got none.")
        if output in inputs:
            raise ConfigError(f"constraint {text!r}: expected a column that is not part of its own formula.")
        for column in (output, *inputs):
            told = self.columns[column]
            if told.kind in ("category", "ordered") or told.labels is not None:
                raise ConfigError(
                    f"constraint {text!r}: expected columns of numbers or times, got {told.name!r}, of kind "
                    f"{told.kind}."
                )
        formula = Formula(output, inputs, right, text)
        self._refuse_mixed(formula)
        return formula

    def _refuse_mixed(self, formula: Formula) -> None:
        """Refuse sums of dates and other things that do not mean anything: units and origin must not matter."""
        rng = np.random.default_rng(0)
        kinds = {column: self.columns[column].kind for column in formula.columns}
        if not any(kind in _TIMES for kind in kinds.values()):
            return
        cells = {column: rng.uniform(1, 2, 4) for column in formula.inputs}
        made, output = value(formula.node, cells), kinds[formula.output]
        later = {c: x + 5 * (kinds[c] == "datetime") for c, x in cells.items()}
        longer = {c: x * (3 if kinds[c] in _TIMES else 1) for c, x in cells.items()}
        shifted = np.allclose(value(formula.node, later), made + 5 * (output == "datetime"))
        scaled = np.allclose(value(formula.node, longer), made * (3 if output in _TIMES else 1))
        if not (shifted and scaled):
            told = ", ".join(f"{self.columns[c].name} ({kind})" for c, kind in kinds.items())
            raise ConfigError(
                f"constraint {formula.text!r}: expected a formula that means the same in any unit of time, such as "
                f"'lasts = end - start' with lasts a duration, got one of {told}."
            )

    # -- what follows -------------------------------------------------------------------------------------------------

    def _refuse_circles(self) -> None:
        outputs: dict[int, Formula] = {}
        for formula in self.formulas:
            if formula.output in outputs:
                raise ConfigError(
                    f"constraints: expected one formula for {self.columns[formula.output].name!r}, got "
                    f"{outputs[formula.output].text!r} and {formula.text!r}. Leave one of them out."
                )
            outputs[formula.output] = formula
        self._depth: dict[int, int] = {}
        for formula in self.formulas:
            self._depth_of(formula.output, outputs, ())

    def _depth_of(self, column: int, outputs: Mapping[int, Formula], above: tuple[int, ...]) -> int:
        if column in above:
            told = ", ".join(repr(outputs[each].text) for each in above)
            raise ConfigError(f"constraints: expected formulas that do not need one another in a circle, got {told}.")
        if column not in outputs:
            return 0
        if column not in self._depth:
            below = [self._depth_of(each, outputs, (*above, column)) for each in outputs[column].inputs]
            self._depth[column] = 1 + max(below)
        return self._depth[column]

    def _rank(self, column: int) -> tuple[int, int]:
        """Inputs of formulas, then what they give, then what is only bound to those by order."""
        needed = any(column in formula.inputs for formula in self.formulas)
        if column in self._depth:
            return (self._depth[column], 0)
        return (0, 0) if needed or not self.formulas else (len(self.formulas) + 1, 0)

    def _ranges(self) -> tuple[Floats, Floats]:
        low, high = np.full(len(self.columns), -np.inf), np.full(len(self.columns), np.inf)
        for rule in self.rules:
            if isinstance(rule, Range):
                step = self.step(rule.column)
                a, b = rule.low, rule.high
                if rule.strict:
                    a = np.nextafter(a, np.inf) if not step else a + step * 1e-6
                    b = np.nextafter(b, -np.inf) if not step else b - step * 1e-6
                low[rule.column] = max(low[rule.column], a)
                high[rule.column] = min(high[rule.column], b)
                self._refuse_empty(rule.column, low, high)
        return low, high

    def _refuse_empty(self, column: int, low: Floats, high: Floats) -> None:
        if low[column] > high[column]:
            raise ConfigError(
                f"constraints: expected some value of {self.columns[column].name!r} to meet them all, got none: they "
                f"are {self.describe()}. Leave one of them out."
            )

    def _closed(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Least distance of each column after another, -inf where there is none, and whether it must be exceeded."""
        count = len(self.columns)
        apart, strict = np.full((count, count), -np.inf), np.zeros((count, count), dtype=bool)
        for order in self.orders:
            least = self._least(order.low, order.high) if order.strict else 0.0
            if (least, order.strict and not least) > (apart[order.low, order.high], strict[order.low, order.high]):
                apart[order.low, order.high] = least
                strict[order.low, order.high] = order.strict and not least
        for between in self.bound:
            for a in self.bound:
                for b in self.bound:
                    far = apart[a, between] + apart[between, b]
                    more = bool(strict[a, between] or strict[between, b])
                    if far > -np.inf and (far, more) > (apart[a, b], bool(strict[a, b])):
                        apart[a, b], strict[a, b] = far, more
                    if a == b and (apart[a, a] > 0 or (apart[a, a] == 0 and strict[a, a])):
                        raise ConfigError(
                            f"constraints: expected some row to meet them all, but {self.columns[a].name!r} would have "
                            f"to be less than itself: {self.describe()}. Leave one of them out."
                        )
        np.fill_diagonal(apart, -np.inf)
        return apart, strict

    def _least(self, low: int, high: int) -> float:
        """How far apart two columns are at least that are not the same; 0 if there is no such distance."""
        a, b = sorted((self.step(low), self.step(high)))
        if not a:
            return 0.0
        if a == round(a) and b == round(b):
            return float(math.gcd(int(a), int(b)))
        return a if abs(b / a - round(b / a)) < 1e-9 else 0.0

    def _spread_ranges(self) -> None:
        """Ends of ranges that follow from those of columns before and after."""
        low, high = self.low.copy(), self.high.copy()
        for a in self.bound:
            for b in self.bound:
                if self.apart[a, b] > -np.inf:
                    after, before = self.low[a] + self.apart[a, b], self.high[b] - self.apart[a, b]
                    if self.strict[a, b]:
                        after, before = np.nextafter(after, np.inf), np.nextafter(before, -np.inf)
                    low[b], high[a] = max(low[b], after), min(high[a], before)
        self.low, self.high = low, high
        for column in self.bound:
            self._refuse_empty(column, low, high)

    # -- numbers ------------------------------------------------------------------------------------------------------

    def _slack(self, formula: Formula, cells: Mapping[int, Floats], made: Floats) -> Floats:
        """How far a column may be from its formula: half its step, or the last digits of the numbers in it."""
        step = self.step(formula.output)
        size = np.max(np.abs([made, *(cells[column] for column in formula.columns)]), axis=0)
        if step:
            return np.asarray(step / 2 * (1 + 1e-9) + 1e-9 * size)
        return np.asarray(_NEAR * np.maximum(np.abs(made), 1e-3 * size))

    def _settled(self, column: int, common: Floats) -> Floats:
        return self.codec.settle(self.columns[column].name, self.encoded(column, common))

    def _next(self, column: int, numbers: Floats, toward: int) -> Floats:
        """The next encoded number that the column can have, above or below."""
        told = self.columns[column]
        step = told.step if told.form == "float" else (told.step or 1.0)
        if step is not None:
            return self.codec.settle(told.name, numbers + toward * step)
        single = "32" in told.dtype or told.dtype.startswith("float[")
        if single:
            return np.nextafter(numbers.astype(np.float32), np.float32(toward * np.inf)).astype(np.float64)
        return np.asarray(np.nextafter(numbers, toward * np.inf))

    def shown(self, column: int, number: float) -> str:
        """Name and value of a column."""
        told = self.columns[column]
        shown = self.codec.decode_values(told.name, [number])[0]
        return f"{told.name} {shown:.6g}" if isinstance(shown, float) else f"{told.name} {shown}"


def plain(declared: Any) -> str | list[Any]:
    """Constraints as JSON values."""
    if isinstance(declared, str):
        return declared
    found: list[Any] = []
    for each in _each(declared):
        if isinstance(each, Mapping):
            found.append([[name, _kind_of(what), [_word(end) for end in what]] for name, what in each.items()])
        else:
            found.append(each)
    return found


def unplain(stored: str | Sequence[Any]) -> str | Sequence[Any]:
    """What `plain` wrote; no constraints are (), as they are unless given."""
    if isinstance(stored, str) or not stored:
        return stored or ()
    kinds: dict[str, type] = {"interval": tuple, "choice": list}
    return [
        each if isinstance(each, str) else {name: kinds[kind](what) for name, kind, what in each} for each in stored
    ]


def _kind_of(what: Any) -> Literal["interval", "choice"]:
    return "interval" if isinstance(what, tuple) else "choice"


def _word(value_: Any) -> Any:
    if isinstance(value_, np.generic):
        value_ = value_.item()
    return value_ if isinstance(value_, str | int | float | bool | type(None)) else str(value_)


def _each(declared: Any) -> list[Any]:
    if declared is None:
        return []
    if isinstance(declared, str | Mapping):
        return [declared]
    try:
        return list(declared)
    except TypeError as error:
        raise ConfigError(
            "constraints: expected a list of texts such as 'start <= end' or mappings such as {'sex': ['F', 'M']}, got "
            f"{declared!r}."
        ) from error


def _sides(text: str) -> list[str]:
    """The two sides of a single =, or the text."""
    bare = [k for k, sign in enumerate(text) if sign == "=" and not _quoted_at(text, k)]
    single = [k for k in bare if text[k - 1 : k] not in ("<", ">", "=", "!") and text[k + 1 : k + 2] != "="]
    if len(single) != 1:
        return [text]
    return [text[: single[0]], text[single[0] + 1 :]]


def _quoted_at(text: str, place: int) -> bool:
    return any(text[:place].count(mark) % 2 for mark in "\"'`")


def _constant(node: ast.expr, text: str) -> Any:
    match node:
        case ast.Constant(value=str() | int() | float() as found):
            return found
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as found)):
            return -found
    raise ConfigError(
        f"constraint {text!r}: expected columns and values, numbers or texts in quotes, to be compared, got an "
        "expression. Give it a column of its own by a formula, and compare that."
    )


def _columns_of(rule: Rule) -> tuple[int, ...]:
    match rule:
        case Order(low, high):
            return (low, high)
        case Formula():
            return rule.columns
        case _:
            return (rule.column,)


def _dimension(column: Column) -> tuple[str, bool]:
    kind = column.kind if column.kind in _TIMES else "number"
    return kind, column.kind == "datetime" and column.zone is not None


def _frames(columns: Sequence[Column]) -> tuple[Floats, Floats, int]:
    """Shift and scale from encoded to common numbers: times share one unit, of so many ns, and dates one origin."""
    times = [column for column in columns if column.kind in _TIMES and column.labels is None]
    units = [column.unit * _NS[str(column.tick)] for column in times]
    begins = [column.origin * _NS[str(column.tick)] for column in times if column.kind == "datetime"]
    origin = min(begins, default=0)
    grain = math.gcd(*units, *(begin - origin for begin in begins)) if times else 1
    grain = math.gcd(grain, *(c.origin * _NS[str(c.tick)] for c in times if c.kind == "timedelta")) or 1
    shift, scale = np.zeros(len(columns)), np.ones(len(columns))
    for place, column in enumerate(columns):
        if column.labels is not None or column.form in ("float", "label", "boolean"):
            continue
        if column.kind in _TIMES:
            tick = _NS[str(column.tick)]
            shift[place] = (column.origin * tick - (origin if column.kind == "datetime" else 0)) // grain
            scale[place] = column.unit * tick / grain
        else:
            shift[place], scale[place] = column.origin, column.unit
    return shift, scale, grain
