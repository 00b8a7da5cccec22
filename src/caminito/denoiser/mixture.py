"""Exact denoiser of a Gaussian mixture.

For p(x0) = sum_k w_k N(m_k, S_k) the noisy marginal is again a mixture, and

    E[x0 | x_t]   = sum_k r_k D_k,    D_k = m_k + alpha S_k (alpha^2 S_k + sigma^2 I)^-1 (x_t - alpha m_k)
    Cov[x0 | x_t] = sum_k r_k (C_k + D_k D_k^T) - E E^T

with r_k the posterior weights of the components. It is the ruler that the learnt denoisers are held against.
Source: Bishop 2006, eq. 2.113-2.117, for each component.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from caminito._errors import ConfigError, ShapeError
from caminito.denoiser.base import Condition, Denoiser
from caminito.denoiser.gaussian import Spectrum, as_given, rows_times
from caminito.process import Process
from caminito.process.base import Time

__all__ = ["MixtureDenoiser"]

_CHUNK_VALUES = 2_000_000  # entries of (row, component, dimension) held at once
_TINY = torch.finfo(torch.float64).tiny


class MixtureDenoiser(Denoiser):
    """Exact denoiser of sum_k weights_k N(means_k, covs_k).

    Parameters
    ----------
    weights : tensor, shape (K,), non-negative, summing to 1
    means : tensor, shape (K, *event)
    covs : number; or tensor (K,) of spherical variances, (K, *event) of diagonals, (K, d, d) of matrices
    process : Process

    Raises
    ------
    ConfigError
        If the weights are not a probability vector.
    ShapeError
        If the numbers of components differ.
    """

    def __init__(self, weights: Tensor, means: Tensor, covs: Tensor | float, process: Process) -> None:
        w = torch.as_tensor(weights, dtype=torch.float64)
        m = torch.as_tensor(means, dtype=torch.float64)
        c = as_given(covs)
        if w.ndim != 1 or bool((w < 0).any()) or abs(float(w.sum()) - 1) > 1e-5:
            raise ConfigError(
                f"weights: expected a list of numbers >= 0 that sum to 1, got sum {float(w.sum()):.9g}. "
                "Divide them by their sum."
            )
        if m.ndim < 2 or len(m) != len(w) or (c.ndim > 0 and len(c) != len(w)):
            raise ShapeError(f"expected {len(w)} means and covariances, got shapes {tuple(m.shape)}, {tuple(c.shape)}.")
        w = w / w.sum()  # weights rounded to float32 sum to 1 within 1e-7 only
        self.process = process
        self.event_shape = tuple(m.shape[1:])
        self._log_weights = torch.log(w)
        self._means = m.flatten(1)
        spectra = [Spectrum.of(c if c.ndim == 0 else c[k], self.event_shape) for k in range(len(w))]
        self._values = torch.stack([spectrum.values for spectrum in spectra])
        self._basis = None
        if any(spectrum.basis is not None for spectrum in spectra):
            eye = torch.eye(self._means.shape[1], dtype=torch.float64)
            self._basis = torch.stack([eye if spectrum.basis is None else spectrum.basis for spectrum in spectra])
        mean = (w[:, None] * self._means).sum(0)
        var = (w[:, None] * (self._diagonal(self._values) + (self._means - mean) ** 2)).sum(0)
        self.data_moments = (mean.reshape(self.event_shape), var.reshape(self.event_shape))

    @classmethod
    def from_sklearn(cls, mixture: Any, process: Process) -> MixtureDenoiser:
        """From a fitted `sklearn.mixture.GaussianMixture`, whatever its covariance type."""
        if not hasattr(mixture, "covariances_"):
            raise ConfigError("mixture: expected a fitted GaussianMixture, got one that is not. Call fit.")
        covs = as_given(mixture.covariances_)
        if mixture.covariance_type == "tied":
            covs = covs.expand(len(mixture.weights_), -1, -1)
        weights = torch.as_tensor(mixture.weights_, dtype=torch.float64)
        return cls(weights / weights.sum(), torch.as_tensor(mixture.means_), covs, process)

    def _diagonal(self, values: Tensor) -> Tensor:
        """Diagonals of U_k diag(values_k) U_k^T."""
        return values if self._basis is None else rows_times(values, (self._basis.mT**2).to(values))

    def _chunks(self, x_t: Tensor, t: Time) -> Iterator[_Components]:
        """What the components say, for as many rows at a time as fit in memory."""
        rows = max(1, _CHUNK_VALUES // self._means.numel())
        alpha, sigma = self.process.kernel(t)
        for low in range(0, max(len(x_t), 1), rows):
            x = x_t[low : low + rows].flatten(1)
            a, s = (c[low : low + rows, None, None] if c.ndim else c for c in (alpha, sigma))
            apart = x[:, None] - (a * self._means).to(x)
            if self._basis is not None:
                apart = rows_times(apart, self._basis.to(x))
            yield _Components(apart, a, s, a**2 * self._values + s**2)

    def _log_joint(self, part: _Components) -> Tensor:
        x = part.apart
        total = part.total.to(x).clamp_min(torch.finfo(x.dtype).tiny)
        marginals = -0.5 * (x**2 / total + torch.log(total) + math.log(2 * math.pi)).sum(-1)
        return marginals + self._log_weights.to(x)

    def _means_of(self, part: _Components) -> Tensor:
        """D_k, shape (B, K, d)."""
        gain = part.alpha * self._values / part.total.clamp_min(_TINY)
        moved = gain.to(part.apart) * part.apart
        if self._basis is not None:
            moved = rows_times(moved, self._basis.mT.to(moved))
        return self._means.to(moved) + moved

    def responsibilities(self, x_t: Tensor, t: Time) -> Tensor:
        """Posterior weights of the components, shape (B, K)."""
        return torch.cat([torch.softmax(self._log_joint(part), 1) for part in self._chunks(x_t, t)])

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """sum_k r_k D_k."""
        parts = self._chunks(x_t, t)
        means = [_average(torch.softmax(self._log_joint(part), 1), self._means_of(part)) for part in parts]
        return torch.cat(means).reshape(x_t.shape)

    def var(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """Diagonal of sum_k r_k (C_k + (D_k - E)(D_k - E)^T)."""
        out = []
        for part in self._chunks(x_t, t):
            shares, means = torch.softmax(self._log_joint(part), 1), self._means_of(part)
            share = part.sigma**2 / part.total.clamp_min(_TINY)
            share = torch.where(part.total == 0, torch.ones_like(share), share)  # x_t says nothing of x0
            within = self._diagonal(self._values * share).to(means)
            out.append(_average(shares, within + (means - _average(shares, means)[:, None]) ** 2))
        return torch.cat(out).reshape(x_t.shape)

    def log_marginal(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """Log of the mixture of noisy components."""
        return torch.cat([torch.logsumexp(self._log_joint(part), 1) for part in self._chunks(x_t, t)])


class _Components(NamedTuple):
    """x_t - alpha m_k in the eigenbasis of S_k, (B, K, d); alpha and sigma; alpha^2 q_k + sigma^2."""

    apart: Tensor
    alpha: Tensor
    sigma: Tensor
    total: Tensor


def _average(shares: Tensor, values: Tensor) -> Tensor:
    """sum_k shares_k values_k, component by component: the order must not depend on the number of rows."""
    total = shares[:, :1] * values[:, 0]
    for k in range(1, shares.shape[1]):
        total = total + shares[:, k : k + 1] * values[:, k]
    return total
