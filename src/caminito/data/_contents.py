"""What a reader found at a path, before it is checked and described, and the map from label values to class numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caminito._errors import DataError

__all__ = ["Contents", "class_numbers", "listing"]


@dataclass
class Contents:
    """Items of one shape with what was found beside them; `facts` are plain JSON values of the reader's own."""

    kind: str
    items: NDArray[Any]
    labels: NDArray[Any] | None = None  # values as found: names, integers, or continuous
    captions: list[str | None] | None = None
    bad: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def class_numbers(labels: NDArray[Any]) -> tuple[NDArray[np.int64], list[str]] | None:
    """Class number of each item and the sorted class names; None if the labels are a continuous quantity.

    Raises
    ------
    DataError
        If the labels are neither numbers nor text, or not finite.
    """
    if labels.dtype.kind not in "biufUS":
        raise DataError(f"labels: expected integers or text, one per item, got dtype {labels.dtype}.")
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            missing = int((~np.isfinite(labels)).sum())
            raise DataError(f"labels: expected a label for every item, got {missing} NaN or infinite ones.")
        if not (labels == np.rint(labels)).all():
            return None
        labels = labels.astype(np.int64)
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    values, numbers = np.unique(labels, return_inverse=True)
    return numbers.astype(np.int64), [str(value) for value in values]


def listing(entries: list[tuple[str, str]], shown: int = 10) -> str:
    """One line per (file, reason), the first ten, and how many more there are."""
    lines = [f"  {name}: {reason}" for name, reason in entries[:shown]]
    if len(entries) > shown:
        lines.append(f"  ... and {len(entries) - shown} more")
    return "\n".join(lines)
