"""Solvers that draw noise: the bridge itself (ancestral), DDIM between it and the flow, and noise around another rule.

Sources: Ho et al. 2020, section 3.2 and algorithm 2; Song et al. 2021 (DDIM), eq. 12 and 16; Bao et al. 2022
(Analytic-DPM), eq. 7; Karras et al. 2022, algorithm 2 (churn); Xu et al. 2023 (Restart), algorithm 1.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from caminito._errors import ConfigError
from caminito.denoiser import Denoiser
from caminito.process import Process
from caminito.sampling.solvers.base import Draw, Solver, Step, Walk, combine, legs, whole, with_noise
from caminito.sampling.solvers.onestep import Heun

__all__ = ["DDIM", "Ancestral", "Churn", "EulerAncestral", "Restart"]


class _Row(NamedTuple):
    """x_s = scale x + gain D + sqrt(var + spread Var[x0 | x_t]) z."""

    scale: float
    gain: float
    var: float
    spread: float


class _Bridging(Solver):
    """The step of the rules below; a subclass makes the rows."""

    order = 1

    def step(
        self, denoise: Denoiser, process: Process, x: Tensor, t: Tensor, s: Tensor, state: Walk, eps: Draw
    ) -> Step:
        """As above."""
        row: _Row = state.row
        x0, known = denoise.moments(x, t) if row.spread else (denoise(x, t), None)
        moved = combine(x, row.scale, (row.gain, x0))
        return Step(with_noise(moved, row.var, row.spread, known, eps), x0, state.on())


@dataclass(frozen=True)
class Ancestral(_Bridging):
    """A draw from the bridge with D for x0: the reverse process of DDPM.

    x_s = c0 D + ct x_t + std z, with std^2 by `variance`:

    - ``small``: the bridge's own (beta-tilde); exact if the data are a single point.
    - ``large``: the transition's (beta); exact if the data are N(0, 1). None at the last step.
    - ``posterior``: bridge's + c0^2 Var[x0 | x_t]; exact for Gaussian data of independent entries (the variance is a
      diagonal) at any number of steps. Its last step draws x0 from N(D, Var[x0 | x_t]): that little is what makes it
      exact. Needs a denoiser that knows its variance.
    """

    variance: Literal["small", "large", "posterior"] = "small"
    is_stochastic = True

    def __post_init__(self) -> None:
        if self.variance not in ("small", "large", "posterior"):
            raise ConfigError(f"variance: expected 'small', 'large' or 'posterior', got {self.variance!r}.")

    @property
    def needs_variance(self) -> bool:
        """For `posterior`."""
        return self.variance == "posterior"

    def init(self, process: Process, grid: Tensor) -> Walk:
        """Bridges of all steps."""
        bridges = process.bridge(grid[1:], grid[:-1])
        c0, ct, std = (c.tolist() for c in bridges)
        if self.variance == "large":
            noise = process.transition(grid[1:], grid[:-1]).std.tolist()
            std = [b if last else a for a, b, last in zip(noise, std, (process.kernel(grid[1:]).std == 0).tolist())]
        spread = 1.0 if self.needs_variance else 0.0
        return Walk(tuple(_Row(ct[i], c0[i], std[i] ** 2, spread * c0[i] ** 2) for i in range(len(c0))))


@dataclass(frozen=True)
class DDIM(_Bridging):
    """x_s = alpha_s D + sign(a) sqrt(sigma_s^2 - (eta std)^2) e + eta std z, std the bridge's.

    eta = 0 is deterministic: Euler's rule on the probability-flow ODE in sigma / alpha. eta = 1 is `Ancestral`.
    `variance` posterior adds (weight of D)^2 Var[x0 | x_t], as a draw of x0 in place of its mean would: with it the
    variance of Gaussian data is exact for every eta.
    """

    eta: float = 0.0
    variance: Literal["small", "posterior"] = "small"

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ConfigError(f"eta: expected a number in [0, 1], got {self.eta}.")
        if self.variance not in ("small", "posterior"):
            raise ConfigError(f"variance: expected 'small' or 'posterior', got {self.variance!r}.")

    @property
    def is_stochastic(self) -> bool:
        """Whether steps draw noise."""
        return self.eta > 0 or self.needs_variance

    @property
    def needs_variance(self) -> bool:
        """For `posterior`."""
        return self.variance == "posterior"

    def init(self, process: Process, grid: Tensor) -> Walk:
        """Coefficients of all steps."""
        rows, cts, stds = [], [0.0] * (len(grid) - 1), [0.0] * (len(grid) - 1)
        if self.eta:
            _, cts, stds = (c.tolist() for c in process.bridge(grid[1:], grid[:-1]))
        for leg, ct, std in zip(legs(process, grid), cts, stds):
            # sqrt(sigma_s^2 - (eta std)^2) / sigma_t; sigma_s^2 - std^2 = (ct sigma_t)^2, so nothing is subtracted
            size = math.hypot(math.sqrt((1 - self.eta) * (1 + self.eta)) * leg.carry, self.eta * ct)
            scale = math.copysign(size, leg.sign * leg.sign_s)
            gain = leg.alpha_s - scale * leg.alpha
            rows.append(_Row(scale, gain, (self.eta * std) ** 2, gain**2 if self.needs_variance else 0.0))
        return Walk(tuple(rows))


@dataclass(frozen=True)
class EulerAncestral(DDIM):
    """Euler to a level below s, then noise up to s: in sigma / alpha the same numbers as DDIM with that eta.

    Source: k-diffusion's `sample_euler_ancestral`; the identity is a test.
    """

    eta: float = 1.0


@dataclass(frozen=True)
class Churn(Solver):
    """Before each step a little noise is added, up to sigma / alpha (1 + gamma), and `inner` steps down from there.

    gamma = min(amount / steps, sqrt(2) - 1) where sigma / alpha lies in [low, high], else 0; `inflate` multiplies the
    added noise. A chain takes the nearest of its steps; no step rises above the start of the walk.

    Parameters
    ----------
    inner : Solver
        A rule that remembers nothing between steps.
    amount, low, high, inflate : float
        S_churn, S_tmin, S_tmax and S_noise of the paper (whose S_noise, 1.003, makes up for a network that removes
        slightly too much noise).
    """

    inner: Solver = field(default_factory=Heun)
    amount: float = 40.0
    low: float = 0.05
    high: float = 50.0
    inflate: float = 1.0
    is_stochastic = True
    order = 1

    def __post_init__(self) -> None:
        for name in ("amount", "low", "inflate"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name}: expected a finite number >= 0, got {value}.")
        if not self.high > self.low:
            raise ConfigError(f"high: expected more than low = {self.low}, got {self.high}.")

    @property
    def evals(self) -> int:
        """Those of the inner rule."""
        return self.inner.evals

    @property
    def draws(self) -> int:
        """The inner rule's, and one for the noise that is added."""
        return 1 + self.inner.draws

    @property
    def needs_variance(self) -> bool:
        """Whether the inner rule does."""
        return self.inner.needs_variance

    def init(self, process: Process, grid: Tensor) -> Walk:
        """For each step, the noise that is added and the inner state from there."""
        gamma = min(self.amount / (len(grid) - 1), math.sqrt(2) - 1)
        rows = []
        for t, s in itertools.pairwise(grid):
            up, lift = t, None
            ratio = math.exp(-float(process.logsnr(t)) / 2)
            if gamma > 0 and self.low <= ratio <= self.high:
                raised = process.time(torch.tensor(-2 * math.log(ratio * (1 + gamma)), dtype=torch.float64))
                if float(t) < float(raised) <= float(grid[0]):
                    up, lift = raised, process.transition(t, raised)
            step = None if lift is None else (float(lift.scale), self.inflate * float(lift.std))
            rows.append((up, step, self.inner.init(process, torch.stack([up, s]))))
        return Walk(tuple(rows))

    def step(
        self, denoise: Denoiser, process: Process, x: Tensor, t: Tensor, s: Tensor, state: Walk, eps: Draw
    ) -> Step:
        """As above."""
        up, lift, inner = state.row
        if lift is not None:
            x = combine(x, lift[0], (lift[1], eps(self.inner.draws)))
        step = self.inner.step(denoise, process, x, up, s, inner, eps)
        return Step(step.x, step.x0, state.on())


