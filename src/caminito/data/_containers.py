"""The containers a table comes in, opened column by column and built again: pandas, polars, pyarrow, numpy.

Every column is reduced to `Cells`, whatever held it; `build_table` makes from raw values the same container, with the
same dtypes. Frames other than those of pandas are read and built through narwhals.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import pandas
from numpy.typing import NDArray
from scipy import sparse

from caminito._errors import DataError, MissingExtraError, ShapeError
from caminito.data._columns import TICKS, Cells, Column, Name, float_type, integer_type

__all__ = ["Opened", "build_table", "object_cells", "object_values", "open_table"]

pd: Any = pandas  # a dtype known only at run time fits none of its stubs

Raw = tuple[NDArray[Any], NDArray[np.bool_]]

_NULLS: dict[str | None, Any] = {"None": None, "nan": float("nan"), "NA": pd.NA, "NaT": pd.NaT}
_ADVICE = {
    "list": "Spread it over several columns, one value each",
    "tuple": "Spread it over several columns, one value each",
    "set": "Spread it over several columns, one value each",
    "ndarray": "Spread it over several columns, one value each",
    "dict": "Spread it over several columns, e.g. with pandas.json_normalize",
    "bytes": "Decode it to text first",
    "complex": "Complex data not supported: give the real and imaginary parts as two columns",
    "Decimal": "Convert it with astype(float) first",
    "time": "Convert it to seconds, or to text",
    "Period": "Convert it with dt.to_timestamp() first",
    "Interval": "Convert it with astype('category') first",
    "sparse": "Convert it with .sparse.to_dense() first",
    "bool and numbers": "Write True and False as 1 and 0, or convert the column to text",
}


@dataclass(frozen=True)
class Opened:
    """A table, its columns not yet looked at.

    Attributes
    ----------
    container : str
        "pandas", "polars", "pyarrow", "structured", or "numpy:" and the dtype of the array.
    names : tuple of str or int
    named : bool
        Whether the columns have names of their own; those of an array are 0, 1, ...
    rows : int
    read : callable
        read(i) is column i.
    """

    container: str
    names: tuple[Name, ...]
    named: bool
    rows: int
    read: Callable[[int], Cells]


def open_table(X: Any) -> Opened:
    """What X holds: a frame of pandas, polars or pyarrow, or an array (n, p), or a structured array (n,).

    Raises
    ------
    DataError
        If X is no table, or two columns have one name.
    ShapeError
        If an array is not (n, p).
    """
    if isinstance(X, pd.DataFrame):
        if X.columns.nlevels > 1:
            raise DataError(
                f"X: expected one name per column, got a MultiIndex of {X.columns.nlevels} levels. Join them first, "
                "e.g. X.columns = ['_'.join(map(str, names)) for names in X.columns]."
            )
        names = _names(X.columns.tolist())
        return Opened("pandas", names, True, len(X), lambda i: _pandas_cells(names[i], X.iloc[:, i]))
    if isinstance(X, pd.Series) or (hasattr(X, "to_frame") and not hasattr(X, "columns")):
        raise ShapeError("X: expected a table, got one column (a Series). Pass X.to_frame().")
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        raise DataError("X: expected a table in memory, got a lazy one. Pass X.collect().")
    if isinstance(frame, nw.DataFrame):
        container = frame.implementation.name.lower()
        if container not in ("polars", "pyarrow"):
            raise DataError(
                f"X: expected a table of pandas, polars, pyarrow or numpy, got {container}. Convert it first."
            )
        names, titles = _names(frame.columns), frame.columns
        return Opened(container, names, True, len(frame), lambda i: _narwhals_cells(names[i], frame[titles[i]]))
    if isinstance(X, str | os.PathLike):
        raise DataError(
            f"X: expected a table, got the path {os.fspath(X)!r}. Read it first: caminito.data.read_table(path)."
        )
    if isinstance(X, dict) and not sparse.issparse(X):
        raise DataError("X: expected a table, got a dict. Pass pandas.DataFrame(X).")
    return _open_array(X)


def _names(found: Sequence[Any]) -> tuple[Name, ...]:
    names: list[Name] = []
    for name in found:
        if isinstance(name, bool | np.bool_) or not isinstance(name, str | int | np.integer):
            raise DataError(
                f"X: expected column names that are text or whole numbers, got {name!r}. Rename the columns, e.g. "
                "X.columns = X.columns.astype(str)."
            )
        names.append(name if isinstance(name, str) else int(name))
    if len(set(names)) < len(names):
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        raise DataError(
            f"X: expected column names that differ, got some more than once: {', '.join(map(repr, twice))}. Rename or "
            "drop the repeated ones."
        )
    return tuple(names)


def _open_array(X: Any) -> Opened:
    if sparse.issparse(X):
        raise DataError(f"X: expected a dense table, got a sparse {type(X).__name__}. Pass X.toarray().")
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        raise DataError(
            f"X: expected complete data, got a masked array with {int(np.ma.count_masked(X))} values hidden. Pass "
            "X.filled(numpy.nan): NaN is missing."
        )
    try:
        array = np.asarray(X)
        if array.dtype.kind in "US" and not hasattr(X, "dtype"):
            array = np.asarray(X, dtype=object)  # a list of mixed values, which numpy made text
    except ValueError as error:
        raise DataError(f"X: expected rows of one length, got a ragged sequence ({error}).") from error
    if array.dtype.names is not None and array.ndim == 1:
        fields = array.dtype.names
        names = _names(fields)
        return Opened("structured", names, True, len(array), lambda i: _array_cells(names[i], array[fields[i]]))
    if array.ndim != 2:
        hint = "Pass X.reshape(-1, 1) for a single column" if array.ndim == 1 else "Flatten it to rows and columns"
        raise ShapeError(
            f"X: expected a table (rows, columns), got an array of shape {array.shape}. {hint} (Reshape your data)."
        )
    columns = tuple(range(array.shape[1]))
    kind = array.dtype.newbyteorder("=")
    return Opened(f"numpy:{kind.str}", columns, False, len(array), lambda i: _array_cells(i, array[:, i]))


def _refuse(name: Name, what: str, dtype: Any = None) -> DataError:
    shown = f"{what} (dtype {dtype})" if dtype is not None else what
    return DataError(
        f"column {name!r}: expected numbers, True/False, text, categories, dates or durations, got {shown}. "
        f"{_ADVICE.get(what, 'Convert it to one of these first')}."
    )


def _pandas_cells(name: Name, series: Any) -> Cells:
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        codes = series.cat.codes.to_numpy().astype(np.int64)
        labels, element = _category_labels(name, dtype.categories)
        return Cells(
            "label",
            codes,
            codes < 0,
            "category",
            labels=labels,
            ordered=bool(dtype.ordered),
            element=element,
            null="nan",
        )
    if isinstance(dtype, pd.SparseDtype | pd.PeriodDtype | pd.IntervalDtype):
        raise _refuse(name, type(dtype).__name__.removesuffix("Dtype").replace("Sparse", "sparse"), dtype)
    missing = series.isna().to_numpy(dtype=bool)
    if isinstance(dtype, pd.StringDtype):
        text = "str" if dtype.na_value is not pd.NA else "string"
        return _text_cells(name, series, missing, f"{text}[{dtype.storage}]", "nan" if text == "str" else "NA")
    if isinstance(dtype, np.dtype) and dtype.kind not in "Mm":
        return _array_cells(name, series.to_numpy())
    shown = "ArrowDtype(string)" if str(dtype) == "string[pyarrow]" else str(dtype)
    match dtype.kind:
        case "b":
            return Cells("boolean", series.fillna(False).to_numpy(dtype=bool), missing, shown)
        case "i" | "u":
            exact = series.fillna(0).to_numpy(dtype=np.uint64 if dtype.kind == "u" else np.int64)
            return Cells("integer", exact, missing, shown)
        case "f":
            return Cells("float", series.to_numpy(dtype=np.float64, na_value=np.nan), missing, shown)
        case "M":
            times = pd.DatetimeIndex(pd.to_datetime(series) if "date32" in shown else series)
            zone = None if times.tz is None else str(times.tz)
            return Cells("datetime", _zeroed(times.asi8, missing), missing, shown, times.unit, zone)
        case "m":
            spans = pd.TimedeltaIndex(series)
            return Cells("timedelta", _zeroed(spans.asi8, missing), missing, shown, spans.unit)
        case "U":
            return _text_cells(name, series.astype(object), missing, shown, "NA")
    raise _refuse(name, f"{dtype} values", dtype)


def _category_labels(name: Name, categories: Any) -> tuple[tuple[Any, ...], str]:
    kind = str(categories.dtype)
    if isinstance(categories.dtype, pd.IntervalDtype):
        if categories.dtype.subtype.kind not in "iuf":
            raise _refuse(name, f"categories that are {kind}")
        left, right = categories.left.tolist(), categories.right.tolist()
        opening = "[" if categories.closed in ("left", "both") else "("
        closing = "]" if categories.closed in ("right", "both") else ")"
        return tuple(f"{opening}{a!r}, {b!r}{closing}" for a, b in zip(left, right)), kind
    if categories.dtype.kind in "Mm":
        return tuple(value.isoformat() for value in categories), kind
    labels = tuple(_plain_label(name, label) for label in categories.tolist())
    return labels, "str" if isinstance(categories.dtype, pd.StringDtype) else kind


def _categories(labels: Sequence[Any], kind: str) -> Any:
    if kind.startswith("interval"):
        ends = [tuple(float(end) for end in label[1:-1].split(", ")) for label in labels]
        dtype = pd.api.types.pandas_dtype(kind)
        arrays = [np.array(side, dtype.subtype) for side in zip(*ends)] if ends else [np.array([], dtype.subtype)] * 2
        return pd.IntervalIndex.from_arrays(*arrays, closed=dtype.closed)
    if kind.startswith("timedelta"):
        return pd.TimedeltaIndex([pd.Timedelta(label) for label in labels]).astype(kind)
    if kind.startswith("datetime"):
        times = pd.to_datetime(list(labels), format="ISO8601", utc=True)
        return (times if "," in kind else times.tz_localize(None)).astype(kind)
    return pd.Index(list(labels), dtype="object" if kind == "object" else kind)


def _array_cells(name: Name, array: NDArray[Any]) -> Cells:
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    shown, none = str(array.dtype), np.zeros(len(array), np.bool_)
    if array.ndim != 1:
        raise _refuse(name, f"arrays of shape {array.shape[1:]}", array.dtype)
    match array.dtype.kind:
        case "b":
            return Cells("boolean", array, none, shown)
        case "i" | "u":
            return Cells("integer", array.astype(np.uint64 if array.dtype.kind == "u" else np.int64), none, shown)
        case "f" if array.dtype.itemsize <= 8:
            values = array.astype(np.float64)
            return Cells("float", values, np.isnan(values), shown)
        case "M" | "m":
            return _clock_cells(name, array)
        case "U":
            return _text_cells(name, array.astype(object), none, shown, None)
        case "O":
            return object_cells(name, array)
        case "c":
            raise _refuse(name, "complex", array.dtype)
        case "S":
            raise _refuse(name, "bytes", array.dtype)
    raise _refuse(name, f"{array.dtype} values", array.dtype)


def _clock_cells(name: Name, array: NDArray[Any]) -> Cells:
    missing, shown = np.isnat(array), str(array.dtype)
    unit, multiple = np.datetime_data(array.dtype)
    if unit not in TICKS or multiple != 1:
        coarse = {"h": "s", "m": "s", "W": "D", "M": "D", "Y": "D", "s": "s", "ms": "ms", "us": "us", "ns": "ns"}.get(
            unit
        )
        if coarse is None or (array.dtype.kind == "m" and unit in "MY"):
            raise _refuse(name, f"times in {unit}", array.dtype)
        unit = coarse
    ticks = array.astype(f"{array.dtype.kind}8[{unit}]").view(np.int64)
    form: Any = "datetime" if array.dtype.kind == "M" else "timedelta"
    return Cells(form, _zeroed(ticks, missing), missing, shown, unit)


def object_cells(name: Name, values: NDArray[Any], dtype: str = "object") -> Cells:
    """A column of Python objects, typed by what they are."""
    missing = np.asarray(pd.isna(values), np.bool_)
    null = None if not missing.any() else _null_of(values[int(np.argmax(missing))])
    present = values[~missing]
    if not len(present):
        return Cells("float", np.full(len(values), np.nan), missing, dtype, null=null)
    what = pd.api.types.infer_dtype(present, skipna=True)
    full: NDArray[Any]
    match what:
        case "string":
            return _text_cells(name, values, missing, dtype, null)
        case "boolean":
            full = np.zeros(len(values), np.bool_)
            full[~missing] = present.astype(np.bool_)
            return Cells("boolean", full, missing, dtype, element="bool", null=null)
        case "integer":
            try:
                full = np.array([0 if hole else int(value) for value, hole in zip(values, missing)])
            except OverflowError:
                full = np.array([], object)
            if full.dtype.kind not in "iu":
                raise _refuse(name, "whole numbers of more than 64 bits")
            element = "uint" if full.dtype.kind == "u" else "int"
            return Cells("integer", full, missing, dtype, element=element, null=null)
        case "floating" | "mixed-integer-float":
            full = np.full(len(values), np.nan)
            full[~missing] = present.astype(np.float64)
            return Cells("float", full, missing, dtype, element="float", null=null)
        case "date" | "datetime" | "datetime64" | "timedelta" | "timedelta64":
            return _object_clock(name, values, missing, dtype, null, what)
    kinds = {type(value).__name__ for value in present}
    plain = all(isinstance(value, str | int | float | np.integer | np.floating | np.bool_) for value in present)
    if not plain:
        odd = next(v for v in present if not isinstance(v, str | int | float | np.integer | np.floating | np.bool_))
        raise _refuse(name, type(odd).__name__.replace("complex128", "complex"))
    if kinds & {"bool", "bool_"} and kinds - {"bool", "bool_", "str", "str_"}:
        raise _refuse(name, "bool and numbers")
    return _text_cells(name, values, missing, dtype, null, element="mixed")


def _object_clock(
    name: Name, values: NDArray[Any], missing: NDArray[np.bool_], dtype: str, null: str | None, what: str
) -> Cells:
    present = values[~missing]
    element = type(present[0]).__name__
    zone = None
    if what == "date":
        ticks, tick = np.array(present.tolist(), "M8[D]").view(np.int64), "D"
    else:
        read = pd.to_timedelta if what.startswith("timedelta") else pd.to_datetime
        try:
            times = pd.Index(read(pd.Series(list(present))))
        except (ValueError, TypeError):
            times = None
        if times is None or not hasattr(times, "asi8"):
            raise _refuse(name, "dates of several time zones, or not all dates")
        ticks, tick = times.asi8, times.unit
        zone = None if getattr(times, "tz", None) is None else str(times.tz)
    full = np.zeros(len(values), np.int64)
    full[~missing] = ticks
    form: Any = "timedelta" if what.startswith("timedelta") else "datetime"
    return Cells(form, full, missing, dtype, tick, zone, element=element, null=null)


def _text_cells(
    name: Name, values: Any, missing: NDArray[np.bool_], dtype: str, null: str | None, element: str = "str"
) -> Cells:
    codes, found = pd.factorize(values, use_na_sentinel=True)
    labels = found.tolist()
    if element == "str":
        labels = [str(label) for label in labels]
        order = sorted(range(len(labels)), key=labels.__getitem__)
    else:
        labels = [_plain_label(name, label) for label in labels]
        order = sorted(range(len(labels)), key=lambda i: (type(labels[i]).__name__, labels[i]))
    place = np.empty(len(labels) + 1, np.int64)
    place[np.array(order, np.int64)] = np.arange(len(labels))
    place[-1] = -1
    return Cells(
        "label", place[codes], missing, dtype, labels=tuple(labels[i] for i in order), element=element, null=null
    )


def _plain_label(name: Name, label: Any) -> Any:
    if isinstance(label, np.generic):
        label = label.item()
    if isinstance(label, str):
        return str(label)
    if isinstance(label, bool | int | float):
        return label
    raise _refuse(name, type(label).__name__)


def _null_of(value: Any) -> str:
    if value is None:
        return "None"
    if value is pd.NA:
        return "NA"
    return "NaT" if value is pd.NaT or isinstance(value, np.datetime64 | np.timedelta64) else "nan"


def _zeroed(ticks: NDArray[np.int64], missing: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.where(missing, 0, ticks)


def _narwhals_cells(name: Name, series: Any) -> Cells:
    dtype, missing = series.dtype, series.is_null().to_numpy().astype(bool)
    shown = str(dtype)
    if isinstance(dtype, nw.Enum):
        labels = tuple(dtype.categories)
        place = {label: code for code, label in enumerate(labels)}
        found = _text_cells(name, series.cast(nw.String).to_numpy().astype(object), missing, shown, None)
        codes = np.array([place[label] for label in found.labels or ()] + [-1], np.int64)[found.values]
        return Cells("label", codes, missing, "Enum", labels=labels, ordered=True, element="str")
    if isinstance(dtype, nw.String | nw.Categorical):
        return _text_cells(name, series.cast(nw.String).to_numpy().astype(object), missing, shown, None)
    if isinstance(dtype, nw.Boolean):
        return Cells("boolean", series.fill_null(False).to_numpy().astype(bool), missing, shown)
    if re.fullmatch(r"U?Int(8|16|32|64)", shown):
        values = series.fill_null(0).to_numpy()
        return Cells("integer", values.astype(np.uint64 if shown[0] == "U" else np.int64), missing, shown)
    if isinstance(dtype, nw.Float32 | nw.Float64):
        values = series.cast(nw.Float64).to_numpy().astype(np.float64)
        holes = np.isnan(values)
        return Cells("float", values, holes, shown, null=None if missing.any() or not holes.any() else "nan")
    if isinstance(dtype, nw.Date):
        days = series.cast(nw.Datetime("ms")).cast(nw.Int64).fill_null(0).to_numpy() // 86_400_000
        return Cells("datetime", days.astype(np.int64), missing, shown, "D")
    if isinstance(dtype, nw.Datetime | nw.Duration):
        ticks = series.cast(nw.Int64).fill_null(0).to_numpy().astype(np.int64)
        if isinstance(dtype, nw.Duration):
            return Cells("timedelta", ticks, missing, shown, dtype.time_unit)
        return Cells("datetime", ticks, missing, shown, dtype.time_unit, dtype.time_zone)
    raise _refuse(
        name,
        {"List": "list", "Array": "list", "Struct": "dict", "Binary": "bytes", "Time": "time"}.get(
            type(dtype).__name__, type(dtype).__name__
        ),
        shown,
    )


def build_table(container: str, columns: Sequence[Column], tables: Sequence[NDArray[Any]], raw: Sequence[Raw]) -> Any:
    """The container of raw values, one pair (values, missing) per column.

    Parameters
    ----------
    container : str
        As `open_table` called it.
    columns : sequence of Column
    tables : sequence of array
        The labels of each column, as objects.
    raw : sequence of (values, missing)

    Raises
    ------
    DataError
        If a value is missing in a column whose dtype cannot say so.
    MissingExtraError
        If the library of the container is absent.
    """
    rows = len(raw[0][0]) if raw else 0
    if container == "pandas":
        made = {c.name: _pandas_column(c, labels, pair) for c, labels, pair in zip(columns, tables, raw)}
        return pd.DataFrame(made, columns=[column.name for column in columns])
    if container == "structured":
        out = np.empty(rows, [(str(column.name), column.dtype) for column in columns])
        for column, labels, pair in zip(columns, tables, raw):
            out[str(column.name)] = _numpy_column(column, labels, pair)
        return out
    if container.startswith("numpy:"):
        array = np.empty((rows, len(columns)), np.dtype(container.removeprefix("numpy:")))
        for i, (column, labels, pair) in enumerate(zip(columns, tables, raw)):
            array[:, i] = _numpy_column(column, labels, pair)
        return array
    return _narwhals_table(container, columns, tables, raw)


def _numpy_column(column: Column, labels: NDArray[Any], raw: Raw) -> NDArray[Any]:
    values, missing = raw
    if column.dtype == "object":
        return _objects(column, labels, raw)
    if column.form == "label":
        _must_be_complete(column, missing)
        return labels[values].astype(column.dtype)
    if column.form == "float":
        return np.where(missing, np.nan, values).astype(column.dtype)
    if column.form in ("datetime", "timedelta"):
        code = "M8" if column.form == "datetime" else "m8"
        ticks = np.where(missing, np.iinfo(np.int64).min, values)
        return ticks.view(f"{code}[{column.tick}]").astype(column.dtype)
    _must_be_complete(column, missing)
    return values.astype(column.dtype)


def _must_be_complete(column: Column, missing: NDArray[np.bool_]) -> None:
    if missing.any():
        raise DataError(
            f"decode: column {column.name!r}: dtype {column.dtype} cannot hold a missing value, got "
            f"{int(missing.sum())} (NaN). Fill them first, or fit on a dtype that can, e.g. Int64, boolean or float."
        )


def _objects(column: Column, labels: NDArray[Any], raw: Raw) -> NDArray[Any]:
    """Python objects of the type that the column had, with its own word for missing."""
    values, missing = raw
    out = np.empty(len(values), object)
    if column.form == "label":
        out[:] = labels[values] if len(labels) else None
    elif column.form in ("datetime", "timedelta"):
        out[:] = _python_times(column, values)
    else:
        out[:] = values.tolist()
    if missing.any():
        out[missing] = _NULLS.get(column.null or "nan")
    return out


def _python_times(column: Column, ticks: NDArray[np.int64]) -> list[Any]:
    code = "M8" if column.form == "datetime" else "m8"
    times = ticks.view(f"{code}[{column.tick}]")
    if column.element == "date":
        return [datetime.date.fromisoformat(str(day)) for day in times]
    if column.element in ("datetime64", "timedelta64"):
        return list(times)
    index = pd.Index(times)
    if column.zone is not None:
        index = index.tz_localize("UTC").tz_convert(column.zone)
    if column.element == "datetime":
        return list(index.to_pydatetime())
    return list(index.to_pytimedelta()) if column.element == "timedelta" else list(index)


def _pandas_column(column: Column, labels: NDArray[Any], raw: Raw) -> Any:
    values, missing = raw
    dtype = column.dtype
    if dtype == "category":
        kind = pd.CategoricalDtype(_categories(labels.tolist(), str(column.element)), ordered=column.ordered)
        return pd.Series(pd.Categorical.from_codes(values, dtype=kind))
    if dtype == "object":
        return pd.Series(_objects(column, labels, raw), dtype=object)
    if dtype.startswith(("str[", "string[")) or column.form == "label":
        return pd.Series(_objects(column, labels, raw), dtype=_text_dtype(dtype))
    if re.fullmatch(r"U?Int\d+", dtype):
        return pd.Series(pd.arrays.IntegerArray(values.astype(dtype.lower()), missing.copy()))
    if re.fullmatch(r"Float\d+", dtype):
        return pd.Series(pd.arrays.FloatingArray(np.where(missing, 0.0, values).astype(dtype.lower()), missing.copy()))
    if dtype == "boolean":
        return pd.Series(pd.arrays.BooleanArray(values.astype(bool), missing.copy()))
    if column.form in ("datetime", "timedelta"):
        code = "M8" if column.form == "datetime" else "m8"
        ticks = np.where(missing, np.iinfo(np.int64).min, values)
        times = pd.Series(ticks.view(f"{code}[{column.tick}]"))
        times = times.dt.tz_localize("UTC") if column.zone is not None else times
        return times.dt.date.astype(dtype) if dtype.startswith("date32") else times.astype(dtype)
    if dtype.endswith("[pyarrow]"):
        found = values.tolist()
        return pd.Series(pd.array([None if hole else v for v, hole in zip(found, missing)], dtype=dtype))
    return pd.Series(_numpy_column(column, labels, raw))


def _text_dtype(dtype: str) -> Any:
    if dtype == "ArrowDtype(string)":
        import pyarrow

        return pd.ArrowDtype(pyarrow.string())
    if not dtype.startswith(("str[", "string[")):
        return dtype
    text, storage = dtype.removesuffix("]").split("[")
    if storage == "pyarrow" and importlib.util.find_spec("pyarrow") is None:
        storage = "python"
    return pd.StringDtype(storage) if text == "string" else pd.StringDtype(storage, na_value=np.nan)


def _narwhals_table(
    container: str, columns: Sequence[Column], tables: Sequence[NDArray[Any]], raw: Sequence[Raw]
) -> Any:
    if importlib.util.find_spec(container) is None:
        raise MissingExtraError(
            f"decode: the model was fitted on a table of {container}, which is not installed here. Install it: pip "
            f"install {container}"
        )
    data: dict[str, Any] = {}
    wanted = []
    for i, (column, labels, (values, missing)) in enumerate(zip(columns, tables, raw)):
        held, cast = _narwhals_values(column, labels, values)
        data[f"v{i}"] = held
        keep = nw.col(f"v{i}")
        if missing.any() and column.null == "nan":
            data[f"v{i}"] = np.where(missing, np.nan, held)
        elif missing.any():
            data[f"m{i}"] = ~missing
            keep = nw.when(nw.col(f"m{i}")).then(keep)
        wanted.append(cast(keep).alias(str(column.name)))
    backend: Any = container
    return nw.from_dict(data, backend=backend).select(*wanted).to_native()


def _narwhals_values(column: Column, labels: NDArray[Any], values: NDArray[Any]) -> tuple[Any, Callable[[Any], Any]]:
    if column.form == "label":
        text = labels[values].tolist() if len(labels) else [None] * len(values)
        kind = nw.Enum(labels.tolist()) if column.dtype == "Enum" else getattr(nw, column.dtype)
        return text, lambda keep: keep.cast(kind)
    if column.form == "datetime":
        times = values.view(f"M8[{column.tick}]")
        if column.zone is not None:
            return times, lambda keep: keep.dt.replace_time_zone("UTC").dt.convert_time_zone(column.zone)
        return times, lambda keep: keep
    if column.form == "timedelta":
        return values.view(f"m8[{column.tick}]"), lambda keep: keep
    if column.form == "float":
        return values.astype(float_type(column.dtype)), lambda keep: keep
    return values.astype(np.bool_ if column.form == "boolean" else integer_type(column)), lambda keep: keep


def object_values(column: Column, labels: NDArray[Any], raw: Raw) -> list[Any]:
    """Python values of one column, times as those of pandas, None where missing."""
    values, missing = raw
    if column.form == "label":
        found = labels[values].tolist()
    elif column.form in ("datetime", "timedelta"):
        code = "M8" if column.form == "datetime" else "m8"
        ticks = values.view(f"{code}[{column.tick}]")
        index = pd.Index(ticks.astype(f"{code}[s]") if column.tick == "D" else ticks)
        found = list(index if column.zone is None else index.tz_localize("UTC").tz_convert(column.zone))
    else:
        found = values.tolist()
    return [None if hole else value for value, hole in zip(found, missing)]
