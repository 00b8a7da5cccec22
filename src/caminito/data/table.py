"""A table of any columns as one float64 matrix, and back: exactly, with the same container, names, order and dtypes.

Columns with an order are numbers: quantities, whole numbers, True and False, dates, durations, ordered categories.
Text and categories are codes 0..k-1 in the order of their values (that of the dtype, where it has one). NaN is missing,
in every column alike. Nothing is scaled: that is the model's affair, and `columns_` tells it what it may want to know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import ConfigError, DataError, RunError, ShapeError
from caminito.data._columns import KINDS, Cells, Coder, Column, Kind, Name, float_type, learn, nearest

__all__ = ["Column", "TableCodec"]

Floats = NDArray[np.float64]


class TableCodec:
    """Codec of tables: pandas, polars and pyarrow frames, arrays (n, p), structured arrays (n,).

    ============  ====================================================  ===============================
    kind          columns                                               number
    ============  ====================================================  ===============================
    number        float                                                 the value
    integer       int, uint, Int64; beyond 2^53 too                     the value, or what makes it fit
    boolean       bool, boolean                                         0, 1
    datetime      datetime64, with time zone or without, Date, date     days (or s, ms, ...) from the first
    timedelta     timedelta64, Duration                                 days (or s, ms, ...)
    ordered       ordered categories, Enum                              position 0..k-1
    category      text, categories, objects                             position 0..k-1
    ============  ====================================================  ===============================

    What decode returns is what a value of the dtype can be: whole numbers within its range, True or False, a label, an
    instant; and multiples of the step where the training values were. Nothing else is clipped.

    Parameters
    ----------
    missing : {"model", "fill"}, default "model"
        Whether missing values are data, or to be filled: then decode refuses them.
    types : mapping of name to kind, optional
        What columns are, where the dtype does not say so: {"zip": "category"}.

    Attributes
    ----------
    columns_ : list of Column
    names_ : tuple of str or int
        Those of an array are 0, 1, ...

    Raises
    ------
    DataError
        From `fit`, for fewer than two rows, repeated names, and columns that are all missing, not finite, or hold
        lists, dicts, bytes or complex numbers. From `encode`, for other columns or categories than those of `fit`.
    ShapeError
        For arrays that are not (n, p).
    ConfigError
        For an unknown entry of `types` or `missing`, or a codec not fitted.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"age": [31, 45, 31], "sex": ["F", "M", None]})
    >>> codec = TableCodec().fit(frame)
    >>> codec.encode(frame)
    array([[31.,  0.],
           [45.,  1.],
           [31., nan]])
    >>> codec.decode([[44.8, 1.0]])
       age sex
    0   45   M
    """

    def __init__(
        self, missing: Literal["model", "fill"] = "model", *, types: Mapping[Name, Kind] | None = None
    ) -> None:
        if missing not in ("model", "fill"):
            raise ConfigError(f"missing: expected 'model' (missing values are data) or 'fill', got {missing!r}.")
        for name, kind in (types or {}).items():
            if kind not in KINDS:
                near = nearest(str(kind), KINDS)
                raise ConfigError(
                    f"types: column {name!r}: expected one of {', '.join(KINDS)}, got {kind!r}."
                    + (f" Is {near!r} meant?" if near else "")
                )
        self.missing = missing
        self.types = dict(types or {})
        self._container: str | None = None
        self._coders: list[Coder] = []

    def fit(self, X: Any) -> Self:
        """Learn container, names, dtypes, labels, steps and ranges of X; returns self."""
        self._learn(X)
        return self

    def fit_encode(self, X: Any) -> Floats:
        """`fit(X).encode(X)` in one pass over the data."""
        return self._learn(X)

    @property
    def columns_(self) -> list[Column]:
        """What is known of each column, in the order of the table."""
        return [coder.column for coder in self._fitted]

    @property
    def names_(self) -> tuple[Name, ...]:
        """Names of the columns, in order."""
        return tuple(coder.column.name for coder in self._fitted)

    def position(self, name: Name) -> int:
        """Which column of the matrix has this name.

        Raises
        ------
        DataError
            If there is none; the nearest name is told.
        """
        names = self.names_
        if name not in names:
            raise DataError(f"expected a column of the table, got {_with_nearest([name], names)}.")
        return names.index(name)

    def encode(self, X: Any, *, partial: bool = False) -> Floats:
        """Float64 matrix (n, p), NaN where missing.

        Parameters
        ----------
        X : table
            With the columns of `fit`, in any order, in any container; arrays without names by position.
        partial : bool, default False
            Take columns that X lacks as missing in every row.
        """
        from caminito.data._containers import open_table

        coders = self._fitted
        opened = open_table(X)
        if opened.named and not str(self._container).startswith("numpy"):
            places = self._places(opened.names, partial)
        elif len(opened.names) == len(coders):
            places = list(range(len(coders)))
        else:
            raise ShapeError(
                f"X has {len(opened.names)} features, but {type(self).__name__} is expecting {len(coders)} features as "
                "input. Give the columns of the training table."
            )
        matrix = np.full((opened.rows, len(coders)), np.nan)
        for i, place in enumerate(places):
            if place is not None:
                matrix[:, i] = coders[i].numbers(opened.read(place))
        return matrix

    def decode(self, matrix: ArrayLike) -> Any:
        """Table of the container, columns and dtypes given to `fit`, of a matrix (n, p).

        Numbers of stepped columns are rounded to the step, codes to the nearest label. A pandas index counts from 0.

        Raises
        ------
        ShapeError
            If the matrix has not p columns.
        DataError
            If a value is missing where `missing="fill"` or the dtype forbids it, or a date is out of range.
        NonFiniteError
            For infinite numbers.
        MissingExtraError
            If the library of the container is absent.
        """
        from caminito.data._containers import build_table

        coders = self._fitted
        numbers = np.asarray(matrix, np.float64)
        if numbers.ndim != 2 or numbers.shape[1] != len(coders):
            raise ShapeError(f"decode: expected a matrix (rows, {len(coders)}), got shape {numbers.shape}.")
        if self.missing == "fill" and np.isnan(numbers).any():
            holes = [str(self.names_[i]) for i in np.flatnonzero(np.isnan(numbers).any(axis=0))]
            raise DataError(
                f"decode: expected no missing values (missing='fill'), got some in {', '.join(map(repr, holes))}. Fill "
                "them, or use missing='model'."
            )
        raw = [coder.values(numbers[:, i]) for i, coder in enumerate(coders)]
        return build_table(str(self._container), self.columns_, [coder.table for coder in coders], raw)

    def encode_values(self, name: Name, values: Sequence[Any]) -> Floats:
        """Numbers of single values of one column, shape (n,); None, NaN and NA are missing.

        Text is read as what the column holds: "42", "true", "2020-12-31", "3 days". Times without a zone are local
        times of the column's own.
        """
        from caminito.data._containers import object_cells

        coder = self._fitted[self.position(name)]
        given = np.empty(len(values), object)
        given[:] = list(values)
        return coder.numbers(object_cells(name, given), text=True)

    def decode_values(self, name: Name, numbers: ArrayLike) -> list[Any]:
        """Values of one column that numbers stand for: Python's types, times as those of pandas, None for missing."""
        from caminito.data._containers import object_values

        coder = self._fitted[self.position(name)]
        flat = np.atleast_1d(np.asarray(numbers, np.float64))
        return object_values(coder.column, coder.table, coder.values(flat))

    def settle(self, name: Name, numbers: ArrayLike) -> Floats:
        """Numbers of one column as `decode` gives them: on its steps, whole, a label, or as its dtype holds them."""
        coder = self._fitted[self.position(name)]
        column, given = coder.column, np.asarray(numbers, np.float64)
        values, missing = coder.values(given)
        if column.form == "label":
            return np.where(missing, np.nan, values.astype(np.float64))
        if column.form == "float":
            values = values.astype(float_type(column.dtype)).astype(np.float64)
        return coder.numbers(Cells(column.form, values, missing, column.dtype, column.tick, column.zone))

    def describe(self) -> list[dict[str, Any]]:
        """One row per column: name, kind, dtype, distinct values, share missing, an example, and the range in words."""
        return [
            {
                "name": column.name,
                "kind": column.kind,
                "dtype": column.dtype.removesuffix("[python]"),
                "distinct": column.distinct,
                "missing": column.missing_share,
                "example": column.example,
                "range": self._range(column),
            }
            for column in self.columns_
        ]

    def to_dict(self) -> dict[str, Any]:
        """All that `from_dict` needs, as plain JSON values."""
        return {
            "codec": "table",
            "missing": self.missing,
            "types": [[name, kind] for name, kind in self.types.items()],
            "container": self._container,
            "columns": [column.to_dict() for column in self.columns_],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The fitted codec that `to_dict` described; a `RunError` says what is wrong with an altered one."""
        if state.get("codec") != "table":
            raise RunError(f"expected the entry of a table codec, got codec {state.get('codec')!r}.")
        try:
            codec = cls(state["missing"], types=dict(state["types"]))
            codec._container = str(state["container"])
            codec._coders = [Coder(Column.from_dict(entry)) for entry in state["columns"]]
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, RunError):
                raise
            raise RunError(f"expected the entry of a table codec, got an altered one ({error!r}).") from error
        return codec

    @property
    def _fitted(self) -> list[Coder]:
        if not self._coders:
            raise ConfigError(
                f"this {type(self).__name__} is not fitted yet. Call fit(X) with the training table first."
            )
        return self._coders

    def _learn(self, X: Any) -> Floats:
        from caminito.data._containers import open_table

        opened = open_table(X)
        if not opened.names:
            raise DataError(
                f"X: 0 feature(s) (shape=({opened.rows}, 0)) while a minimum of 1 is required. Give a table with "
                "columns."
            )
        if opened.rows < 2:
            got = "none" if opened.rows == 0 else "1 row (n_samples=1)"
            raise DataError(
                f"X: expected at least 2 rows to learn a distribution from, got {got}. Give more data; hundreds at "
                "least are needed for samples worth looking at."
            )
        unknown = [name for name in self.types if name not in opened.names]
        if unknown:
            raise ConfigError(f"types: expected columns of the table, got {_with_nearest(unknown, opened.names)}.")
        matrix, columns = np.empty((opened.rows, len(opened.names))), []
        for i, name in enumerate(opened.names):
            column, matrix[:, i] = learn(name, opened.read(i), self.types.get(name))
            columns.append(column)
        self._container = opened.container
        self._coders = [Coder(column) for column in columns]
        return matrix

    def _places(self, given: tuple[Name, ...], partial: bool) -> list[int | None]:
        names = self.names_
        unknown = [name for name in given if name not in names]
        absent = [name for name in names if name not in given]
        if unknown or (absent and not partial):
            said = []
            if absent and not partial:
                said.append(f"lacks {_some(absent)}")
            if unknown:
                said.append(f"has also {_with_nearest(unknown, absent or names)}")
            raise DataError(
                f"X: expected the {len(names)} columns of the training table, in any order; this one "
                f"{' and '.join(said)}. Add, rename or drop columns to match."
            )
        place = {name: i for i, name in enumerate(given)}
        return [place.get(name) for name in names]

    def _range(self, column: Column) -> str:
        if column.labels is not None and column.form == "label":
            most = sorted(range(len(column.labels)), key=lambda code: (-(column.counts or ())[code], code))
            shown = ", ".join(str(column.labels[code]) for code in most[:3])
            return shown + (", ..." if len(most) > 3 else "")
        if column.kind == "boolean":
            return "True, False"
        low, high = (_shown(value) for value in self.decode_values(column.name, [column.low, column.high]))
        by = f", in steps of {column.step:g}" if column.step not in (None, 1.0) and not column.tick else ""
        return f"{low} to {high}{by}"


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value).removesuffix(" 00:00:00")


def _some(names: Sequence[Name], shown: int = 8) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(map(repr, names[:shown])) + more


def _with_nearest(names: Sequence[Name], known: Sequence[Name]) -> str:
    words = [str(name) for name in known]
    near = [nearest(str(name), words) for name in names[:8]]
    return ", ".join(f"{name!r}" + (f" (is {like!r} meant?)" if like else "") for name, like in zip(names, near)) + (
        f" and {len(names) - 8} more" if len(names) > 8 else ""
    )
