"""What a solver is, and the numbers of one step that every solver is made of.

All rules can be written with the noise that the prediction D = E[x0 | x_t] leaves, e = (x_t - alpha_t D) / sigma_t, and

    k = sign(a) sigma_s / sigma_t    with a the scale of the transition s -> t (a chain may turn the sign),
    lambda = log(|alpha| / sigma),   h = lambda_s - lambda_t,

and all begin with the first-order step in data prediction, which needs no division by alpha:

    x_s = k x_t + (alpha_s - k alpha_t) D.

A solver is an immutable value. `init` turns a grid into numbers once; `step` then only moves tensors, returns what it
remembers as `state`, and is given its noise.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from caminito._errors import ConfigError
from caminito.denoiser import Denoiser
from caminito.process import Process

__all__ = [
    "NO_VARIANCE",
    "Draw",
    "Leg",
    "Solver",
    "Step",
    "Walk",
    "combine",
    "legs",
    "require_variance",
    "whole",
    "with_noise",
]

Draw = Callable[..., Tensor]

NO_GAP = 1e-9  # of log(alpha / sigma): what rounding leaves of a step without noise
NO_VARIANCE = (
    "variance='posterior' needs Var[x0 | x_t], and this denoiser knows only its mean. Wrap it with "
    "fit_residual_variance, or use 'small' or 'large'."
)


class Step(NamedTuple):
    """x_s, the x0 predicted on the way, and what the solver remembers."""

    x: Tensor
    x0: Tensor
    state: Any


class Solver(ABC):
    """One reverse rule.

    Attributes
    ----------
    order : int
        The global error (of mean and variance, for stochastic rules) falls at least with this power of the largest
        step; a claim that tests measure.
    evals : int
        Denoiser calls per step (the last step of a two-call solver needs one).
    """

    @property
    @abstractmethod
    def order(self) -> int:
        """Order of the global error."""

    @property
    def evals(self) -> int:
        """Denoiser calls per step."""
        return 1

    def calls(self, process: Process, grid: Tensor) -> int:
        """Denoiser calls along a grid that ends before the data (the last step to them may need fewer)."""
        return self.evals * (len(grid) - 1)

    @property
    def draws(self) -> int:
        """Largest number of parts of the noise that a step asks for."""
        return 1

    @property
    def is_stochastic(self) -> bool:
        """Whether steps draw noise."""
        return False

    @property
    def needs_variance(self) -> bool:
        """Whether steps ask for the variance of x0 given x_t: a walk then begins only with a denoiser that knows it."""
        return False

    def init(self, process: Process, grid: Tensor) -> Any:
        """State before the first step of a walk along `grid`."""
        return None

    @abstractmethod
    def step(self, denoise: Denoiser, process: Process, x: Tensor, t: Tensor, s: Tensor, state: Any, eps: Draw) -> Step:
        """Go from x at time t to time s < t.

        Parameters
        ----------
        denoise : Denoiser
            With its conditions already given: denoise(x, t) is D.
        process : Process
        x : tensor, shape (B, *event)
        t, s : float64 scalars
        state : what `init` or the previous step returned
        eps : (part=0) -> Tensor
            A standard normal draw of the shape of x, the same at each call of one part within a step.
        """


class Leg(NamedTuple):
    """The numbers of one step of a grid, from t to s.

    Attributes
    ----------
    alpha, sigma, alpha_s, sigma_s : float
        Of the marginals at t and at s.
    sign, sign_s : float
        Those of alpha; where there is no signal, the one that the transitions carry there.
    carry : float
        k; 0 where x_t has no noise to pass on (first steps of some chains).
    lam, lam_s : float
        log(|alpha| / sigma) at t (-inf without signal) and at s (inf without noise).
    """

    alpha: float
    sigma: float
    alpha_s: float
    sigma_s: float
    sign: float
    sign_s: float
    carry: float
    lam: float
    lam_s: float

    @property
    def h(self) -> float:
        """lambda_s - lambda_t; 0 between two levels without signal, or two without noise."""
        return 0.0 if self.lam == self.lam_s else self.lam_s - self.lam

    @property
    def gain(self) -> float:
        """alpha_s - k alpha_t, the weight of D in the first-order step."""
        return self.alpha_s - self.carry * self.alpha


def legs(process: Process, grid: Tensor) -> list[Leg]:
    """The numbers of every step of a grid of n + 1 times."""
    alpha, sigma = (c.tolist() for c in process.kernel(grid))
    lam = (process.logsnr(grid) / 2).tolist()
    turns = [_turn(process, grid, alpha, i) for i in range(len(alpha) - 1)]
    signs = [math.copysign(1.0, alpha[-1])]
    for turn in reversed(turns):
        signs.append(signs[-1] * turn)
    signs.reverse()
    return [
        Leg(
            *(alpha[i], sigma[i], alpha[i + 1], sigma[i + 1]),
            *(signs[i], signs[i + 1], turns[i] * sigma[i + 1] / sigma[i] if sigma[i] else 0.0, lam[i], lam[i + 1]),
        )
        for i in range(len(turns))
    ]


def _turn(process: Process, grid: Tensor, alpha: list[float], i: int) -> float:
    """Sign of the transition between two times: that of alpha_t / alpha_s, and of the steps where alpha_s is 0."""
    later, earlier = alpha[i], alpha[i + 1]
    if earlier:
        return -1.0 if (later < 0 < earlier) or (earlier < 0 < later) else 1.0
    return -1.0 if float(process.transition(grid[i + 1], grid[i]).scale) < 0 else 1.0


class Walk(NamedTuple):
    """Where a solver is: the rows it made of the steps, the number of the next, and what it remembers."""

    rows: tuple[Any, ...]
    i: int = 0
    memory: tuple[Tensor, ...] = ()

    @property
    def row(self) -> Any:
        """The row of the next step."""
        return self.rows[self.i]

    def on(self, memory: tuple[Tensor, ...] = ()) -> Walk:
        """After this step."""
        return Walk(self.rows, self.i + 1, memory)


def combine(x: Tensor, scale: float, *terms: tuple[float, Tensor]) -> Tensor:
    """scale x + sum of c y over the pairs (c, y), in the dtype of x."""
    out = x * scale
    for factor, y in terms:
        if factor:
            out.add_(y, alpha=factor)
    return out


def with_noise(moved: Tensor, var: float, spread: float, known: Tensor | None, eps: Draw) -> Tensor:
    """moved + sqrt(var + spread known) z, with Var[x0 | x_t] for `known`.

    Raises
    ------
    ConfigError
        If the variance is wanted and the denoiser does not know it.
    """
    if spread:
        if known is None:
            raise ConfigError(NO_VARIANCE)
        return moved + torch.sqrt(var + spread * known).to(moved.dtype) * eps()
    return moved.add_(eps(), alpha=math.sqrt(var)) if var else moved


def require_variance(denoiser: Denoiser) -> None:
    """Refuse a denoiser that does not know Var[x0 | x_t], without asking it anything.

    Raises
    ------
    ConfigError
    """
    if not denoiser.knows_variance:
        raise ConfigError(NO_VARIANCE)


def whole(name: str, value: int, low: int, high: int | None = None) -> None:
    """Refuse what is not a whole number from `low` to `high`.

    Raises
    ------
    ConfigError
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        asked = f">= {low}" if high is None else f"from {low} to {high}"
        raise ConfigError(f"{name}: expected a whole number {asked}, got {value!r}.")
