"""Reverse diffusion Monte Carlo: an ordinary diffusion sampler whose score is estimated by sampling.

With X_t = alpha X_0 + sigma eps, alpha = e^-t, the score at X_t is a mean under p(x0) N(x_t; alpha x0, sigma^2):

    (alpha E[X_0 | x_t] - x_t) / sigma^2      (Tweedie: good where sigma is large),
    E[grad log p(X_0) | x_t] / alpha          (target score identity: good where sigma is small),

and here the mix of the two whose variance over the draws is least. The draws are importance samples of N(x_t / alpha,
sigma^2 / alpha^2), resampled and moved by MALA *at x0*: the target is never asked at x_t. The walk from time T down is
the exponential integrator of the reverse process in units of the reference's deviation.

Cost: `levels` x (`moves` + 2) calls of `draws` x n points. T has to be so small that the means are easy and so large
that X_T is normal; where modes lie apart there may be no such T, and then weights are wrong. No constant, no test.

Sources: Huang, Dong, Hao, Ma & Zhang 2023, "Reverse diffusion Monte Carlo", algorithm 1; De Bortoli et al. 2024 (target
score identity). Code in circulation asks the target at x_t and has the quadratic's sign reversed; its figures
understate the method.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from caminito._errors import ConfigError
from caminito.density.draws import Draws
from caminito.density.langevin import NoisyPoint, Walkers, spread_of
from caminito.density.reference import Reference
from caminito.density.target import Target

__all__ = ["Posterior", "posterior_score", "rdmc"]


def rdmc(
    target: Target,
    reference: Reference,
    n: int,
    generator: torch.Generator,
    *,
    horizon: float = 1.0,
    closing: float = 0.005,
    levels: int = 40,
    draws: int = 16,
    moves: int = 8,
    opening: int = 10,
) -> Draws:
    """n points, all with weight one.

    Parameters
    ----------
    reference : Reference
        Only its mean and one deviation are used, as the unit.
    horizon, closing : float
        Times between which the walk goes down, geometrically.
    levels, draws, moves : int
        Steps of the walk, draws of X_0 for each point, steps of MALA for each draw.
    opening : int
        Steps of Langevin dynamics at the horizon, from N(0, I), towards the law of X there.

    Returns
    -------
    Draws
        A draw of X_0 given the last point. No evidence. diagnostics: `target_score`, the weight of the target score
        identity at the last level; `calls`, `evaluations`.
    """
    if levels < 1 or draws < 2 or moves < 1 or n < 1 or opening < 0 or not 0 < closing < horizon:
        raise ConfigError(
            "rdmc: expected n, levels, moves >= 1, draws >= 2, opening >= 0 and 0 < closing < horizon, got "
            f"n={n}, levels={levels}, moves={moves}, draws={draws}, opening={opening}, closing={closing}, "
            f"horizon={horizon}."
        )
    calls, evaluations = target.calls, target.evaluations
    mean, scale = spread_of(reference, generator)
    times = torch.logspace(math.log10(horizon), math.log10(closing), levels + 1, dtype=torch.float64).tolist()

    step = 0.2 * scale**2 * target.dim ** (-1 / 3)

    def score(x: Tensor, t: float) -> Posterior:
        nonlocal step
        found = posterior_score(
            target, mean + scale * x, mean, scale, t, generator, draws=draws, moves=moves, step=step
        )
        step = found.step
        return found

    def normal() -> Tensor:
        return torch.randn(n, target.dim, generator=generator, dtype=torch.float64)

    x = normal()
    h = (1 - math.exp(-2 * horizon)) / 4
    for _ in range(opening):
        x = x + h * score(x, horizon).score + math.sqrt(2 * h) * normal()
    for t, ahead in pairwise(times):
        grow = math.exp(t - ahead)
        x = grow * x + 2 * (grow - 1) * score(x, t).score + math.sqrt(grow**2 - 1) * normal()
    found = score(x, closing)
    return Draws(
        x=found.x0,
        log_evidence=None,
        diagnostics={
            "target_score": found.weight,
            "calls": float(target.calls - calls),
            "evaluations": float(target.evaluations - evaluations),
        },
    )


class Posterior(NamedTuple):
    """What draws of X_0 given X_t say."""

    score: Tensor  # (n, dim), in units of 1 / scale
    x0: Tensor  # (n, dim), one draw for each point
    weight: float  # of the target score identity in the mix, on average
    step: float  # of MALA, as learnt


def posterior_score(
    target: Target,
    x: Tensor,
    mean: Tensor,
    scale: float,
    t: float,
    generator: torch.Generator,
    *,
    draws: int = 16,
    moves: int = 8,
    step: float | None = None,
) -> Posterior:
    """Score of X_t = alpha X_0 + sigma eps, in units of `scale` about `mean`, at points x (n, dim) of the data.

    2 + `moves` calls. `step` is what MALA begins with.
    """
    n, dim = x.shape
    alpha, sigma = math.exp(-t), math.sqrt(-math.expm1(-2 * t))
    y = (x - (1 - alpha) * mean).repeat_interleave(draws, 0)  # = alpha x0 + sigma scale eps
    law = NoisyPoint(target, y, alpha, sigma * scale)
    noise = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    tried = y / alpha + sigma * scale / alpha * noise
    chance = target.value(tried).reshape(n, draws)
    chance = torch.where((chance > -torch.inf).any(1, keepdim=True), chance, 0.0).softmax(1)
    chosen = torch.multinomial(chance, draws, replacement=True, generator=generator)
    x0 = torch.gather(tried.reshape(n, draws, dim), 1, chosen[..., None].expand(-1, -1, dim)).reshape(-1, dim)
    most = 0.2 * law.scale(scale) ** 2 * dim ** (-1 / 3)
    first = most if step is None else min(step, most)
    walkers = Walkers.at(law, x0, torch.full((n * draws,), first, dtype=torch.float64))
    for _ in range(moves):
        walkers, _ = walkers.moved(law, generator, learn=0.3)
    apart = (y - alpha * walkers.x) / (sigma * scale)
    tweedie = -(apart / sigma).reshape(n, draws, dim)
    slope = walkers.slope - alpha / (sigma * scale) * apart  # of log p alone
    identity = (scale / alpha * slope).reshape(n, draws, dim)
    # the least variance of w a + (1 - w) b
    a, b = (each - each.mean(1, keepdim=True) for each in (identity, tweedie))
    gap = (a - b).square().sum((1, 2))
    apart = (identity - tweedie).mean(1).square().sum(1) * draws * (draws - 1)  # near gap where the chains have settled
    gap = torch.maximum(gap, apart / 4)
    weight = torch.where(gap > 0, (b * (b - a)).sum((1, 2)) / gap.clamp(min=1e-300), 0.5).clamp(0, 1)
    score = weight[:, None] * identity.mean(1) + (1 - weight[:, None]) * tweedie.mean(1)
    x0 = walkers.x.reshape(n, draws, dim)[:, 0]
    return Posterior(score, x0, float(weight.mean()), float(walkers.step.log().mean().exp()))
