"""Tables as arrays: numbers with NaN, categories as codes, and the distance between rows of both.

A column of numbers, dates or durations becomes float64 (dates and durations in seconds), every other column whole codes
that several tables share, -1 where the value is missing. Two rows are as far apart as their columns say together,

    d(x, y) = sum_j d_j,   d_j = |x_j - y_j| / (max_j - min_j) for numbers, [x_j != y_j] for categories,

with 1 between a value and a missing one, 0 between two missing ones. Source: Gower 1971, without his division by the
number of columns.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caminito._errors import DataError, NonFiniteError
from caminito.metrics._rows import BLOCK_VALUES, Array

__all__ = ["Coded", "coded_tables", "distances", "nearest", "row_numbers"]

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Coded:
    """One table as arrays.

    Attributes
    ----------
    names : tuple
        Labels of the columns, in the order of the first table.
    numbers : dict of label to float64 array, shape (n,)
        NaN where the value is missing.
    codes : dict of label to int64 array, shape (n,)
        -1 where the value is missing; equal values have equal codes in all tables that were coded together.
    levels : dict of label to int
        How many different values those codes have, over all tables.
    """

    names: tuple[Hashable, ...]
    numbers: dict[Hashable, Array]
    codes: dict[Hashable, Codes]
    levels: dict[Hashable, int]

    def __len__(self) -> int:
        first = self.names[0]
        return len(self.numbers[first] if first in self.numbers else self.codes[first])

    def take(self, rows: NDArray[Any]) -> Coded:
        """The rows of that index or mask."""
        numbers = {name: column[rows] for name, column in self.numbers.items()}
        return Coded(self.names, numbers, {name: column[rows] for name, column in self.codes.items()}, self.levels)

    def missing(self, name: Hashable) -> NDArray[np.bool_]:
        """Where a column has no value."""
        return np.isnan(self.numbers[name]) if name in self.numbers else self.codes[name] < 0


def coded_tables(tables: Mapping[str, Any], *, least: int = 2) -> list[Coded]:
    """DataFrames of the same columns as arrays; the types are those of the first.

    Raises
    ------
    DataError
        If one is no pandas DataFrame, has too few rows or other columns, a label twice, or a column of another type
        than the first.
    NonFiniteError
        If a number is infinite.
    """
    import pandas as pd

    for name, table in tables.items():
        _check_table(name, table, least)
    (head, first), *others = tables.items()
    for name, table in others:
        _check_columns(head, first, name, table)
    numbers: list[dict[Hashable, Array]] = [{} for _ in tables]
    codes: list[dict[Hashable, Codes]] = [{} for _ in tables]
    levels: dict[Hashable, int] = {}
    for label in first.columns:
        columns = {name: table[label] for name, table in tables.items()}
        if _is_number(first[label]):
            for place, values in enumerate(_numbers(label, columns)):
                numbers[place][label] = values
            continue
        ends = np.cumsum([len(column) for column in columns.values()])
        together = np.concatenate([column.astype(object).to_numpy() for column in columns.values()])
        try:
            found, values = pd.factorize(together)
        except TypeError as error:
            raise DataError(
                f"column {label!r}: expected values that can be compared (numbers, dates, words), got lists, sets or "
                "dictionaries. Spread them over columns of their own, or drop the column."
            ) from error
        levels[label] = len(values)
        for place, part in enumerate(np.split(found.astype(np.int64), ends[:-1])):
            codes[place][label] = part
    return [Coded(tuple(first.columns), numbers[i], codes[i], levels) for i in range(len(tables))]


def _check_table(name: str, table: Any, least: int) -> None:
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        raise DataError(
            f"{name}: expected a pandas DataFrame, got {type(table).__name__}. Convert it, for example by "
            "`.to_pandas()` or `pd.DataFrame(array)`."
        )
    if len(table) < least or not len(table.columns):
        raise DataError(
            f"{name}: expected at least {least} rows and one column, got {len(table)} rows and {len(table.columns)} "
            "columns. Pass a larger table."
        )
    if not table.columns.is_unique:
        twice = sorted({str(label) for label in table.columns[table.columns.duplicated()]})
        raise DataError(f"{name}: expected every column label once, got {', '.join(twice)} twice. Rename them.")


def _check_columns(head: str, first: Any, name: str, table: Any) -> None:
    lacks = [str(label) for label in first.columns if label not in table.columns]
    extra = [str(label) for label in table.columns if label not in first.columns]
    if lacks or extra:
        told = [f"{word} {', '.join(labels[:5])}" for word, labels in (("lacks", lacks), ("has also", extra)) if labels]
        raise DataError(f"{name}: expected the columns of `{head}`, but it {' and '.join(told)}. Make them the same.")


def _is_number(column: Any) -> bool:
    import pandas as pd

    kinds = pd.api.types
    if kinds.is_bool_dtype(column):
        return False
    return bool(
        kinds.is_numeric_dtype(column) or kinds.is_datetime64_any_dtype(column) or kinds.is_timedelta64_dtype(column)
    )


def _numbers(label: Hashable, columns: Mapping[str, Any]) -> Iterator[Array]:
    """Each column as float64; dates in seconds since the first date of the first table."""
    import pandas as pd

    first = next(iter(columns.values()))
    second, dates = pd.Timedelta(seconds=1), pd.api.types.is_datetime64_any_dtype(first)
    durations = pd.api.types.is_timedelta64_dtype(first)
    origin = first.dropna().iloc[0] if dates and first.notna().any() else None
    for name, column in columns.items():
        try:
            if dates:
                column = (column - (pd.Timestamp(0) if origin is None else origin)) / second
            elif durations:
                column = column / second
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{name}, column {label!r}: expected {first.dtype} as in the first table, got {column.dtype}. "
                "Convert it by `.astype(...)`."
            ) from error
        bad = int(np.isinf(values).sum())
        if bad:
            raise NonFiniteError(
                f"{name}, column {label!r}: expected finite numbers or missing values, got {bad} infinite. Replace "
                "them by NaN, or remove those rows."
            )
        yield values


def row_numbers(tables: list[Coded]) -> list[Codes]:
    """A number for each row, the same for rows that are equal in every column."""
    ends = np.cumsum([len(table) for table in tables])[:-1]
    columns = []
    for name in tables[0].names:
        if name in tables[0].numbers:
            columns.append(np.unique(np.concatenate([t.numbers[name] for t in tables]), return_inverse=True)[1])
        else:
            columns.append(np.concatenate([table.codes[name] for table in tables]))
    number = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:  # at most n different pairs each time, so the product stays below n^2
        number = np.unique(number * (int(column.max()) + 2) + column + 1, return_inverse=True)[1]
    return list(np.split(number, ends))


def distances(x: Coded, y: Coded, scale: Coded) -> Iterator[tuple[slice, Array]]:
    """Distances of rows, `(rows of x, array of shape (rows, len(y)))`, a block of rows at a time; ranges of `scale`."""
    from scipy.spatial.distance import cdist

    holes = [n for n in scale.numbers if np.isnan(x.numbers[n]).any() or np.isnan(y.numbers[n]).any()]
    full = [n for n in scale.numbers if n not in holes]
    width = {name: _width(column) for name, column in scale.numbers.items()}
    left, right = (np.column_stack([t.numbers[n] / width[n] for n in full]) if full else None for t in (x, y))
    ours, theirs = (np.column_stack(list(t.codes.values())) if t.codes else None for t in (x, y))
    step = max(1, BLOCK_VALUES // len(y))
    for start in range(0, len(x), step):
        some = slice(start, min(start + step, len(x)))
        block = np.zeros((some.stop - start, len(y)))
        if left is not None:
            block += cdist(left[some], right, "cityblock")
        if ours is not None and theirs is not None:
            block += np.rint(cdist(ours[some], theirs, "hamming") * ours.shape[1])
        for name in holes:
            a, b = x.numbers[name][some, None] / width[name], y.numbers[name][None, :] / width[name]
            block += np.where(np.isnan(a) | np.isnan(b), np.isnan(a) != np.isnan(b), np.abs(a - b))
        yield some, block


def nearest(x: Coded, y: Coded, scale: Coded) -> Array:
    """Distance of each row of `x` to the nearest row of `y`."""
    return np.concatenate([block.min(axis=1) for _, block in distances(x, y, scale)])


def _width(column: Array) -> float:
    known = column[~np.isnan(column)]
    width = float(np.ptp(known)) if len(known) else 0.0
    return width if width > 0 else 1.0
