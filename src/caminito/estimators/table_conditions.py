"""What is asked of the columns of a table: values, intervals, choices, holes; no row of it is ever rejected."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from caminito._errors import ConditionError
from caminito.data import TableCodec
from caminito.denoiser import Codes
from caminito.estimators.coded import CodedTable

__all__ = ["Asked", "asked"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """Conditions of n rows.

    Attributes
    ----------
    matrix : array, shape (n, p)
        Values asked for.
    fixed : bool array, shape (n, p)
        Which of them are.
    codes : int32 array, shape (n, p)
        Their codes.
    chosen : tuple of int
        Columns of which one of several values is asked.
    allowed : mapping of such a column to a bool array
        Rows of the table whose value will do.
    within : mapping of those of an interval to its ends
    """

    matrix: Floats
    fixed: NDArray[np.bool_]
    codes: Codes
    chosen: tuple[int, ...]
    allowed: Mapping[int, NDArray[np.bool_]]
    within: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    def patterns(self, where: NDArray[np.intp]) -> Iterator[tuple[tuple[int, ...], NDArray[np.intp]]]:
        """Columns that are fixed together in rows `where`, and the places in `where` of those rows."""
        kinds, inverse = np.unique(self.fixed[where], axis=0, return_inverse=True)
        for number, kind in enumerate(kinds):
            yield tuple(np.flatnonzero(kind).tolist()), np.flatnonzero(inverse.ravel() == number)


def asked(
    condition: Mapping[Any, Any] | Any,
    rows: int,
    names: Sequence[Any],
    codecs: Sequence[tuple[TableCodec, Any]],
    table: CodedTable,
) -> Asked | None:
    """The conditions, checked; None if there are none.

    Raises
    ------
    ConditionError
        For an unknown column, a category that was not in the training table, an interval without a training row, or
        two conditions that no training row meets together.
    """
    if condition is None or (isinstance(condition, Mapping) and not condition):
        return None
    matrix, fixed = np.full((rows, len(names)), np.nan), np.zeros((rows, len(names)), dtype=bool)
    allowed: dict[int, NDArray[np.bool_]] = {}
    within: dict[int, tuple[float, float]] = {}
    given = condition if isinstance(condition, Mapping) else _of_frame(condition, rows)
    for name, what in given.items():
        place = _place(name, names)
        codec, own = codecs[place]
        numbers = table.matrix[:, place]
        if isinstance(what, _Column):
            values = _exactly(codec, own, name, what.values)
            matrix[:, place], fixed[:, place] = values, ~np.isnan(values)
        elif isinstance(what, tuple):
            low, high = within[place] = _interval(codec, own, name, what)
            allowed[place] = _some((numbers >= low) & (numbers <= high), name, what, codec, own)
        elif isinstance(what, (list, set, frozenset, np.ndarray)):
            values = _numbers(codec, own, name, list(what))
            missing = np.isnan(values).any() & np.isnan(numbers)
            allowed[place] = _some(np.isin(numbers, values[~np.isnan(values)]) | missing, name, what, codec, own)
        else:
            value = _exactly(codec, own, name, [what])[0]
            if np.isnan(value) and not np.isnan(numbers).any():
                raise ConditionError(
                    f"condition {name!r}: expected a value, got {what!r}, missing, which no row has there. Leave the "
                    "column out to let it be anything."
                )
            matrix[:, place], fixed[:, place] = value, True
    if allowed and not np.logical_and.reduce(list(allowed.values())).any():
        told = ", ".join(repr(names[place]) for place in allowed)
        raise ConditionError(
            f"condition: expected some training row to meet those of {told} together, got none. Widen one of them."
        )
    return Asked(matrix, fixed, table.places(matrix), tuple(allowed), allowed, within)


@dataclass(frozen=True)
class _Column:
    values: list[Any]


def _of_frame(frame: Any, rows: int) -> dict[Any, _Column]:
    if not hasattr(frame, "columns"):
        raise ConditionError(
            "condition: expected a mapping of columns, or a table with a row for each sample, got "
            f"{type(frame).__name__}."
        )
    if len(frame) != rows:
        raise ConditionError(f"condition: expected {rows} rows, one for each sample, got {len(frame)}.")
    if not isinstance(frame, pd.DataFrame):
        frame = nw.from_native(frame, eager_only=True)
    return {name: _Column(frame[name].to_list()) for name in frame.columns}


def _place(name: Any, names: Sequence[Any]) -> int:
    if name in names:
        return names.index(name)
    near = difflib.get_close_matches(str(name), [str(each) for each in names], n=3)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else f" Known: {', '.join(map(str, names))}."
    raise ConditionError(f"condition: expected columns of the training table, got {name!r}.{hint}")


def _numbers(codec: TableCodec, own: Any, name: Any, values: list[Any]) -> Floats:
    try:
        return codec.encode_values(own, values)
    except ValueError as error:
        raise ConditionError(f"condition {name!r}: {error}") from error


def _exactly(codec: TableCodec, own: Any, name: Any, values: list[Any]) -> Floats:
    """Numbers that the column can have: multiples of its step, where it has one."""
    numbers = _numbers(codec, own, name, values)
    back = codec.decode_values(own, numbers)
    kept = codec.encode_values(own, back)
    off = np.flatnonzero(~np.isclose(numbers, kept, rtol=1e-6, atol=0, equal_nan=True))
    if len(off):
        raise ConditionError(
            f"condition {name!r}: expected a value that the column can have, got {values[off[0]]!r}; the nearest is "
            f"{back[off[0]]!r}. Give that one, or an interval (low, high)."
        )
    return numbers


def _interval(codec: TableCodec, own: Any, name: Any, what: tuple[Any, ...]) -> tuple[float, float]:
    column = codec.columns_[codec.position(own)]
    if column.kind == "category":
        raise ConditionError(
            f"condition {name!r}: expected a value or a list of values of a category, which has no order, got the "
            f"interval {what}."
        )
    if len(what) != 2:
        raise ConditionError(
            f"condition {name!r}: expected an interval (low, high), got {what}. A list asks for any of its values."
        )
    ends = [
        end if side is None else _numbers(codec, own, name, [side])[0]
        for side, end in zip(what, (-np.inf, np.inf), strict=True)
    ]
    if not ends[0] <= ends[1]:
        raise ConditionError(f"condition {name!r}: expected (low, high) with low <= high, got {what}. Swap them.")
    return float(ends[0]), float(ends[1])


def _some(allowed: NDArray[np.bool_], name: Any, what: Any, codec: TableCodec, own: Any) -> NDArray[np.bool_]:
    if not allowed.any():
        column = codec.columns_[codec.position(own)]
        low, high = codec.decode_values(own, [column.low, column.high])
        known = "" if column.kind == "category" else f"; they go from {low} to {high}"
        raise ConditionError(
            f"condition {name!r}: expected some training row to have a value in {what}, got none{known}. Widen it."
        )
    return allowed
