"""Particles: weighted points whose weights mend what a guide gets wrong, with log p(y) as a by-product.

`tds` walks K particles from noise to data. A particle is moved by the guided denoiser D_y and weighted by what that
costs. With psi_t(x_t) = N(y; A D, R + A V A^T), the likelihood as the denoiser sees it at x_t, a step from t to s has

    x_s ~ q = N(c0 D_y + ct x_t, std^2),     w = psi_s(x_s) p(x_s | x_t) / (psi_t(x_t) q(x_s | x_t)),

p the same normal around D; std^2 is that of the bridge and c0^2 times the mean variance of x0 given x_t (of each
entry, where the denoiser knows it). Whatever psi is, the weighted particles are of p(x0 | y) but for the size of the
steps, as K grows: a bad psi costs particles, not truth.

`split_smc` walks from the whole prior to the posterior through p(x) N(y; A x, R + rho^2 A A^T), rho falling to 0. Its
weights are ratios of known normals; its moves are sweeps of split Gibbs, z | x, y in closed form and x | z by the
reverse process from the noise level rho. No derivative is taken, so trees will do.

Particles are resampled when fewer than a share of them count, in the order of a Hilbert curve through the plane in
which they differ most: neighbours then stand in for each other, and the weights of modes keep.
Sources: Wu et al. 2023 (TDS), algorithm 1; Rozet et al. 2024 (the psi); Vono et al. 2019 (split Gibbs); Gerber,
Chopin & Whiteley 2019 (ordered resampling).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from caminito._errors import ConfigError, NonFiniteError
from caminito._random import Stream, normal, uniform
from caminito._weights import effective_size, systematic
from caminito.denoiser import Condition, Denoiser, rows_of
from caminito.posterior.guides import DENSE, iterated, local, matched, require_derivative
from caminito.posterior.observation import Observation
from caminito.posterior.operators import whole
from caminito.posterior.walks import Draws, Report, for_particles, reverse, split
from caminito.posterior.walks import levels as rungs

__all__ = ["Cloud", "equal", "split_smc", "tds"]

_BITS = 6  # of a place on the Hilbert curve


@dataclass(frozen=True)
class Cloud:
    """Weighted particles of P posteriors.

    Attributes
    ----------
    x : tensor (P, K, *event)
    log_weights : tensor (P, K)
        float64, summing to 1 as weights.
    log_evidence : tensor (P,)
        log p(y), float64.
    ancestors : tensor (P, K)
        The first particle that each is from.
    ess : list of tensor (P,)
        Share of the particles that counted, before each step and at the end.
    """

    x: Tensor
    log_weights: Tensor
    log_evidence: Tensor
    ancestors: Tensor
    ess: list[Tensor] = field(default_factory=list)


@torch.no_grad()
def tds(
    denoiser: Denoiser,
    seen: Observation,
    particles: int,
    grid: Tensor,
    *,
    seed: int = 0,
    ess: float = 0.7,
    batch_size: int | None = None,
    iterations: int = 3,
    cond: Condition = None,
    progress: Report | None = None,
) -> Cloud:
    """Twisted particles.

    Parameters
    ----------
    denoiser : Denoiser
        One that torch can differentiate.
    seen : Observation
    particles : int >= 2
        K, of each observation.
    grid : float64 tensor, falling times to 0
    ess : float in (0, 1]
        Particles are resampled when less than this share of them counts.
    batch_size : int, optional
        Particles that the denoiser is given at once; all unless said.
    iterations : int
        Of conjugate gradients for D_y, where more than 8 entries are seen. Then psi_t = N(y; A D, R + c A A^T), with
        c the mean variance that one random direction finds.
    cond : mapping of named conditions, one row for each observation or one for all
    progress : (done, total) -> None, optional

    Raises
    ------
    ConfigError
        If the denoiser cannot be differentiated, or the observation is without noise.
    NonFiniteError
    """
    _check(seen, particles, ess, batch_size)
    whole("iterations", iterations)
    process, width = denoiser.process, seen.count * particles
    steps = [float(t) for t in grid if float(t) > 0]
    told = for_particles(cond, seen.count, particles)

    rows_at_once = [slice(low, high) for low, high in pieces(seen.count, particles, batch_size)]
    parts = [(rows, seen.of(slice(rows.start // particles, -(-rows.stop // particles)))) for rows in rows_at_once]

    def look(x: Tensor, t: Tensor) -> _Look:
        looks = [_look(denoiser, part, x[rows], t, rows_of(told, rows), iterations) for rows, part in parts]
        return _Look(*(torch.cat(values) for values in zip(*looks)))

    like = torch.empty(width, *seen.event, dtype=seen.y.dtype)
    require_derivative(denoiser, like, told)
    first = torch.tensor(steps[0], dtype=torch.float64)
    mean, std = (m.to(like) for m in denoiser.prior(first))
    x = mean + std * normal(seed, Stream.POSTERIOR, 0, tuple(like.shape), dtype=like.dtype)
    here = look(x, first)
    swarm = _Swarm.of(here.log_psi, seen.count, particles)
    _finite(swarm.log_weights, 0, len(steps) - 1)
    for i, (before, after) in enumerate(itertools.pairwise(steps), start=1):
        t, s = (torch.tensor(v, dtype=torch.float64) for v in (before, after))
        rows = swarm.resampled(here.mean, ess, seed, i)
        if rows is not None:
            x, here = x[rows], _Look(*(value[rows] for value in here))
        c0, ct, std = process.bridge(s, t)
        std = torch.sqrt(std**2 + c0**2 * here.var.to(torch.float64))
        eps = normal(seed, Stream.POSTERIOR, i, tuple(like.shape), dtype=like.dtype)
        apart = c0 * (here.guided - here.mean) / std
        x = (c0 * here.guided + ct * x + std * eps).to(like)
        cost = -(apart**2 / 2 + eps * apart).flatten(1).sum(1)  # log p - log q: they differ in their means alone
        old, here = here.log_psi, look(x, s)
        swarm.weigh(here.log_psi - old + cost)
        _finite(swarm.log_weights, i, len(steps) - 1)
        if progress is not None:
            progress(i, len(steps) - 1)
    return swarm.cloud(here.guided.reshape(seen.count, particles, *seen.event))


@torch.no_grad()
def split_smc(
    denoiser: Denoiser,
    seen: Observation,
    particles: int,
    *,
    levels: int = 30,
    inner: int = 12,
    sweeps: int = 1,
    seed: int = 0,
    ess: float = 0.7,
    batch_size: int | None = None,
    cond: Condition = None,
    progress: Report | None = None,
) -> Cloud:
    """Particles from the prior to the posterior by split Gibbs; no derivative is taken.

    Parameters
    ----------
    denoiser : Denoiser
    seen : Observation
        By a linear operator.
    particles : int >= 2
    levels : int
        Values of rho, from where the likelihood says nothing down to a third of its noise; of a chain, no more than
        it has.
    inner : int
        Steps of the reverse process from a level.
    sweeps : int
        Of split Gibbs, at each level.
    ess, batch_size, cond, progress
        As for `tds`.
    """
    _check(seen, particles, ess, batch_size)
    for name, count in (("levels", levels), ("inner", inner), ("sweeps", sweeps)):
        whole(name, count)
    if not seen.operator.is_linear:
        raise ConfigError("operator: expected a linear one for 'split-smc', got a nonlinear one. Use method='tds'.")
    told = for_particles(cond, seen.count, particles)
    rho = rungs(denoiser, seen, levels)
    shape = (seen.count * particles, *seen.event)
    draws = Draws(seed)
    total, done = (len(rho) * sweeps + 4) * inner, 0

    def back(z: Tensor, level: float, steps: int) -> Tensor:
        nonlocal done
        parts = [
            reverse(denoiser, z[low:high], level, steps, draws.from_row(low), cond=rows_of(told, slice(low, high)))
            for low, high in pieces(seen.count, particles, batch_size)
        ]
        draws.next(steps + 1)
        done += steps
        if progress is not None:
            progress(done, total)
        return torch.cat(parts)

    x = back(torch.empty(shape, dtype=seen.y.dtype), math.inf, 4 * inner)
    swarm = _Swarm.of(seen.log_normal(seen.residual(x), rho[0] ** 2), seen.count, particles)
    for i, level in enumerate(rho):
        rows = swarm.resampled(x, ess, seed, i + 1)
        x = x if rows is None else x[rows]
        for _ in range(sweeps):
            z = split(seen, x, level, draws)
            x = back(z, level, inner)
        if i + 1 < len(rho):
            r = seen.residual(x)
            swarm.weigh(seen.log_normal(r, rho[i + 1] ** 2) - seen.log_normal(r, level**2))
            _finite(swarm.log_weights, i, len(rho))
    swarm.weigh(seen.log_normal(seen.residual(x), 0.0) - seen.log_normal(seen.residual(x), rho[-1] ** 2))
    return swarm.cloud(x.reshape(seen.count, particles, *seen.event))


def equal(cloud: Cloud, n: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """n draws of equal weight of each posterior, shape (P, n, *event), and their ancestors (P, n).

    Where n is less than there are particles they are spread over the weights; in random order.
    """
    rows = []
    for p, logs in enumerate(cloud.log_weights):
        order = along_curve(cloud.x[p : p + 1].flatten(2))[0]
        start = uniform(seed, Stream.RESAMPLE, 0, 1, start=p)
        chosen = order[systematic(logs[order], n, start[0])]
        mixed = torch.argsort(uniform(seed, Stream.RESAMPLE, 1 + p, n), stable=True)
        rows.append(chosen[mixed])
    index = torch.stack(rows)
    row = torch.arange(len(index))[:, None]
    return cloud.x[row, index], cloud.ancestors[row, index]


class _Look(NamedTuple):
    """D, D_y and log psi of particles, and the variance of x0 given x_t of each entry."""

    mean: Tensor
    guided: Tensor
    log_psi: Tensor
    var: Tensor


def _look(denoiser: Denoiser, seen: Observation, x: Tensor, t: Tensor, cond: Condition, iterations: int) -> _Look:
    if float(denoiser.process.kernel(t).scale) == 0:
        mean, var = denoiser.moments(x, t, cond)
        var = (torch.as_tensor(denoiser.data_moments[1]).to(x) if var is None else var).expand_as(x)
        return _Look(mean, mean, torch.zeros(len(x), dtype=torch.float64), var)
    here = local(denoiser, seen, x, t, cond)
    var = denoiser.var(x, t, cond)
    if var is None:
        way = signs(x[:1].numel(), x).reshape(1, *x.shape[1:]).expand_as(x)
        each = (way * here.times_var(way)).flatten(1).mean(1).clamp_min(0)
        var = each.reshape(-1, *[1] * (x.ndim - 1)).expand_as(x)
    if seen.size <= DENSE:
        return _Look(here.mean, *matched(here, seen), var)
    guided = iterated(here, seen, iterations)
    way = here.pull(signs(seen.size, x).expand(len(x), -1))
    size = (way * way).flatten(1).sum(1) if seen.operator.is_linear else torch.full((len(x),), seen.size).to(x)
    c = ((way * here.times_var(way)).flatten(1).sum(1) / size.clamp_min(1e-30)).clamp_min(0)
    return _Look(here.mean, guided, seen.log_normal(seen.residual(here.mean), c), var)


def signs(size: int, like: Tensor) -> Tensor:
    """The direction that variances are probed in: 1 and -1 at random, always the same."""
    return torch.where(uniform(0, Stream.PROBE, 0, size) < 0.5, -1.0, 1.0).to(like)


@dataclass
class _Swarm:
    """Weights of the particles, and where they are from."""

    log_weights: Tensor
    log_evidence: Tensor
    ancestors: Tensor
    ess: list[Tensor]

    @classmethod
    def of(cls, logs: Tensor, count: int, particles: int) -> _Swarm:
        first = torch.arange(particles).expand(count, -1)
        return cls(logs.to(torch.float64).reshape(count, particles), torch.zeros(count, dtype=torch.float64), first, [])

    def weigh(self, logs: Tensor) -> None:
        self.log_weights = self.log_weights + logs.to(torch.float64).reshape(self.log_weights.shape)

    def resampled(self, x: Tensor, ess: float, seed: int, step: int) -> Tensor | None:
        """Rows (P K,) to go on with; None where all stay."""
        count, particles = self.log_weights.shape
        self.ess.append(self.share())
        low = self.ess[-1] < ess
        if not bool(low.any()):
            return None
        row = torch.arange(count)[:, None]
        order = along_curve(x.reshape(count, particles, -1))
        start = uniform(seed, Stream.RESAMPLE, step, count)
        chosen = order[row, systematic(self.log_weights[row, order], particles, start)]
        chosen = torch.where(low[:, None], chosen, torch.arange(particles))
        gained = torch.logsumexp(self.log_weights, 1) - math.log(particles)
        self.log_evidence = self.log_evidence + torch.where(low, gained, torch.zeros_like(gained))
        self.log_weights = torch.where(low[:, None], torch.zeros_like(self.log_weights), self.log_weights)
        self.ancestors = self.ancestors[row, chosen]
        return (chosen + particles * row).flatten()

    def cloud(self, x: Tensor) -> Cloud:
        total = torch.logsumexp(self.log_weights, 1)
        evidence = self.log_evidence + total - math.log(self.log_weights.shape[1])
        return Cloud(x, self.log_weights - total[:, None], evidence, self.ancestors, [*self.ess, self.share()])

    def share(self) -> Tensor:
        """Share of the particles that count."""
        return effective_size(self.log_weights) / self.log_weights.shape[1]


def along_curve(x: Tensor) -> Tensor:
    """Order (P, K) of points (P, K, d) along a Hilbert curve through the plane of their two widest directions."""
    points = x.to(torch.float64) - x.to(torch.float64).mean(1, keepdim=True)
    count, particles, size = points.shape
    plane = normal(0, Stream.PROBE, 1, (size, 2), dtype=torch.float64).expand(count, -1, -1)
    for _ in range(4):
        plane = torch.linalg.qr(points.mT @ (points @ plane)).Q
    places = (points @ plane).argsort(dim=1, stable=True).argsort(dim=1) * 2**_BITS // particles
    a, b = places[..., 0], places[..., -1]
    along = torch.zeros_like(a)
    for bit in reversed(range(_BITS)):
        half = 2**bit
        right, top = (a & half) > 0, (b & half) > 0
        along = along + half * half * ((3 * right.long()) ^ top.long())
        turned = ~top & right
        a, b = torch.where(turned, 2**_BITS - 1 - a, a), torch.where(turned, 2**_BITS - 1 - b, b)
        a, b = torch.where(top, a, b), torch.where(top, b, a)
    return along.argsort(dim=1, stable=True)


def pieces(count: int, particles: int, batch_size: int | None) -> list[tuple[int, int]]:
    """Rows to take at once: whole observations where they fit, else parts of one."""
    most = count * particles if batch_size is None else batch_size
    if most >= particles:
        step = most // particles * particles
        return [(low, min(low + step, count * particles)) for low in range(0, count * particles, step)]
    return [
        (p * particles + low, p * particles + min(low + most, particles))
        for p in range(count)
        for low in range(0, particles, most)
    ]


def _check(seen: Observation, particles: int, ess: float, batch_size: int | None) -> None:
    whole("particles", particles, 2)
    if batch_size is not None:
        whole("batch_size", batch_size)
    if not 0 < ess <= 1:
        raise ConfigError(f"ess: expected a share in (0, 1], got {ess!r}.")
    if seen.is_exact:
        raise ConfigError(
            "noise: expected more than 0, got 0: no particle meets an exact observation. Give the noise of the "
            "instrument, a rounding error at least, or use method='repaint' (masks) or 'ddnm'."
        )


def _finite(logs: Tensor, step: int, total: int) -> None:
    if not bool((logs.amax(1) > -math.inf).all()) or bool(torch.isnan(logs).any()):
        raise NonFiniteError(
            f"step {step} of {total} left no particle with a weight. What was seen is too far from what the prior "
            "knows for this number of steps: check the units of y and noise, or use more steps."
        )
