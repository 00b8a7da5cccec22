"""Classifier guidance: the gradient of log p(y | x_t) joins the score.

    D'(x_t) = D(x_t) + w sigma^2 / alpha grad log p(y | x_t)

With the exact classifier and w = 1 this is E[x0 | x_t, y] exactly: by Bayes' rule the scores add. Where alpha = 0 the
gradient is 0 and its factor infinite; both are taken where a thousandth of the data is left, in a chain a step earlier.
Source: Dhariwal & Nichol 2021, section 4 and algorithm 2, in data prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from caminito._errors import ConfigError, ShapeError
from caminito.denoiser import Condition, Denoiser, Wrapped
from caminito.guidance.guided import Scale, checked, checked_interval, effective
from caminito.process import times
from caminito.process.base import Time, as_time

__all__ = ["LogProb", "classifier_guide"]

_TRACE = -2 * math.log(1000)  # log-SNR where sigma is a thousand times alpha

LogProb: TypeAlias = Callable[[Tensor, Time, Condition], Tensor]
"""(x_t, t, cond) -> log p(y | x_t), shape (B,), which torch can differentiate with respect to x_t."""


def classifier_guide(
    denoiser: Denoiser, log_prob: LogProb, scale: Scale = 1.0, *, interval: tuple[float, float | None] | None = None
) -> Denoiser:
    """The denoiser led by what a classifier says of noisy data.

    Parameters
    ----------
    denoiser : Denoiser
        Conditional or not; `without(denoiser, "y")` hides a condition from one that knows it.
    log_prob : (x_t, t, cond) -> tensor (B,)
        Row i of x_t alone decides entry i. A constant may be left out: only the gradient counts.
    scale : float, or function of the time
        w; 1 is Bayes' rule, 0 the denoiser as it is.
    interval : (low, high), noise levels sigma / alpha, optional
        Guide only where low < sigma / alpha <= high; None for high: no upper end.

    Raises
    ------
    ConfigError
        If the scale is not finite, the interval is none, or `log_prob` has no gradient.
    ShapeError
        If `log_prob` gives another shape than (B,).

    Examples
    --------
    >>> import torch
    >>> from caminito.denoiser import ClassDenoiser, GaussianDenoiser
    >>> from caminito.guidance import classifier_guide
    >>> from caminito.process import VP
    >>> vp = VP()
    >>> sides = [GaussianDenoiser(torch.tensor([side]), 0.25, vp) for side in (-1.0, 1.0)]
    >>> both = ClassDenoiser(sides, torch.tensor([0.5, 0.5]))
    >>> led = classifier_guide(both, lambda x_t, t, cond: both.log_probs(x_t, t)[:, 1])
    >>> x_t = torch.tensor([[0.3]])
    >>> torch.allclose(led.mean(x_t, 0.5), sides[1].mean(x_t, 0.5), atol=1e-6)
    True
    """
    return _ClassifierGuided(denoiser, log_prob, checked(scale), checked_interval(interval))


class _ClassifierGuided(Wrapped):
    def __init__(
        self, denoiser: Denoiser, log_prob: LogProb, scale: Scale, interval: tuple[float, float] | None
    ) -> None:
        super().__init__(denoiser)
        self.log_prob, self.scale, self.interval = log_prob, scale, interval

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """D + w sigma^2 / alpha grad log p."""
        return self._led(self.denoiser.mean(x_t, t, cond), x_t, t, cond)

    def moments(self, x_t: Tensor, t: Time, cond: Condition = None) -> tuple[Tensor, Tensor | None]:
        """Both; the variance is that of the denoiser, as in Dhariwal & Nichol."""
        mean, var = self.denoiser.moments(x_t, t, cond)
        return self._led(mean, x_t, t, cond), var

    def log_marginal(self, x_t: Tensor, t: Time, cond: Condition = None) -> None:
        """Unknown, but for a constant."""

    def _led(self, mean: Tensor, x_t: Tensor, t: Time, cond: Condition) -> Tensor:
        w = effective(self.scale, self.interval, self.process, t, outside=0.0)
        if bool((w == 0).all()):
            return mean
        at = self._seen(as_time(t))
        alpha, sigma = self.process.kernel(at)
        return mean + times(w * sigma**2 / alpha, self._gradient(x_t, at, cond))

    def _seen(self, t: Tensor) -> Tensor:
        """The time, or one with a trace of the data where none is left: there the gradient is 0 and its factor not."""
        gone = self.process.kernel(t).scale == 0
        if not bool(gone.any()):
            return t
        before = t - 1 if self.process.is_discrete else self.process.time(torch.full_like(t, _TRACE)).to(t)
        return torch.where(gone, before, t)

    def _gradient(self, x_t: Tensor, t: Time, cond: Condition) -> Tensor:
        with torch.enable_grad():
            x = x_t.detach().requires_grad_()
            logs = self.log_prob(x, t, cond)
            if not isinstance(logs, Tensor) or logs.shape != (len(x_t),):
                got = tuple(logs.shape) if isinstance(logs, Tensor) else type(logs).__name__
                raise ShapeError(f"log_prob: expected one number per row, shape ({len(x_t)},), got {got}.")
            if not logs.requires_grad:
                raise ConfigError(
                    "log_prob: expected a function of x_t that torch can differentiate, got values without a gradient. "
                    "Keep to torch, and leave out no_grad and detach."
                )
            (gradient,) = torch.autograd.grad(logs.sum(), x)
        return gradient.detach()
