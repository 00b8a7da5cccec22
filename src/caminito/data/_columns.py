"""One column of a table as float64 numbers, and back exactly.

    number = (value - origin) / unit            value = origin + unit number

with whole `origin` and `unit` chosen so that every value seen is a number that float64 holds. Text and categories are
codes 0..k-1, positions in `labels`. So are whole numbers and instants that no unit makes fit (ids spread over more than
2^53): positions among the values seen. NaN is missing.

A column whose values are all multiples of one step is recorded with it, and decoded numbers are rounded to it: k / n
for a step 1 / n, and k a / 10^d for a decimal step a / 10^d. Both are one correctly rounded division of whole numbers,
hence the very float that the text "0.3" stands for, which k * 0.1 is not.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from caminito._errors import ConfigError, DataError, NonFiniteError, RunError

__all__ = ["KINDS", "Cells", "Coder", "Column", "Kind", "Name", "learn", "nearest"]

Kind = Literal["number", "integer", "boolean", "category", "ordered", "datetime", "timedelta"]
Form = Literal["float", "integer", "boolean", "datetime", "timedelta", "label"]
Name = str | int
Floats = NDArray[np.float64]

KINDS: tuple[Kind, ...] = ("number", "integer", "boolean", "category", "ordered", "datetime", "timedelta")
"""What a column can be."""

TICKS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "D": 86_400 * 10**9}

_EXACT = 2**53
_SIGNIFICANT = {2: 1e2, 4: 1e6, 8: 1e12}  # multiples that a float of so many bytes tells apart with digits to spare
_ATOM_SHARE, _ATOM_ROWS, _ATOM_EXCESS, _ATOM_DISTINCT = 0.03, 10, 4.0, 40
_FORMS: dict[str, Form] = {"b": "boolean", "i": "integer", "u": "integer", "f": "float"}
_NATURAL: dict[Form, Kind] = {
    "float": "number",
    "integer": "integer",
    "boolean": "boolean",
    "datetime": "datetime",
    "timedelta": "timedelta",
    "label": "category",
}


@dataclass(frozen=True)
class Column:
    """What is known of one column; numbers are those of the encoded matrix.

    Attributes
    ----------
    name : str or int
    kind : "number", "integer", "boolean", "category", "ordered", "datetime" or "timedelta"
    dtype : str
        Of the column in the container given to `fit`, and of the one that decode returns.
    labels : tuple or None
        What the codes 0..k-1 stand for: strings, numbers or bools; instants as ISO text (UTC). None where the numbers
        are values.
    counts : tuple of int or None
        Training rows of each label.
    step : float or None
        Spacing of the numbers where all are multiples of it, e.g. 0.1, 1 or 5; None for a continuum and categories.
    low, high : float
        Least and greatest number seen.
    atoms : tuple of float
        Numbers that more than 3 % of the rows share, four times what the values beside them have, in a column of more
        than 40 values, e.g. 0.
    has_missing : bool
    missing_share : float
        Of the training rows, 0 to 1.
    distinct : int
        Different values seen, missing apart.
    example : str, int, float or bool
        The first value that is not missing, dates as text.
    ordered : bool
        Whether the dtype orders its categories, whatever `kind` says.
    origin, unit : int
        value = origin + unit number, in units of the dtype; 0 and 1 but for large integers and for dates.
    form, tick, zone, element, null : str or None
        How values are stored: what they are in memory, time unit, time zone, Python type of objects and labels, and
        the object that says missing.
    """

    name: Name
    kind: Kind
    dtype: str
    labels: tuple[Any, ...] | None = field(repr=False)
    counts: tuple[int, ...] | None = field(repr=False)
    step: float | None
    low: float
    high: float
    atoms: tuple[float, ...]
    has_missing: bool
    missing_share: float
    distinct: int
    example: Any
    ordered: bool = field(repr=False)
    origin: int = field(repr=False)
    unit: int = field(repr=False)
    form: Form = field(repr=False)
    tick: str | None = field(repr=False)
    zone: str | None = field(repr=False)
    element: str | None = field(repr=False)
    null: str | None = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        held = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in held.items()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Column:
        """The column that `to_dict` described.

        Raises
        ------
        RunError
            If an entry is absent, unknown, or names no kind.
        """
        known = {entry.name for entry in fields(cls)}
        if not isinstance(state, Mapping) or set(state) != known or state["kind"] not in KINDS:
            raise RunError("expected the entry of a table column, got an altered one. Restore the file from a copy.")
        held: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in state.items()}
        return cls(**held)


@dataclass(frozen=True)
class Cells:
    """A column as its container holds it: float64, int64 or uint64, bool, ticks since 1970, or codes with labels."""

    form: Form
    values: NDArray[Any]
    missing: NDArray[np.bool_]
    dtype: str
    tick: str | None = None
    zone: str | None = None
    labels: tuple[Any, ...] | None = None
    ordered: bool = False
    element: str | None = None
    null: str | None = None


def learn(name: Name, cells: Cells, kind: Kind | None = None) -> tuple[Column, Floats]:
    """What a column is, and its numbers; `kind` overrides what its dtype says.

    Raises
    ------
    DataError
        If all values are missing or some are infinite.
    ConfigError
        If the column cannot be of that kind.
    """
    present = cells.values[~cells.missing]
    if present.size == 0:
        raise DataError(
            f"column {name!r}: expected some values, all {cells.values.size} are missing. Drop the column, or read it "
            "again if it should not be empty."
        )
    _refuse_infinite(name, cells)
    kind = _checked_kind(name, cells, present, kind)
    origin, unit, labels, counts, step = 0, 1, cells.labels, None, None
    if labels is None:
        seen, repeats = np.unique(present, return_counts=True)
        distinct = len(seen)
        if kind in ("category", "ordered"):
            labels = _plain(cells, seen)
        else:
            origin, unit, fits = _scale(cells, seen)
            labels = None if fits else _plain(cells, seen)
        if labels is not None:
            counts = tuple(repeats.tolist())
    else:
        tally = np.bincount(present, minlength=len(labels))
        counts, distinct = tuple(tally.tolist()), int((tally > 0).sum())
    atoms: tuple[float, ...] = ()
    if labels is None:
        whole = _affine(seen, origin, unit) if cells.form != "float" else seen
        low, high = float(whole[0]), float(whole[-1])
        step = _step(whole, cells) if kind != "boolean" else 1.0
        atoms = _atoms(whole, repeats, len(present))
    else:
        step = None if kind == "category" else 1.0
        low, high = (0.0, len(labels) - 1.0) if cells.labels is None else _ends(present)
    missing = int(cells.missing.sum())
    column = Column(
        name=name,
        kind=kind,
        dtype=cells.dtype,
        labels=labels,
        counts=counts,
        step=step,
        low=low,
        high=high,
        atoms=atoms,
        has_missing=missing > 0,
        missing_share=missing / cells.values.size,
        distinct=distinct,
        example=_example(cells),
        ordered=cells.ordered,
        origin=origin,
        unit=unit,
        form=cells.form,
        tick=cells.tick,
        zone=cells.zone,
        element=cells.element,
        null=cells.null,
    )
    return column, Coder(column).numbers(cells)


class Coder:
    """The two directions of one column, with its look-up tables made once."""

    def __init__(self, column: Column) -> None:
        self.column = column

    @cached_property
    def table(self) -> NDArray[Any]:
        """The labels as an array: objects of a label column, raw values of any other."""
        column = self.column
        labels = column.labels or ()
        if column.form == "label":
            out = np.empty(len(labels), object)
            out[:] = labels
            return out
        if column.form == "datetime":
            return np.array(labels, f"M8[{column.tick}]").view(np.int64)
        if column.form == "integer":
            return np.array(labels, np.uint64 if labels and labels[-1] > np.iinfo(np.int64).max else np.int64)
        return np.array(labels, {"float": np.float64, "boolean": np.bool_, "timedelta": np.int64}[column.form])

    @cached_property
    def _code(self) -> dict[Any, int]:
        return {label: code for code, label in enumerate(self.table.tolist())}

    def numbers(self, cells: Cells, *, text: bool = False) -> Floats:
        """Float64 numbers of a column like the training one, NaN where missing; `text` reads what words stand for.

        Raises
        ------
        DataError
            For a category not seen in training, infinite values, or values of another kind.
        """
        column = self.column
        _refuse_infinite(column.name, cells)
        if column.form == "label":
            return self._codes(cells, text)
        cells = self._like_training(cells, text)
        out = np.full(cells.values.size, np.nan)
        present = ~cells.missing
        values = cells.values[present]
        if column.labels is not None and column.kind in ("category", "ordered"):
            return self._codes(cells, text)
        if column.labels is not None:
            out[present] = self._between(values)
        elif cells.tick is not None and cells.tick != column.tick:
            out[present] = _other_ticks(column, values, cells.tick)
        elif values.dtype.kind == "f":
            out[present] = (values - column.origin) / column.unit
        else:
            out[present] = _affine(values, column.origin, column.unit)
        return out

    def values(self, numbers: Floats) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Raw values (codes of a label column) and where they are missing.

        Raises
        ------
        NonFiniteError
            For infinite numbers.
        DataError
            For dates outside the range of the dtype.
        """
        column = self.column
        missing = np.isnan(numbers)
        if np.isinf(numbers).any():
            raise NonFiniteError(
                f"decode: column {column.name!r}: expected finite numbers, got {int(np.isinf(numbers).sum())} "
                "infinite. The model or solver diverged; take more steps or train again."
            )
        filled = np.where(missing, column.low, numbers)
        if column.labels is not None:
            codes = np.clip(np.rint(filled), 0, len(column.labels) - 1).astype(np.int64)
            if column.form == "label":
                return np.where(missing, -1, codes), missing
            return self.table[codes], missing
        if column.step is not None:
            filled = _snap(filled, column.step)
        if column.form == "float":
            kept = np.finfo(float_type(column.dtype))
            return np.clip(filled, float(kept.min), float(kept.max)), missing
        if column.form == "boolean":
            return filled >= 0.5, missing
        return self._whole(filled), missing

    def _codes(self, cells: Cells, text: bool) -> Floats:
        if cells.labels is not None:
            codes, labels = cells.values, cells.labels
        else:
            present = cells.values[~cells.missing]
            if cells.tick is not None and self.column.tick is not None:
                present = _whole_ticks(present, cells.tick, self.column.tick)
            seen, places = np.unique(present, return_inverse=True)
            labels = tuple(seen.tolist())
            codes = np.full(cells.values.size, -1, np.int64)
            codes[~cells.missing] = places
        known = np.array([self._code.get(label, -1) for label in labels] or [-1], np.int64)
        if text and labels and (known < 0).any():
            written = {str(label): code for label, code in self._code.items()}
            known = np.array([written.get(str(label), code) for label, code in zip(labels, known)], np.int64)
        found = np.where(codes < 0, -1, known[codes])
        unseen = (codes >= 0) & (found < 0)
        if unseen.any():
            self._refuse_unseen([labels[code] for code in codes[unseen]])
        return np.where(codes < 0, np.nan, found)

    def _refuse_unseen(self, values: list[Any]) -> None:
        column = self.column
        rows: dict[Any, int] = {}
        for value in values:
            rows[value] = rows.get(value, 0) + 1
        labels, counts = column.labels or (), column.counts or ()
        most = sorted(range(len(labels)), key=lambda code: (-counts[code], code))
        known = _list_of([f"{labels[code]!r} ({counts[code]})" for code in most], 8)
        new = _list_of([f"{label!r} ({_rows(count)})" for label, count in rows.items()], 5)
        first = next(iter(rows))
        like = nearest(str(first), [str(label) for label in labels]) if len(labels) <= 2000 else None
        raise DataError(
            f"column {column.name!r}: expected categories seen in training, got {new}. Known, by training rows: "
            f"{known}. "
            + (f"Is {like!r} meant? " if like else "")
            + "Write them as one of those, drop these rows, or train again with data that have them."
        )

    def _like_training(self, cells: Cells, text: bool) -> Cells:
        column = self.column
        if cells.labels is not None:
            cells = _unlabelled(column, cells, text)
        if (column.form in ("datetime", "timedelta") or cells.tick is not None) and cells.form != column.form:
            raise self._wrong_kind(cells)
        if column.form == "boolean" and cells.form != "boolean":
            present = cells.values[~cells.missing]
            if not np.isin(present, (0, 1)).all():
                raise self._wrong_kind(cells)
        if column.form == "datetime" and cells.zone is None and column.zone is not None:
            return _localised(cells, column.zone)
        if column.form == "datetime" and cells.zone is not None and column.zone is None:
            raise DataError(
                f"column {column.name!r}: expected dates without a time zone, as in training, got {cells.zone}. "
                "Convert them first, e.g. with dt.tz_localize(None)."
            )
        return cells

    def _wrong_kind(self, cells: Cells) -> DataError:
        column = self.column
        return DataError(
            f"column {column.name!r}: expected values of kind {column.kind} ({column.dtype}), as in training, got "
            f"{cells.dtype}, e.g. {_example(cells)!r}. Convert the column first."
        )

    def _between(self, values: NDArray[Any]) -> Floats:
        place = np.clip(np.searchsorted(self.table, values), 0, len(self.table) - 1)
        exact = self.table[place] == values
        inside = (values > self.table[0]) & (values < self.table[-1])
        return np.asarray(np.where(exact | ~inside, place, place - 0.5), np.float64)

    def _whole(self, numbers: Floats) -> NDArray[Any]:
        column = self.column
        numbers = np.rint(numbers)
        least, greatest, unsigned = _range(column)
        floor = -((column.origin - least) // column.unit)
        low, high = _at_least(floor), _at_most((greatest - column.origin) // column.unit)
        if column.form in ("datetime", "timedelta"):
            beyond = (numbers < low) | (numbers > high)
            if beyond.any():
                raise DataError(
                    f"decode: column {column.name!r}: {_rows(int(beyond.sum()))} of {numbers.size} lie outside what "
                    f"{column.dtype} can hold ({_time(column, least)} to {_time(column, greatest)}). Sample again with "
                    "more steps, or clip the numbers to those seen in training."
                )
        numbers = np.clip(numbers, low, high)
        up, down = np.maximum(numbers, 0.0).astype(np.uint64), np.maximum(-numbers, 0.0).astype(np.uint64)
        raw = (up - down) * np.uint64(column.unit) + np.uint64(column.origin % 2**64)
        return raw if unsigned else raw.view(np.int64)


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name most like `name`, if one is."""
    near = difflib.get_close_matches(name, known, n=1)
    return near[0] if near else None


def float_type(dtype: str) -> np.dtype[Any]:
    """The numpy float that a dtype of any container stores: float64 unless it says less."""
    if (found := re.search(r"float(16|32|64)", dtype.lower())) is not None:
        return np.dtype(f"float{found[1]}")
    return np.dtype({"halffloat[pyarrow]": "float16", "float[pyarrow]": "float32"}.get(dtype, "float64"))


def integer_type(column: Column) -> np.dtype[Any]:
    """The numpy integer that a dtype of any container stores: int64 unless it says otherwise."""
    if (found := re.search(r"u?int(8|16|32|64)", column.dtype.lower())) is not None:
        return np.dtype(found[0])
    return np.dtype(np.uint64 if column.element == "uint" else np.int64)


def _refuse_infinite(name: Name, cells: Cells) -> None:
    if cells.form != "float":
        return
    infinite = np.isinf(cells.values)
    if infinite.any():
        raise DataError(
            f"column {name!r}: expected finite numbers, got {int(infinite.sum())} infinite (inf) of {infinite.size} "
            f"values, the first in row {int(np.argmax(infinite))} (counted from 0). Make them missing (NaN) or drop "
            "those rows: nothing is repaired silently."
        )


def _checked_kind(name: Name, cells: Cells, present: NDArray[Any], kind: Kind | None) -> Kind:
    natural: Kind = "ordered" if cells.ordered else _NATURAL[cells.form]
    if kind is None or kind == natural or kind in ("category", "ordered"):
        return kind or natural
    numeric = cells.form in ("float", "integer", "boolean")
    if numeric and kind == "number" and cells.form != "boolean":
        return kind
    if numeric and kind == "integer" and cells.form == "float" and bool((present == np.rint(present)).all()):
        return kind
    if numeric and kind == "boolean" and bool(np.isin(present, (0, 1)).all()):
        return kind
    advice = {
        "number": "Convert it with astype(float) first",
        "integer": "Round it first, or leave it a number",
        "boolean": "Write its values as True and False first",
        "datetime": "Convert it with pandas.to_datetime first",
        "timedelta": "Convert it with pandas.to_timedelta first",
    }[kind]
    raise ConfigError(
        f"types: column {name!r} ({cells.dtype}, e.g. {_example(cells)!r}) cannot be taken for kind {kind!r}. {advice}."
    )


def _scale(cells: Cells, seen: NDArray[Any]) -> tuple[int, int, bool]:
    """Whole origin and unit under which every value is exact in float64, and whether there are such."""
    if cells.form in ("float", "boolean"):
        return 0, 1, True
    low, high = int(seen[0]), int(seen[-1])
    if cells.form == "integer" and max(-low, high) <= _EXACT:
        return 0, 1, True
    origin = 0 if cells.form == "timedelta" else low
    offsets = _offset(seen, origin)
    common = int(np.gcd.reduce(offsets)) or 1
    unit = common
    if cells.tick is not None:
        here = TICKS[cells.tick]
        unit = max(ticks // here for ticks in TICKS.values() if ticks >= here and common % (ticks // here) == 0)
    reach = max(abs(high - origin), abs(low - origin))
    if reach // unit > _EXACT:
        unit = common
    return (origin, unit, True) if reach // unit <= _EXACT else (0, 1, False)


def _offset(values: NDArray[Any], origin: int) -> NDArray[np.uint64]:
    """|values - origin| without overflow."""
    start = np.uint64(origin % 2**64)
    wrapped = values.astype(np.uint64) - start
    return np.where(values < origin, np.uint64(0) - wrapped, wrapped)


def _affine(values: NDArray[Any], origin: int, unit: int) -> Floats:
    if values.dtype == np.bool_ or (origin == 0 and unit == 1):
        return values.astype(np.float64)
    whole, rest = np.divmod(_offset(values, origin), np.uint64(unit))
    size = whole.astype(np.float64) + rest.astype(np.float64) / unit
    return np.where(values < origin, -size, size)


def _other_ticks(column: Column, values: NDArray[Any], tick: str) -> Floats:
    here, there = TICKS[str(column.tick)], TICKS[tick]
    if there >= here:
        ratio = there // here
        limit = np.iinfo(np.int64).max // ratio
        if (np.abs(values.astype(np.float64)) > limit).any():
            raise DataError(
                f"column {column.name!r}: expected dates that {column.dtype} can hold, as in training, got "
                f"{_time_text(values, tick)}. Leave such rows out."
            )
        return _affine(values * ratio, column.origin, column.unit)
    whole, rest = np.divmod(values, here // there)
    return _affine(whole, column.origin, column.unit) + rest / (here // there * column.unit)


def _whole_ticks(values: NDArray[Any], tick: str, into: str) -> NDArray[Any]:
    here, there = TICKS[tick], TICKS[into]
    return values * (here // there) if here >= there else values // (there // here)


def _step(numbers: Floats, cells: Cells) -> float | None:
    """The greatest step of which all numbers, distinct and ascending, are multiples; None for a continuum."""
    if cells.form != "float":
        common = int(np.gcd.reduce(np.abs(numbers).astype(np.int64)))
        return float(common) if common and len(numbers) > 1 else 1.0
    if len(numbers) < 2:
        return None
    dtype = float_type(cells.dtype)
    limit = _SIGNIFICANT[dtype.itemsize]
    with np.errstate(over="ignore", invalid="ignore"):
        stored = numbers.astype(dtype)
        reach = float(np.abs(numbers).max())
        few = numbers[:: max(1, len(numbers) // 64)]
        for digits in range(13):
            if reach * 10.0**digits > limit:
                break
            if ((np.rint(few * 10.0**digits) / 10.0**digits).astype(dtype) != few.astype(dtype)).any():
                continue
            counts = np.rint(numbers * 10.0**digits)
            if ((counts / 10.0**digits).astype(dtype) == stored).all():
                common = int(np.gcd.reduce(np.abs(counts).astype(np.int64)))
                step = float(Decimal(common).scaleb(-digits))
                return step if (_snap(numbers, step).astype(dtype) == stored).all() else 10.0**-digits
        part = _unit_fraction(float(np.diff(numbers).min()))
        if part is not None and reach / part <= limit and (_snap(numbers, part).astype(dtype) == stored).all():
            return part
    return None


def _unit_fraction(gap: float) -> float | None:
    parts = round(1 / gap) if gap > 1e-4 else 0
    return 1 / parts if parts >= 2 else None


def _snap(numbers: Floats, step: float) -> Floats:
    """The nearest multiples of `step`, as the floats that their decimal text would be read as."""
    parts = round(1 / step) if step < 1 else 0
    if parts and 1 / parts == step:
        return np.rint(numbers * parts) / parts
    digits = max(0, -int(Decimal(repr(step)).normalize().as_tuple().exponent))
    top = int(Decimal(repr(step)).scaleb(digits))
    counts = np.rint(numbers / step)
    return counts * top / 10.0**digits if digits <= 22 else counts * step


def _atoms(numbers: Floats, repeats: NDArray[np.int64], rows: int) -> tuple[float, ...]:
    """Numbers of many rows that stand out from the five values on either side."""
    if len(numbers) <= _ATOM_DISTINCT:
        return ()
    heavy = np.flatnonzero((repeats > _ATOM_SHARE * rows) & (repeats >= _ATOM_ROWS))
    beside = [np.median(np.r_[repeats[max(i - 5, 0) : i], repeats[i + 1 : i + 6]]) for i in heavy]
    return tuple(float(numbers[i]) for i, near in zip(heavy, beside) if repeats[i] >= _ATOM_EXCESS * near)


def _ends(codes: NDArray[np.int64]) -> tuple[float, float]:
    return float(codes.min()), float(codes.max())


def _plain(cells: Cells, values: NDArray[Any]) -> tuple[Any, ...]:
    if cells.form == "datetime":
        return tuple(np.datetime_as_string(values.view(f"M8[{cells.tick}]"), unit="auto").tolist())
    return tuple(values.tolist())


def _example(cells: Cells) -> Any:
    first = cells.values[~cells.missing][:1]
    if cells.labels is not None:
        return cells.labels[int(first[0])]
    if cells.form == "timedelta":
        return str(_pandas().Timedelta(first.view(f"m8[{cells.tick}]")[0]))
    return _plain(cells, first)[0]


def _unlabelled(column: Column, cells: Cells, text: bool) -> Cells:
    """A column of labels that are numbers as those numbers; with `text`, words as what they stand for."""
    labels = cells.labels or ()
    places = np.unique(cells.values[~cells.missing])
    used = [labels[code] for code in places]
    if not used:
        empty = np.zeros(cells.values.size, np.int64)
        return Cells(column.form, empty, cells.missing, column.dtype, column.tick, column.zone)
    read: Cells | None
    if not any(isinstance(label, str) for label in used):
        array = np.array(used)
        read = Cells(_FORMS.get(array.dtype.kind, "label"), array, cells.missing, cells.dtype)
    else:
        read = _words(column, [str(label) for label in used]) if text else None
    if read is None or read.form == "label":
        words = [label for label in used if isinstance(label, str)] or used
        odd = next((word for word in words[:1000] if _words(column, [str(word)]) is None), words[0])
        raise DataError(
            f"column {column.name!r}: expected values of kind {column.kind} ({column.dtype}), as in training, got "
            f"{odd!r}. "
            + ("Write dates as 2020-12-31 or 2020-12-31 23:59:59." if column.tick else "Convert the column first.")
        )
    table = np.zeros(len(labels), read.values.dtype)
    table[places] = read.values
    values = np.where(cells.missing, table.dtype.type(0), table[np.maximum(cells.values, 0)])
    return Cells(read.form, values, cells.missing, cells.dtype, read.tick, read.zone)


def _words(column: Column, words: list[str]) -> Cells | None:
    """What each word stands for in a column of this form; None where it stands for nothing."""
    here = np.zeros(len(words), np.bool_)
    try:
        match column.form:
            case "boolean":
                values = np.array([{"true": True, "false": False, "1": True, "0": False}[w.lower()] for w in words])
                return Cells("boolean", values, here, "text")
            case "integer" if all(re.fullmatch(r"\s*[+-]?\d+\s*", word) for word in words):
                return Cells("integer", np.array([int(word) for word in words]), here, "text")
            case "integer" | "float":
                return Cells("float", np.array([float(word) for word in words]), here, "text")
            case "datetime":
                times = _pandas().DatetimeIndex(_pandas().to_datetime(_pandas().Series(words), format="ISO8601"))
                return Cells("datetime", times.asi8, here, "text", times.unit, times.tz and str(times.tz))
            case _:
                spans = _pandas().TimedeltaIndex(_pandas().to_timedelta(_pandas().Series(words)))
                return Cells("timedelta", spans.asi8, here, "text", spans.unit)
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def _localised(cells: Cells, zone: str) -> Cells:
    """Wall-clock times of `zone` as the instants they mean: the first of a doubled hour, the next after a lost one."""
    ticks = np.where(cells.missing, 0, cells.values).view(f"M8[{cells.tick}]")
    wall = _pandas().DatetimeIndex(ticks.astype("M8[s]") if cells.tick == "D" else ticks)
    exact = wall.tz_localize(zone, ambiguous=np.ones(len(wall), np.bool_), nonexistent="shift_forward")
    return Cells("datetime", exact.asi8, cells.missing, cells.dtype, exact.unit, zone)


def _pandas() -> Any:
    import pandas

    return pandas


def _range(column: Column) -> tuple[int, int, bool]:
    """Least and greatest raw value, and whether it is unsigned."""
    if column.form == "integer":
        info = np.iinfo(integer_type(column))
        return int(info.min), int(info.max), info.min == 0 and info.bits == 64
    top = 2**63 - 1
    if column.form == "datetime" and column.element is not None and column.tick != "ns":
        first, last = np.array(["0001-01-01", "9999-12-31"], f"M8[{column.tick}]").view(np.int64)
        return int(first), int(last), False
    if column.dtype in ("Date", "date32[day][pyarrow]"):
        return -(2**31), 2**31 - 1, False
    return -top, top, False


def _at_most(value: int) -> float:
    number = float(value)
    return number if int(number) <= value else math.nextafter(number, -math.inf)


def _at_least(value: int) -> float:
    number = float(value)
    return number if int(number) >= value else math.nextafter(number, math.inf)


def _time(column: Column, ticks: int) -> str:
    return _time_text(np.array([ticks]), str(column.tick)) if column.form == "datetime" else f"{ticks} {column.tick}"


def _time_text(ticks: NDArray[Any], tick: str) -> str:
    greatest = ticks[[int(np.argmax(np.abs(ticks.astype(np.float64))))]]
    return str(np.datetime_as_string(greatest.astype(np.int64).view(f"M8[{tick}]"), unit="D")[0])


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _list_of(entries: list[str], shown: int) -> str:
    more = f" and {len(entries) - shown} more" if len(entries) > shown else ""
    return ", ".join(entries[:shown]) + more
