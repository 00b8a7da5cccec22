"""What one condition of a model is: a class, numbers, a text, or a field on the grid of the items.

==========  ==========================================  =======================================================
kind        values, one per item                        missing when sampling
==========  ==========================================  =======================================================
`label`     whole numbers, words or booleans            None; where nothing is asked, drawn as in training
`vector`    numbers (n,) or (n, size), standardised     NaN in a row
`text`      strings                                     the empty string, None, NaN
`field`     arrays on the grid of the items             not given
`lowres`    arrays on a coarser grid, enlarged to it    not given
`known`     the items, NaN where nothing is known       not given, or all NaN
==========  ==========================================  =======================================================
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import type_of_target
from torch import Tensor

from caminito._errors import ConditionError, ConfigError, DataError, ShapeError
from caminito.data import Codec, HashingText, TextEncoder, codec_from_dict, text_encoder_from_dict
from caminito.estimators.layout import Layout, known_values
from caminito.nn import Entry, Field, Given, Known, Label, Noised, Vector, entry_from_dict

__all__ = ["Column", "FieldColumn", "KnownColumn", "LowresColumn", "column_for", "column_from_dict", "nearest_classes"]

KINDS = ("label", "vector", "text", "field", "lowres")

_TEXT_NAMES = ("caption", "prompt", "text")
_MANY_WORDS = 64  # different strings from which on they are no longer classes, if they have spaces


class LabelColumn:
    """One of some classes."""

    kind: ClassVar[str] = "label"

    def __init__(self, name: str, classes: NDArray[Any], shares: list[float]) -> None:
        self.name, self.classes, self.shares = name, classes, shares
        self.entry: Entry = Label(len(classes))
        self._table = {str(value): code for code, value in enumerate(classes.tolist())}

    @classmethod
    def fit(cls, name: str, values: NDArray[Any]) -> LabelColumn:
        """Classes and how often they are met."""
        classes, counts = np.unique(values, return_counts=True)
        return cls(name, classes, (counts / counts.sum()).tolist())

    def encode(self, values: ArrayLike) -> Given:
        """Codes of classes; those of None are absent."""
        rows = np.asarray(values).reshape(-1).tolist()
        present = [not _is_absent(value) for value in rows]
        codes = torch.tensor([self._code(value) if known else 0 for value, known in zip(rows, present)])
        return Given(codes.long(), None if all(present) else torch.tensor(present))

    def _code(self, value: Any) -> int:
        code = self._table.get(str(value))
        if code is None and isinstance(value, int | float):  # 3 and 3.0 are one class
            with contextlib.suppress(ValueError, OverflowError):
                code = self._table.get(
                    str(float(value)), self._table.get(str(int(value)) if value == int(value) else "")
                )
        if code is None:
            shown = ", ".join(list(self._table)[:20]) + (", ..." if len(self._table) > 20 else "")
            near = ", ".join(nearest_classes(value, self.classes))
            hint = f" The nearest: {near}." if len(self._table) > 20 else ""
            raise ConditionError(
                f"class {value!r} of {self.name!r} was not in the training data. Known classes: {shown}.{hint}"
            )
        return code

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"kind": self.kind, "classes": self.classes.tolist(), "shares": self.shares}

    @classmethod
    def from_dict(cls, name: str, state: Mapping[str, Any]) -> LabelColumn:
        """The column that `to_dict` described."""
        return cls(name, np.asarray(state["classes"]), list(state["shares"]))


class VectorColumn:
    """Numbers, standardised."""

    kind: ClassVar[str] = "vector"

    def __init__(self, name: str, mean: list[float], std: list[float]) -> None:
        self.name, self.mean, self.std = name, mean, std
        self.entry: Entry = Vector(len(mean))

    @classmethod
    def fit(cls, name: str, values: NDArray[Any]) -> VectorColumn:
        """Moments of each number."""
        table = _numbers(name, values).reshape(len(values), -1)
        std = table.std(0)
        return cls(name, table.mean(0).tolist(), np.where(std > 0, std, 1.0).tolist())

    def encode(self, values: ArrayLike) -> Given:
        """Rows of standardised numbers; a row with NaN is absent."""
        size = len(self.mean)
        try:
            array = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ConditionError(f"condition {self.name!r}: expected numbers, got {values!r}. {error}") from error
        if array.size % size:
            raise ConditionError(f"condition {self.name!r}: expected {size} numbers per row, got {array.size}.")
        rows = (array.reshape(-1, size) - np.asarray(self.mean)) / np.asarray(self.std)
        if np.isinf(rows).any():
            raise ConditionError(f"condition {self.name!r}: expected finite numbers, got infinity.")
        present = ~np.isnan(rows).any(1)
        value = torch.from_numpy(np.where(present[:, None], rows, 0).astype(np.float32))
        return Given(value, None if present.all() else torch.from_numpy(present))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"kind": self.kind, "mean": self.mean, "std": self.std}

    @classmethod
    def from_dict(cls, name: str, state: Mapping[str, Any]) -> VectorColumn:
        """The column that `to_dict` described."""
        return cls(name, state["mean"], state["std"])


class TextColumn:
    """Strings, by an encoder of texts."""

    kind: ClassVar[str] = "text"

    def __init__(self, name: str, encoder: TextEncoder, entry: Mapping[str, Any] | None = None) -> None:
        self.name, self.encoder = name, encoder
        self._plain = dict(encoder.entry if entry is None else entry)  # known without reading a language model
        self.entry: Entry = entry_from_dict(self._plain)

    def encode(self, values: ArrayLike) -> Given:
        """Words or tokens with their mask; the empty text, None, NaN and the missing value of pandas are absent."""
        rows = np.asarray(values, dtype=object).reshape(-1).tolist()
        try:
            value, mask = self.encoder.encode(["" if _is_absent(text) else text for text in rows])
        except DataError as error:
            raise ConditionError(f"condition {self.name!r}: {error}") from error
        return Given(value, None, mask)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"kind": self.kind, "encoder": self.encoder.to_dict(), "entry": self._plain}

    @classmethod
    def from_dict(cls, name: str, state: Mapping[str, Any]) -> TextColumn:
        """The column that `to_dict` described."""
        return cls(name, text_encoder_from_dict(state["encoder"]), state["entry"])


class FieldColumn:
    """Arrays on the grid of the items, standardised per channel."""

    kind: ClassVar[str] = "field"

    def __init__(self, name: str, codec: Codec, axes: int) -> None:
        self.name, self.codec, self.axes = name, codec, axes
        self.entry: Entry = Field(codec.event_shape[0])

    @classmethod
    def fit(cls, name: str, codec: Codec, axes: int, grid: tuple[int, ...]) -> FieldColumn:
        """The column of a codec that was fitted to its values, which have so many axes in an item."""
        if tuple(codec.event_shape[1:]) != grid:
            raise ConditionError(
                f"condition {name!r}: expected arrays on the grid {grid} of the items, got {codec.event_shape[1:]}. "
                f"Resize them first, or say that they are of low resolution: conditions={{{name!r}: 'lowres'}}."
            )
        return cls(name, codec, axes)

    def encode(self, values: ArrayLike) -> Given:
        """Standardised fields, channels first; one field without its axis of rows serves all."""
        return Given(_standardised(self.name, self.codec, self.axes, values))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"kind": self.kind, "codec": self.codec.to_dict(), "axes": self.axes}

    @classmethod
    def from_dict(cls, name: str, state: Mapping[str, Any]) -> FieldColumn:
        """The column that `to_dict` described."""
        return cls(name, codec_from_dict(state["codec"]), state["axes"])


class LowresColumn:
    """Arrays on a coarser grid than the items, standardised per channel and enlarged to theirs, without noise yet.

    Along each axis the centre of cell i of `size` lies at (i + 1/2) / size. Between the centres of the coarse grid a
    value is interpolated linearly, beyond the outermost it stays: bilinear, with align_corners=False.
    """

    kind: ClassVar[str] = "lowres"

    def __init__(self, name: str, codec: Codec, axes: int, grid: tuple[int, ...]) -> None:
        self.name, self.codec, self.axes, self.grid = name, codec, axes, grid
        self.entry: Entry = Noised(codec.event_shape[0])

    @classmethod
    def fit(cls, name: str, codec: Codec, axes: int, grid: tuple[int, ...]) -> LowresColumn:
        """The column of a codec that was fitted to its values, which have so many axes in an item."""
        coarse = tuple(codec.event_shape[1:])
        if len(coarse) != len(grid) or coarse == grid or any(few > many for few, many in zip(coarse, grid)):
            raise ConditionError(
                f"condition {name!r}: expected arrays on a coarser grid than that of the items, {grid}, got {coarse}. "
                "Shrink them first: caminito.data.shrink."
            )
        return cls(name, codec, axes, grid)

    def encode(self, values: ArrayLike) -> Given:
        """Enlarged fields, at level 0; one without its axis of rows serves all."""
        x = _standardised(self.name, self.codec, self.axes, values)
        return Given(_enlarged(x, self.grid), level=x.new_zeros(len(x)))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"kind": self.kind, "codec": self.codec.to_dict(), "axes": self.axes, "grid": list(self.grid)}

    @classmethod
    def from_dict(cls, name: str, state: Mapping[str, Any]) -> LowresColumn:
        """The column that `to_dict` described."""
        return cls(name, codec_from_dict(state["codec"]), state["axes"], tuple(state["grid"]))


class KnownColumn:
    """Items of the model's own kind of which some entries are known, NaN elsewhere, standardised as the items are."""

    kind: ClassVar[str] = "known"

    def __init__(self, name: str, codec: Codec) -> None:
        self.name, self.codec, self.layout = name, codec, Layout.of(codec)
        self.entry: Entry = Known(codec.event_shape[0])

    def encode(self, values: ArrayLike) -> Given:
        """What is known, standardised, and where; one item without its axis of rows serves all."""
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise ConditionError(
                f"condition {self.name!r}: expected numbers, NaN where nothing is known, got {array.dtype}."
            )
        known = ~np.isnan(array) if array.dtype.kind == "f" else np.ones(array.shape, dtype=bool)
        try:
            kept = known_values(array, known, cast(Any, self.codec).dtype, f"condition {self.name!r}")
        except DataError as error:
            raise ConditionError(str(error)) from error
        value = _standardised(self.name, self.codec, len(self.layout.item_shape), kept)
        mask = known.reshape(-1, *self.layout.item_shape)
        return Given(value, mask=torch.from_numpy(np.ascontiguousarray(self.layout.events(mask))))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"kind": self.kind, "codec": self.codec.to_dict()}

    @classmethod
    def from_dict(cls, name: str, state: Mapping[str, Any]) -> KnownColumn:
        """The column that `to_dict` described."""
        return cls(name, codec_from_dict(state["codec"]))


