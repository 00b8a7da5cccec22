"""Conditions: named, typed entries, each with its own way into a network and its own null.

=========  ===========================  ================================  ===================================
entry      value                        way in                            where absent
=========  ===========================  ================================  ===================================
`Label`    integers (B,)                added to the label embedding      a learned row of the table
`Vector`   floats (B, size)             added to the label embedding      a learned vector
`Field`    floats (B, channels, grid)   input channels beside x           zeros; a further channel says so
`Noised`   the same, and levels (B,)    as a field; the level is added    as a field, and a learned vector
                                        to the label embedding
`Known`    the same, and a mask of it   as two fields: what is known,     nothing is known
                                        and where
`Tokens`   floats (B, length, size)     cross-attention, and their mean   a learned token, always visible,
`Words`    integers (B, length, grams)  added to the label embedding      and a learned vector
=========  ===========================  ================================  ===================================

A sequence (tokens, words) is attended to where the network has a grid, and its mean, through a two-layer perceptron, is
added to the label embedding in every network. A row in which no token is real is an absent row.

At call time `cond` maps names to a tensor or a `Given`. A name that `cond` lacks is absent in every row; `present`
makes it absent in some. An absent row gives the same output whatever its value holds, NaN included.
Source: Saharia et al. 2022 (Imagen), section 2.5: attention to the normed tokens of a text, and their mean.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from caminito._errors import ConditionError, ConfigError
from caminito.nn.embed import LabelEmbedding

__all__ = [
    "Cond",
    "Conditioning",
    "Entry",
    "Field",
    "Given",
    "Injection",
    "Known",
    "Label",
    "Noised",
    "Tokens",
    "Vector",
    "Words",
    "entry_from_dict",
    "entry_to_dict",
]


@dataclass(frozen=True)
class Label:
    """One of `classes` classes, given as an integer 0 .. classes - 1 per row."""

    classes: int


@dataclass(frozen=True)
class Vector:
    """`size` real numbers per row."""

    size: int


@dataclass(frozen=True)
class Field:
    """`channels` channels on the same grid as the event."""

    channels: int


@dataclass(frozen=True)
class Noised:
    """`channels` channels on the same grid as the event, with noise in them, and how much: `Given.level`."""

    channels: int


@dataclass(frozen=True)
class Known:
    """`channels` channels on the same grid as the event, of which some entries are known: those of `Given.mask`."""

    channels: int


@dataclass(frozen=True)
class Tokens:
    """A sequence of at most `length` tokens of `size` numbers each."""

    size: int
    length: int


@dataclass(frozen=True)
class Words:
    """A text of at most `length` words, each `grams` ids: of the word and of the pieces it is made of.

    An id from 1 to `buckets` is a row of one table that is learned with the network; 0 fills the places that a word
    leaves empty. A word is the sum of its rows over the root of their number, so that words with many pieces are as
    long as words with few. Source: Bojanowski et al. 2017, section 3.2, for words as sums of hashed pieces.
    """

    buckets: int
    length: int
    grams: int


Entry: TypeAlias = Label | Vector | Field | Noised | Known | Tokens | Words

_ENTRIES: dict[str, type[Entry]] = {
    "label": Label,
    "vector": Vector,
    "field": Field,
    "noised": Noised,
    "known": Known,
    "tokens": Tokens,
    "words": Words,
}


class Given(NamedTuple):
    """A condition's value with what is known about it.

    Attributes
    ----------
    value : Tensor
        First axis: rows.
    present : bool Tensor (B,), optional
        False where the row has no value and the null is meant. None: present in every row.
    mask : bool Tensor (B, L) or that of a field, optional
        For tokens and words: True where one is real. None: every one is. For fields known in part: True where they are.
    level : Tensor (B,), optional
        For noised fields: the share s of noise in sqrt(1 - s^2) field + s eps. None: 0 in every row.
    """

    value: Tensor
    present: Tensor | None = None
    mask: Tensor | None = None
    level: Tensor | None = None

    @classmethod
    def of(cls, value: Tensor | Given) -> Given:
        """A bare tensor is present in every row."""
        return value if isinstance(value, Given) else cls(value)

    @property
    def is_partial(self) -> bool:
        """Whether it is a field of which some entries are known."""
        return self.mask is not None and self.mask.shape == self.value.shape


Cond: TypeAlias = Mapping[str, Tensor | Given] | None


class Injection(NamedTuple):
    """What a network receives of its conditions; None where no entry of that kind was declared.

    Attributes
    ----------
    embedding : Tensor (B, size)
        To be added to the label embedding.
    fields : Tensor (B, channels, *grid)
        To be concatenated to the input.
    tokens, mask : Tensor (B, L, token_size), bool Tensor (B, L)
        A sequence to attend to; at least one token of each row is visible.
    """

    embedding: Tensor | None
    fields: Tensor | None
    tokens: Tensor | None
    mask: Tensor | None


def entry_to_dict(entry: Entry) -> dict[str, Any]:
    """Plain JSON form of an entry: its fields and a `kind`.

    Raises
    ------
    ConfigError
        If it is no entry, or a number is not a positive integer.
    """
    _check_entry(type(entry).__name__.lower(), entry)
    return {"kind": type(entry).__name__.lower(), **dataclasses.asdict(entry)}


def entry_from_dict(plain: Mapping[str, Any]) -> Entry:
    """Entry that `entry_to_dict` wrote.

    Raises
    ------
    ConfigError
        If the kind is unknown, a field is missing or unknown, or a number is not a positive integer.
    """
    values = dict(plain)
    kind = values.pop("kind", None)
    if kind not in _ENTRIES:
        raise ConfigError(f"condition: expected a kind among {', '.join(_ENTRIES)}, got {kind!r}.")
    expected = {field.name for field in dataclasses.fields(_ENTRIES[kind])}
    if set(values) != expected:
        raise ConfigError(
            f"condition of kind {kind!r}: expected {sorted(expected)}, got {sorted(values)}. "
            "Write each of these fields once and no other."
        )
    entry: Entry = _ENTRIES[kind](**values)
    _check_entry(kind, entry)
    return entry


def _check_entry(name: str, entry: Entry) -> None:
    """Refuse sizes that are not positive integers."""
    if not isinstance(entry, Label | Vector | Field | Noised | Known | Tokens | Words):
        raise ConfigError(
            f"condition {name!r}: expected Label, Vector, Field, Noised, Known, Tokens or Words, got {entry!r}."
        )
    for key, value in dataclasses.asdict(entry).items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"condition {name!r}: {key} must be a positive integer, got {value!r}.")


class Conditioning(nn.Module):
    """The conditions of a network, ready to be injected.

    Parameters
    ----------
    entries : mapping of str to Entry
        Names and kinds of the conditions.
    size : int
        Size of the label embedding.
    token_size : int, optional
        Size of the tokens handed to cross-attention; None for a network without one, which sees their mean only.

    Attributes
    ----------
    field_channels : int
        Channels that the fields add to the input: the sum of (channels + 1), and 2 channels of those known in part.

    Raises
    ------
    ConfigError
        If a name cannot name a parameter or a size is not a positive integer.
    """

    def __init__(self, entries: Mapping[str, Entry], size: int, token_size: int | None) -> None:
        super().__init__()
        self.entries = dict(entries)
        ways: dict[str, nn.Module] = {}
        for name, entry in self.entries.items():
            if not name or "." in name:
                raise ConfigError(f"condition {name!r}: a name must not be empty or contain a dot.")
            _check_entry(name, entry)
            match entry:
                case Label():
                    ways[f"to_{name}"] = _LabelWay(name, entry, size)
                case Vector():
                    ways[f"to_{name}"] = _VectorWay(name, entry, size)
                case Field():
                    ways[f"to_{name}"] = _FieldWay(name, entry.channels)
                case Noised():
                    ways[f"to_{name}"] = _NoisedWay(name, entry, size)
                case Known():
                    ways[f"to_{name}"] = _KnownWay(name, entry.channels)
                case Tokens() | Words():
                    ways[f"to_{name}"] = _SequenceWay(name, entry, size, token_size)
        self.ways = nn.ModuleDict(ways)
        self.field_channels = sum(
            2 * e.channels if isinstance(e, Known) else e.channels + 1
            for e in self.entries.values()
            if isinstance(e, Field | Noised | Known)
        )

    def forward(self, x: Tensor, cond: Cond) -> Injection:
        """Turn `cond` into what the network injects.

        Parameters
        ----------
        x : Tensor (B, C, *grid)
            The network's input: rows, grid and device of the conditions follow it.
        cond : mapping of str to Tensor or Given, optional
            Missing names are absent in every row.

        Raises
        ------
        ConditionError
            If a name is unknown, or a value has the wrong type, rows, width or grid, or (on the CPU) a class or an id
            of a word is out of range.
        """
        given = dict(cond or {})
        for name in given:
            if name not in self.entries:
                raise ConditionError(_unknown(name, self.entries))
        added: list[Tensor] = []
        fields: list[Tensor] = []
        tokens: list[Tensor] = []
        masks: list[Tensor] = []
        for name, entry in self.entries.items():
            value = given.get(name)
            if isinstance(value, Tensor):
                value = Given(value)
            if value is not None:
                _check_rows(name, value, x.shape[0])
                _check_level(name, value, entry)
            result = self.ways[f"to_{name}"](x, value)
            match entry:
                case Label() | Vector():
                    added.append(result)
                case Field() | Known():
                    fields.append(result)
                case Noised():
                    field, level = result
                    fields.append(field)
                    added.append(level)
                case Tokens() | Words():
                    pooled, sequence, mask = result
                    added.append(pooled)
                    if sequence is not None:
                        tokens.append(sequence)
                        masks.append(mask)
        return Injection(
            functools.reduce(torch.add, added) if added else None,
            torch.cat(fields, dim=1) if fields else None,
            torch.cat(tokens, dim=1) if tokens else None,
            torch.cat(masks, dim=1) if masks else None,
        )


class _LabelWay(nn.Module):
    """A table of classes + 1 rows; the last is the null."""

    def __init__(self, name: str, entry: Label, size: int) -> None:
        super().__init__()
        self.name = name
        self.classes = entry.classes
        self.table = nn.Embedding(entry.classes + 1, size)

    def forward(self, x: Tensor, given: Given | None) -> Tensor:
        if given is None:
            index = torch.full((x.shape[0],), self.classes, dtype=torch.long, device=x.device)
        else:
            index = self._index(given)
        row: Tensor = self.table(index)
        return row

    def _index(self, given: Given) -> Tensor:
        value = given.value
        if value.ndim != 1 or value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
            raise ConditionError(
                f"condition {self.name!r}: expected integers of shape (rows,), got {value.dtype} of shape "
                f"{tuple(value.shape)}. Pass one class index per row."
            )
        index = value.long()
        if given.present is not None:
            index = torch.where(given.present, index, self.classes)
        allowed = self.classes - 1 if given.present is None else self.classes
        if (found := _beyond(index, allowed)) is not None:
            raise ConditionError(
                f"condition {self.name!r}: expected classes 0 to {self.classes - 1}, got values from {found[0]} to "
                f"{found[1]}. Use present=False for rows without a class."
            )
        return index


class _VectorWay(nn.Module):
    """A two-layer perceptron, and a learned vector for absent rows."""

    def __init__(self, name: str, entry: Vector, size: int) -> None:
        super().__init__()
        self.name = name
        self.size = entry.size
        self.inner = nn.Linear(entry.size, size)
        self.outer = nn.Linear(size, size)
        self.null = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor, given: Given | None) -> Tensor:
        if given is None:
            return self.null.expand(x.shape[0], -1)
        value = given.value
        _check_shape(self.name, value, (x.shape[0], self.size))
        value = _zero_where_absent(value, given.present)
        hidden: Tensor = self.outer(nn.functional.silu(self.inner(value.to(self.null.dtype))))
        if given.present is None:
            return hidden
        return torch.where(given.present[:, None], hidden, self.null.to(hidden.dtype))


class _FieldWay(nn.Module):
    """The field, zeroed where absent, and one channel of ones where it is present."""

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        self.name = name
        self.channels = channels

    def forward(self, x: Tensor, given: Given | None) -> Tensor:
        rows, grid = x.shape[0], x.shape[2:]
        if given is None:
            return x.new_zeros((rows, self.channels + 1, *grid))
        _check_shape(self.name, given.value, (rows, self.channels, *grid))
        value = _zero_where_absent(given.value, given.present).to(x.dtype)
        if given.present is None:
            presence = x.new_ones((rows, 1, *grid))
        else:
            shape = (rows, *(1,) * (x.ndim - 1))
            presence = given.present.to(x.dtype).reshape(shape).expand(rows, 1, *grid)
        return torch.cat([value, presence], dim=1)


class _NoisedWay(nn.Module):
    """The field as `_FieldWay` has it, and its level as the label of the network is embedded."""

    def __init__(self, name: str, entry: Noised, size: int) -> None:
        super().__init__()
        self.field = _FieldWay(name, entry.channels)
        self.level = LabelEmbedding(64, size)
        self.null = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor, given: Given | None) -> tuple[Tensor, Tensor]:
        field = self.field(x, given)
        if given is None:
            return field, self.null.expand(x.shape[0], -1)
        level = x.new_zeros(x.shape[0]) if given.level is None else _zero_where_absent(given.level, given.present)
        embedding: Tensor = self.level(level)
        if given.present is not None:
            embedding = torch.where(given.present[:, None], embedding, self.null.to(embedding.dtype))
        return field, embedding


class _KnownWay(nn.Module):
    """What is known of a field, 0 elsewhere, and as many channels of ones where it is known."""

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        self.name = name
        self.channels = channels

    def forward(self, x: Tensor, given: Given | None) -> Tensor:
        rows, grid = x.shape[0], x.shape[2:]
        if given is None:
            return x.new_zeros((rows, 2 * self.channels, *grid))
        _check_shape(self.name, given.value, (rows, self.channels, *grid))
        mask = torch.ones_like(given.value, dtype=torch.bool) if given.mask is None else given.mask
        if mask.shape != given.value.shape or mask.dtype != torch.bool:
            raise ConditionError(
                f"condition {self.name!r}: expected a bool mask of shape {tuple(given.value.shape)}, True where it is "
                f"known, got {mask.dtype} of shape {tuple(mask.shape)}."
            )
        if given.present is not None:
            mask = mask & given.present.reshape(-1, *(1,) * (x.ndim - 1))
        return torch.cat([torch.where(mask, given.value, 0).to(x.dtype), mask.to(x.dtype)], dim=1)


class _SequenceWay(nn.Module):
    """Tokens or words with their positions: a sequence to attend to, and its mean.

    The sequence begins with a learned token that is always visible; without attention (`token_size` None) there is
    none. Each token passes the perceptron before the mean is taken, with its position, so that their order counts.
    Normed, tokens of any scale are as large as their positions are meant for.
    """

    def __init__(self, name: str, entry: Tokens | Words, size: int, token_size: int | None) -> None:
        super().__init__()
        self.name = name
        self.length = entry.length
        width = size if token_size is None else token_size
        self.read = _WordTable(name, entry, width) if isinstance(entry, Words) else _Projection(name, entry, width)
        self.norm = nn.LayerNorm(width)
        self.position = nn.Parameter(torch.randn(entry.length, width) * 0.5)
        self.null = None if token_size is None else nn.Parameter(torch.randn(token_size) * 0.02)
        self.inner = nn.Linear(width, size)
        self.outer = nn.Linear(size, size)
        self.nothing = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor, given: Given | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        rows = x.shape[0]
        if given is None:
            mask = torch.zeros((rows, 0), dtype=torch.bool, device=x.device)
            tokens = self.position.new_zeros((rows, 0, self.position.shape[1]))
            pooled = self.nothing.expand(rows, -1)
        else:
            length = given.value.shape[1] if given.value.ndim == 3 else self.length
            if length > self.length:
                raise ConditionError(
                    f"condition {self.name!r}: expected at most {self.length} tokens, got {length}. Truncate the "
                    "sequences, or declare a longer entry and train again."
                )
            values, mask = self.read(given.value, _visible(self.name, given, length))
            tokens = self.norm(values) + self.position[:length]
            pooled = self._pool(tokens, mask)
        if self.null is None:
            return pooled, None, None
        null = self.null.expand(rows, 1, -1).to(tokens.dtype)
        seen = torch.ones((rows, 1), dtype=torch.bool, device=x.device)
        return pooled, torch.cat([null, tokens], dim=1), torch.cat([seen, mask], dim=1)

    def _pool(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Mean over the real tokens of a two-layer perceptron, whose second layer may wait until after the mean."""
        hidden = torch.where(mask[..., None], nn.functional.silu(self.inner(tokens)), 0)
        count = mask.sum(1, keepdim=True)
        mean: Tensor = self.outer(hidden.sum(1) / count.clamp(min=1))
        return torch.where(count > 0, mean, self.nothing.to(mean.dtype))


