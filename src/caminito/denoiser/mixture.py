"""Exact denoiser of a Gaussian mixture.

For p(x0) = sum_k w_k N(m_k, S_k) the noisy marginal is again a mixture, and

    E[x0 | x_t]   = sum_k r_k D_k,    D_k = m_k + alpha S_k (alpha^2 S_k + sigma^2 I)^-1 (x_t - alpha m_k)
    Cov[x0 | x_t] = sum_k r_k (C_k + D_k D_k^T) - E E^T

with r_k the posterior weights of the components. It is the ruler that the learnt denoisers are held against.
Source: Bishop 2006, eq. 2.113-2.117, for each component.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caminito._errors import ConfigError, ShapeError
from caminito.denoiser.base import Condition, Denoiser
from caminito.denoiser.gaussian import GaussianDenoiser
from caminito.process import Process
from caminito.process.base import Time

__all__ = ["MixtureDenoiser"]


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
        c = torch.as_tensor(covs, dtype=torch.float64)
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
        self._parts = [GaussianDenoiser(m[k], c if c.ndim == 0 else c[k], process) for k in range(len(w))]
        column = w.reshape(-1, *([1] * len(self.event_shape)))
        mean = (column * m).sum(0)
        spread = torch.stack([torch.as_tensor(part.data_moments[1]) for part in self._parts])
        self.data_moments = (mean, (column * (spread + (m - mean) ** 2)).sum(0))

    @classmethod
    def from_sklearn(cls, mixture: Any, process: Process) -> MixtureDenoiser:
        """From a fitted `sklearn.mixture.GaussianMixture`, whatever its covariance type."""
        if not hasattr(mixture, "covariances_"):
            raise ConfigError("mixture: expected a fitted GaussianMixture, got one that is not. Call fit.")
        covs = torch.as_tensor(mixture.covariances_, dtype=torch.float64)
        if mixture.covariance_type == "tied":
            covs = covs.expand(len(mixture.weights_), -1, -1)
        weights = torch.as_tensor(mixture.weights_, dtype=torch.float64)
        return cls(weights / weights.sum(), torch.as_tensor(mixture.means_), covs, process)

    def _log_joint(self, x_t: Tensor, t: Time) -> Tensor:
        marginals = torch.stack([part.log_marginal(x_t, t) for part in self._parts], 1)
        return marginals + self._log_weights.to(x_t)

    def responsibilities(self, x_t: Tensor, t: Time) -> Tensor:
        """Posterior weights of the components, shape (B, K)."""
        return torch.softmax(self._log_joint(x_t, t), 1)

    def _shares(self, x_t: Tensor, t: Time) -> tuple[Tensor, ...]:
        """Responsibilities, one column (B, 1, ...) for each component."""
        column = (len(x_t), *([1] * len(self.event_shape or ())))
        return tuple(r.reshape(column) for r in self.responsibilities(x_t, t).unbind(1))

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """sum_k r_k D_k."""
        # summed component by component: the order must not depend on the number of rows
        total = torch.zeros_like(x_t)
        for r, part in zip(self._shares(x_t, t), self._parts):
            total = total + r * part.mean(x_t, t)
        return total

    def var(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """Diagonal of sum_k r_k (C_k + (D_k - E)(D_k - E)^T)."""
        centre, total = self.mean(x_t, t), torch.zeros_like(x_t)
        for r, part in zip(self._shares(x_t, t), self._parts):
            total = total + r * (part.var(x_t, t) + (part.mean(x_t, t) - centre) ** 2)
        return total

    def log_marginal(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """Log of the mixture of noisy components."""
        return torch.logsumexp(self._log_joint(x_t, t), 1)
