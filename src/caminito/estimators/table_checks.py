"""What a table model was asked to be, checked before anything is fitted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import ConfigError, DataError

__all__ = ["check_parameters", "row_weights"]

_CLOSED = {"mode": ("auto", "reveal", "denoise"), "copies": ("auto", "allow"), "missing": ("model", "fill")}
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


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 1)
