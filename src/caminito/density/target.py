"""A log-density as a user has it, checked at the border, with gradients, and its calls counted.

What is unknown of a density is its constant, its scale and its modes; what is known is log p(x) on a batch of points,
and its gradient: by autograd where the function is written in torch, else from a function that the user gives.
Everything in this room works in float64 on points of shape (n, dim).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from caminito._errors import ConfigError, NonFiniteError, ShapeError

__all__ = ["LogProb", "Target"]

LogProb: TypeAlias = Callable[[Any], Any]


class Target:
    """log p(x), up to a constant.

    Parameters
    ----------
    log_prob : (n, dim) -> (n,)
        In torch, float64; or in numpy if `gradient` is given. -inf is outside of the support.
    dim : int >= 1
    gradient : (n, dim) -> (n, dim), optional
        Of log_prob, in numpy or torch; autograd unless given.

    Attributes
    ----------
    calls, evaluations : int
        Batches, and points, that log_prob was asked for, with or without gradient.

    Raises
    ------
    ConfigError, ShapeError, NonFiniteError
        If dim is below 1; if what comes is not one number for each point; if it is NaN or +inf.
    """

    def __init__(self, log_prob: LogProb, dim: int, *, gradient: LogProb | None = None) -> None:
        if not (isinstance(dim, int | np.integer) and dim >= 1):
            raise ConfigError(f"dim: expected a whole number >= 1, got {dim!r}.")
        self.log_prob, self.dim, self.gradient = log_prob, int(dim), gradient
        self.calls = self.evaluations = 0

    def value(self, x: Tensor) -> Tensor:
        """log p of points (n, dim), shape (n,)."""
        with torch.no_grad():
            return self._asked(x)

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log p (n,) and its gradient (n, dim), which is 0 where log p is -inf."""
        if self.gradient is not None:
            value = self.value(x)
            slope = torch.as_tensor(np.asarray(self.gradient(self._given(x))), dtype=x.dtype)
            if slope.shape != x.shape:
                raise ShapeError(f"gradient: expected shape {tuple(x.shape)}, got {tuple(slope.shape)}.")
        else:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                value = self._asked(x)
                if value.grad_fn is None:
                    raise ConfigError(
                        "log_prob: expected torch operations on x, through which a gradient can be found; got values "
                        "that do not depend on x, or not by torch. Pass gradient= for a function written in numpy."
                    )
                (slope,) = torch.autograd.grad(value.sum(), x)
                value = value.detach()
        inside = torch.isfinite(value)
        slope = torch.where(inside[:, None], slope, 0.0)
        if not torch.isfinite(slope).all():
            where = x[~torch.isfinite(slope).all(1)][0].tolist()
            raise NonFiniteError(f"log_prob: expected a finite gradient, got NaN or infinite ones, at {where} first.")
        return value, slope

    def hessian(self, x: Tensor) -> Tensor:
        """Second derivatives at points (k, dim), shape (k, dim, dim), by central differences of the gradient."""
        step = 1e-4 * torch.clamp(x.abs(), min=1.0)
        eye = torch.eye(self.dim, dtype=x.dtype)
        moves = step[:, None, :] * eye
        ahead, behind = ((x[:, None] + sign * moves).reshape(-1, self.dim) for sign in (1, -1))
        slopes = self.value_and_grad(torch.cat([ahead, behind]))[1].reshape(2, len(x), self.dim, self.dim)
        found = (slopes[0] - slopes[1]) / (2 * step[:, :, None])
        return (found + found.mT) / 2

    def _given(self, x: Tensor) -> Any:
        return x.detach().numpy() if self.gradient is not None else x

    def _asked(self, x: Tensor) -> Tensor:
        self.calls, self.evaluations = self.calls + 1, self.evaluations + len(x)
        found = self.log_prob(self._given(x))
        value = found if isinstance(found, Tensor) else torch.as_tensor(np.asarray(found))
        if value.shape != x.shape[:1]:
            raise ShapeError(
                f"log_prob: expected one number for each of {len(x)} points, shape ({len(x)},), got "
                f"{tuple(value.shape)}. It is called with a batch of shape (n, {self.dim})."
            )
        value = value.to(x.dtype)
        if torch.isnan(value).any() or (value == torch.inf).any():
            bad = torch.isnan(value) | (value == torch.inf)
            raise NonFiniteError(
                f"log_prob: expected numbers or -inf, got {float(value[bad][0])} at {x[bad][0].tolist()} first."
            )
        return value
