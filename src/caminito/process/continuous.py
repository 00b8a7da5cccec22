"""The continuous schedules by name: VP, Cosine, SubVP, VE, EDM, RectifiedFlow, and any log-SNR curve.

Each gives alpha_t and sigma_t for t in [0, 1] with alpha_0 = 1 and sigma_0 = 0 exactly, in a form that keeps full
relative precision near t = 0, where sigma is small.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from caminito._errors import ConfigError
from caminito.process.base import ContinuousProcess, Time, as_time
from caminito.process.kernel import Kernel

__all__ = ["EDM", "VE", "VP", "Cosine", "FromLogSNR", "RectifiedFlow", "SubVP"]


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name}: expected a finite number > 0, got {value}.")


class VP(ContinuousProcess):
    """Variance preserving: log alpha_t = -t^2 (beta_max - beta_min) / 4 - t beta_min / 2, alpha^2 + sigma^2 = 1.

    Source: Song et al. 2021 (SDE), eq. 33; the continuous limit of DDPM's linear betas.
    """

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        _positive(beta_min=beta_min, beta_max=beta_max)
        self.beta_min, self.beta_max = beta_min, beta_max

    def _integral(self, t: Tensor) -> Tensor:
        return t * self.beta_min + t**2 * (self.beta_max - self.beta_min) / 2

    def kernel(self, t: Time) -> Kernel:
        """alpha = exp(-B/2), sigma = sqrt(1 - exp(-B)), B the integral of beta up to t."""
        t = as_time(t)
        integral = self._integral(t)
        return Kernel(torch.exp(-integral / 2), torch.sqrt(-torch.expm1(-integral)))

    def time(self, logsnr: Time) -> Tensor:
        """Root of B(t) = log(1 + 1/SNR), in the form that does not cancel."""
        target = torch.nn.functional.softplus(-as_time(logsnr))
        slope = self.beta_max - self.beta_min
        return 2 * target / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * slope * target))


class SubVP(ContinuousProcess):
    """VP's alpha with the smaller noise sigma_t = 1 - alpha_t^2.

    Source: Song et al. 2021 (SDE), eq. 29.
    """

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        self.vp = VP(beta_min, beta_max)

    def kernel(self, t: Time) -> Kernel:
        """alpha of VP, sigma = -expm1(-B)."""
        alpha, sigma = self.vp.kernel(t)
        return Kernel(alpha, sigma**2)

    def time(self, logsnr: Time) -> Tensor:
        """From alpha / (1 - alpha^2) = r: alpha = 2 r / (1 + sqrt(1 + 4 r^2)), then VP's time of that alpha."""
        ratio = torch.exp(-as_time(logsnr) / 2)  # sigma / alpha
        alpha = 2 / (ratio + torch.sqrt(ratio**2 + 4))
        sigma_squared = ratio * alpha  # 1 - alpha^2, without cancellation
        return self.vp.time(2 * torch.log(alpha) - torch.log(sigma_squared))


class Cosine(ContinuousProcess):
    """alpha_t = cos(pi t / 2), sigma_t = sin(pi t / 2); at t = 1 the signal is gone exactly.

    `shift` multiplies sigma / alpha by exp(-shift / 2) (a log-SNR shift, Hoogeboom et al. 2023, eq. 4): negative for
    larger images.
    Source: Nichol & Dhariwal 2021, eq. 17, without the offset; Salimans & Ho 2022.
    """

    def __init__(self, shift: float = 0.0) -> None:
        if not math.isfinite(shift):
            raise ConfigError(f"shift: expected a finite number, got {shift}.")
        self.shift = shift

    def kernel(self, t: Time) -> Kernel:
        """(cos, sin) of the shifted angle; exact at both ends."""
        t = as_time(t)
        cos = torch.sin((1 - t) * (math.pi / 2))
        sin = torch.sin(t * (math.pi / 2)) * math.exp(-self.shift / 2)
        norm = torch.hypot(cos, sin)
        return Kernel(cos / norm, sin / norm)

    def time(self, logsnr: Time) -> Tensor:
        """2/pi arctan(exp(-(logsnr - shift) / 2))."""
        return torch.atan(torch.exp(-(as_time(logsnr) - self.shift) / 2)) * (2 / math.pi)


