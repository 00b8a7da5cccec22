"""What a table model was asked to be, checked before anything is fitted."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import ConfigError, DataError, RepeatedTarget
from caminito.data import Column

__all__ = ["check_parameters", "row_weights", "warn_of_repeated_target"]

_CLOSED = {
    "mode": ("auto", "reveal", "denoise", "boost", "network"),
    "copies": ("auto", "allow"),
    "missing": ("model", "fill"),
}
_LEAST = {"start": 0.05, "jitter": 0.0}


def check_parameters(model: Any) -> None:
    """Refuse impossible values of the parameters of a `TableDiffusion`.

    Raises
    ------
    ConfigError
        For the first one.
    """
    for name, known in _CLOSED.items():
        if getattr(model, name) not in known:
            raise ConfigError(f"{name}: expected one of {', '.join(known)}, got {getattr(model, name)!r}.")
    if model.min_rows != "auto" and not _is_count(model.min_rows):
        raise ConfigError(f"min_rows: expected 'auto' or a whole number >= 1, got {model.min_rows!r}.")
    if not _is_count(model.privacy_k):
        raise ConfigError(f"privacy_k: expected a whole number >= 1, got {model.privacy_k!r}.")
    for name, low in _LEAST.items():
        value = getattr(model, name)
        if value != "auto" and not (isinstance(value, int | float | np.number) and low <= value < math.inf):
            raise ConfigError(f"{name}: expected 'auto' or a number >= {low}, got {value!r}.")
    _check_budget(model)


def _check_budget(model: Any) -> None:
    steps, minutes = model.max_steps, model.minutes
    if steps is not None and not _is_count(steps):
        raise ConfigError(f"max_steps: expected a whole number >= 1, got {steps!r}.")
    if minutes is not None and not (isinstance(minutes, int | float | np.number) and 0 < minutes < math.inf):
        raise ConfigError(f"minutes: expected a number > 0, got {minutes!r}.")
    if model.mode != "network" and (steps is not None or minutes is not None):
        name = "minutes" if steps is None else "max_steps"
        raise ConfigError(f"{name}: the budget of mode='network', got mode={model.mode!r}, which asks for none.")
    if model.mode == "network" and model.privacy_k > 1:
        raise ConfigError(
            f"privacy_k: expected 1 with mode='network', which has no leaves to count rows in, got {model.privacy_k}. "
            "Use mode='reveal'."
        )


def row_weights(given: ArrayLike | None, rows: int) -> NDArray[np.float64] | None:
    """The weights of rows, as they were given.

    Raises
    ------
    DataError
        If they are not numbers >= 0, one for each row, or all are 0.
    """
    if given is None:
        return None
    weights = np.asarray(given, dtype=np.float64)
    if weights.shape != (rows,) or not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum() > 0:
        raise DataError(
            f"sample_weight: expected {rows} finite numbers >= 0 that are not all zero, got shape {weights.shape}."
        )
    return weights


def warn_of_repeated_target(matrix: NDArray[np.float64], columns: Sequence[Column]) -> None:
    """Warn where a column says the same as the last one, the target: the same numbers, or the same classes renamed."""
    target, last = columns[-1], matrix[:, -1]
    for column, numbers in zip(columns[:-1], matrix.T):
        if column.distinct != target.distinct or target.distinct < 2:
            continue
        same = np.array_equal(numbers, last, equal_nan=True)
        if not same and 2 * target.distinct <= len(matrix):
            pairs = np.unique(np.nan_to_num(np.column_stack([numbers, last]), nan=-1.0), axis=0)
            same = max(len(np.unique(side)) for side in pairs.T) == len(pairs)
        if same:
            warnings.warn(
                f"y: expected what X does not hold already, got the values of column {column.name!r} again. Leave that "
                "column, or y, out: with both, what is judged on y is answered by the column alone.",
                RepeatedTarget,
                stacklevel=3,
            )


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 1)