class _Projection(nn.Module):
    """Tokens in the size of the network, and which of them are real."""

    def __init__(self, name: str, entry: Tokens, width: int) -> None:
        super().__init__()
        self.name = name
        self.size = entry.size
        self.linear = nn.Linear(entry.size, width)

    def forward(self, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        _check_shape(self.name, value, (*mask.shape, self.size))
        return self.linear(torch.where(mask[..., None], value, 0).to(self.linear.weight.dtype)), mask


class _WordTable(nn.Module):
    """Words as sums of the rows of their pieces, over the root of how many there are, and which of them are real.

    A word without any piece is none, whatever the mask says.
    """

    def __init__(self, name: str, entry: Words, width: int) -> None:
        super().__init__()
        self.name = name
        self.buckets, self.grams = entry.buckets, entry.grams
        self.table = nn.EmbeddingBag(entry.buckets + 1, width, mode="sum", padding_idx=0)

    def forward(self, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
            raise ConditionError(f"condition {self.name!r}: expected integers, got {value.dtype}. Pass ids of words.")
        _check_shape(self.name, value, (*mask.shape, self.grams))
        ids = torch.where(mask[..., None], value, 0).long()
        if (found := _beyond(ids, self.buckets)) is not None:
            raise ConditionError(
                f"condition {self.name!r}: expected ids from 0 (nothing) to {self.buckets}, got values from {found[0]} "
                f"to {found[1]}. Encode the texts with the buckets of the network."
            )
        count = (ids > 0).sum(-1)
        words: Tensor = self.table(ids.flatten(0, 1)).unflatten(0, mask.shape)
        return words * count.clamp(min=1).to(words.dtype).rsqrt()[..., None], mask & (count > 0)


def _visible(name: str, given: Given, length: int) -> Tensor:
    """True where a token is real and its row present, shape (B, length)."""
    rows = given.value.shape[0]
    mask = torch.ones((rows, length), dtype=torch.bool, device=given.value.device)
    if given.mask is not None:
        if given.mask.shape != mask.shape or given.mask.dtype != torch.bool:
            raise ConditionError(
                f"condition {name!r}: expected a bool mask of shape {tuple(mask.shape)}, got "
                f"{given.mask.dtype} of shape {tuple(given.mask.shape)}."
            )
        mask = given.mask
    return mask if given.present is None else mask & given.present[:, None]


def _beyond(index: Tensor, highest: int) -> tuple[int, int] | None:
    """Least and greatest index where one is out of 0 .. highest; looked at on the CPU only.

    Reading a value back would stall a GPU, whose own lookup refuses bad indices anyway.
    """
    if index.device.type != "cpu" or torch.compiler.is_compiling() or not index.numel():
        return None
    low, high = (int(v) for v in torch.aminmax(index))
    return (low, high) if low < 0 or high > highest else None


def _zero_where_absent(value: Tensor, present: Tensor | None) -> Tensor:
    """Zero the absent rows, so that not even a NaN in them reaches a gradient."""
    if present is None:
        return value
    return torch.where(present.reshape(-1, *(1,) * (value.ndim - 1)), value, 0)


def _check_rows(name: str, given: Given, rows: int) -> None:
    """Refuse a condition whose rows are not those of x."""
    if given.value.ndim == 0 or given.value.shape[0] != rows:
        got = given.value.shape[0] if given.value.ndim else "a single number"
        raise ConditionError(
            f"condition {name!r}: expected {rows} rows (as many as x), got {got}. Pass one row per sample."
        )
    present = given.present
    if present is not None and (present.shape != (rows,) or present.dtype != torch.bool):
        raise ConditionError(
            f"condition {name!r}: expected `present` to be bool of shape ({rows},), got {present.dtype} of shape "
            f"{tuple(present.shape)}."
        )


def _check_level(name: str, given: Given, entry: Entry) -> None:
    """Refuse levels of what holds no noise, and those that are not one number per row."""
    level = given.level
    if level is None:
        return
    if not isinstance(entry, Noised):
        raise ConditionError(
            f"condition {name!r}: expected no noise level, this {type(entry).__name__} has none. Declare it Noised."
        )
    if level.shape != given.value.shape[:1] or not level.is_floating_point():
        raise ConditionError(
            f"condition {name!r}: expected `level` to be floats of shape {tuple(given.value.shape[:1])}, got "
            f"{level.dtype} of shape {tuple(level.shape)}. One noise level per row."
        )


def _check_shape(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a condition of another width or grid than declared."""
    if tuple(value.shape) != shape:
        raise ConditionError(
            f"condition {name!r}: expected shape {shape}, got {tuple(value.shape)}. The first axis is the rows; the "
            "others follow from the entry declared at construction and the grid of x."
        )


def _unknown(name: str, entries: Mapping[str, Entry]) -> str:
    """Message for a name that was never declared."""
    if not entries:
        return f"condition {name!r}: this network was built without conditions. Leave `cond` out."
    near = difflib.get_close_matches(name, entries, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"condition {name!r}: expected one of {', '.join(map(repr, entries))}.{hint}"
