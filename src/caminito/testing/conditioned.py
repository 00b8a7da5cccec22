"""Posteriors in closed form: a Gaussian mixture and a linear state space, seen through a matrix with Gaussian noise.

For p(x) = sum_k w_k N(m_k, S_k) and y = A x + n, n ~ N(0, R), each component is conditioned by itself,

    G_k = S_k A^T (A S_k A^T + R)^-1,     m_k' = m_k + G_k (y - A m_k),
    S_k' = (I - G_k A) S_k (I - G_k A)^T + G_k R G_k^T     (Joseph form: it stays positive),
    w_k' = w_k N(y; A m_k, A S_k A^T + R) / p(y),          p(y) their sum.

For z_{i+1} = F z_i + N(0, Q), seen step by step, the filter of Kalman and the smoother of Rauch, Tung and Striebel give
the law of each z_i given all that was seen, without the covariance of the whole path.

Sources: Bishop 2006, eq. 2.113-2.117; Bucy & Joseph 1968 (the form of S'); Rauch, Tung & Striebel 1965.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from caminito.denoiser import MixtureDenoiser
from caminito.process import Process
from caminito.testing.oracles import Moments

__all__ = ["Mixture", "StateSpace"]


@dataclass(frozen=True, eq=False)
class Mixture:
    """sum_k weights_k N(means_k, covs_k) of flattened events: weights (K,), means (K, d), covs (K, d, d), float64."""

    weights: Tensor
    means: Tensor
    covs: Tensor

    def moments(self) -> Moments:
        """Mean and covariance of the whole."""
        mean = self.weights @ self.means
        apart = self.means - mean
        return Moments(mean, torch.einsum("k,kij->ij", self.weights, self.covs + apart[:, :, None] * apart[:, None]))

    def denoiser(self, process: Process, event: tuple[int, ...] | None = None) -> MixtureDenoiser:
        """Its exact denoiser, of events of a shape."""
        size = self.means.shape[1]
        return MixtureDenoiser(self.weights, self.means.reshape(-1, *(event or (size,))), self.covs, process)

    def draw(self, n: int, seed: int = 0) -> Tensor:
        """n independent draws, shape (n, d), float64."""
        chance = torch.Generator().manual_seed(seed)
        kinds = torch.multinomial(self.weights, n, replacement=True, generator=chance)
        eps = torch.randn(n, self.means.shape[1], 1, generator=chance, dtype=torch.float64)
        return self.means[kinds] + (torch.linalg.cholesky(self.covs)[kinds] @ eps)[:, :, 0]

    def given(self, y: Tensor, matrix: Tensor, noise: Tensor) -> tuple[Mixture, Tensor]:
        """The posterior given y = matrix x + N(0, noise), and log p(y) in nats.

        Parameters
        ----------
        y : tensor, shape (m,)
        matrix : tensor, shape (m, d)
        noise : tensor, shape (m, m)
            Covariance.
        """
        eye = torch.eye(matrix.shape[1], dtype=torch.float64)
        logs, means, covs = [], [], []
        for weight, mean, cov in zip(self.weights, self.means, self.covs):
            seen = matrix @ cov @ matrix.T + noise
            gain = torch.linalg.solve(seen, matrix @ cov).T
            miss = y - matrix @ mean
            rest = eye - gain @ matrix
            logs.append(torch.log(weight) + _log_normal(miss, seen))
            means.append(mean + gain @ miss)
            covs.append(rest @ cov @ rest.T + gain @ noise @ gain.T)
        log_y = torch.logsumexp(torch.stack(logs), 0)
        return Mixture(torch.softmax(torch.stack(logs), 0), torch.stack(means), torch.stack(covs)), log_y


@dataclass(frozen=True, eq=False)
class StateSpace:
    """z_0 ~ N(mean, cov), z_{i+1} = forward z_i + N(0, drive); float64."""

    mean: Tensor
    cov: Tensor
    forward: Tensor
    drive: Tensor

    def joint(self, steps: int) -> Moments:
        """Law of the flattened path (z_0, ..., z_{steps - 1})."""
        size = len(self.mean)
        means, blocks = [self.mean], [self.cov]
        for _ in range(steps - 1):
            means.append(self.forward @ means[-1])
            blocks.append(self.forward @ blocks[-1] @ self.forward.T + self.drive)
        cov = torch.zeros(steps, size, steps, size, dtype=torch.float64)
        for i in range(steps):
            carried = blocks[i]
            for j in range(i, steps):
                cov[j, :, i], cov[i, :, j] = carried, carried.T
                carried = self.forward @ carried
        return Moments(torch.cat(means), cov.reshape(steps * size, steps * size))

    def smoothed(self, y: Tensor, matrix: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means (T, d) and covariances (T, d, d) of the steps given all of y, and log p(y) in nats.

        Parameters
        ----------
        y : tensor, shape (T, m)
            What was seen of each step; NaN where nothing was.
        matrix : tensor, shape (m, d)
        noise : tensor, shape (m, m)
            Covariance.
        """
        mean, cov, log_y = self.mean, self.cov, torch.zeros((), dtype=torch.float64)
        eye = torch.eye(len(mean), dtype=torch.float64)
        before, after = [], []
        for i, row in enumerate(y):
            if i:
                mean, cov = self.forward @ mean, self.forward @ cov @ self.forward.T + self.drive
            before.append((mean, cov))
            here = ~torch.isnan(row)
            if bool(here.any()):
                a, r = matrix[here], noise[here][:, here]
                seen = a @ cov @ a.T + r
                gain = torch.linalg.solve(seen, a @ cov).T
                miss, rest = row[here] - a @ mean, eye - gain @ a
                log_y = log_y + _log_normal(miss, seen)
                mean, cov = mean + gain @ miss, rest @ cov @ rest.T + gain @ r @ gain.T
            after.append((mean, cov))
        means, covs = [mean], [cov]
        for (m, p), (m_next, p_next) in zip(reversed(after[:-1]), reversed(before[1:])):
            gain = torch.linalg.solve(p_next, self.forward @ p).T
            means.append(m + gain @ (means[-1] - m_next))
            covs.append(p + gain @ (covs[-1] - p_next) @ gain.T)
        return torch.stack(means[::-1]), torch.stack(covs[::-1]), log_y


def _log_normal(x: Tensor, cov: Tensor) -> Tensor:
    far = x @ torch.linalg.solve(cov, x)
    return -0.5 * (far + torch.logdet(cov) + len(x) * math.log(2 * math.pi))
