"""Oracles: what must come out, in closed form and without sampling noise.

A chain is a linear map of (x_0, eps_1, ..., eps_T), so the law of its whole path is one joint Gaussian, and a bridge is
nothing but its conditional. On Gaussian data every solver is an affine map of (x_T, eps_1, ..., eps_n): walking from
the unit vectors of that space gives the map, and with it the exact mean and covariance of what the solver makes.

Sources: Bishop 2006, eq. 2.81-2.82 (conditioning); Song et al. 2021 (SDE), eq. 13 (probability flow).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from caminito.denoiser import Denoiser
from caminito.process import Chain, Process
from caminito.process.base import Time
from caminito.sampling import Solver, solver_named, trajectory
from caminito.sampling.noise import PART

__all__ = ["Moments", "UnitNoise", "conditional", "ddim_factor", "flow_map", "joint", "propagate"]


class Moments(NamedTuple):
    """Mean (d,) and covariance (d, d) of a flattened event, float64."""

    mean: Tensor
    cov: Tensor


def joint(chain: Chain) -> Moments:
    """Law of the path (x_0, ..., x_T) of one entry given x_0 = 1, from x_i = (1 - mu_i) x_{i-1} + sigma_i eps_i.

    Returns
    -------
    Moments
        Mean (T + 1,) and covariance (T + 1, T + 1); the mean scales with x_0, the covariance does not depend on it.

    Notes
    -----
    Exact. It uses the steps of the chain alone, none of its tables.
    """
    steps = len(chain.scale)
    weights = torch.zeros(steps + 1, steps, dtype=torch.float64)  # of eps_j in x_i
    mean = torch.ones(steps + 1, dtype=torch.float64)
    for i in range(1, steps + 1):
        weights[i] = chain.scale[i - 1] * weights[i - 1]
        weights[i, i - 1] += chain.std[i - 1]
        mean[i] = chain.scale[i - 1] * mean[i - 1]
    return Moments(mean, weights @ weights.T)


def conditional(moments: Moments, unknown: Sequence[int], known: Sequence[int]) -> tuple[Moments, Tensor]:
    """Law of some coordinates given others, of a joint Gaussian.

    Returns
    -------
    moments : Moments
        Mean where every known coordinate is 0, and covariance.
    gain : tensor, shape (len(unknown), len(known))
        Mean given known values y is ``moments.mean + gain @ y``.

    Notes
    -----
    Source: Bishop 2006, eq. 2.81-2.82; a pseudo-inverse where a known coordinate has no variance.
    """
    u, k = list(unknown), list(known)
    cov = moments.cov
    gain = cov[u][:, k] @ torch.linalg.pinv(cov[k][:, k], hermitian=True)
    rest = cov[u][:, u] - gain @ cov[k][:, u]
    return Moments(moments.mean[u] - gain @ moments.mean[k], rest), gain


@dataclass(frozen=True)
class UnitNoise:
    """A noise source that is 0 but for one entry in one step of each row: the unit vectors of the noise.

    Parameters
    ----------
    rows : tuple of (step, entry)
        Row r draws 1 at that entry of that step; step 0 draws nothing.
    """

    rows: tuple[tuple[int, int], ...]

    def normal(self, step: int, like: Tensor) -> Tensor:
        """Zeros of the shape of `like`, with the ones of this step."""
        out = torch.zeros_like(like)
        flat = out.view(len(out), -1)
        for row, entry in self._places.get(step, ()):
            flat[row, entry] = 1
        return out

    @cached_property
    def _places(self) -> dict[int, list[tuple[int, int]]]:
        places: dict[int, list[tuple[int, int]]] = {}
        for row, (step, entry) in enumerate(self.rows):
            if step > 0:
                places.setdefault(step, []).append((row, entry))
        return places


def propagate(
    denoiser: Denoiser,
    grid: Tensor,
    solver: Solver | str,
    *,
    mean: Tensor | float | None = None,
    cov: Tensor | float | None = None,
) -> Moments:
    """Exact moments of what `solver` makes of a Gaussian start, for a denoiser that is affine in x_t.

    Parameters
    ----------
    denoiser : Denoiser
        Affine in x_t with a variance that does not depend on it, as `GaussianDenoiser` is. Its event shape is known.
    grid : float64 tensor, falling times
    solver : Solver or name
    mean, cov : tensor or number, optional
        Of x at ``grid[0]``: mean (*event), covariance a number, a diagonal (*event) or (d, d). By default those of
        ``denoiser.prior(grid[0])``.

    Returns
    -------
    Moments
        Of x at ``grid[-1]``, float64.

    Raises
    ------
    ValueError
        If the denoiser does not know its event shape.

    Notes
    -----
    No sampling: one walk from 1 + d (1 + n) rows, n the number of draws. Accurate to rounding.
    """
    if denoiser.event_shape is None:
        raise ValueError("propagate: expected a denoiser with a known event shape, got None.")
    size, steps = torch.Size(denoiser.event_shape).numel(), len(grid) - 1
    prior = denoiser.prior(grid[0])
    m = _flat(prior.mean if mean is None else mean, size)
    c = torch.as_tensor(prior.std**2 if cov is None else cov, dtype=torch.float64)
    c = c if tuple(c.shape) == (size, size) and size > 1 else torch.diag(_flat(c, size))
    draws = [i + part * PART for part in range(solver_named(solver).draws) for i in range(1, steps + 1)]
    rows = [(0, 0)] * (1 + size) + [(i, j) for i in draws for j in range(size)]
    x = m.repeat(len(rows), 1)
    x[1 : 1 + size] += torch.eye(size, dtype=torch.float64)
    last = x.reshape(len(rows), *denoiser.event_shape)
    for frame in trajectory(denoiser, last, grid, solver, noise=UnitNoise(tuple(rows))):
        last = frame.x
    out = last.reshape(len(rows), size)
    moved = (out[1:] - out[0]).T
    start, noise = moved[:, :size], moved[:, size:]
    return Moments(out[0], start @ c @ start.T + noise @ noise.T)


def _flat(value: Tensor | float, size: int) -> Tensor:
    flat = torch.as_tensor(value, dtype=torch.float64).reshape(-1)
    return flat.expand(size).clone()


def flow_map(process: Process, var: Tensor | float, x: Tensor, t: Time, s: Time, mean: Tensor | float = 0.0) -> Tensor:
    """Exact solution at time s of the probability-flow ODE through x at time t, for independent N(mean, var) entries.

    x_s = alpha_s m + sqrt((alpha_s^2 q + sigma_s^2) / (alpha_t^2 q + sigma_t^2)) (x_t - alpha_t m)

    Notes
    -----
    Exact for any process whose alpha keeps its sign. Source: Song et al. 2021 (SDE), eq. 13, solved for a Gaussian.
    """
    q, m = (torch.as_tensor(v, dtype=torch.float64) for v in (var, mean))
    (alpha_s, sigma_s), (alpha_t, sigma_t) = process.kernel(s), process.kernel(t)
    ratio = torch.sqrt((alpha_s**2 * q + sigma_s**2) / (alpha_t**2 * q + sigma_t**2))
    return alpha_s * m + ratio * (x - alpha_t * m)


def ddim_factor(sigmas: Tensor, var: float) -> Tensor:
    """Factor by which DDIM (Euler in sigma / alpha) scales x / alpha - m along `sigmas` (of sigma / alpha), data var q.

    prod_i (1 + (s_{i+1} - s_i) s_i / (q + s_i^2))
    """
    here, there = sigmas[:-1].to(torch.float64), sigmas[1:].to(torch.float64)
    return torch.prod(1 + (there - here) * here / (var + here**2))
