"""Regressors as a denoiser: trees, or anything else that fits and predicts, in the place of a network.

    x0_hat = skip x_t + out f(inp x_t),

one f for each noise level, or one for all of them that takes the level as one more column. The coefficients are those
of `Precondition`, so a regressor predicts x0, eps, v or the previous step as a network would.

A tree is constant on its leaves. In x0 that costs little: far from the data E[x0 | x_t] hardly moves, close to them it
is a staircase. The noise and the velocity move with x_t at every level, and a tree has to build that line of steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caminito._errors import ConditionError, ConfigError, DataError, ShapeError
from caminito.denoiser.base import Condition, Denoiser, rows_of
from caminito.denoiser.precondition import Precondition
from caminito.process import Process, times
from caminito.process.base import Time, as_time

__all__ = ["Regressor", "RegressorDenoiser", "regressor_columns"]


class Regressor(Protocol):
    """What scikit-learn calls a regressor, once fitted."""

    def predict(self, X: Any, /) -> Any:
        """Columns (n, k) to values (n,) or (n, d)."""


class RegressorDenoiser(Denoiser):
    """x0_hat = skip x_t + out f(inp x_t, conditions); see `caminito.training.fit_regressors`, which makes one.

    Parameters
    ----------
    regressors : sequence of fitted regressors
        One for each of `at`, or one alone, which then sees the label log(sigma / alpha) / 4 as its last column.
    precondition : Precondition
    process : Process
    event_shape : tuple of int
    at : float64 tensor, shape (L,), times > 0, optional
        Noise level of each regressor. At another time the one of the nearest level answers, with the coefficients of
        the time that is asked for.
    alone : sequence of fitted regressors, optional
        As many, which know no conditions: they answer for rows without any. A tree that is only shown missing values
        mixes them with those of one side of its splits.
    names : sequence of str, optional
        Of the conditions that the regressors were fitted with: a call has to give just these, or none where there are
        regressors `alone`. Not checked unless given.

    Raises
    ------
    ConfigError
        If the number of regressors is not that of the times, or 'previous' is asked of a process without steps.
    """

    def __init__(
        self,
        regressors: Sequence[Regressor],
        precondition: Precondition,
        process: Process,
        event_shape: tuple[int, ...],
        *,
        at: Tensor | None = None,
        alone: Sequence[Regressor] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        expected = 1 if at is None else len(at)
        for each in (regressors, alone):
            if each is not None and len(each) != expected:
                what = "one that sees the noise level" if at is None else f"one for each of {expected} times"
                raise ConfigError(f"regressors: expected {what}, got {len(each)}.")
        precondition.check(process)
        self.regressors, self.precondition, self.process = list(regressors), precondition, process
        self.event_shape = tuple(event_shape)
        self.at, self.alone = at, None if alone is None else list(alone)
        self.names = None if names is None else sorted(names)
        self._labels = None if at is None else precondition.coefficients(process, at).label

    @property
    def mixes_conditions(self) -> bool:
        """Whether there are regressors for rows without conditions."""
        return self.alone is not None

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """E[x0 | x_t] as the regressors have learnt it, in the dtype of x_t.

        Raises
        ------
        ConditionError
            If a row has some of the conditions and not all, or one that is unknown.
        """
        self._check_names(cond)
        if self.alone is None:
            return self._mean(self.regressors, x_t, t, cond)
        told, values = _told(cond, x_t)
        if bool(told.all()) or not bool(told.any()):
            return self._mean(self.regressors if bool(told.all()) and cond else self.alone, x_t, t, values)
        out, times_ = torch.empty_like(x_t), as_time(t).expand(len(x_t))
        for rows, regressors in ((told, self.regressors), (~told, self.alone)):
            given = rows_of(values, rows) if regressors is self.regressors else None
            out[rows] = self._mean(regressors, x_t[rows], times_[rows], given)
        return out

    def _check_names(self, cond: Condition) -> None:
        got = sorted(cond or {})
        if self.names is None or got == self.names or (not got and self.alone is not None):
            return
        raise ConditionError(
            f"cond: expected {', '.join(self.names) or 'no conditions'}{' or nothing' if self.alone else ''}, which "
            f"the regressors were fitted with, got {', '.join(got) or 'nothing'}."
        )

    def _mean(self, regressors: Sequence[Regressor], x_t: Tensor, t: Time, cond: Condition) -> Tensor:
        skip, out, inp, label = self.precondition.coefficients(self.process, as_time(t))
        label = label.expand(len(x_t))
        scaled = times(inp, x_t)
        if self._labels is None:
            parts = [(np.ones(len(x_t), dtype=bool), regressors[0])]
            columns = regressor_columns(scaled, cond, label)
        else:
            nearest = (label[:, None] - self._labels).abs().argmin(1)
            parts = [(np.asarray(nearest == k), regressors[k]) for k in nearest.unique().tolist()]
            columns = regressor_columns(scaled, cond)
        f = np.empty((len(x_t), math.prod(x_t.shape[1:])))
        for rows, regressor in parts:
            f[rows] = _predicted(regressor, columns[rows], f.shape[1])
        return times(skip, x_t) + times(out, torch.from_numpy(f).to(x_t).view_as(x_t))


def _told(cond: Condition, x_t: Tensor) -> tuple[Tensor, Condition]:
    """Which rows have conditions, and their values, if any has."""
    here = [torch.ones(len(x_t), dtype=torch.bool, device=x_t.device)]
    values: dict[str, Any] = {}
    for name, entry in (cond or {}).items():
        values[name], present, *_ = entry if isinstance(entry, tuple) else (entry, None)
        here.append(here[0] if present is None else present)
    told = torch.stack(here[1:] or [~here[0]])
    if not bool((told.all(0) == told.any(0)).all()):
        raise ConditionError(
            "cond: expected all conditions of a row or none, got some. These regressors know no other."
        )
    return told[0], values if values and bool(told.any()) else None


def _predicted(regressor: Regressor, columns: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    values = np.asarray(regressor.predict(columns), dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.shape != (len(columns), size):
        raise ShapeError(
            f"regressor: expected predictions of shape ({len(columns)}, {size}), got {values.shape}. It must have been "
            "fitted to all entries of an event."
        )
    return values


def regressor_columns(x: Tensor, cond: Condition = None, label: Tensor | None = None) -> NDArray[np.float64]:
    """What a regressor sees: entries of the scaled events, numbers of the conditions by name, the label; (n, k).

    Raises
    ------
    DataError
        If a condition is no array of numbers with a row for each event.
    """
    columns = [x.detach().flatten(1).double().cpu().numpy()]
    for name in sorted(cond or {}):
        values = torch.as_tensor((cond or {})[name]).double().cpu()
        if values.ndim not in (1, 2) or len(values) != len(x):
            raise DataError(
                f"condition {name!r}: expected numbers of shape ({len(x)},) or ({len(x)}, k), got "
                f"{tuple(values.shape)}. One row for each event."
            )
        columns.append(values.reshape(len(x), -1).numpy())
    if label is not None:
        columns.append(label.double().cpu().numpy()[:, None])
    return np.concatenate(columns, axis=1)
