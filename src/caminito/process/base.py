"""A process: how data become noise.

Every process here is affine and Gaussian: x_t | x_0 ~ N(alpha_t x_0, sigma_t^2 I), with alpha_0 = 1 and sigma_0 = 0
exactly. Its log-SNR, log(alpha_t^2 / sigma_t^2), never increases. All that a solver needs follows from two kernels:

    bridge:  x_s | x_t, x_0,  with (a, b) the transition s -> t:
             ct = a sigma_s^2 / sigma_t^2,   c0 = alpha_s b^2 / sigma_t^2,   std = sigma_s b / sigma_t.

Source: Ho et al. 2020, eq. 4-7; Kingma et al. 2021 (VDM), appendix A.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeAlias

import torch
from torch import Tensor

from caminito._errors import TimeError
from caminito.process.kernel import Bridge, Kernel, Normal

__all__ = ["ContinuousProcess", "Process", "Time", "as_time"]

Time: TypeAlias = Tensor | float


def as_time(t: Time) -> Tensor:
    """`t` as a float64 tensor of shape () or (B,)."""
    return torch.as_tensor(t, dtype=torch.float64)


class Process(ABC):
    """The forward process; a subclass gives its marginal and its transition.

    Attributes
    ----------
    t_max : float
        The last time: 1 for continuous processes, the number of steps for a chain.
    is_discrete : bool
        True if only integer times exist.
    """

    t_max: float = 1.0
    is_discrete: bool = False

    @abstractmethod
    def kernel(self, t: Time) -> Kernel:
        """Marginal kernel of x_t | x_0: (alpha_t, sigma_t), float64, shape of `t`."""

    @abstractmethod
    def transition(self, s: Time, t: Time) -> Kernel:
        """Kernel of x_t | x_s for s < t."""

    @abstractmethod
    def time(self, logsnr: Time) -> Tensor:
        """The time at which the log-SNR has the given value (nearest step of a chain)."""

    @abstractmethod
    def rates(self, t: Time) -> Kernel:
        """Derivatives (d alpha/dt, d sigma/dt) of the marginal kernel.

        Raises
        ------
        TimeError
            For a chain, which has steps and no derivative.
        """

    def logsnr(self, t: Time) -> Tensor:
        """log(alpha_t^2 / sigma_t^2): +inf at t = 0, -inf where alpha_t = 0."""
        alpha, sigma = self.kernel(t)
        gap = 2 * (torch.log(alpha.abs()) - torch.log(sigma))
        return torch.where(alpha == 0, torch.full_like(gap, -torch.inf), gap)  # also where the noise is gone too

    def bridge(self, s: Time, t: Time) -> Bridge:
        """Posterior of x_s given x_t and x_0.

        x_s | x_t, x_0 ~ N(c0 x_0 + ct x_t, std^2 I)

        Parameters
        ----------
        s, t : float64 tensor, shape () or (B,)
            Process times with 0 <= s < t <= t_max.

        Returns
        -------
        Bridge
            Coefficients, float64, broadcast shape of `s` and `t`; `std` in data units.

        Raises
        ------
        TimeError
            If some s >= t, or a chain is given a time that is not a step.

        Notes
        -----
        Exact; stable for s -> t, for alpha_t = 0 and for a chain whose first steps are without noise (sigma_t = 0).
        Source: Ho et al. 2020, eq. 6-7, for any affine-Gaussian transition.
        """
        alpha_s, sigma_s = self.kernel(s)
        _, sigma_t = self.kernel(t)
        a, b = self.transition(s, t)
        noiseless = sigma_t == 0
        safe = torch.where(noiseless, torch.ones_like(sigma_t), sigma_t)
        share = torch.where(noiseless, torch.ones_like(b), b / safe)  # of the noise at t, what came after s
        before = torch.where(noiseless, torch.zeros_like(b), sigma_s / safe)
        return Bridge(alpha_s * share**2, a * before**2, sigma_s * share)

    def noise(self, x0: Tensor, t: Time, eps: Tensor) -> Tensor:
        """x_t = alpha_t x0 + sigma_t eps; shapes (B, *event), `t` of shape () or (B,)."""
        return self.kernel(t).sample(x0, eps)

    def prior(self, mean: Tensor | float = 0.0, var: Tensor | float = 1.0, t: Time | None = None) -> Normal:
        """Law of x_t (of x_{t_max} unless `t` is given), taken as normal, for data of the given mean and variance.

        N(alpha_t mean, alpha_t^2 var + sigma_t^2): a chain need not end at N(0, 1). Exact for Gaussian data.
        """
        alpha, sigma = self.kernel(self.t_max if t is None else t)
        m, v = torch.as_tensor(mean, dtype=torch.float64), torch.as_tensor(var, dtype=torch.float64)
        return Normal(alpha * m, torch.sqrt(alpha**2 * v + sigma**2))


class ContinuousProcess(Process):
    """A process with t in [0, 1]; `kernel` and `time` are all that a new schedule writes."""

    def transition(self, s: Time, t: Time) -> Kernel:
        """Kernel of x_t | x_s: a = alpha_t / alpha_s, b^2 = -sigma_t^2 expm1(logsnr_t - logsnr_s)."""
        s, t = as_time(s), as_time(t)
        if not bool((s < t).all()):
            raise TimeError(f"expected s < t, got s = {s.tolist()}, t = {t.tolist()}. A transition runs towards noise.")
        alpha_s, _ = self.kernel(s)
        alpha_t, sigma_t = self.kernel(t)
        gap = self.logsnr(t) - self.logsnr(s)
        return Kernel(alpha_t / alpha_s, sigma_t * torch.sqrt(-torch.expm1(gap)))

    def rates(self, t: Time) -> Kernel:
        """Derivatives (d alpha/dt, d sigma/dt) by automatic differentiation in float64."""
        with torch.enable_grad():
            t = as_time(t).detach().clone().requires_grad_(True)
            alpha, sigma = self.kernel(t)
            zero = torch.zeros_like(t)
            slopes = [
                zero
                if not y.requires_grad
                else torch.autograd.grad(y.sum(), t, retain_graph=True, allow_unused=True)[0]
                for y in (alpha, sigma)
            ]
        return Kernel(*(zero if slope is None else slope for slope in slopes))
