"""One dial from samples to high points: the flow that takes noise away.

    dx / d(sigma^2) = -kappa grad log p_sigma(x),    sigma^2 from noise^2 down to 0

with p_sigma the density with noise of standard deviation sigma. kappa = 1/2 is the probability flow, whose ends are
samples; kappa = 1 is the reverse diffusion without its noise, the limit of many small argmax steps, whose ends are high
points; between them lies everything else. An end at kappa = 1 has gone uphill at every level of noise, so it is near a
mode but not on it: `find_modes` climbs the rest. From N(0, 1 + noise^2), for N(0, 1), the ends have

    Var = (1 + noise^2)^(1 - 2 kappa).

With the denoiser D = E[x_0 | x] = x + sigma^2 grad log p_sigma(x) and h = 2 kappa log(t / s) a step from t to s is

    x_s = e^-h x_t + integral over u from 0 to h of e^(u - h) D(u),    u = 2 kappa log(t / sigma)

with D(u) the parabola through its values at the level before, at t and at s, the last at the x_s that the line through
the first two leads to; it serves the next step too. The step to 0 is x + kappa (D - x).

In many dimensions high points look like nothing that is ever drawn: cartoons of samples.
Sources: Song et al. 2021 (SDE), eq. 13; Karczewski, Heinonen & Garg 2025, algorithm 1 (kappa = 1); Hochbruck &
Ostermann 2010, section 2.5 (such steps).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from caminito._errors import ConfigError, NonFiniteError
from caminito._random import Stream, normal, seed_from
from caminito.denoiser import Denoiser
from caminito.density import denoising
from caminito.density.invert import RandomState, checked_noise
from caminito.density.target import LogProb, Target
from caminito.process import times
from caminito.process.grid import SIGMA_MAX, SIGMA_MIN

__all__ = ["flow", "walk"]

_RHO = 7  # levels are even in sigma^(1 / rho), Karras et al. 2022
_CHAINS, _SWEEPS = 4, 4  # of the draws that make a mean
_RETUNED = 0.6  # a ladder serves down to this share of its noise


def flow(
    source: Denoiser | LogProb,
    n: int,
    kappa: float = 0.5,
    *,
    noise: float | None = None,
    dim: int | None = None,
    std: float = 0.0,
    steps: int = 48,
    gradient: LogProb | None = None,
    random_state: RandomState = None,
) -> Tensor:
    """Points that the flow leads to, from noise.

    Parameters
    ----------
    source : Denoiser, or (n, dim) -> (n,)
        What takes noise away: a denoiser, by its means; or a log-density up to a constant, by the means of draws of x
        given x with noise, estimated at each level.
    n : int
    kappa : float
        1/2 draws samples, 1 seeks high points, 0 stays where it starts.
    noise : float, optional
        Standard deviation of the noise that starts, several times that of the data. By default of a denoiser all that
        its process has, at most 80.
    dim : int, optional
        Of a log-density.
    std : float
        Standard deviation of a log-density where it is known: the start is N(0, std^2 + noise^2). A denoiser knows the
        moments of its data.
    steps : int
        Levels of noise, with one evaluation each.
    gradient : (n, dim) -> (n, dim), optional
        Of a log-density.
    random_state : int, numpy generator or None

    Returns
    -------
    tensor (n, *event)
        float64.

    Raises
    ------
    ConfigError
        If n or steps is below 1, kappa negative, noise not above 0, or `dim` or `noise` is missing.
    ShapeError, NonFiniteError
        If what log_prob gives is not a finite number for each point.

    Examples
    --------
    >>> import torch
    >>> from caminito.denoiser import GaussianDenoiser
    >>> from caminito.process import EDM
    >>> normal = GaussianDenoiser(torch.zeros(1), 1.0, EDM())
    >>> [round(float(flow(normal, 4000, kappa, noise=3.0, random_state=0).var()), 1) for kappa in (0.5, 1.0)]
    [1.0, 0.1]
    """
    for name, count in (("n", n), ("steps", steps)):
        if not (isinstance(count, int | np.integer) and count >= 1):
            raise ConfigError(f"{name}: expected a whole number >= 1, got {count!r}.")
    if not (isinstance(kappa, int | float) and 0 <= kappa < math.inf):
        raise ConfigError(f"kappa: expected a number >= 0 (1/2 samples, 1 seeks modes), got {kappa!r}.")
    if not (isinstance(std, int | float) and 0 <= std < math.inf):
        raise ConfigError(f"std: expected a standard deviation >= 0, got {std!r}.")
    seed = seed_from(random_state)
    if isinstance(source, Denoiser):
        return _of_denoiser(source, n, kappa, noise, steps, seed)
    if dim is None or noise is None:
        raise ConfigError(
            "flow: expected dim= and noise= with a log-density, which knows neither. Take noise several times as wide "
            "as the density."
        )
    target = Target(source, dim, gradient=gradient)
    high = checked_noise(noise)
    generator = torch.Generator().manual_seed(seed)
    start = math.hypot(high, std) * torch.randn(n, dim, generator=generator, dtype=torch.float64)
    return walk(target, start, _levels(high, high / 1000, steps), kappa, generator)


def walk(target: Target, x: Tensor, levels: Tensor, kappa: float, generator: torch.Generator) -> Tensor:
    """The flow of a log-density through falling levels that end at 0, from points (n, dim) at the first."""
    ladder: denoising.Ladder | None = None
    start: Tensor | None = None
    known = float(levels[0])  # the noise that the ladder is tuned to

    def mean(x: Tensor, sigma: float) -> Tensor:
        nonlocal ladder, start, known
        if ladder is None or start is None:
            ladder = denoising.tuned(target, x, sigma, generator)
            warm = ladder.sweeps
        else:
            if sigma < _RETUNED * known:
                known = sigma
                lone = start[:, 0]
                ladder = denoising.tuned(target, x, sigma, generator, start=lone, before=ladder, rounds=1, sweeps=6)
            ladder = dataclasses.replace(ladder, noise=sigma)
            warm = 2 + round(2 * ladder.barrier)
        found = denoising.means(target, x, ladder, generator, chains=_CHAINS, sweeps=_SWEEPS, warm=warm, start=start)
        start = found.last
        return found.mean

    return _walked(mean, x, levels, kappa)


def _of_denoiser(denoiser: Denoiser, n: int, kappa: float, noise: float | None, steps: int, seed: int) -> Tensor:
    if denoiser.event_shape is None:
        raise ConfigError("flow: expected a denoiser that knows the shape of an event, got one for any shape.")
    process = denoiser.process
    if process.is_discrete:
        raise ConfigError("flow: expected a denoiser of a continuous process, got a chain, which has no other levels.")
    most = math.exp(-float(process.logsnr(process.t_max)) / 2)
    high = min(most, SIGMA_MAX) if noise is None else checked_noise(noise)
    if high > most * (1 + 1e-9):
        raise ConfigError(
            f"noise: expected at most the {most:g} that the process of the denoiser ends at, got {high:g}."
        )

    def time(sigma: float) -> Tensor:
        return torch.clamp(process.time(-2 * math.log(sigma)), max=process.t_max)

    def mean(x: Tensor, sigma: float) -> Tensor:
        t = time(sigma)
        alpha = process.kernel(t).scale
        with torch.no_grad():
            return denoiser.mean(times(alpha, x), t)

    shape = (n, *denoiser.event_shape)
    first = time(high)
    centre, spread = denoiser.prior(first)
    scale = process.kernel(first).scale
    x = (centre + spread * normal(seed, Stream.SAMPLE, 0, shape, dtype=torch.float64)) / scale
    return _walked(mean, x, _levels(high, min(SIGMA_MIN, high / 1000), steps), kappa)


def _levels(high: float, low: float, steps: int) -> Tensor:
    """Levels from high to low, and 0."""
    if steps == 1:
        return torch.tensor([high, 0.0], dtype=torch.float64)
    root = torch.linspace(high ** (1 / _RHO), low ** (1 / _RHO), steps, dtype=torch.float64)
    return torch.cat([root**_RHO, torch.zeros(1, dtype=torch.float64)])


def _walked(mean: Callable[[Tensor, float], Tensor], x: Tensor, levels: Tensor, kappa: float) -> Tensor:
    if kappa == 0:
        return x
    values = levels.tolist()
    now, before, last = mean(x, values[0]), None, 1.0
    for t, s in itertools.pairwise(values):
        if s == 0:
            x = x + kappa * (now - x)
        else:
            h = 2 * kappa * math.log(t / s)
            gained = -math.expm1(-h)
            once = h - gained
            twice = h**2 - 2 * once
            moved = x + gained * (now - x)
            turn = 0.0 if before is None else (now - before) / last
            seen = mean(moved + once * turn, s)
            slope = (seen - now) / h
            bend = 0.0 if before is None else (slope - turn) / (h + last)
            x = moved + once * (slope - h * bend) + twice * bend
            before, last = now, h
            now = seen
        if not bool(torch.isfinite(x).all()):
            raise NonFiniteError(f"flow: at noise {s:g} points became NaN or infinite. Check the source there.")
    return x
