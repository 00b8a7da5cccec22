"""Diffusive Gibbs sampling: add noise, and draw what was there before it.

x and its noisy version are drawn in turn from their joint density p(x) N(y; x, sigma^2 I):

    y ~ N(x, sigma^2 I),
    x ~ p(x) N(y; x, sigma^2 I): a draw x' ~ N(y, sigma^2 I), taken with probability min(1, p(x') / p(x)),
                                 then a few steps of MALA.

The noise carries a point across what it could not climb. Each turn leaves p unchanged, whatever sigma is, so several
sigmas are gone through, from wide to narrow, again and again.

Cost: 2 + `steps` calls for each turn. A jump lands where p is high about as often as a mode fills the ball that sigma
spans, so it wins in up to ten dimensions or so and mixes nothing beyond; there is no constant either.

Source: Chen, Zhang, Paige, Hernandez-Lobato & Barber 2024, "Diffusive Gibbs sampling", algorithm 1.
"""

from __future__ import annotations

import torch

from caminito._errors import ConfigError
from caminito.density.draws import Draws
from caminito.density.langevin import NoisyPoint, Walkers, spread_of
from caminito.density.reference import Reference
from caminito.density.target import Target

__all__ = ["diffusive_gibbs", "digs"]


def digs(
    target: Target,
    reference: Reference,
    n: int,
    generator: torch.Generator,
    *,
    sweeps: int = 30,
    levels: int = 6,
    steps: int = 3,
    widest: float = 2.0,
    narrowest: float = 0.05,
) -> Draws:
    """n chains from n draws of the reference; where they are after `sweeps` turns through all levels.

    Parameters
    ----------
    sweeps, levels, steps : int
        Turns through all sigmas, sigmas, and steps of MALA for each.
    widest, narrowest : float
        Of the sigmas, spaced geometrically, in deviations of the reference.

    Returns
    -------
    Draws
        No evidence. diagnostics: `jumped`, the share of jumps that were taken in the last turn; `acceptance` of its
        MALA; `calls`, `evaluations`.
    """
    if sweeps < 1 or levels < 1 or steps < 1 or n < 1 or not 0 < narrowest <= widest:
        raise ConfigError(
            "digs: expected n, sweeps, levels, steps >= 1 and 0 < narrowest <= widest, got "
            f"n={n}, sweeps={sweeps}, levels={levels}, steps={steps}, narrowest={narrowest}, widest={widest}."
        )
    calls, evaluations = target.calls, target.evaluations
    scale = spread_of(reference, generator)[1]
    sigmas = scale * torch.logspace(0, 1, levels, base=narrowest / widest, dtype=torch.float64) * widest
    x = reference.draw(n, generator)
    walkers = Walkers.at(target.value_and_grad, x, torch.zeros(n, dtype=torch.float64))
    step = [torch.full((n,), 0.1 * float(s) ** 2 * target.dim ** (-1 / 3), dtype=torch.float64) for s in sigmas]
    for sweep in range(sweeps):
        jumped = acceptance = 0.0
        for level, sigma in enumerate(sigmas.tolist()):
            learn = 0.5 if sweep < sweeps // 2 else 0.0
            walkers, step[level], took, moved = diffusive_gibbs(
                target, walkers, sigma, step[level], steps, generator, learn=learn
            )
            jumped, acceptance = jumped + took / levels, acceptance + moved / levels
    return Draws(
        x=walkers.x,
        log_evidence=None,
        diagnostics={
            "jumped": jumped,
            "acceptance": acceptance,
            "calls": float(target.calls - calls),
            "evaluations": float(target.evaluations - evaluations),
        },
    )


def diffusive_gibbs(
    target: Target,
    walkers: Walkers,
    sigma: float,
    step: torch.Tensor,
    steps: int,
    generator: torch.Generator,
    *,
    learn: float = 0.0,
) -> tuple[Walkers, torch.Tensor, float, float]:
    """One turn at one sigma; with learn = 0 it leaves the target unchanged. 1 + `steps` calls.

    Parameters
    ----------
    walkers : Walkers
        With value and gradient of the target itself.
    step : tensor (n,)
        Of MALA at this sigma.

    Returns
    -------
    walkers, step, jumped, acceptance
        `jumped` and `acceptance` are mean chances.
    """
    noise = torch.randn(2, *walkers.x.shape, generator=generator, dtype=torch.float64)
    y = walkers.x + sigma * noise[0]
    x = y + sigma * noise[1]
    value, slope = target.value_and_grad(x)
    ratio = torch.where(walkers.value > -torch.inf, (value - walkers.value).clamp(max=0).exp(), 1.0)
    taken = torch.rand(len(ratio), generator=generator, dtype=torch.float64) < ratio
    x = torch.where(taken[:, None], x, walkers.x)
    value = torch.where(taken, value, walkers.value)
    slope = torch.where(taken[:, None], slope, walkers.slope)
    noisy = NoisyPoint(target, y, 1.0, sigma)
    apart = (y - x) / sigma
    inner = Walkers(x, value - apart.square().sum(1) / 2, slope + apart / sigma, step)
    acceptance = 0.0
    for _ in range(steps):
        inner, chance = inner.moved(noisy, generator, learn=learn)
        acceptance += float(chance.mean()) / steps
    apart = (y - inner.x) / sigma
    clean = Walkers(inner.x, inner.value + apart.square().sum(1) / 2, inner.slope - apart / sigma, inner.step)
    return clean, inner.step, float(ratio.mean()), acceptance