class VE(ContinuousProcess):
    """Variance exploding: alpha = 1, sigma_t^2 = sigma_min^2 ((sigma_max / sigma_min)^(2t) - 1).

    The subtracted 1 is what makes sigma_0 = 0: it is the exact marginal of the SDE started at the data.
    Source: Song et al. 2021 (SDE), eq. 30-31.
    """

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0) -> None:
        _positive(sigma_min=sigma_min, sigma_max=sigma_max)
        if sigma_max <= sigma_min:
            raise ConfigError(f"sigma_max: expected more than sigma_min = {sigma_min}, got {sigma_max}.")
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def kernel(self, t: Time) -> Kernel:
        """(1, sigma_min sqrt(expm1(2 t log(sigma_max / sigma_min))))."""
        t = as_time(t)
        growth = 2 * math.log(self.sigma_max / self.sigma_min)
        return Kernel(torch.ones_like(t), self.sigma_min * torch.sqrt(torch.expm1(growth * t)))

    def time(self, logsnr: Time) -> Tensor:
        """log1p((sigma / sigma_min)^2) / (2 log(sigma_max / sigma_min))."""
        squared = torch.exp(-as_time(logsnr)) / self.sigma_min**2
        return torch.log1p(squared) / (2 * math.log(self.sigma_max / self.sigma_min))


class EDM(ContinuousProcess):
    """alpha = 1, sigma_t = sigma_max t^rho: a grid uniform in t is the Karras grid that ends at 0.

    Source: Karras et al. 2022, eq. 5.
    """

    def __init__(self, sigma_max: float = 80.0, rho: float = 7.0) -> None:
        _positive(sigma_max=sigma_max, rho=rho)
        self.sigma_max, self.rho = sigma_max, rho

    def kernel(self, t: Time) -> Kernel:
        """(1, sigma_max t^rho)."""
        t = as_time(t)
        return Kernel(torch.ones_like(t), self.sigma_max * t**self.rho)

    def time(self, logsnr: Time) -> Tensor:
        """(sigma / sigma_max)^(1 / rho)."""
        return torch.exp((-as_time(logsnr) / 2 - math.log(self.sigma_max)) / self.rho)


class RectifiedFlow(ContinuousProcess):
    """alpha_t = 1 - t, sigma_t = t: straight lines from data to noise.

    Source: Liu et al. 2023; Lipman et al. 2023 (conditional optimal-transport path).
    """

    def kernel(self, t: Time) -> Kernel:
        """(1 - t, t)."""
        t = as_time(t)
        return Kernel(1 - t, t)

    def time(self, logsnr: Time) -> Tensor:
        """sigmoid(-logsnr / 2)."""
        return torch.sigmoid(-as_time(logsnr) / 2)


class FromLogSNR(ContinuousProcess):
    """The variance-preserving process with a given log-SNR curve.

    alpha^2 = sigmoid(logsnr(t)), sigma^2 = sigmoid(-logsnr(t)); at t = 0 the data themselves, whatever the curve says
    there.

    Parameters
    ----------
    logsnr : callable, float64 tensor -> float64 tensor
        Strictly decreasing on (0, 1].
    inverse : callable, optional
        The time of a log-SNR. Without it, bisection to float64 resolution.
    """

    def __init__(self, logsnr: Callable[[Tensor], Tensor], inverse: Callable[[Tensor], Tensor] | None = None) -> None:
        probe = logsnr(torch.linspace(1e-3, 1.0, 257, dtype=torch.float64))
        if bool(torch.isnan(probe).any()) or not bool((probe.diff() < 0).all()):
            raise ConfigError(
                "logsnr: expected a strictly decreasing curve on (0, 1], got one that is not. "
                "Time grows with noise: logsnr(t) must fall."
            )
        self._curve, self._inverse = logsnr, inverse

    def kernel(self, t: Time) -> Kernel:
        """(sqrt(sigmoid(logsnr)), sqrt(sigmoid(-logsnr)))."""
        t = as_time(t)
        start = t == 0
        curve = self._curve(torch.where(start, torch.full_like(t, 0.5), t))
        alpha, sigma = torch.sqrt(torch.sigmoid(curve)), torch.sqrt(torch.sigmoid(-curve))
        return Kernel(torch.where(start, torch.ones_like(t), alpha), torch.where(start, torch.zeros_like(t), sigma))

    def time(self, logsnr: Time) -> Tensor:
        """The given inverse, or bisection (about 60 evaluations of the curve)."""
        value = as_time(logsnr)
        if self._inverse is not None:
            return self._inverse(value)
        low, high = torch.zeros_like(value), torch.ones_like(value)
        for _ in range(60):
            middle = (low + high) / 2
            below = self.logsnr(middle) > value
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2
