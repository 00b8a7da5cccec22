"""Log-density of data under a denoiser, through the probability-flow ODE.

With r = sigma / alpha, s = log r and z = x / sqrt(alpha^2 + sigma^2), everything in the ODE stays of order one:

    dz/ds = z / (1 + r^2) - D / sqrt(1 + r^2)
    d log p(z) / ds = -(d / (1 + r^2) - div D),        div D = trace of dD / d(x / alpha),

integrated in s from the smallest noise level to the end of the process. The divergence is the exact trace of the
Jacobian, one product per entry of an event, or Hutchinson's estimate with probes that stay fixed along the walk.

What comes out is the density of the data blurred by the smallest noise, r_min = sigma_min: for data of density p it
differs from log p by r_min^2 / 2 times the Laplacian of p over p, for data on a surface it grows with log 1 / r_min.
Source: Song et al. 2021 (SDE), appendix D.2; Chen et al. 2018 (change of variables).
"""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Literal

import torch
from torch import Tensor

from caminito._errors import ApproximateLikelihood, ConfigError, NonFiniteError
from caminito._random import Stream, normal
from caminito.denoiser import Condition, Denoiser
from caminito.process import Process
from caminito.process import grid as grids
from caminito.sampling._dopri import integrate

__all__ = ["log_prob"]

_EXACT_UP_TO = 64  # entries of an event for which the exact trace is the default


def log_prob(
    denoiser: Denoiser,
    x: Tensor,
    *,
    method: Literal["heun", "dopri5"] = "heun",
    steps: int = 64,
    rtol: float = 1e-6,
    atol: float = 1e-6,
    sigma_min: float = grids.SIGMA_MIN,
    grid: Tensor | None = None,
    exact: bool | None = None,
    probes: int = 4,
    seed: int = 0,
    first: int = 0,
    cond: Condition = None,
) -> Tensor:
    """log p(x) in nats, in the units of x.

    Parameters
    ----------
    denoiser : Denoiser of a continuous process; its mean must be differentiable
    x : tensor, shape (B, *event)
        Data, not noisy. The walk is done in its dtype.
    method : 'heun' or 'dopri5'
        Heun's rule on a fixed grid: error O(steps^-2), and a row does not depend on its batch.
        Dormand-Prince 5(4) with steps chosen for all rows together: a row depends on its batch within the tolerance.
    steps : int
        Heun steps between the smallest noise level and the end.
    rtol, atol : float > 0
        Error that 'dopri5' allows in one step, of z and (nats) of the log-density.
    sigma_min : float
        Smallest sigma / alpha, in the units of x: the blur of the density that is returned.
    grid : float64 tensor, falling times, optional
        The levels themselves, instead of `steps` and `sigma_min`; 'dopri5' takes its ends alone. A last time 0 is
        passed over.
    exact : bool, optional
        Exact trace, or Hutchinson's estimate with `probes` probes; exact up to 64 entries unless given.
    seed, first : int
        The probes of row i depend on (seed, first + i) alone.
    cond : mapping of conditions, rows as in x

    Returns
    -------
    tensor, shape (B,), float64, on the CPU
        log of the density at x of x_0 + sigma_min eps.

    Raises
    ------
    ConfigError
        If the process is a chain (it has no ODE), an option is unknown or out of range, the denoiser is not
        differentiable, or a tolerance is not met.
    NonFiniteError
        If the walk gives NaN or infinity.

    Warns
    -----
    ApproximateLikelihood
        If the trace is estimated because the event is large.

    Notes
    -----
    Exact up to the blur, the step error, the probes, and the normal law taken for the end of the process, where what
    the process leaves of the data's third moment enters as r_max^-3.
    Source: Song et al. 2021 (SDE), eq. 39 and appendix D.2.

    Examples
    --------
    >>> import torch
    >>> from caminito.denoiser import GaussianDenoiser
    >>> from caminito.process import VP
    >>> from caminito.sampling import log_prob
    >>> denoiser = GaussianDenoiser(torch.zeros(1), 1.0, VP())
    >>> value = log_prob(denoiser, torch.zeros(1, 1, dtype=torch.float64), method="dopri5")
    >>> round(float(value), 4)  # -log(2 pi) / 2
    -0.9189
    """
    process = denoiser.process
    if process.is_discrete:
        raise ConfigError(
            "log_prob: a chain has no probability-flow ODE. Use variational_bound, or a continuous process."
        )
    if method not in ("heun", "dopri5"):
        raise ConfigError(f"method: expected 'heun' or 'dopri5', got {method!r}.")
    if not (rtol > 0 and atol > 0):
        raise ConfigError(f"rtol, atol: expected numbers > 0, got {rtol} and {atol}.")
    times = _levels(denoiser, steps, sigma_min, grid)
    flow = _Flow(denoiser, cond, *_directions(x, exact, probes, seed, first))
    start = flow.scale(times[0])
    state = (x / start, torch.zeros(len(x), dtype=torch.float64))
    z, growth = _fixed(flow, times, state) if method == "heun" else _adaptive(flow, times, state, rtol, atol)
    value = _log_end(denoiser, z, times[-1]) + growth - math.prod(x.shape[1:]) * math.log(start)
    if not bool(torch.isfinite(value).all()):
        bad = int((~torch.isfinite(value)).sum())
        raise NonFiniteError(
            f"log_prob: {bad} of {len(value)} values are not finite. Check the denoiser, or use more steps."
        )
    return value


