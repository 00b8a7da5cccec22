"""Exact denoiser of the data themselves: the optimum of any training, which remembers everything.

For p(x0) = 1/N sum_i N(y_i, h^2 I), with v = alpha^2 h^2 + sigma^2 and r_i = softmax(-|x_t - alpha y_i|^2 / 2v):

    E[x0 | x_t] = sum_i r_i (y_i + alpha h^2 / v (x_t - alpha y_i)).

Distances are taken as differences, never as |x|^2 - 2 x.y + |y|^2, which loses all digits near the data. Rows are
worked in chunks, so memory stays bounded.
Source: Karras et al. 2022, appendix B.3 (h = 0).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from caminito._errors import ConfigError, ShapeError
from caminito.denoiser.base import Condition, Denoiser
from caminito.process import Process
from caminito.process.base import Time

__all__ = ["EmpiricalDenoiser"]

_CHUNK_PAIRS = 4_000_000  # pairs of (row, datum) held at once


class EmpiricalDenoiser(Denoiser):
    """Exact denoiser of a finite data set, each datum widened by a Gaussian of standard deviation `bandwidth`.

    Parameters
    ----------
    data : tensor, shape (N, *event)
    process : Process
    bandwidth : float >= 0, data units
    """

    def __init__(self, data: Tensor, process: Process, bandwidth: float = 0.0) -> None:
        if data.ndim < 2 or len(data) == 0:
            raise ShapeError(f"data: expected at least one event in shape (N, *event), got {tuple(data.shape)}.")
        if not bandwidth >= 0:
            raise ConfigError(f"bandwidth: expected a standard deviation >= 0, got {bandwidth}.")
        self.process, self.bandwidth = process, float(bandwidth)
        self.event_shape = tuple(data.shape[1:])
        self._data = data.flatten(1).to(torch.float64)
        var = self._data.var(0, correction=0) + self.bandwidth**2
        self.data_moments = (self._data.mean(0).reshape(self.event_shape), var.reshape(self.event_shape))

    def _posterior(self, x_t: Tensor, t: Time, *, spread: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rows of sum_i r_i y_i, of sum_i r_i (y_i - that)^2 if asked, of log p_t, and of the gain, all float64."""
        x, data = x_t.flatten(1).to(torch.float64), self._data.to(x_t.device)
        alpha, sigma = (c.to(x.device).expand(len(x)) for c in self.process.kernel(t))
        v = (alpha**2 * self.bandwidth**2 + sigma**2).clamp_min(1e-300)
        rows = max(1, _CHUNK_PAIRS // len(self._data))
        means, spreads, logs = [], [], []
        for part, a, w in zip(x.split(rows), alpha.split(rows), v.split(rows)):
            scaled = part / torch.where(a == 0, torch.ones_like(a), a)[:, None]
            energy = -_SquaredDistance.apply(scaled, data) * (a**2 / (2 * w))[:, None]
            energy = torch.where((a == 0)[:, None], -(part**2).sum(1, keepdim=True) / (2 * w)[:, None], energy)
            logs.append(torch.logsumexp(energy, 1) - math.log(len(self._data)))
            r = torch.softmax(energy, 1)
            # one row at a time: the order of a matrix product's sums depends on the number of rows
            means.append(torch.stack([row.clone() @ data for row in r]))
            if spread:
                spreads.append(torch.stack([row.clone() @ (data - centre) ** 2 for row, centre in zip(r, means[-1])]))
        normaliser = 0.5 * x.shape[1] * torch.log(2 * math.pi * v)
        gain = alpha * self.bandwidth**2 / v
        return torch.cat(means), torch.cat(spreads or means), torch.cat(logs) - normaliser, gain

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """sum_i r_i (y_i + gain (x_t - alpha y_i))."""
        centre, _, _, gain = self._posterior(x_t, t)
        alpha = self.process.kernel(t).scale.to(x_t.device).expand(len(x_t))
        moved = centre + gain[:, None] * (x_t.flatten(1).to(torch.float64) - alpha[:, None] * centre)
        return moved.to(x_t).reshape(x_t.shape)

    def var(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """Diagonal of the posterior covariance: within each datum's Gaussian, plus between data."""
        _, spread, _, gain = self._posterior(x_t, t, spread=True)
        alpha = self.process.kernel(t).scale.to(x_t.device).expand(len(x_t))
        shrink = 1 - gain * alpha
        total = spread * shrink[:, None] ** 2 + (self.bandwidth**2 * shrink)[:, None]
        return total.to(x_t).reshape(x_t.shape)

    def log_marginal(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """log of 1/N sum_i N(x_t; alpha y_i, v I)."""
        return self._posterior(x_t, t)[2].to(x_t)


class _SquaredDistance(torch.autograd.Function):
    """|x_i - y_j|^2 by differences, with the forward derivative that `cdist` lacks (the likelihood asks for it)."""

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> Tensor:
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist") ** 2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, y = ctx.saved_tensors
        return 2 * (grad.sum(1, keepdim=True) * x - grad @ y), None

    @staticmethod
    def jvp(ctx: Any, along: Tensor, _: None) -> Tensor:
        x, y = ctx.saved_tensors
        return 2 * ((x * along).sum(1, keepdim=True) - along @ y.T)
