"""Walks given an observation that are no guided denoisers: their steps draw, copy or go back.

==============  ==========================================================  ===========================================
name            a step                                                      source
==============  ==========================================================  ===========================================
`repaint`       entries seen are noised y, the rest as the prior has it;    Lugmayr et al. 2022, algorithm 1
                back up and again
`dps`           the prior's step, then - zeta grad |y - A D(x_t)|           Chung et al. 2023, algorithm 1
`daps`          to data by the ODE, a draw of N(., r^2) N(y; A ., R),       Zhang et al. 2024, algorithm 1
                noised to the next level
`split_gibbs`   z | x, y in closed form, x | z by the reverse process       Vono et al. 2019; Wu et al. 2024 (PnP-DM)
==============  ==========================================================  ===========================================

`repaint` forgets that what is missing should have known of y sooner; `dps` finds where the likelihood is high rather
than how wide it is; `daps` and `split_gibbs` settle the weights of modes at the noise levels they leave last.
All give P n rows: n of the first observation, then n of the second.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caminito._errors import ConditionError, ConfigError
from caminito._random import Stream, normal
from caminito.denoiser import Condition, Denoiser, mapped
from caminito.posterior.guides import at, local, require_derivative, spread_of
from caminito.posterior.observation import Observation
from caminito.posterior.operators import Identity, whole
from caminito.process import Process, times
from caminito.process import grid as grids
from caminito.sampling import trajectory

__all__ = ["Draws", "Report", "daps", "dps", "for_particles", "levels", "repaint", "reverse", "split", "split_gibbs"]

Report = Callable[[int, int], None]
"""(done, total) -> None."""


@dataclass
class Draws:
    """Normal draws, each table of rows used once; a noise source of walks from a row on.

    Parameters
    ----------
    seed : int
    base : int
        Number of the next table.
    start : int
        First row.
    """

    seed: int
    base: int = 0
    start: int = 0

    def normal(self, step: int, like: Tensor) -> Tensor:
        """Table base + step, from the first row on."""
        shape = tuple(like.shape)
        step = self.base + step
        return normal(self.seed, Stream.POSTERIOR, step, shape, start=self.start, dtype=like.dtype, device=like.device)

    def taken(self, like: Tensor) -> Tensor:
        """The next table."""
        out = self.normal(0, like)
        self.base += 1
        return out

    def next(self, count: int) -> None:
        """Leave so many tables behind."""
        self.base += count

    def from_row(self, start: int) -> Draws:
        """The same tables, read from a row on."""
        return Draws(self.seed, self.base, self.start + start)


def reverse(
    denoiser: Denoiser,
    z: Tensor,
    level: float,
    steps: int,
    draws: Draws,
    *,
    cond: Condition = None,
) -> Tensor:
    """x0 given z = x0 + level eps: the reverse process from that noise level; of infinity, from its start."""
    process = denoiser.process
    if math.isinf(level):
        grid = grid_of(process, steps)
        mean, std = (m.to(z) for m in denoiser.prior(grid[0]))
        x = mean + std * draws.normal(0, z)
    else:
        t = at(process, torch.tensor(level, dtype=torch.float64))
        grid = below(denoiser, t, steps)
        x = process.kernel(t).scale.to(z) * z
    for frame in trajectory(denoiser, x, grid, "dpmpp2m-sde", cond=cond, noise=draws):
        x = frame.x
    return x


def below(denoiser: Denoiser, t: Tensor, steps: int) -> Tensor:
    """Times from t to 0, as the grid of the process has them between its ends."""
    process = denoiser.process
    alpha, sigma = process.kernel(t)
    high = float(sigma / alpha.abs())
    alpha, sigma = process.kernel(at(process, torch.tensor(1e-30, dtype=torch.float64)))
    low = max(min(grids.SIGMA_MIN, high / 10), float(sigma / alpha.abs()))  # a chain has no time below its first step
    ratio = torch.linspace(high ** (1 / 7), low ** (1 / 7), steps, dtype=torch.float64) ** 7
    inner = process.time(-2 * torch.log(ratio[1:]))
    out = torch.cat([t[None], inner, torch.zeros(1, dtype=torch.float64)])
    return out[torch.cat([torch.ones(1, dtype=torch.bool), out.diff() < 0])].cummin(0).values.unique().flip(0)


def split(seen: Observation, x: Tensor, level: float, draws: Draws) -> Tensor:
    """A draw of N(z; x, level^2) N(y; A z, R): one of the first, moved by what its own observation misses."""
    z = x + level * draws.taken(x)
    miss = seen.residual(z) - seen.draw(draws.taken(torch.empty(len(x), seen.size, dtype=x.dtype, device=x.device)))
    return z + level**2 * seen.pull(seen.solve(miss, level**2))


def grid_of(process: Process, steps: int) -> Tensor:
    """The grid of the process in so many steps, or in all that a shorter chain has."""
    return grids.grid(process, min(steps, int(process.t_max)) if process.is_discrete else steps)


def levels(denoiser: Denoiser, seen: Observation, count: int) -> list[float]:
    """Noise levels for split Gibbs: from ten times the spread of the data to a third of what the noise leaves open.

    They are levels that the process has: the steps of a chain, none beyond its end.

    Raises
    ------
    ConfigError
        If no step of a chain has both signal and noise.
    """
    process = denoiser.process
    spread = float(torch.as_tensor(denoiser.data_moments[1], dtype=torch.float64).mean().sqrt())
    # not the same for all entries, which a difference does not see
    way = normal(0, Stream.PROBE, 2, (1, seen.size), dtype=seen.y.dtype).expand_as(seen.y)
    gain = float(seen.push(seen.pull(way)).norm() / seen.of_seen(way).norm().clamp_min(1e-12))
    least = float(seen.var.min().sqrt()) / max(math.sqrt(gain), 1e-6)
    low = min(max(least / 3, 2e-3 * spread), spread)
    alpha, sigma = process.kernel(process.t_max)
    high = min(10 * spread, float(sigma / alpha.abs()) if alpha != 0 else math.inf)
    wanted = torch.exp(torch.linspace(math.log(high), math.log(min(low, high)), count, dtype=torch.float64))
    alpha, sigma = process.kernel(at(process, wanted))
    found = (sigma / alpha.abs())[(alpha != 0) & (sigma > 0)].unique().flip(0)
    if not len(found):
        raise ConfigError("process: expected a chain with steps that leave both signal and noise, got none.")
    return [float(level) for level in found]


@torch.no_grad()
def split_gibbs(
    denoiser: Denoiser,
    seen: Observation,
    n: int,
    *,
    count: int = 30,
    inner: int = 8,
    seed: int = 0,
    cond: Condition = None,
    progress: Report | None = None,
) -> Tensor:
    """Split Gibbs along falling levels, without weights.

    Parameters
    ----------
    denoiser : Denoiser
    seen : Observation
        By a linear operator.
    n : int
        Draws of each observation.
    count, inner : int
        Levels, and steps of the reverse process from each.
    """
    whole("count", count)
    whole("inner", inner)
    draws = Draws(seed)
    x = _begin(denoiser, seen, n, draws)
    found = levels(denoiser, seen, count)
    for i, level in enumerate(found):
        z = split(seen, x, level, draws)
        x = reverse(denoiser, z, level, inner, draws, cond=cond)
        draws.next(inner + 1)
        _tell(progress, i + 1, len(found))
    return x


@torch.no_grad()
def daps(
    denoiser: Denoiser,
    seen: Observation,
    n: int,
    grid: Tensor,
    *,
    inner: int = 5,
    seed: int = 0,
    cond: Condition = None,
    progress: Report | None = None,
) -> Tensor:
    """Decoupled annealing: where the ODE ends, a draw near it that agrees with y, and noise again.

    Near is r, with r^2 = q sigma^2 / (alpha^2 q + sigma^2) of data of variance q: sigma / alpha where there is little
    noise, and no more than the data where there is much.

    Parameters
    ----------
    denoiser : Denoiser
    seen : Observation
        By a linear operator: the draw is then exact, in the place of the Langevin steps of the paper.
    n : int
    grid : float64 tensor, falling times to 0
    inner : int
        Steps of the ODE.
    """
    whole("inner", inner)
    process, draws = denoiser.process, Draws(seed)
    x = _begin(denoiser, seen, n, draws, grid[0])
    for i, (t, s) in enumerate(itertools.pairwise(grid)):
        alpha = process.kernel(t).scale
        ends = x
        way = below(denoiser, t, inner) if alpha != 0 else grid_of(process, inner)
        for frame in trajectory(denoiser, x, way, "euler", cond=cond):
            ends = frame.x
        x0 = split(seen, ends, math.sqrt(float(spread_of(denoiser, t))), draws)
        after = process.kernel(s)
        x = after.sample(x0, draws.taken(x0)).to(x0)
        _tell(progress, i + 1, len(grid) - 1)
    return x


@torch.no_grad()
def dps(
    denoiser: Denoiser,
    seen: Observation,
    n: int,
    grid: Tensor,
    *,
    scale: float = 1.0,
    seed: int = 0,
    cond: Condition = None,
    progress: Report | None = None,
) -> Tensor:
    """The prior's step, then a step down the distance to what was seen.

    Parameters
    ----------
    denoiser : Denoiser
        One that torch can differentiate.
    seen : Observation
    n : int
    grid : float64 tensor, falling times to 0
    scale : float > 0
        zeta of the paper, in its coordinates: those in which noisy data have variance alpha^2 + sigma^2 = 1.
    """
    if not scale > 0:
        raise ConfigError(f"scale: expected a number > 0, got {scale!r}.")
    process, draws = denoiser.process, Draws(seed)
    x = _begin(denoiser, seen, n, draws, grid[0])
    require_derivative(denoiser, x, cond)
    for i, (t, s) in enumerate(itertools.pairwise(grid)):
        alpha, sigma = process.kernel(t)
        after = process.kernel(s)
        c0, ct, std = process.bridge(s, t)
        if alpha == 0:
            mean, down = denoiser.mean(x, t, cond), torch.zeros_like(x)
        else:
            here = local(denoiser, seen, x, t, cond)
            r = seen.residual(here.mean)
            slope = times(alpha / sigma**2, here.times_var(here.pull(r)))
            size = r.norm(dim=1).clamp_min(1e-12).reshape(-1, *[1] * (x.ndim - 1))
            mean, down = here.mean, slope / size
        unit = torch.hypot(alpha, sigma) * torch.hypot(*after)
        x = (c0 * mean + ct * x + std * draws.taken(x) + scale * unit * down).to(x)
        _tell(progress, i + 1, len(grid) - 1)
    return x


@torch.no_grad()
def repaint(
    denoiser: Denoiser,
    seen: Observation,
    n: int,
    grid: Tensor,
    *,
    times_again: int = 5,
    seed: int = 0,
    cond: Condition = None,
    progress: Report | None = None,
) -> Tensor:
    """What is seen is noised and put in its place at each level; what is missing is walked.

    Parameters
    ----------
    denoiser : Denoiser
        Any; no derivative is taken.
    seen : Observation
        By a mask. Noise of the observation is not allowed for.
    n : int
    grid : float64 tensor, falling times to 0
    times_again : int >= 1
        How often each step is walked, with a jump back up in between (r of the paper).
    """
    if not isinstance(seen.operator, Identity):
        raise ConfigError("operator: expected a mask for 'repaint', got another. Use method='tds'.")
    whole("times_again", times_again)
    process, draws = denoiser.process, Draws(seed)
    x = _begin(denoiser, seen, n, draws, grid[0])
    known = seen.spread(seen.y, len(x)).reshape(x.shape).to(x)
    present = seen.spread(seen.present, len(x)).reshape(x.shape)
    for i, (t, s) in enumerate(itertools.pairwise(grid)):
        c0, ct, std = process.bridge(s, t)
        for turn in range(times_again):
            walked = c0 * denoiser.mean(x, t, cond) + ct * x + std * draws.taken(x)
            put = process.kernel(s).sample(known, draws.taken(x))
            x_s = torch.where(present, put.to(x), walked.to(x))
            if turn + 1 < times_again and float(s) > 0:
                x = process.transition(s, t).sample(x_s, draws.taken(x)).to(x)
            else:
                break
        x = x_s
        _tell(progress, i + 1, len(grid) - 1)
    return x


def for_particles(cond: Condition, count: int, n: int) -> Condition:
    """Conditions with a row for each of n draws, from one for each observation or one for all.

    Raises
    ------
    ConditionError
        If there are other numbers of rows.
    """

    def of(value: Any) -> Any:
        value = torch.as_tensor(value)
        if not value.ndim or len(value) not in (1, count):
            told = f"{len(value)} rows" if value.ndim else "a single value"
            raise ConditionError(f"cond: expected a row for each of {count} observations, or one for all, got {told}.")
        rows = value.expand(count, *value.shape[1:]) if len(value) == 1 else value
        return rows.repeat_interleave(n, 0)

    return mapped(cond, of)


def _begin(denoiser: Denoiser, seen: Observation, n: int, draws: Draws, t: Tensor | None = None) -> Tensor:
    like = torch.empty(seen.count * n, *seen.event, dtype=seen.y.dtype)
    if t is None:
        mean, var = denoiser.data_moments
        start, std = torch.as_tensor(mean), torch.as_tensor(var).sqrt()
    else:
        start, std = denoiser.prior(t)
    return start.to(like) + std.to(like) * draws.taken(like)


def _tell(progress: Report | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