@dataclass(frozen=True)
class Restart(Solver):
    """`inner`, and where the walk has come down to sigma / alpha = `low`, back up to `high` and down again.

    Fresh noise between two deterministic descents contracts the errors made so far.

    Parameters
    ----------
    inner : Solver
    low, high : float
        Levels of sigma / alpha between which the walk is repeated.
    times, steps : int
        Repetitions, and steps of each descent (uniform in log-SNR).
    """

    inner: Solver = field(default_factory=Heun)
    low: float = 0.1
    high: float = 1.0
    times: int = 2
    steps: int = 4
    is_stochastic = True
    order = 0  # the descents have a fixed number of steps, and so an error that finer grids leave

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise ConfigError(f"low, high: expected 0 < low < high, got {self.low} and {self.high}.")
        for name in ("times", "steps"):
            whole(name, getattr(self, name), 1)

    @property
    def evals(self) -> int:
        """Those of the inner rule, outside the repetitions."""
        return self.inner.evals

    def calls(self, process: Process, grid: Tensor) -> int:
        """Those of the inner rule, along the grid and along every repetition."""
        again = self.init(process, grid)[3]
        repeated = 0 if again is None else self.times * self.inner.calls(process, again)
        return self.inner.calls(process, grid) + repeated

    @property
    def draws(self) -> int:
        """The inner rule's, again for every step of every repetition, and one to go up."""
        return self.inner.draws * (1 + self.times * self.steps) + self.times

    @property
    def needs_variance(self) -> bool:
        """Whether the inner rule does."""
        return self.inner.needs_variance

    def init(self, process: Process, grid: Tensor) -> Any:
        """The inner state, and the descent to repeat, if the grid comes down through it."""
        ratio = torch.exp(-process.logsnr(grid) / 2)
        place = int((ratio > self.low).sum())
        state = self.inner.init(process, grid)
        if place in (0, len(grid)) or float(ratio[place]) == 0:
            return state, 0, None, None
        levels = torch.linspace(math.log(self.high), math.log(float(ratio[place])), self.steps + 1, dtype=torch.float64)
        times = torch.cat([process.time(-2 * levels[:-1]).clamp_max(float(grid[0])), grid[place : place + 1]])
        times = times[times >= grid[place]].unique().flip(0)
        return state, 0, place, times if len(times) > 1 else None

    def step(self, denoise: Denoiser, process: Process, x: Tensor, t: Tensor, s: Tensor, state: Any, eps: Draw) -> Step:
        """As above."""
        inner, i, place, times = state
        step = self.inner.step(denoise, process, x, t, s, inner, eps)
        x, part = step.x, self.inner.draws
        if i + 1 == place and times is not None:
            lift = process.transition(s, times[0])
            for _ in range(self.times):
                x = combine(x, float(lift.scale), (float(lift.std), eps(part)))
                part, again = part + 1, self.inner.init(process, times)
                for a, b in itertools.pairwise(times):
                    down = self.inner.step(denoise, process, x, a, b, again, _later(eps, part))
                    part, x, again = part + self.inner.draws, down.x, down.state
        return Step(x, step.x0, (step.state, i + 1, place, times))


def _later(eps: Draw, first: int) -> Draw:
    """The draws from part `first` on."""
    return lambda part=0: eps(first + part)