Column: TypeAlias = LabelColumn | VectorColumn | TextColumn | FieldColumn | LowresColumn | KnownColumn

_COLUMNS: dict[str, Callable[[str, Mapping[str, Any]], Column]] = {
    "label": LabelColumn.from_dict,
    "vector": VectorColumn.from_dict,
    "text": TextColumn.from_dict,
    "field": FieldColumn.from_dict,
    "lowres": LowresColumn.from_dict,
    "known": KnownColumn.from_dict,
}


def column_for(
    name: str,
    values: NDArray[Any],
    kind: str | Mapping[str, Any] | TextEncoder | None,
    new_codec: Callable[[], Codec],
    grid: tuple[int, ...],
) -> Column:
    """The fitted column of a condition.

    Parameters
    ----------
    name : str
    values : array, one row per item
    kind : one of `KINDS`, a TextEncoder, or the plain form of one; None to tell it from the values
        Strings are a text where the name says so (caption, prompt, text), or where there are many different ones with
        spaces; arrays of three axes or more are a field, or of low resolution if each side divides that of the items;
        integers, words and booleans are a label; real numbers a vector.
    new_codec : for fields
    grid : tuple of int
        Of the items; () for rows of numbers.

    Raises
    ------
    ConditionError, ConfigError
    """
    if isinstance(kind, Mapping):
        return TextColumn(name, text_encoder_from_dict(kind))
    if kind is not None and not isinstance(kind, str):
        return TextColumn(name, kind)
    if kind is not None and kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"conditions.{name}: expected one of {', '.join(KINDS)}, got {kind!r}.{hint}")
    guessed, kind = kind is None, _guess(name, values) if kind is None else kind
    if kind == "text":
        return TextColumn(name, HashingText())
    if kind in ("field", "lowres"):
        if not grid:
            raise ConditionError(f"condition {name!r}: a field needs items on a grid, and rows of numbers have none.")
        codec = _fitted(name, values, new_codec())
        coarse = kind == "lowres" or (guessed and _divides(codec.event_shape[1:], grid))
        return (LowresColumn if coarse else FieldColumn).fit(name, codec, values.ndim - 1, grid)
    if kind == "label":
        if values.ndim != 1 or any(map(_is_absent, values.tolist())):
            raise ConditionError(f"condition {name!r}: expected one class per item, none missing.")
        return LabelColumn.fit(name, values)
    return VectorColumn.fit(name, values)


