"""Log-density of data under a denoiser, through the probability-flow ODE.

With r = sigma / alpha, s = log r and z = x / sqrt(alpha^2 + sigma^2), everything in the ODE stays of order one:

    dz/ds = z / (1 + r^2) - D / sqrt(1 + r^2)
    d log p(z) / ds = -(d / (1 + r^2) - div D),        div D = trace of dD / d(x / alpha),

integrated with Heun's rule in s from the smallest noise level to the end of the process.
The divergence is the exact trace of the Jacobian, one product per entry of an event, or Hutchinson's estimate with
probes that stay fixed along the walk.
Source: Song et al. 2021 (SDE), appendix D.2; Chen et al. 2018 (change of variables).
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from caminito._errors import ApproximateLikelihood, ConfigError
from caminito._random import Stream, normal
from caminito.denoiser import Condition, Denoiser
from caminito.process import grid as grids

__all__ = ["log_prob"]

_EXACT_UP_TO = 64  # entries of an event for which the exact trace is the default


def log_prob(
    denoiser: Denoiser,
    x: Tensor,
    *,
    steps: int = 64,
    exact: bool | None = None,
    cond: Condition = None,
    probes: int = 4,
    seed: int = 0,
    grid: Tensor | None = None,
) -> Tensor:
    """log p(x) in nats, in the units of x.

    Parameters
    ----------
    denoiser : Denoiser of a continuous process; its mean must be differentiable
    x : tensor, shape (B, *event)
    steps : int
        Heun steps between the smallest noise level and the end.
    exact : bool, optional
        Exact trace, or Hutchinson's estimate with `probes` probes; exact up to 64 entries unless given.
    cond : mapping of conditions, rows as in x

    Returns
    -------
    tensor, shape (B,), float64
        The density of the data blurred by the smallest noise of the grid: error O(steps^-2).

    Raises
    ------
    ConfigError
        If the process is a chain (it has no ODE).
    """
    process = denoiser.process
    if process.is_discrete:
        raise ConfigError("log_prob: a chain has no probability-flow ODE. Use a continuous process.")
    size = x[0].numel()
    use_exact = size <= _EXACT_UP_TO if exact is None else exact
    if not use_exact and exact is None:
        warnings.warn(
            f"log_prob: {size} entries per event, so the divergence is estimated with {probes} probes. "
            "Pass exact=True for the exact trace.",
            ApproximateLikelihood,
            stacklevel=2,
        )
    falling = grids.logsnr(process, steps + 1) if grid is None else grids.validate(process, grid)
    times = falling[:-1].flip(0) if float(falling[-1]) == 0 else falling.flip(0)
    alpha, sigma = process.kernel(times)
    if float(alpha[-1]) == 0:  # in y = x / alpha the end would be infinite: stop at the last time that has signal
        times = torch.cat([times[:-1], process.time(times.new_tensor(-2 * math.log(grids.SIGMA_MAX)))[None]])
        alpha, sigma = process.kernel(times)
    ratio = (sigma / alpha).tolist()
    scale = torch.hypot(torch.ones_like(alpha), sigma / alpha).tolist()
    if use_exact:
        basis = (
            torch.eye(size, dtype=x.dtype, device=x.device)
            .reshape(size, 1, *x.shape[1:])
            .expand(-1, len(x), *x.shape[1:])
        )
        weight = 1.0
    else:
        draws = [normal(seed, Stream.PROBE, k, tuple(x.shape), dtype=x.dtype, device=x.device) for k in range(probes)]
        basis, weight = torch.stack(draws).sign(), 1.0 / probes

    def slopes(z: Tensor, i: int) -> tuple[Tensor, Tensor]:
        def mean(y: Tensor) -> Tensor:
            return denoiser.mean(float(alpha[i]) * y, times[i], cond)

        divergence = torch.zeros(len(z), dtype=torch.float64)
        centre = z
        for direction in basis:
            centre, moved = torch.func.jvp(mean, (scale[i] * z,), (direction,))[:2]
            divergence += weight * (direction * moved).flatten(1).sum(1).double().cpu()
        return z / scale[i] ** 2 - centre / scale[i], size / scale[i] ** 2 - divergence

    with torch.no_grad():
        z, total = x / scale[0], torch.zeros(len(x), dtype=torch.float64)
        for i in range(len(times) - 1):
            h = math.log(ratio[i + 1] / ratio[i])
            slope, growth = slopes(z, i)
            slope_end, growth_end = slopes(z + h * slope, i + 1)
            z = z + h / 2 * (slope + slope_end)
            total += h / 2 * (growth + growth_end)
        prior, stretch = denoiser.prior(times[-1]), float(alpha[-1]) * scale[-1]
        end = (stretch * z.double().cpu() - prior.mean) / prior.std
        std = prior.std.expand(x.shape[1:])
        base = -0.5 * (end**2).flatten(1).sum(1) - torch.log(std).sum() - 0.5 * size * math.log(2 * math.pi)
        return base + size * math.log(stretch / scale[0]) + total
