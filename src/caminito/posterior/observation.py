"""An observation: what was seen, y = A(x) + n with n ~ N(0, R), and all that a Gaussian likelihood asks for.

Several observations are worked at once: y has P rows, and rows of events (B, *event) are taken for B / P rows of the
first, then of the second, and so on. Entries of y that are NaN were not seen.

Where the operator is linear, N(y; A x, R + c A A^T) is known for any number c: by a division where A A^T is a multiple
of the identity and R is diagonal, else from the eigenvalues of R^-1/2 A A^T R^-1/2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from caminito._errors import ConfigError, DataError, ShapeError
from caminito.posterior.operators import Compose, Identity, Mask, Operator, check_adjoint

__all__ = ["Noise", "Observation", "observe"]

_LARGEST = 4096  # entries seen, where their covariance is written out
_COLUMNS = 512

Noise = float | Tensor
"""Standard deviation: a number, or one for each entry seen, shape (*seen); or a covariance (m, m)."""


@dataclass(frozen=True, eq=False)
class Observation:
    """P observations by one operator.

    Attributes
    ----------
    operator : Operator
    event : tuple of int
    y : tensor (P, m)
        What was seen, flattened; 0 where nothing was.
    present : bool tensor (P, m)
        Where something was.
    var : tensor (m,)
        Variance of the noise of each entry.
    cov : tensor (m, m) or None
        Its covariance, where it is not diagonal.
    """

    operator: Operator
    event: tuple[int, ...]
    y: Tensor
    present: Tensor
    var: Tensor
    cov: Tensor | None = None

    @property
    def count(self) -> int:
        """Number of observations, P."""
        return len(self.y)

    @property
    def size(self) -> int:
        """Entries of what is seen of an event, m."""
        return self.y.shape[1]

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of what is seen of one event."""
        return self.operator.seen(self.event, self.y.dtype)

    @property
    def is_exact(self) -> bool:
        """Whether some entry is seen without noise."""
        return bool((self.var <= 0).any())

    def of(self, rows: slice) -> Observation:
        """Some of the observations."""
        return Observation(self.operator, self.event, self.y[rows], self.present[rows], self.var, self.cov)

    def spread(self, values: Tensor, rows: int) -> Tensor:
        """A row for each of so many rows of events, from one for each observation."""
        return values.repeat_interleave(rows // self.count, 0)

    def of_seen(self, values: Tensor) -> Tensor:
        """(B, *seen) flattened, 0 where nothing was seen."""
        flat = values.flatten(1)
        return torch.where(self.spread(self.present, len(flat)), flat, torch.zeros_like(flat))

    def residual(self, x: Tensor) -> Tensor:
        """y - A(x), shape (B, m), 0 where nothing was seen."""
        return self.of_seen(self.spread(self.y, len(x)).to(x) - self.operator(x).flatten(1))

    def push(self, v: Tensor) -> Tensor:
        """A v, shape (B, m), of a linear operator."""
        return self.of_seen(self.operator(v))

    def pull(self, u: Tensor) -> Tensor:
        """A^T u, shape (B, *event), of rows (B, m)."""
        rows = self.of_seen(u).reshape(len(u), *self.shape)
        return self.operator.adjoint(rows, self.event)

    def noise_times(self, u: Tensor) -> Tensor:
        """R u, 0 where nothing was seen."""
        return self.of_seen(u * self.var.to(u) if self.cov is None else u @ self.cov.to(u))

    def draw(self, eps: Tensor) -> Tensor:
        """Noise, from standard normal values (B, m)."""
        if self.cov is None:
            return self.of_seen(eps * self.var.sqrt().to(eps))
        return self.of_seen(eps @ torch.linalg.cholesky(self.cov).T.to(eps))

    def solve(self, r: Tensor, c: Tensor | float) -> Tensor:
        """(R + c A A^T)^-1 r over the entries seen; r of shape (B, m), c of shape () or (B,)."""
        c = _column(c, r)
        if self._is_diagonal:
            return self.of_seen(r / self._total(r, c))
        white = self._white
        z = white.into(r)
        return self.of_seen(white.back(z / (1 + c * white.values.to(z))))

    def inverse(self, r: Tensor) -> Tensor:
        """A^+ r, shape (B, *event), over the entries seen: the smallest event that A takes nearest to r."""
        if self._gram is not None:
            return self.pull(r) / self._gram
        white = self._plain
        least = len(white.values) * torch.finfo(r.dtype).eps * white.values.sum()
        share = torch.where(white.values > least, 1 / white.values, 0.0)
        return self.pull(white.back(white.into(r) * share.to(r)))

    def log_normal(self, r: Tensor, c: Tensor | float) -> Tensor:
        """log N(r; 0, R + c A A^T) over the entries seen, float64 (B,); R + c I where A is not linear."""
        r = r.to(torch.float64)
        c = _column(c, r)
        present = self.spread(self.present, len(r))
        if self._is_diagonal:
            total = self._total(r, c)
            each = -0.5 * (r**2 / total + torch.log(2 * math.pi * total))
            return torch.where(present, each, torch.zeros_like(each)).sum(1)
        white = self._white
        z, wider = white.into(r), 1 + c * white.values.to(r)
        seen = present.sum(1).to(r)
        return -0.5 * ((z**2 / wider + torch.log(wider)).sum(1) + white.log_det + seen * math.log(2 * math.pi))

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(y | x), shape (B,)."""
        return self.log_normal(self.residual(x), 0.0)

    def matrix(self) -> Tensor:
        """A, shape (m, d), float64, column by column."""
        size = math.prod(self.event)
        columns = []
        for low in range(0, size, _COLUMNS):
            high = min(low + _COLUMNS, size)
            unit = torch.zeros(high - low, size, dtype=self.y.dtype)
            unit[torch.arange(high - low), torch.arange(low, high)] = 1
            columns.append(self.operator(unit.reshape(-1, *self.event)).flatten(1).to(torch.float64))
        return torch.cat(columns).T.contiguous()

    @property
    def _is_diagonal(self) -> bool:
        return self.cov is None and (self._gram is not None or not self.operator.is_linear)

    @cached_property
    def _gram(self) -> float | None:
        return self.operator.gram(self.event)

    def _total(self, r: Tensor, c: Tensor) -> Tensor:
        return self.var.to(r) + c * (1.0 if self._gram is None else self._gram)

    @cached_property
    def _white(self) -> _White:
        return _White.of(self)

    @cached_property
    def _plain(self) -> _White:
        return _White.of(replace(self, var=torch.ones_like(self.var), cov=None))


class _White:
    """Coordinates in which R is the identity and A A^T is diagonal, over the entries seen."""

    def __init__(self, into: Tensor, back: Tensor, values: Tensor, log_det: float) -> None:
        self._into, self._back, self.values, self.log_det = into, back, values, log_det

    @classmethod
    def of(cls, seen: Observation) -> _White:
        if not bool((seen.present == seen.present[0]).all()):
            raise ConfigError(
                "y: with this operator and noise, all observations must miss the same entries. Take them one by one."
            )
        if seen.size > _LARGEST:
            raise ConfigError(
                f"operator: expected at most {_LARGEST} entries seen where A A^T is not a multiple of the identity, "
                f"got {seen.size}. Use method='mmps', which does not write it out."
            )
        keep = seen.present[0].nonzero()[:, 0]
        cov = torch.diag(seen.var) if seen.cov is None else seen.cov
        root = torch.linalg.cholesky(cov.to(torch.float64)[keep][:, keep])
        turned = torch.linalg.solve_triangular(root, torch.eye(len(keep), dtype=torch.float64), upper=False)
        rows = turned @ seen.matrix()[keep] if seen.operator.is_linear else turned
        values, basis = torch.linalg.eigh(rows @ rows.T)
        into = torch.zeros(seen.size, len(keep), dtype=torch.float64)
        into[keep] = turned.T @ basis
        log_det = 2 * float(torch.log(torch.diagonal(root)).sum())
        return cls(into, into.T.contiguous(), values.clamp_min(0), log_det)

    def into(self, r: Tensor) -> Tensor:
        """U^T R^-1/2 r."""
        return r @ self._into.to(r)

    def back(self, z: Tensor) -> Tensor:
        """R^-1/2 U z."""
        return z @ self._back.to(z)


def _column(c: Tensor | float, like: Tensor) -> Tensor:
    c = torch.as_tensor(c, dtype=like.dtype, device=like.device)
    return c[:, None] if c.ndim else c


def observe(
    y: Tensor, operator: Operator, noise: Noise, event: tuple[int, ...], *, dtype: torch.dtype = torch.float32
) -> Observation:
    """Observations, checked.

    Parameters
    ----------
    y : tensor, shape (*seen) of one observation or (P, *seen)
        NaN where nothing was seen.
    operator : Operator
    noise : number, tensor (*seen), or tensor (m, m)
        Standard deviation, of all or of each entry; or a covariance.
    event : tuple of int

    Raises
    ------
    ShapeError
        If y, the noise or a mask has another shape than the operator sees.
    DataError
        If y holds infinities, or no observation.
    ConfigError
        If the operator is none, the noise is negative, its covariance is none, or the adjoint of the operator is not
        its own.
    """
    if not isinstance(operator, Operator):
        raise ConfigError(
            f"operator: expected an Operator, got {type(operator).__name__}. For a matrix or a linear function: "
            "Linear(...), for any other function: Nonlinear(...), for what is seen and what is not: Mask(...)."
        )
    mask = None
    if isinstance(operator, Mask):
        mask, operator = operator.checked(event), Identity()
    elif isinstance(operator, Compose) and isinstance(operator.outer, Mask):
        mask, operator = operator.outer.checked(operator.inner.seen(event, dtype)), operator.inner
    if operator.is_linear:
        check_adjoint(operator, event, dtype=dtype)
    shape = operator.seen(event, dtype)
    y = torch.as_tensor(y)
    y = y if y.is_floating_point() else y.to(dtype)
    if tuple(y.shape) == shape:
        y = y[None]
    if tuple(y.shape[1:]) != shape:
        raise ShapeError(
            f"y: expected shape {shape}, as the operator sees an event of shape {event}, or (P, *{shape}) for P "
            f"observations, got {tuple(y.shape)}."
        )
    if not len(y):
        raise DataError("y: expected at least one observation, got none.")
    if bool(torch.isinf(y).any()):
        raise DataError("y: expected numbers, or NaN where nothing was seen, got infinities.")
    present = ~torch.isnan(y)
    if mask is not None:
        if mask.ndim == len(shape) + 1 and len(mask) != len(y):
            raise ShapeError(f"mask: expected one for each of {len(y)} observations, got {len(mask)}.")
        present = present & mask
    var, cov = _noise(noise, shape)
    return Observation(
        operator,
        event,
        torch.where(present, y, torch.zeros_like(y)).flatten(1).to(dtype),
        present.flatten(1),
        var,
        cov,
    )


def _noise(noise: Noise, shape: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
    """Variances (m,) and, where it is not diagonal, covariance (m, m)."""
    value, size = torch.as_tensor(noise, dtype=torch.float64), math.prod(shape)
    if value.ndim == 0 or tuple(value.shape) == shape:
        if not bool((value >= 0).all()) or not bool(torch.isfinite(value).all()):
            raise ConfigError(f"noise: expected standard deviations >= 0, got {_told(value)}.")
        return (value**2).flatten().expand(size).clone(), None
    if tuple(value.shape) != (size, size):
        raise ShapeError(
            f"noise: expected a number, standard deviations of shape {shape}, or a covariance {(size, size)}, got "
            f"shape {tuple(value.shape)}."
        )
    if not torch.allclose(value, value.T) or int(torch.linalg.cholesky_ex(value).info) != 0:
        raise ConfigError("noise: expected a covariance, symmetric and positive definite, got a matrix that is not.")
    return torch.diagonal(value).clone(), value


def _told(value: Tensor) -> str:
    return f"{float(value):g}" if value.ndim == 0 else f"values from {float(value.min()):g} to {float(value.max()):g}"
