"""The same knowledge in other words: score, eps, v, flow, and denoisers made from them.

With x_t = alpha x0 + sigma eps and D = E[x0 | x_t]:

    eps   = (x_t - alpha D) / sigma                    (Ho et al. 2020)
    score = (alpha D - x_t) / sigma^2 = -eps / sigma   (Tweedie's formula)
    v     = alpha eps - sigma D                        (Salimans & Ho 2022)
    flow  = alpha' D + sigma' eps                      (Lipman et al. 2023); ' is d/dt

A `from_*` adapter asks `fn(x_t, t, cond)` for one of these and answers with E[x0 | x_t].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from caminito._errors import TimeError
from caminito.denoiser.base import Condition, Denoiser
from caminito.process import Process, times
from caminito.process.base import Time, as_time

__all__ = ["eps", "flow", "from_eps", "from_flow", "from_score", "from_v", "from_x0", "score", "v"]

Function = Callable[[Tensor, Tensor, Condition], Tensor]


def eps(denoiser: Denoiser, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
    """E[eps | x_t] = (x_t - alpha D) / sigma, for t > 0."""
    alpha, sigma = denoiser.process.kernel(t)
    return times(1 / sigma, x_t) - times(alpha / sigma, denoiser.mean(x_t, t, cond))


def score(denoiser: Denoiser, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
    """grad log p_t(x_t) = (alpha D - x_t) / sigma^2, for t > 0."""
    alpha, sigma = denoiser.process.kernel(t)
    return times(alpha / sigma**2, denoiser.mean(x_t, t, cond)) - times(1 / sigma**2, x_t)


def v(denoiser: Denoiser, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
    """alpha eps - sigma D, for t > 0."""
    alpha, sigma = denoiser.process.kernel(t)
    return times(alpha / sigma, x_t) - times(sigma + alpha**2 / sigma, denoiser.mean(x_t, t, cond))


def flow(denoiser: Denoiser, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
    """dx/dt of the probability-flow ODE: alpha' D + sigma' eps, for t > 0 of a continuous process."""
    alpha, sigma = denoiser.process.kernel(t)
    alpha_rate, sigma_rate = denoiser.process.rates(t)
    pull = alpha_rate - sigma_rate * alpha / sigma
    return times(pull, denoiser.mean(x_t, t, cond)) + times(sigma_rate / sigma, x_t)


class _FromFunction(Denoiser):
    """x0 = skip(t) x_t + out(t) fn(x_t, t, cond)."""

    def __init__(
        self, fn: Function, process: Process, coefficients: Callable[[Tensor], tuple[Tensor, Tensor]], name: str
    ) -> None:
        self.process = process
        self._fn, self._coefficients, self._name = fn, coefficients, name

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        t = as_time(t)
        skip, out = self._coefficients(t)
        if not bool(torch.isfinite(skip).all() and torch.isfinite(out).all()):
            raise TimeError(
                f"t = {t.flatten()[:3].tolist()}: x0 is not defined by {self._name} where the signal is gone "
                "(alpha = 0). Use x0 or v, or end the grid before that time."
            )
        return times(skip, x_t) + times(out, self._fn(x_t, t, cond))


def from_x0(fn: Function, process: Process) -> Denoiser:
    """A denoiser from a function that predicts x0."""
    return _FromFunction(fn, process, lambda t: (torch.zeros_like(t), torch.ones_like(t)), "x0")


def from_eps(fn: Function, process: Process) -> Denoiser:
    """A denoiser from a function that predicts eps: x0 = (x_t - sigma eps) / alpha."""

    def coefficients(t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = process.kernel(t)
        return 1 / alpha, -sigma / alpha

    return _FromFunction(fn, process, coefficients, "eps")


def from_score(fn: Function, process: Process) -> Denoiser:
    """A denoiser from a score: x0 = (x_t + sigma^2 score) / alpha."""

    def coefficients(t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = process.kernel(t)
        return 1 / alpha, sigma**2 / alpha

    return _FromFunction(fn, process, coefficients, "the score")


def from_v(fn: Function, process: Process) -> Denoiser:
    """A denoiser from v = alpha eps - sigma x0: x0 = (alpha x_t - sigma v) / (alpha^2 + sigma^2)."""

    def coefficients(t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = process.kernel(t)
        norm = alpha**2 + sigma**2
        return alpha / norm, -sigma / norm

    return _FromFunction(fn, process, coefficients, "v")


def from_flow(fn: Function, process: Process) -> Denoiser:
    """A denoiser from flow = dx/dt of the ODE: x0 = (sigma' x_t - sigma flow) / (alpha sigma' - alpha' sigma)."""

    def coefficients(t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = process.kernel(t)
        alpha_rate, sigma_rate = process.rates(t)
        norm = alpha * sigma_rate - alpha_rate * sigma
        return sigma_rate / norm, -sigma / norm

    return _FromFunction(fn, process, coefficients, "flow")
