"""Stochastic localisation via iterative posterior sampling (SLIPS).

A draw X of the target is observed more and more clearly,

    Y_t = alpha(t) X + sigma W_t,    alpha(t) = t / sqrt(1 - t),  0 <= t < 1,

whose law is that of dY = alpha'(t) E[X | Y_t] dt + sigma dB: walk it, with E[X | Y_t] by a few chains of MALA on

    p(x) N(Y_t; alpha x, sigma^2 t I)

that begin at Y / alpha and go on from where they were a step before. Steps are even in log signal-to-noise,
log(t / (1 - t)). The start has to be late enough that E[X | Y_t] is easy, and early enough that the law of Y_t has no
modes to choose from yet.

Cost: about `levels` x `moves` calls of `chains` x n points. Modes that lie apart keep about the weights of the
basins around Y / alpha at the start, up to a hundred dimensions; errors of discretisation and of MALA are never
corrected. It needs the scale of the target (that of the reference here), blurs rings and funnels, and has no constant.

Source: Grenioux, Noble, Gabrie & Durmus 2024, "Stochastic localization via iterative posterior sampling", algorithms
1-2, the geometric schedule with exponents (1, 1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from caminito._errors import ConfigError
from caminito.density.draws import Draws
from caminito.density.langevin import NoisyPoint, Walkers, spread_of
from caminito.density.reference import Reference
from caminito.density.target import Target

__all__ = ["slips"]


def slips(
    target: Target,
    reference: Reference,
    n: int,
    generator: torch.Generator,
    *,
    levels: int = 64,
    moves: int = 16,
    chains: int = 4,
    first: float = -2.0,
    last: float = 5.0,
    opening: int = 8,
) -> Draws:
    """n points, all with weight one.

    Parameters
    ----------
    reference : Reference
        Only its mean and one deviation are used: sigma is that deviation.
    levels : int >= 2
        Steps of the walk.
    moves, chains : int
        Steps of MALA for each, of which the second half is kept, and chains for each point.
    first, last : float
        log(t / (1 - t)) at the start and the end.
    opening : int
        Steps of Langevin dynamics at the start, to the law of Y there.

    Returns
    -------
    Draws
        X of the last chains. No evidence. diagnostics: `acceptance` of MALA at the last level, `calls`, `evaluations`.
    """
    if levels < 2 or moves < 2 or chains < 1 or n < 1 or opening < 0 or not first < last:
        raise ConfigError(
            "slips: expected n, chains >= 1, levels, moves >= 2, opening >= 0 and first < last, got "
            f"n={n}, chains={chains}, levels={levels}, moves={moves}, opening={opening}, first={first}, last={last}."
        )
    calls, evaluations = target.calls, target.evaluations
    mean, scale = spread_of(reference, generator)
    times = torch.sigmoid(torch.linspace(first, last, levels, dtype=torch.float64)).tolist()
    alphas = [t / math.sqrt(1 - t) for t in times]

    def noisy(y: Tensor, k: int) -> NoisyPoint:
        return NoisyPoint(target, y.repeat(chains, 1), alphas[k], scale * math.sqrt(times[k]))

    def normal() -> Tensor:
        return torch.randn(n, target.dim, generator=generator, dtype=torch.float64)

    level = math.sqrt(alphas[0] ** 2 * scale**2 + scale**2 * times[0])
    y = alphas[0] * mean + level * normal()
    law = noisy(y, 0)
    x = law.y / law.alpha  # all chains of a point in the basin that it lies in: others would vote it out
    step = torch.full((len(x),), 0.1 * law.scale(scale) ** 2 * target.dim ** (-1 / 3), dtype=torch.float64)
    x, step, denoised, acceptance = _denoised(law, x, step, moves, chains, generator)
    for _ in range(opening):
        h = scale**2 * times[0] / 2
        y = y + h * (alphas[0] * denoised - y) / (scale**2 * times[0]) + math.sqrt(2 * h) * normal()
        x, step, denoised, acceptance = _denoised(noisy(y, 0), x, step, moves, chains, generator)
    for k in range(1, levels):
        y = y + (alphas[k] - alphas[k - 1]) * denoised + scale * math.sqrt(times[k] - times[k - 1]) * normal()
        x, step, denoised, acceptance = _denoised(noisy(y, k), x, step, moves, chains, generator)
    return Draws(
        x=x[:n],
        log_evidence=None,
        diagnostics={
            "acceptance": acceptance,
            "calls": float(target.calls - calls),
            "evaluations": float(target.evaluations - evaluations),
        },
    )


def _denoised(
    law: NoisyPoint, x: Tensor, step: Tensor, moves: int, chains: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Where the chains end, their steps, the mean of x0 over the second half (n, dim), and the acceptance there."""
    walkers = Walkers.at(law, x, step)
    total, acceptance, kept = torch.zeros_like(x), 0.0, moves - moves // 2
    for i in range(moves):
        walkers, chance = walkers.moved(law, generator, learn=0.5)
        if i >= moves // 2:
            total += walkers.x / kept
            acceptance += float(chance.mean()) / kept
    return walkers.x, walkers.step, total.reshape(chains, -1, x.shape[1]).mean(0), acceptance
