"""A log-density as a user has it, checked at the border, with gradients, and its calls counted.

What is unknown of a density is its constant, its scale and its modes; what is known is log p(x) on a batch of points,
and its gradient: by autograd where the function is written in torch, else from a function that the user gives.
Everything in this room works in float64 on points of shape (n, dim).

A density on a part of space, such as positive numbers, is seen through a map from all of space onto that part,

    x = T(z),    log p(z) = log p(T(z)) + log |det dT/dz|,

which needs no test whether a point is inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Transform, biject_to, constraints

from caminito._errors import ConfigError, NonFiniteError, ShapeError

__all__ = ["ConstrainedTarget", "LogProb", "Target"]

LogProb: TypeAlias = Callable[[Any], Any]
_NO_GRADIENT = (
    "log_prob: expected torch operations on x, through which a gradient can be found; {}. Write it in torch, or pass "
    "gradient= for a function written in numpy: (n, dim) -> (n, dim)."
)


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
    ConfigError
        If dim is below 1, or a gradient is needed and neither torch nor the user can give it.
    ShapeError
        If what comes is not one number for each point.
    NonFiniteError
        If it is NaN or +inf.
    """

    def __init__(self, log_prob: LogProb, dim: int, *, gradient: LogProb | None = None) -> None:
        if not (isinstance(dim, int | np.integer) and dim >= 1):
            raise ConfigError(f"dim: expected a whole number >= 1, got {dim!r}.")
        if not callable(log_prob):
            raise ConfigError(f"log_prob: expected a function of points (n, dim), got {type(log_prob).__name__}.")
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
                    raise ConfigError(_NO_GRADIENT.format("got values that do not depend on x, or not by torch"))
                (slope,) = torch.autograd.grad(value.sum(), x)
                value = value.detach()
        inside = torch.isfinite(value)
        slope = torch.where(inside[:, None], slope, 0.0)
        if not torch.isfinite(slope).all():
            where = x[~torch.isfinite(slope).all(1)][0].tolist()
            raise NonFiniteError(f"log_prob: expected a finite gradient, got NaN or infinite ones, at {where} first.")
        return value, slope

    def _given(self, x: Tensor) -> Any:
        return x.detach().numpy() if self.gradient is not None else x

    def _asked(self, x: Tensor) -> Tensor:
        self.calls, self.evaluations = self.calls + 1, self.evaluations + len(x)
        try:
            found = self.log_prob(self._given(x))
        except RuntimeError as error:  # numpy, given a tensor that records
            if "call numpy()" not in str(error):
                raise
            raise ConfigError(_NO_GRADIENT.format("it calls numpy")) from error
        value = found if isinstance(found, Tensor) else _as_tensor(found)
        if value.shape != x.shape[:1]:
            lone = " For a function of one point pass torch.vmap(log_prob)." if value.ndim == 0 else ""
            raise ShapeError(
                f"log_prob: expected one number for each of {len(x)} points, shape ({len(x)},), got "
                f"{tuple(value.shape)}. It is called with a batch of shape (n, {self.dim}).{lone}"
            )
        value = value.to(x.dtype)
        if torch.isnan(value).any() or (value == torch.inf).any():
            bad = torch.isnan(value) | (value == torch.inf)
            raise NonFiniteError(
                f"log_prob: expected numbers or -inf, got {float(value.detach()[bad][0])}, at {x[bad][0].tolist()} "
                "first."
            )
        return value


class ConstrainedTarget(Target):
    """log p(x) of points in a part of space, as a density of points z anywhere.

    Parameters
    ----------
    log_prob : (n, dim) -> (n,)
        Asked inside of the constraint only.
    dim : int
        Of x; that of z is `dim` of this target, and one less for points of a simplex.
    constraint : torch.distributions.constraints.Constraint or torch.distributions.Transform
        Such as `constraints.positive`, `constraints.interval(0, 1)` or `constraints.simplex`; or a map from z to x.
    gradient : (n, dim) -> (n, dim), optional
        Of log_prob with respect to x.

    Raises
    ------
    ConfigError
        If no smooth map onto the constraint is known, or it does not map vectors of `dim` numbers.
    """

    def __init__(
        self,
        log_prob: LogProb,
        dim: int,
        constraint: constraints.Constraint | Transform,
        *,
        gradient: LogProb | None = None,
    ) -> None:
        self.inside = Target(log_prob, dim, gradient=gradient)
        self.transform = _transform(constraint)
        try:
            (free,) = self.transform.inverse_shape((self.inside.dim,))
            self.unconstrain(self.constrain(torch.zeros(1, free, dtype=torch.float64)))
        except (ValueError, RuntimeError, NotImplementedError, IndexError) as error:
            raise ConfigError(
                f"constraint: expected one of vectors of {dim} numbers with a smooth map onto it, got {constraint}."
            ) from error
        super().__init__(self._value, free, gradient=None if gradient is None else self._gradient)

    def constrain(self, z: Tensor) -> Tensor:
        """Points (n, dim of z) anywhere to points (n, dim of x) inside."""
        return self.transform(z)

    def unconstrain(self, x: Tensor) -> Tensor:
        """The inverse of `constrain`."""
        return self.transform.inv(x)

    def _volume(self, z: Tensor, x: Tensor) -> Tensor:
        found = self.transform.log_abs_det_jacobian(z, x)
        return found.sum(-1) if found.ndim > 1 else found

    def _value(self, z: Any) -> Tensor:
        z = torch.as_tensor(z)
        x = self.constrain(z)
        volume = self._volume(z, x)
        held = torch.isfinite(x).all(-1) & torch.isfinite(volume)  # else the map leaves what numbers can say
        if not bool(held.all()):
            safe = torch.where(held[:, None], z, 0.0)
            return torch.where(held, self._value(safe), -torch.inf)
        return self.inside._asked(x) + volume

    def _gradient(self, z: Any) -> Tensor:
        with torch.enable_grad():
            z = torch.as_tensor(z).detach().requires_grad_()
            held = torch.isfinite(self.constrain(z)).all(-1)
            safe = torch.where(held[:, None], z, 0.0)
            x = self.constrain(safe)
            assert self.inside.gradient is not None
            slope = torch.as_tensor(np.asarray(self.inside.gradient(x.detach().numpy())), dtype=x.dtype)
            pulled = (slope * x).sum() + self._volume(safe, x).sum()
            return torch.autograd.grad(pulled, z)[0]


def _transform(constraint: Any) -> Transform:
    if isinstance(constraint, Transform):
        return constraint
    try:
        return biject_to(constraint)
    except (NotImplementedError, TypeError) as error:
        raise ConfigError(
            "constraint: expected one of torch.distributions.constraints that has a smooth map onto it, or a "
            f"torch.distributions.Transform, got {constraint!r}."
        ) from error


def _as_tensor(found: Any) -> Tensor:
    try:
        return torch.as_tensor(np.asarray(found))
    except TypeError as error:
        raise ConfigError(
            f"log_prob: expected numbers, got {type(found).__name__}. Return one for each point."
        ) from error