def _levels(denoiser: Denoiser, steps: int, sigma_min: float, grid: Tensor | None) -> Tensor:
    """Rising times of the walk: of noise, and of signal."""
    process = denoiser.process
    if grid is None:
        grid = grids.logsnr(process, steps + 1, sigma_min=sigma_min)
    falling = grids.validate(process, grid)
    times = (falling[:-1] if float(falling[-1]) == 0 else falling).flip(0)
    if float(process.kernel(times[-1]).scale) == 0:  # x / alpha would be infinite: stop where the signal is faint
        spread = max(1.0, float(torch.as_tensor(denoiser.data_moments[1]).max().sqrt()))
        times[-1] = process.time(-2 * math.log(grids.SIGMA_MAX * spread))
    return times


def _directions(x: Tensor, exact: bool | None, probes: int, seed: int, first: int) -> tuple[Tensor, float]:
    """Directions (n, B or 1, *event) along which the Jacobian is taken, and their weight in the trace."""
    size = math.prod(x.shape[1:])
    if exact is None and size > _EXACT_UP_TO:
        warnings.warn(
            f"log_prob: {size} entries per event, so the divergence is estimated with {probes} probes. "
            "Pass exact=True for the exact trace.",
            ApproximateLikelihood,
            stacklevel=3,
        )
    if exact or (exact is None and size <= _EXACT_UP_TO):
        return torch.eye(size, dtype=x.dtype, device=x.device).reshape(size, 1, *x.shape[1:]), 1.0
    if probes < 1:
        raise ConfigError(f"probes: expected a whole number >= 1, got {probes}.")
    shape = tuple(x.shape)
    draws = [normal(seed, Stream.PROBE, k, shape, start=first, dtype=x.dtype, device=x.device) for k in range(probes)]
    return torch.stack(draws).sign(), 1.0 / probes


class _Flow:
    """The slopes of z and of its log-density in s = log(sigma / alpha)."""

    def __init__(self, denoiser: Denoiser, cond: Condition, directions: Tensor, weight: float) -> None:
        self.process: Process = denoiser.process
        self._denoiser, self._cond = denoiser, cond
        self._directions, self._weight = directions, weight

    def level(self, t: Tensor) -> float:
        """s = log(sigma / alpha)."""
        alpha, sigma = self.process.kernel(t)
        return float(torch.log(sigma / alpha))

    def time(self, s: float) -> Tensor:
        """The time of a level."""
        return self.process.time(-2 * s).clamp(max=self.process.t_max)

    def scale(self, t: Tensor) -> float:
        """sqrt(1 + r^2), which divides x / alpha."""
        alpha, sigma = self.process.kernel(t)
        return float(torch.hypot(torch.ones_like(alpha), sigma / alpha))

    def __call__(self, t: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """dz/ds, and minus d log p(z)/ds."""
        scale, size = self.scale(t), math.prod(z.shape[1:])
        centre, divergence = self._mean_and_trace(t, scale * z)
        return z / scale**2 - centre / scale, size / scale**2 - divergence

    def _mean_and_trace(self, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """D at x = alpha y, and the trace of dD/dy; products with the transposed Jacobian, which any network has."""
        alpha = float(self.process.kernel(t).scale)
        with torch.enable_grad():
            y = y.detach().requires_grad_(True)
            centre = self._denoiser.mean(alpha * y, t, self._cond)
            if not centre.requires_grad:
                raise ConfigError("log_prob: expected a denoiser whose mean is differentiable, got one that is not.")
            trace = torch.zeros(len(y), dtype=torch.float64)
            for direction in self._directions:
                direction = direction.expand_as(y)
                (pulled,) = torch.autograd.grad(centre, y, direction, retain_graph=True)
                trace += self._weight * (direction * pulled).flatten(1).sum(1).double().cpu()
        return centre.detach(), trace


def _fixed(flow: _Flow, times: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Heun's rule from level to level."""
    z, total = state
    for t, later in itertools.pairwise(times):
        h = flow.level(later) - flow.level(t)
        slope, growth = flow(t, z)
        slope_end, growth_end = flow(later, z + h * slope)
        z, total = z + h / 2 * (slope + slope_end), total + h / 2 * (growth + growth_end)
    return z, total


def _adaptive(
    flow: _Flow, times: Tensor, state: tuple[Tensor, Tensor], rtol: float, atol: float
) -> tuple[Tensor, Tensor]:
    """Dormand-Prince between the first level and the last."""
    start, end = flow.level(times[0]), flow.level(times[-1])
    z, total = integrate(lambda s, y: flow(flow.time(s), y[0]), state, start, end, rtol=rtol, atol=atol)
    return z, total


def _log_end(denoiser: Denoiser, z: Tensor, t: Tensor) -> Tensor:
    """log of the normal density of z at the end of the process."""
    prior, norm = denoiser.prior(t), float(torch.hypot(*denoiser.process.kernel(t)))
    std = prior.std.expand(z.shape[1:])
    standard = (norm * z.double().cpu() - prior.mean) / std
    log_volume = torch.log(std / norm).sum() + 0.5 * math.prod(z.shape[1:]) * math.log(2 * math.pi)
    return -0.5 * (standard**2).flatten(1).sum(1) - log_volume
