"""The variational bound: how many nats the reverse chain needs, at most, to say x_0.

For visited times t_n > ... > t_1 > 0, with q the forward process and p the reverse one that `Ancestral` draws from,

    -log p(x_0) <= L_T + sum_{i=2}^n L_i + L_0,
        L_T = KL(q(x_{t_n} | x_0) || prior)
        L_i = KL(q(x_{t_{i-1}} | x_{t_i}, x_0) || p(x_{t_{i-1}} | x_{t_i}))
        L_0 = -log p(x_0 | x_{t_1}).

Both laws of L_i are normal, with means c0 x_0 + ct x_t and c0 D + ct x_t. With b^2 the variance of the bridge, v that
of p and u = (v - b^2) / v what p has in excess, each entry of an event adds

    L_i = (c0^2 (x_0 - D)^2 / v - u - log(1 - u)) / 2,

in which nothing cancels where v is close to b^2. Kernels say it all, so it holds on any grid of any process: chains of
any drift, also where alpha is 0 or negative, and continuous processes walked in steps.

Sources: Sohl-Dickstein et al. 2015, eq. 14; Ho et al. 2020, eq. 5, 8 and 13; Bao et al. 2022 (Analytic-DPM), eq. 7 (the
variance for which the bound is least).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from caminito._errors import ConfigError, GridError
from caminito._random import Stream, normal
from caminito.denoiser import Condition, Denoiser
from caminito.process import Normal, Process
from caminito.process import grid as grids
from caminito.sampling.noise import NoiseSource
from caminito.sampling.solvers.base import NO_VARIANCE, require_variance

__all__ = ["Bound", "Levels", "Variance", "variational_bound"]

Variance = Literal["small", "large", "posterior"]


@dataclass(frozen=True, eq=False)
class Bound:
    """An upper bound of -log p(x_0) of each item and its parts, in nats, float64, on the CPU.

    Attributes
    ----------
    prior : tensor, shape (B,)
        L_T: what the end of the process still knows of the item.
    steps : tensor, shape (B, n - 1)
        L_i of the step that leaves each of `times`.
    reconstruction : tensor, shape (B,)
        L_0: of a density in data units, or of a probability where levels were given.
    times : tensor, shape (n - 1,)
        Falling; process times.
    """

    prior: Tensor
    steps: Tensor
    reconstruction: Tensor
    times: Tensor

    @property
    def total(self) -> Tensor:
        """Sum of the parts, shape (B,)."""
        return self.prior + self.steps.sum(1) + self.reconstruction


@dataclass(frozen=True, eq=False)
class Levels:
    """Values that data can take: `count` of them, equally spaced from `low` to `high`, in the units of x0.

    Parameters
    ----------
    low, high : number, or tensor that broadcasts over an event
        For images under a codec, (0 - mean) / std and (255 - mean) / std of each channel.
    count : int >= 2

    Raises
    ------
    ConfigError
        If there are fewer than two levels or they do not rise.
    """

    low: Tensor | float
    high: Tensor | float
    count: int

    def __post_init__(self) -> None:
        if self.count < 2 or not bool((torch.as_tensor(self.low) < torch.as_tensor(self.high)).all()):
            raise ConfigError(f"levels: expected at least 2 from low < high, got {self.count}.")

    def log_prob(self, x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """log of the mass of N(mean, std^2) in the cell of x, entry by entry, float64.

        Cells reach half a spacing to either side; the first and the last reach to infinity.
        Source: Ho et al. 2020, eq. 13.
        """
        low, high = (torch.as_tensor(v, dtype=torch.float64) for v in (self.low, self.high))
        half = (high - low) / (2.0 * (self.count - 1))
        below = torch.where(x < low + half, -torch.inf, x - half)
        above = torch.where(x > high - half, torch.inf, x + half)
        return _log_mass((below - mean) / std, (above - mean) / std)


def variational_bound(
    denoiser: Denoiser,
    x0: Tensor,
    grid: Tensor | None = None,
    *,
    variance: Variance = "small",
    levels: Levels | int | None = None,
    prior: Normal | None = None,
    draws: int = 1,
    seed: int = 0,
    first: int = 0,
    noise: NoiseSource | None = None,
    cond: Condition = None,
) -> Bound:
    """An upper bound of -log p(x0), by the reverse chain along a grid.

    Parameters
    ----------
    denoiser : Denoiser
    x0 : tensor, shape (B, *event)
        Data.
    grid : float64 tensor, falling times that end at 0, optional
        All steps of a chain unless given. Times without noise are passed over: they add nothing.
    variance : 'small', 'large' or 'posterior'
        As in `Ancestral`: that of the bridge, of the transition, or of the bridge + c0^2 Var[x0 | x_t], with which the
        bound is least. The bridge to the data has no variance: 'small' takes that of the last step that has some.
    levels : Levels or int, optional
        The values that data can take: L_0 is then a probability. An int counts levels from -1 to 1 (256 for images in
        [-1, 1]). Without it L_0 is a density.
    prior : Normal, optional
        Law of the first time of the grid; that which sampling starts from, `denoiser.prior`, unless given.
    draws : int
        Noises at each time, averaged.
    seed, first : int
        Draw k at time number i of row j depends on (seed, i, k, first + j) and the length of the grid alone.
    noise : NoiseSource, optional
        Where x_t comes from instead, by the number k n + i: a quadrature here makes expectations exact.
    cond : mapping of conditions, rows as in x0

    Returns
    -------
    Bound
        Nats of each item. Divide by size log 2 for bits per dimension: `bits_per_dim(-bound.total, size)`.

    Raises
    ------
    ConfigError
        If an option is unknown or out of range, a continuous process has no grid, 'small' is asked of a single step,
        or 'posterior' of a denoiser that knows only its mean.
    GridError
        If the grid does not fall, leaves the process, does not end at 0, or has no noise.

    Notes
    -----
    An unbiased estimate of the bound, whose terms are exact but for the draw of x_t. On Gaussian data of independent
    entries with the exact denoiser and 'posterior' its mean is the entropy plus KL(q(x_{t_n}) || prior), for any grid.
    Source: Ho et al. 2020, eq. 5, 8 and 13.

    Examples
    --------
    >>> import torch
    >>> from caminito.denoiser import GaussianDenoiser
    >>> from caminito.process import Chain
    >>> from caminito.sampling import variational_bound
    >>> denoiser = GaussianDenoiser(torch.zeros(1), 1.0, Chain.ddpm("cosine", steps=50))
    >>> bound = variational_bound(denoiser, torch.zeros(3, 1), variance="posterior")
    >>> bound.steps.shape
    torch.Size([3, 49])
    """
    process = denoiser.process
    if variance not in ("small", "large", "posterior"):
        raise ConfigError(f"variance: expected 'small', 'large' or 'posterior', got {variance!r}.")
    if draws < 1:
        raise ConfigError(f"draws: expected a whole number >= 1, got {draws}.")
    if variance == "posterior":
        require_variance(denoiser)
    cells = Levels(-1.0, 1.0, levels) if isinstance(levels, int) else levels
    times = _visited(process, grid)
    source = _Draws(seed, first) if noise is None else noise
    legs = _legs(process, times, variance)
    terms = torch.zeros(len(x0), len(legs), dtype=torch.float64)
    data = x0.double().cpu()
    with torch.no_grad():
        for k in range(draws):
            for i, leg in enumerate(legs):
                x_t = process.noise(x0, leg.t, source.normal(k * len(legs) + i + 1, x0))
                mean, var = denoiser.moments(x_t, leg.t, cond) if leg.spread else (denoiser(x_t, leg.t, cond), None)
                mean = mean.double().cpu()
                excess = leg.spread * _known(var) if leg.spread else torch.full_like(mean, leg.gap)
                last = i == len(legs) - 1
                entries = _reconstruction(leg, data, mean, excess, cells) if last else _step(leg, data, mean, excess)
                terms[:, i] += entries.flatten(1).sum(1) / draws
    end = denoiser.prior(times[0]) if prior is None else prior
    return Bound(_prior(process, times[0], data, end), terms[:, :-1], terms[:, -1], times[:-2])


class _Draws(NamedTuple):
    """The draws of the bound."""

    seed: int
    first: int

    def normal(self, step: int, like: Tensor) -> Tensor:
        """Rows first .. first + B - 1 of the table of (seed, step)."""
        shape = tuple(like.shape)
        return normal(self.seed, Stream.BOUND, step, shape, start=self.first, dtype=like.dtype, device=like.device)


class _Leg(NamedTuple):
    """A step of p down from t, of variance v = bridge + excess, excess = gap + spread Var[x0 | x_t]."""

    t: Tensor
    c0: float
    bridge: float
    gap: float
    spread: float


def _visited(process: Process, grid: Tensor | None) -> Tensor:
    """The times of the grid that have noise, and 0."""
    if grid is None:
        if not process.is_discrete:
            raise ConfigError(
                "grid: expected the times to visit, got none. A continuous process has no steps of its own."
            )
        grid = torch.arange(int(process.t_max), -1, -1, dtype=torch.float64)
    times = grids.validate(process, grid)
    noisy = times[process.kernel(times).std > 0]
    if float(times[-1]) != 0 or len(noisy) == 0:
        raise GridError(f"grid: expected noisy times and a last time 0, got {times[0]:g} to {times[-1]:g}.")
    return torch.cat([noisy, torch.zeros(1, dtype=torch.float64)])


def _legs(process: Process, times: Tensor, variance: Variance) -> list[_Leg]:
    """The steps between visited times; the last, to the data, has the variance of L_0."""
    t, s = times[:-1], times[1:]
    c0, _, std = process.bridge(s, t)
    gap = spread = torch.zeros_like(c0)
    if variance == "large":
        sigma_s, sigma_t = process.kernel(s).std, process.kernel(t).std
        gap = (process.transition(s, t).std / sigma_t) ** 2 * (sigma_t - sigma_s) * (sigma_t + sigma_s)
    elif variance == "posterior":
        spread = c0**2
    legs = [_Leg(time, *row) for time, *row in zip(t, *(c.tolist() for c in (c0, std**2, gap, spread)))]
    if variance == "small":
        known = [leg.bridge for leg in legs if leg.bridge > 0]
        if not known:
            raise ConfigError(
                "variance='small' has no spread in a single step to the data. Use 'large' or 'posterior'."
            )
        legs[-1] = legs[-1]._replace(bridge=known[-1])
    return legs


def _known(var: Tensor | None) -> Tensor:
    """Var[x0 | x_t], float64."""
    if var is None:
        raise ConfigError(NO_VARIANCE)
    return var.double().cpu()


def _prior(process: Process, t: Tensor, data: Tensor, law: Normal) -> Tensor:
    """L_T, shape (B,)."""
    alpha, sigma = process.kernel(t)
    mean, std = (v.double().cpu() for v in law)
    entries = _divergence(alpha * data - mean, sigma**2, (std - sigma) * (std + sigma), std**2)
    return entries.flatten(1).sum(1)


def _step(leg: _Leg, data: Tensor, mean: Tensor, excess: Tensor) -> Tensor:
    """L_i of each entry; 0 where neither law has a spread, which is where they agree."""
    var = leg.bridge + excess
    sure = var == 0
    entries = _divergence(leg.c0 * (data - mean), leg.bridge, excess, torch.where(sure, 1.0, var))
    return torch.where(sure, 0.0, entries)


def _divergence(apart: Tensor, own: Tensor | float, excess: Tensor, var: Tensor) -> Tensor:
    """KL(N(m + apart, own) || N(m, var)) with var = own + excess, entry by entry."""
    u = excess / var
    log_ratio = torch.where(u < 0.5, torch.log1p(-u), torch.log(own / var))
    return (apart**2 / var - u - log_ratio) / 2


def _reconstruction(leg: _Leg, data: Tensor, mean: Tensor, excess: Tensor, levels: Levels | None) -> Tensor:
    """L_0 of each entry."""
    var = leg.bridge + excess
    if levels is None:
        return ((data - mean) ** 2 / var + torch.log(var) + math.log(2 * math.pi)) / 2
    return -levels.log_prob(data, mean, torch.sqrt(var))


def _log_mass(a: Tensor, b: Tensor) -> Tensor:
    """log(Phi(b) - Phi(a)) for a < b, without cancellation in the tails nor about 0; either may be infinite."""
    a, b = torch.where(a > 0, -b, a), torch.where(a > 0, -a, b)  # the left tail, or about 0
    upper, lower = torch.special.log_ndtr(b), torch.special.log_ndtr(a)
    tail = upper + _log1mexp(torch.where(b > 0, 1.0, upper - lower))
    middle = torch.log(torch.special.erf(b / 2**0.5) - torch.special.erf(a / 2**0.5)) - math.log(2)
    return torch.where(b > 0, middle, tail)


def _log1mexp(gap: Tensor) -> Tensor:
    """log(1 - exp(-gap)) for gap > 0. Source: Maechler 2012, eq. 7."""
    return torch.where(gap < 0.693, torch.log(-torch.expm1(-gap)), torch.log1p(-torch.exp(-gap)))
