"""Conditions at the facade: arrays by name on one side, tensors and typed entries on the other."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from caminito._errors import ConditionError, ConfigError
from caminito._random import Stream, uniform
from caminito.data import ArrayCodec, Codec
from caminito.estimators.condition_columns import (
    Column,
    KnownColumn,
    LabelColumn,
    LowresColumn,
    column_for,
    column_from_dict,
)
from caminito.nn import Entry, Given

__all__ = ["ConditionCodec", "named"]


def named(condition: Any) -> dict[str, Any]:
    """What is asked for, by name: a mapping or the columns of a frame as they are, anything else as y."""
    if isinstance(condition, Mapping):
        return dict(condition)
    if hasattr(condition, "columns") and hasattr(condition, "to_numpy"):
        return {str(name): condition[name].to_numpy() for name in condition.columns}
    return {"y": condition}


class ConditionCodec:
    """Labels, vectors, texts, fields and low resolutions, by name.

    Attributes
    ----------
    columns : dict of str to Column
    needed : tuple of str
        Names that no row may lack, since samples are led to them.
    """

    def __init__(self, columns: Mapping[str, Column] | None = None, needed: tuple[str, ...] = ()) -> None:
        self.columns, self.needed = dict(columns or {}), needed

    @property
    def entries(self) -> dict[str, Entry]:
        """What a network must declare."""
        return {name: column.entry for name, column in self.columns.items()}

    @property
    def classes(self) -> dict[str, NDArray[Any]]:
        """Classes of the labels."""
        return {name: column.classes for name, column in self.columns.items() if isinstance(column, LabelColumn)}

    @property
    def lowres(self) -> list[str]:
        """Names of those of low resolution."""
        return [name for name, column in self.columns.items() if isinstance(column, LowresColumn)]

    @property
    def known(self) -> str | None:
        """Name of that which tells entries of the items themselves."""
        return next((name for name, column in self.columns.items() if isinstance(column, KnownColumn)), None)

    @property
    def of_items(self) -> set[str]:
        """Names of those that are made of the items themselves, and not asked of them."""
        return {name for name, column in self.columns.items() if isinstance(column, LowresColumn | KnownColumn)}

    def fit(
        self,
        columns: Mapping[str, ArrayLike],
        n: int,
        *,
        kinds: Mapping[str, Any] | None = None,
        new_codec: Callable[[], Codec] = ArrayCodec,
        grid: tuple[int, ...] = (),
    ) -> ConditionCodec:
        """Learn what columns with n rows are, and their classes and moments.

        Parameters
        ----------
        columns : mapping of arrays
        n : int
        kinds : mapping, optional
            What some of them are; see `column_for`.
        new_codec, grid : of the items, for fields

        Raises
        ------
        ConditionError
            If a column has another number of rows, or values that are missing.
        ConfigError
            If a kind is unknown, or one of a condition that is not there.
        """
        asked = dict(kinds or {})
        if unknown := set(asked) - set(columns):
            raise ConfigError(f"conditions: {sorted(unknown)} were not given. Given: {', '.join(columns) or 'none'}.")
        for name, column in columns.items():
            values = np.asarray(column)
            if values.ndim == 0 or len(values) != n:
                raise ConditionError(f"condition {name!r}: expected {n} rows (one per item), got shape {values.shape}.")
            if values.ndim == 2 and values.shape[1] == 1:
                values = values[:, 0]
            self.columns[name] = column_for(name, values, asked.get(name), new_codec, grid)
        return self

    def encode(self, columns: Mapping[str, ArrayLike], n: int) -> dict[str, Tensor | Given]:
        """Tensors with n rows; one value serves all rows.

        Raises
        ------
        ConditionError
            For an unknown name or class (the valid ones are named), another number of rows, or one that lacks what is
            needed.
        """
        out: dict[str, Tensor | Given] = {}
        for name, values in columns.items():
            if name not in self.columns:
                near = difflib.get_close_matches(name, self.columns, n=1)
                known = ", ".join(self.columns) or "none: it was trained without conditions"
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ConditionError(f"condition {name!r} is unknown to this model. Known: {known}.{hint}")
            given = self.columns[name].encode(values)
            if len(given.value) not in (1, n):
                raise ConditionError(
                    f"condition {name!r}: expected {n} rows (= n_samples) or 1, got {len(given.value)}. "
                    "Pass one row per sample, or a single row for all."
                )
            parts = [None if v is None else v.expand(n, *v.shape[1:]).contiguous() for v in given]
            value = parts[0]
            assert value is not None
            out[name] = value if all(part is None for part in parts[1:]) else Given(value, *parts[1:])
        for name in self.needed:
            self._refuse_holes(name, out.get(name), n)
        return out

    def draw(self, n: int, seed: int, first: int = 0) -> dict[str, Tensor | Given]:
        """Labels at their training frequencies, row i a function of (seed, first + i); all else is left absent."""
        out: dict[str, Tensor | Given] = {}
        labels = {name: column for name, column in self.columns.items() if isinstance(column, LabelColumn)}
        for number, (name, column) in enumerate(labels.items()):
            u = uniform(seed, Stream.LABEL, number, n, start=first)
            edges = torch.cumsum(torch.tensor(column.shares, dtype=torch.float64), 0)
            out[name] = torch.searchsorted(edges, u, right=True).clamp_max(len(column.shares) - 1)
        return out

    def draw_values(self, n: int, seed: int, first: int = 0) -> dict[str, NDArray[Any]]:
        """What `draw` draws, as the classes themselves."""
        drawn = self.draw(n, seed, first)
        return {name: classes[np.asarray(drawn[name])] for name, classes in self.classes.items()}

    def joined(self, other: ConditionCodec) -> ConditionCodec:
        """Both; names that both have are those of this one."""
        return ConditionCodec({**other.columns, **self.columns}, self.needed)

    def needing(self, *names: str) -> ConditionCodec:
        """The same, where no row may lack these."""
        return ConditionCodec(self.columns, (*self.needed, *names))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values for `from_dict`."""
        return {name: column.to_dict() for name, column in self.columns.items()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> ConditionCodec:
        """The codec that `to_dict` described."""
        return cls({name: column_from_dict(name, facts) for name, facts in state.items()})

    def _refuse_holes(self, name: str, given: Tensor | Given | None, n: int) -> None:
        """Refuse rows that lack what samples are led to."""
        if given is None:
            where = "any sample"
        else:
            present = given.present if isinstance(given, Given) else None
            holes = [] if present is None else (~present).nonzero().flatten().tolist()
            if not holes:
                return
            where = f"sample {holes[0]}" + (f" and {len(holes) - 1} more" if len(holes) > 1 else "")
        classes = self.classes.get(name)
        known = "" if classes is None else f" Ask for one of {', '.join(map(str, classes[:20]))}"
        more = "" if classes is None or len(classes) <= 20 else ", ..."
        raise ConditionError(
            f"condition {name!r}: expected a class for each of the {n} samples, because a classifier leads each to its "
            f"own, got None (no class) for {where}.{known}{more}, or draw those without it as guide."
        )
