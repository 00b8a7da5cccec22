"""Conditions at the facade: arrays by name on one side, tensors and typed entries on the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils.multiclass import type_of_target
from torch import Tensor

from caminito._errors import ConditionError
from caminito._random import Stream, uniform
from caminito.nn import Entry, Label, Vector

__all__ = ["ConditionCodec"]


class ConditionCodec:
    """Labels and vectors, by name.

    A column of integers, words or booleans is a label; real numbers are a vector, standardised.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.classes: dict[str, np.ndarray] = {}
        self.shares: dict[str, list[float]] = {}
        self.moments: dict[str, tuple[list[float], list[float]]] = {}

    def fit(self, columns: Mapping[str, ArrayLike], n: int) -> ConditionCodec:
        """Learn classes and moments of columns with n rows.

        Raises
        ------
        ConditionError
            If a column has another number of rows, or values that are missing.
        """
        for name, column in columns.items():
            values = np.asarray(column)
            if values.ndim == 0 or len(values) != n:
                raise ConditionError(f"condition {name!r}: expected {n} rows (one per item), got shape {values.shape}.")
            if values.ndim == 2 and values.shape[1] == 1:
                values = values[:, 0]
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ConditionError(f"condition {name!r}: expected finite numbers, got NaN or infinity.")
            if values.ndim == 1 and type_of_target(values) in ("binary", "multiclass"):
                classes, counts = np.unique(values, return_counts=True)
                self.entries[name] = Label(len(classes))
                self.classes[name] = classes
                self.shares[name] = (counts / counts.sum()).tolist()
            else:
                table = values.reshape(n, -1).astype(np.float64)
                std = table.std(0)
                self.moments[name] = (table.mean(0).tolist(), np.where(std > 0, std, 1.0).tolist())
                self.entries[name] = Vector(table.shape[1])
        return self

    def encode(self, columns: Mapping[str, ArrayLike], n: int) -> dict[str, Tensor]:
        """Tensors with n rows; one value serves all rows.

        Raises
        ------
        ConditionError
            For an unknown name or class (the valid ones are named), or another number of rows.
        """
        out = {}
        for name, column in columns.items():
            if name not in self.entries:
                known = ", ".join(self.entries) or "none: it was trained without conditions"
                raise ConditionError(f"condition {name!r} is unknown to this model. Known: {known}.")
            values = np.asarray(column)
            values = values.reshape(1) if values.ndim == 0 else values
            if name in self.classes:
                tensor = torch.from_numpy(self._codes(name, values.reshape(-1)))
            else:
                mean, std = (np.asarray(m) for m in self.moments[name])
                if values.size % len(mean):
                    raise ConditionError(
                        f"condition {name!r}: expected {len(mean)} numbers per row, got {values.size}."
                    )
                tensor = torch.from_numpy(((values.reshape(-1, len(mean)) - mean) / std).astype(np.float32))
            if len(tensor) not in (1, n):
                raise ConditionError(
                    f"condition {name!r}: expected {n} rows (= n_samples) or 1, got {len(tensor)}. "
                    "Pass one row per sample, or a single row for all."
                )
            out[name] = tensor.expand(n, *tensor.shape[1:]).contiguous()
        return out

    def _codes(self, name: str, values: np.ndarray) -> np.ndarray:
        classes = self.classes[name]
        table = {str(value): code for code, value in enumerate(classes.tolist())}
        codes = []
        for value in values.tolist():
            code = table.get(str(value), table.get(str(float(value))) if isinstance(value, int) else None)
            if code is None:
                shown = ", ".join(list(table)[:20]) + (", ..." if len(table) > 20 else "")
                raise ConditionError(
                    f"class {value!r} of {name!r} was not in the training data. Known classes: {shown}."
                )
            codes.append(code)
        return np.asarray(codes, dtype=np.int64)

    def draw(self, n: int, seed: int, first: int = 0) -> dict[str, Tensor]:
        """Labels at their training frequencies, row i a function of (seed, first + i); vectors are left absent."""
        out = {}
        for number, (name, shares) in enumerate(self.shares.items()):
            u = uniform(seed, Stream.LABEL, number, n, start=first)
            edges = torch.cumsum(torch.tensor(shares, dtype=torch.float64), 0)
            out[name] = torch.searchsorted(edges, u, right=True).clamp_max(len(shares) - 1)
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values for `from_dict`."""
        return {
            name: {"classes": self.classes[name].tolist(), "shares": self.shares[name]}
            if name in self.classes
            else {"mean": self.moments[name][0], "std": self.moments[name][1]}
            for name in self.entries
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> ConditionCodec:
        """The codec that `to_dict` described."""
        codec = cls()
        for name, facts in state.items():
            if "classes" in facts:
                codec.classes[name] = np.asarray(facts["classes"])
                codec.shares[name] = facts["shares"]
                codec.entries[name] = Label(len(facts["classes"]))
            else:
                codec.moments[name] = (facts["mean"], facts["std"])
                codec.entries[name] = Vector(len(facts["mean"]))
        return codec
