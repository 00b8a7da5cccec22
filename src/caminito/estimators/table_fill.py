"""Values put into the holes of a table, in whatever container it came; every other cell stays as it is."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import numpy as np
import pandas
from numpy.typing import NDArray

from caminito.data import TableCodec

__all__ = ["filled"]

Floats = NDArray[np.float64]

pd: Any = pandas


def filled(X: Any, holes: NDArray[np.bool_], matrix: Floats, codec: TableCodec) -> Any:
    """A copy of X with the values of `matrix` where `holes`, both of shape (n, p) and in the order of the codec."""
    if isinstance(X, pd.DataFrame):
        return _pandas(X, holes, matrix, codec)
    frame = nw.from_native(X, pass_through=True, eager_only=True)
    if isinstance(frame, nw.DataFrame):
        return _narwhals(frame, holes, matrix, codec)
    out = np.array(X, copy=True)
    if out.dtype.kind in "US" and not hasattr(X, "dtype"):
        out = np.array(X, dtype=object)
    for place, name in enumerate(codec.names_):
        where = np.flatnonzero(holes[:, place])
        if len(where):
            values = codec.decode_values(name, matrix[where, place])
            column = out[str(name)] if out.dtype.names is not None else out[:, place]
            column[where] = values
    return out


def _pandas(X: Any, holes: NDArray[np.bool_], matrix: Floats, codec: TableCodec) -> Any:
    out = X.copy()
    for place, name in enumerate(codec.names_):
        where = np.flatnonzero(holes[:, place])
        if not len(where):
            continue
        at = X.columns.get_loc(name) if name in X.columns else place  # a model of arrays goes by position
        values = codec.decode_values(name, matrix[where, place])
        out.isetitem(at, _put(out.iloc[:, at], where, values, len(where) == len(X), codec, matrix, place))
    return out


def _put(
    series: Any,
    where: NDArray[np.intp],
    values: list[Any],
    every: bool,
    codec: TableCodec,
    matrix: Floats,
    place: int,
) -> Any:
    if every:  # nothing observed, so the dtype of the training table
        made = codec.decode(matrix)
        if isinstance(made, pd.DataFrame):
            return made.iloc[:, place].set_axis(series.index)
        return pd.Series(values, index=series.index)
    series = series.copy()
    if isinstance(series.dtype, pd.CategoricalDtype):
        new = [value for value in dict.fromkeys(values) if value not in series.cat.categories]
        series = series.cat.add_categories(new)
    try:
        series.iloc[where] = values
    except (TypeError, ValueError):
        series = series.astype(object)
        series.iloc[where] = values
    return series


def _narwhals(frame: Any, holes: NDArray[np.bool_], matrix: Floats, codec: TableCodec) -> Any:
    made = nw.from_native(codec.decode(matrix), pass_through=True)
    same = isinstance(made, nw.DataFrame) and made.implementation == frame.implementation
    columns = []
    for place, name in enumerate(codec.names_):
        where = np.flatnonzero(holes[:, place])
        if not len(where):
            continue
        title = str(name) if str(name) in frame.columns else frame.columns[place]
        series = frame[title]
        if same:
            values = made[title]
        else:
            cells: list[Any] = [None] * len(holes)
            for row, value in zip(where, codec.decode_values(name, matrix[where, place])):
                cells[row] = value
            values = nw.new_series(title, cells, series.dtype, backend=frame.implementation)
        kept = nw.new_series("kept", ~holes[:, place], backend=frame.implementation)
        columns.append(values if len(where) == len(holes) else series.zip_with(kept, values))
    return frame.with_columns(*columns).to_native()