def column_from_dict(name: str, state: Mapping[str, Any]) -> Column:
    """The column whose `to_dict` gave `state`."""
    return _COLUMNS[state["kind"]](name, state)


def nearest_classes(value: Any, classes: NDArray[Any]) -> list[str]:
    """At most three classes: those nearest on the line, or in their spelling."""
    words = [str(each) for each in classes.tolist()]
    with contextlib.suppress(TypeError, ValueError):
        apart = np.abs(classes.astype(np.float64) - float(value))
        return [words[i] for i in np.argsort(apart, kind="stable")[:3]]
    return difflib.get_close_matches(str(value), words, n=3, cutoff=0.4) or words[:3]


def _is_absent(value: Any) -> bool:
    """Whether a value is None, NaN, or the missing value of pandas, which is neither equal to itself nor not."""
    try:
        return value is None or bool(value != value)
    except TypeError:
        return True


def _guess(name: str, values: NDArray[Any]) -> str:
    if values.ndim >= 3:
        return "field"
    flat = values.tolist() if values.dtype.kind in "OU" and values.ndim == 1 else []
    words = [value for value in flat if not _is_absent(value)]
    if words and all(isinstance(value, str) for value in words):
        different = set(words)
        spaced = sum(" " in value.strip() for value in different)
        return (
            "text" if name in _TEXT_NAMES or (len(different) > _MANY_WORDS and 2 * spaced > len(different)) else "label"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ConditionError(f"condition {name!r}: expected finite numbers, got NaN or infinity.")
    return "label" if values.ndim == 1 and type_of_target(values) in ("binary", "multiclass") else "vector"


def _fitted(name: str, values: NDArray[Any], codec: Codec) -> Codec:
    try:
        return codec.fit(values)
    except (DataError, ShapeError) as error:
        raise ConditionError(f"condition {name!r}: {error}") from error


def _divides(coarse: Sequence[int], grid: Sequence[int]) -> bool:
    """Whether each side of a grid divides that of another one, and they are not the same."""
    alike = len(coarse) == len(grid) and tuple(coarse) != tuple(grid)
    return alike and all(many % few == 0 for few, many in zip(coarse, grid))


def _standardised(name: str, codec: Codec, axes: int, values: ArrayLike) -> Tensor:
    """Arrays as tensors, channels first; one without its axis of rows is one row."""
    array = np.asarray(values)
    try:
        return codec.encode(array[None] if array.ndim == axes else array)
    except (DataError, ShapeError) as error:
        raise ConditionError(f"condition {name!r}: {error}") from error


def _enlarged(x: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Linear interpolation along each axis; every sum is of two products, so that no row depends on the others."""
    for axis, size in enumerate(grid, start=2):
        most = x.shape[axis] - 1
        place = ((torch.arange(size, dtype=torch.float64) + 0.5) * (most + 1) / size - 0.5).clamp(0, most)
        below = place.long()
        share = (place - below).to(x.dtype).reshape(-1, *(1,) * (x.ndim - axis - 1))
        above = x.index_select(axis, (below + 1).clamp_max(most))
        x = (1 - share) * x.index_select(axis, below) + share * above
    return x


def _numbers(name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConditionError(f"condition {name!r}: expected numbers, got {values.dtype}. {error}") from error
    if not np.isfinite(array).all():
        raise ConditionError(f"condition {name!r}: expected finite numbers, got NaN or infinity.")
    return array
