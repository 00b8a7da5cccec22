"""Exact denoiser of a Gaussian.

For x0 ~ N(m, S) and x_t = alpha x0 + sigma eps, with S = U diag(q) U^T:

    E[x0 | x_t]   = m + U diag(alpha q / (alpha^2 q + sigma^2)) U^T (x_t - alpha m)
    Cov[x0 | x_t] = U diag(q sigma^2 / (alpha^2 q + sigma^2)) U^T
    x_t           ~ N(alpha m, alpha^2 S + sigma^2 I)

Source: conditioning of Gaussians, e.g. Bishop 2006, eq. 2.113-2.117.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caminito._errors import ConfigError, ShapeError
from caminito.denoiser.base import Condition, Denoiser
from caminito.process import Process
from caminito.process.base import Time

__all__ = ["GaussianDenoiser", "Spectrum", "as_given", "rows_times"]

_PRODUCTS = 100  # roundings that an entry of a covariance may be off by: of as many terms at worst, 10 000 at random


def as_given(cov: Any) -> Tensor:
    """A covariance in its own precision, which says how nearly symmetric it can be; numbers in double."""
    return cov if isinstance(cov, Tensor) else torch.as_tensor(np.asarray(cov))


class Spectrum:
    """A covariance by its eigenvalues: a number, a diagonal (d,) or a full symmetric matrix (d, d), d >= 0.

    Raises
    ------
    ConfigError
        If it is not symmetric or has a negative eigenvalue.
    """

    def __init__(self, cov: Tensor, size: int) -> None:
        matrix = cov.to(torch.float64)
        self.basis: Tensor | None = None
        if matrix.ndim == 0 or (matrix.numel() == size and matrix.ndim != 2):
            self.values = matrix.reshape(-1).expand(size).clone()
        elif tuple(matrix.shape) == (size, size):
            rounding = 0.0
            if cov.is_floating_point():
                rounding = _PRODUCTS * torch.finfo(cov.dtype).eps * float(matrix.abs().max())
            if not torch.allclose(matrix, matrix.T, rtol=1e-9, atol=max(1e-12, rounding)):
                raise ConfigError("cov: expected a symmetric matrix, got one that is not.")
            self.values, self.basis = torch.linalg.eigh((matrix + matrix.T) / 2)
            if float(self.values.min()) > -max(1e-10, 2 * math.sqrt(size) * rounding):  # of random errors of entries
                self.values = self.values.clamp_min(0)
        else:
            raise ShapeError(
                f"cov: expected a number, a diagonal of {size} variances or a {size} x {size} matrix, "
                f"got shape {tuple(matrix.shape)}."
            )
        if bool((self.values < 0).any()):
            raise ConfigError("cov: expected variances >= 0, got a negative eigenvalue.")

    @classmethod
    def of(cls, cov: Any, event: tuple[int, ...]) -> Spectrum:
        """That of an event, whose diagonal may have its shape; of any precision."""
        size, cov = math.prod(event), as_given(cov)
        is_diagonal = tuple(cov.shape) == event and tuple(cov.shape) != (size, size)
        return cls(cov.flatten() if is_diagonal else cov, size)

    def into(self, x: Tensor) -> Tensor:
        """Coordinates of rows (B, d) in the eigenbasis."""
        return x if self.basis is None else rows_times(x, self.basis.to(x))

    def back(self, x: Tensor) -> Tensor:
        """Rows (B, d) from their coordinates in the eigenbasis."""
        return x if self.basis is None else rows_times(x, self.basis.T.to(x))

    def diagonal(self, values: Tensor) -> Tensor:
        """Diagonal of U diag(values) U^T for values of shape (..., d)."""
        return values if self.basis is None else rows_times(values, (self.basis.T**2).to(values))


def rows_times(rows: Tensor, matrix: Tensor) -> Tensor:
    """Rows (..., d) times matrix (..., d, e), summed in an order that, unlike that of `@`, ignores their number."""
    total = rows[..., :1] * matrix[..., 0, :]
    for j in range(1, matrix.shape[-2]):
        total = total + rows[..., j : j + 1] * matrix[..., j, :]
    return total


class GaussianDenoiser(Denoiser):
    """Exact denoiser of N(mean, cov).

    Parameters
    ----------
    mean : tensor, shape (*event)
    cov : number, tensor of shape (*event) (a diagonal) or (d, d), d the number of entries of an event
    process : Process
    """

    def __init__(self, mean: Tensor, cov: Tensor | float, process: Process) -> None:
        self._mean = torch.as_tensor(mean, dtype=torch.float64)
        self.event_shape = tuple(self._mean.shape)
        self._spectrum = Spectrum.of(cov, self.event_shape)
        self.process = process
        self.data_moments = (self._mean, self._spectrum.diagonal(self._spectrum.values).reshape(self.event_shape))

    def _coefficients(self, t: Time) -> tuple[Tensor, Tensor, Tensor]:
        alpha, sigma = (c[..., None] for c in self.process.kernel(t))
        return alpha, sigma, alpha**2 * self._spectrum.values + sigma**2

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """m + U diag(alpha q / (alpha^2 q + sigma^2)) U^T (x_t - alpha m)."""
        alpha, _, total = self._coefficients(t)
        centre = self._mean.flatten()
        x = self._spectrum.into(x_t.flatten(1) - (alpha * centre).to(x_t))
        gain = alpha * self._spectrum.values / total.clamp_min(torch.finfo(torch.float64).tiny)
        return (centre.to(x_t) + self._spectrum.back(gain.to(x_t) * x)).reshape(x_t.shape)

    def var(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """Diagonal of U diag(q sigma^2 / (alpha^2 q + sigma^2)) U^T."""
        _, sigma, total = self._coefficients(t)
        share = sigma**2 / total.clamp_min(torch.finfo(torch.float64).tiny)
        share = torch.where(total == 0, torch.ones_like(share), share)  # alpha = sigma = 0: x_t says nothing of x0
        values = self._spectrum.values * share
        return self._spectrum.diagonal(values).to(x_t).expand(x_t.shape[0], -1).reshape(x_t.shape)

    def log_marginal(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """log N(x_t; alpha m, alpha^2 S + sigma^2 I)."""
        alpha, _, total = self._coefficients(t)
        x = self._spectrum.into(x_t.flatten(1) - (alpha * self._mean.flatten()).to(x_t))
        total = total.to(x_t).clamp_min(torch.finfo(x_t.dtype).tiny)
        return -0.5 * (x**2 / total + torch.log(total) + math.log(2 * math.pi)).sum(1)
