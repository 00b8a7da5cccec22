"""Langevin dynamics with a Metropolis test (MALA): at the target, along a tempered path, and given a noisy point.

    x' = x + h grad log p(x) + sqrt(2 h) xi,

accepted with the Metropolis-Hastings probability. Chains explore the mode they are in; what share of them ends in a
mode is decided by where they began. Both samplers here are the bars that others have to clear.

Sources: Roberts & Tweedie 1996; Besag 1994 (the test); Neal 2001 (the tempered path, here without its weights).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from caminito._errors import ConfigError
from caminito.density.draws import Draws
from caminito.density.reference import Reference
from caminito.density.target import Target

__all__ = ["NoisyPoint", "Walkers", "annealed_langevin", "chains", "mala", "spread_of"]

_WANTED = 0.65  # acceptance; the optimum of MALA is near 0.574 in many dimensions, higher in few
ValueAndGrad = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Walkers:
    """Chains at x (n, dim), with log-density (n,) and gradient (n, dim) there and a step h (n,) each."""

    x: Tensor
    value: Tensor
    slope: Tensor
    step: Tensor

    @classmethod
    def at(cls, density: ValueAndGrad, x: Tensor, step: Tensor) -> Walkers:
        """Chains that begin at x; one call."""
        return cls(x, *density(x), step)

    def moved(self, density: ValueAndGrad, generator: torch.Generator, *, learn: float = 0.0) -> tuple[Walkers, Tensor]:
        """One step of MALA and the chance with which each was accepted; steps are scaled by exp(learn (chance - 0.65)).

        With learn = 0 the density is left unchanged.
        """
        h = self.step[:, None]
        noise = torch.randn(self.x.shape, generator=generator, dtype=torch.float64)
        ahead = self.x + h * self.slope + torch.sqrt(2 * h) * noise
        sound = torch.isfinite(ahead).all(1)
        ahead = torch.where(sound[:, None], ahead, self.x)
        value, slope = density(ahead)
        back = (self.x - ahead - h * slope).square().sum(1) / (4 * self.step)
        log_ratio = value - self.value - back + noise.square().sum(1) / 2
        log_ratio = torch.where(sound & ~torch.isnan(log_ratio), log_ratio, -torch.inf)
        # a start outside of the support is left by the first move that is inside
        chance = torch.where(self.value > -torch.inf, log_ratio.clamp(max=0).exp(), (value > -torch.inf).double())
        taken = torch.rand(len(chance), generator=generator, dtype=torch.float64) < chance
        return Walkers(
            torch.where(taken[:, None], ahead, self.x),
            torch.where(taken, value, self.value),
            torch.where(taken[:, None], slope, self.slope),
            self.step * torch.exp(learn * (chance - _WANTED)),
        ), chance


@dataclass(frozen=True)
class NoisyPoint:
    """x0 given y = alpha x0 + sigma eps, one y (n, dim) for each chain: log p(x0) - |y - alpha x0|^2 / (2 sigma^2).

    A function of x0: the target is asked at x0, y only enters the quadratic.
    """

    target: Target
    y: Tensor
    alpha: float
    sigma: float

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = self.target.value_and_grad(x)
        apart = (self.y - self.alpha * x) / self.sigma
        return value - apart.square().sum(1) / 2, slope + self.alpha / self.sigma * apart

    def scale(self, std: float) -> float:
        """Deviation of x0 given y if the target had the deviation `std` and were normal."""
        return std * self.sigma / math.sqrt(self.alpha**2 * std**2 + self.sigma**2)


def spread_of(reference: Reference, generator: torch.Generator) -> tuple[Tensor, float]:
    """Mean (dim,) of the reference, and one deviation for all coordinates, by 1000 draws."""
    x = reference.draw(1000, generator)
    return x.mean(0), float((x - x.mean(0)).square().mean().sqrt())


def chains(
    density: ValueAndGrad, walkers: Walkers, steps: int, generator: torch.Generator, *, warm_up: float = 0.5
) -> tuple[Walkers, float]:
    """`steps` steps of MALA, learning the step for the first share `warm_up`; the acceptance of the rest."""
    learning, total = round(warm_up * steps), 0.0
    for i in range(steps):
        walkers, chance = walkers.moved(density, generator, learn=0.5 if i < learning else 0.0)
        total += float(chance.mean()) if i >= learning else 0.0
    return walkers, total / max(1, steps - learning)


def mala(target: Target, reference: Reference, n: int, generator: torch.Generator, *, steps: int = 1000) -> Draws:
    """n chains of MALA from n draws of the reference, each with a step of its own that its first half tunes.

    Returns
    -------
    Draws
        Where the chains end; no evidence. diagnostics: `acceptance`, `calls`, `evaluations`.

    Notes
    -----
    steps + 1 calls of n points. Fails on more than one mode: a mode weighs what its basin weighs under the reference.
    """
    _counts(n=n, steps=steps)
    calls, evaluations = target.calls, target.evaluations
    x = reference.draw(n, generator)
    scale = spread_of(reference, generator)[1]
    step = torch.full((n,), 0.1 * scale**2 * target.dim ** (-1 / 3), dtype=torch.float64)
    walkers, acceptance = chains(target.value_and_grad, Walkers.at(target.value_and_grad, x, step), steps, generator)
    return _ended(walkers, acceptance, target, calls, evaluations)


def annealed_langevin(
    target: Target,
    reference: Reference,
    n: int,
    generator: torch.Generator,
    *,
    levels: int = 50,
    steps: int = 20,
    start: float = 1e-3,
) -> Draws:
    """MALA along q^(1-beta) p^beta, beta = 0, then from `start` to 1 geometrically; points are not weighted.

    Returns
    -------
    Draws
        Where the chains end; no evidence. diagnostics: `acceptance` at the target, `calls`, `evaluations`.

    Notes
    -----
    levels x (steps + 1) calls of n points. Fails on modes of unequal weight or width: points settle in a basin while
    beta is small, by the weights that basins have then, and nothing corrects them later; `smc` does.
    """
    _counts(n=n, levels=levels, steps=steps)
    if not 0 < start < 1:
        raise ConfigError(f"start: expected a number between 0 and 1, got {start!r}.")
    calls, evaluations = target.calls, target.evaluations
    x = reference.draw(n, generator)
    scale = spread_of(reference, generator)[1]
    step = torch.full((n,), 0.1 * scale**2 * target.dim ** (-1 / 3), dtype=torch.float64)
    for i in range(levels):
        beta = start ** (1 - i / (levels - 1)) if levels > 1 else 1.0
        density = _Tempered(target, reference, beta)
        walkers, acceptance = chains(density, Walkers.at(density, x, step), steps, generator)
        x, step = walkers.x, walkers.step
    return _ended(walkers, acceptance, target, calls, evaluations)


@dataclass(frozen=True)
class _Tempered:
    target: Target
    reference: Reference
    beta: float

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        (log_p, slope_p), (log_q, slope_q) = self.target.value_and_grad(x), self.reference.value_and_grad(x)
        return self.beta * log_p + (1 - self.beta) * log_q, self.beta * slope_p + (1 - self.beta) * slope_q


def _ended(walkers: Walkers, acceptance: float, target: Target, calls: int, evaluations: int) -> Draws:
    return Draws(
        x=walkers.x,
        log_evidence=None,
        diagnostics={
            "acceptance": acceptance,
            "calls": float(target.calls - calls),
            "evaluations": float(target.evaluations - evaluations),
        },
    )


def _counts(**counts: int) -> None:
    for name, value in counts.items():
        if not value >= 1:
            raise ConfigError(f"{name}: expected a whole number >= 1, got {value!r}.")
