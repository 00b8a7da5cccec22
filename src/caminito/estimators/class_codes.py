"""The classes that a classifier tells apart, and which of them each row of a batch is asked for.

A class is a value that a person gives; its code is its place among the sorted classes, which is what networks take. A
classifier and the diffusion model it leads may know different classes, and then have different codes for one class.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from caminito._errors import ConditionError, DataError
from caminito.denoiser import Condition
from caminito.estimators.condition_columns import nearest_classes
from caminito.estimators.conditions import ConditionCodec
from caminito.nn import Given

__all__ = ["ClassCodes"]


class ClassCodes:
    """Codes of classes.

    Parameters
    ----------
    conditions : ConditionCodec
        With the classes of "y".
    of_model : list of int, optional
        The code of each class of the model, -1 where this classifier does not know it; None for a model without
        classes, whose conditions then hold codes of this classifier.
    """

    def __init__(self, conditions: ConditionCodec, of_model: list[int] | None) -> None:
        self.conditions, self.of_model = conditions, of_model

    @classmethod
    def fit(cls, y: ArrayLike, n: int, known: NDArray[Any] | None) -> ClassCodes:
        """The classes of y, shape (n,), beside those that the model knows.

        Raises
        ------
        DataError
            If y is not one class for each item, or there are not at least two of them.
        """
        values = np.asarray(y)
        if values.shape != (n,):
            raise DataError(f"y: expected {n} classes, one per item, got shape {values.shape}.")
        conditions = ConditionCodec()
        with contextlib.suppress(ValueError, TypeError):  # of what is neither a class nor a number
            conditions.fit({"y": values}, n)
        found = conditions.classes.get("y")
        if found is None:
            raise DataError(
                "y: expected classes (whole numbers, words or booleans, none missing), got real numbers or a mixture. "
                "Bin them first."
            )
        if len(found) < 2:
            raise DataError(f"y: expected at least two classes to tell apart, got one: {found.tolist()[0]!r}.")
        return cls(conditions, None).beside(known)

    def beside(self, known: NDArray[Any] | None) -> ClassCodes:
        """The same classes, beside those that another model knows; None for one without."""
        return ClassCodes(self.conditions, None if known is None else [self._code(value) for value in known.tolist()])

    @property
    def classes(self) -> NDArray[Any]:
        """The classes, sorted."""
        return self.conditions.classes["y"]

    def encode(self, asked: Any) -> Tensor:
        """Codes of a class, shape (), or of one per row, shape (n,); int64.

        Raises
        ------
        ConditionError
            If a class is unknown: the nearest ones are named.
        """
        values = np.asarray(asked)
        if values.ndim > 1:
            raise ConditionError(f"target: expected a class or one per row, got an array of shape {values.shape}.")
        different, inverse = np.unique(values, return_inverse=True)
        codes = [self._code(value) for value in different.tolist()]
        if -1 in codes:
            value = different.tolist()[codes.index(-1)]
            raise ConditionError(
                f"target: expected one of the {len(self.classes)} classes that the classifier was trained on, got "
                f"{value!r}. The nearest: {', '.join(nearest_classes(value, self.classes))}."
            )
        return torch.tensor(codes, dtype=torch.int64)[torch.from_numpy(inverse.reshape(values.shape))]

    def of_rows(self, asked: Tensor | None, cond: Condition, rows: int) -> Tensor:
        """The code that each of so many rows is asked for, int64, shape (rows,).

        Parameters
        ----------
        asked : tensor, shape () or (n,), optional
            Codes as `encode` gives them; one alone is that of all rows, whatever `cond` says.
        cond : mapping, optional
            ``cond["y"]`` holds the codes of these rows, the model's where it has classes.

        Raises
        ------
        ConditionError
            If neither says it, or they disagree; if there are more or fewer rows than `asked` and no ``cond["y"]``.
        """
        given = None if cond is None else cond.get("y")
        if asked is not None and asked.ndim == 0:
            return asked.expand(rows)
        if given is not None:
            codes = self._translated(given, rows)
            if asked is None:
                return codes
            if torch.equal(codes, asked) if len(asked) == rows else bool(torch.isin(codes, asked).all()):
                return codes
            raise ConditionError("log_prob: expected targets that agree with cond['y'], got others. Give one of both.")
        if asked is None:
            raise ConditionError(
                "log_prob: expected the class of each row in cond['y'], got none. Give codes there, or a target."
            )
        if len(asked) != rows:
            raise ConditionError(
                f"log_prob: expected {len(asked)} rows, as many as targets, got {rows}. Rows that come in parts bring "
                "their classes with them: pass the codes of all rows as the condition y."
            )
        return asked

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values for `from_dict`."""
        return {"conditions": self.conditions.to_dict(), "of_model": self.of_model}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> ClassCodes:
        """The codes that `to_dict` described."""
        return cls(ConditionCodec.from_dict(state["conditions"]), state["of_model"])

    def _code(self, value: Any) -> int:
        """The code of a class; -1 if it is none."""
        try:
            return int(self.conditions.encode({"y": [value]}, 1)["y"][0])
        except ConditionError:
            return -1

    def _translated(self, given: Any, rows: int) -> Tensor:
        """Codes of a condition as codes of this classifier, on the CPU."""
        value, present = (given.value, given.present) if isinstance(given, Given) else (given, None)
        count = len(self.classes if self.of_model is None else self.of_model)
        codes = torch.as_tensor(value).cpu()
        got = f"{codes.dtype} of shape {tuple(codes.shape)}"
        if present is not None and not bool(present.all()):
            got = "rows without one"
        elif codes.shape == (rows,) and not codes.is_floating_point():
            beyond = codes[(codes < 0) | (codes >= count)]
            got = f"{int(beyond[0])}" if len(beyond) else ""
        if got:
            raise ConditionError(
                f"cond['y']: expected a code from 0 to {count - 1} for each of {rows} rows, got {got}. They are places "
                "among the sorted classes."
            )
        if self.of_model is None:
            return codes.long()
        own = torch.tensor(self.of_model)[codes.long()]
        if bool((own < 0).any()):
            raise ConditionError(
                "cond['y']: expected classes that the classifier was trained on too, got one that only the model "
                f"knows. Those of the classifier: {', '.join(map(str, self.classes.tolist()))}."
            )
        return own
