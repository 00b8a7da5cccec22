"""A chain whose drift and noise need no tuning by hand.

x_i = (1 - mu_i) x_{i-1} + sigma_i eps_i leaves 2 T numbers open. Write r_i = sigma / alpha of the marginal at step i,
snr = 1 / r^2, and let the data have mean m_d and variance q_d in entry d, whatever their law.

*Units.* Chains with the same r_1..r_T differ by the scale of x_i alone, so T of the numbers are a choice of units. Here
(1 - mu_i)^2 + sigma_i^2 = 1: alpha^2 + sigma^2 = 1 throughout, and the end is to be N(0, I).

*The end.* With a = alpha_T, and KL convex in its first argument,

    KL(law of x_T || N(0, I)) <= E KL(x_T | x_0 || N(0, I)) = 1/2 sum_d [a^2 (m_d^2 + q_d - 1) - log(1 - a^2)]  nats.

It rises with a, so the tolerance fixes r_T.

*The steps.* What a reverse step from i to i - 1 loses by keeping E[x0 | x_i] is, for Gaussian data,

    KLUB_i = 1/2 sum_d (g_id - 1 - log g_id),   g_id = (snr_{i-1} + 1/q_d) / (snr_i + 1/q_d),

and for small steps a quarter of the squared increment of the length int sqrt(sum_d (snr + 1/q_d)^-2) d snr. Equal
increments of it make the steps equally hard; where all q_d are one, the KLUB_i are equal exactly and their sum is the
smallest that T steps between these ends can have. The first step, which ends at the data, is set by r_1.

Sources: Sabour et al. 2024, section 3 and appendix A.2 (KLUB); Cover & Thomas 2006, theorem 2.7.2 (convexity).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from caminito._errors import ConfigError
from caminito.process.chain import Chain

__all__ = ["BalancedChain", "balanced_chain"]

_CELLS = 1024  # of the quadrature of the length


class BalancedChain(NamedTuple):
    """A chain, and an upper bound, in nats per event, of KL(law of its end || N(0, I))."""

    chain: Chain
    kl: float


def balanced_chain(
    moments: tuple[Tensor | float, Tensor | float],
    steps: int,
    *,
    tolerance: float = 1e-3,
    sigma_min: float | None = None,
) -> BalancedChain:
    """The chain of `steps` equally hard steps that ends within `tolerance` nats of N(0, I).

    Parameters
    ----------
    moments : (mean, var)
        Of the data, broadcastable to one event, as `Denoiser.data_moments`; two numbers for events of one entry.
    steps : int >= 1
    tolerance : float > 0
        In nats per event, for all entries together.
    sigma_min : float, optional
        sigma / alpha after the first step, in data units: detail finer than it is left to the last reverse step. A
        hundredth of the root mean variance unless given. Without effect for a single step.

    Returns
    -------
    BalancedChain
        The chain, and the bound it reaches: at most `tolerance`, for data of any law with these moments.

    Raises
    ------
    ConfigError
        If steps < 1, a number is not positive or not finite, the data do not vary, or the tolerance is so wide that
        the end would be no noisier than `sigma_min`.

    Examples
    --------
    >>> chain, kl = balanced_chain((0.0, 0.25), steps=50, tolerance=0.01)
    >>> chain.t_max, round(kl, 6)
    (50.0, 0.01)
    """
    mean, var = (np.asarray(torch.as_tensor(v, dtype=torch.float64).cpu()) for v in moments)
    mean, var = (v.ravel() for v in np.broadcast_arrays(mean, var))
    if steps < 1:
        raise ConfigError(f"steps: expected a whole number >= 1, got {steps}.")
    if not (np.isfinite(mean).all() and np.isfinite(var).all() and (var >= 0).all() and var.max() > 0):
        raise ConfigError("moments: expected a finite mean and variances >= 0, not all of them 0: data that vary.")
    sigma_min = 0.01 * math.sqrt(var.mean()) if sigma_min is None else sigma_min
    for name, value in (("tolerance", tolerance), ("sigma_min", sigma_min)):
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name}: expected a finite number > 0, got {value}.")
    last = _last_snr(mean, var, tolerance)
    if steps > 1 and last * sigma_min**2 >= 1:
        raise ConfigError(
            f"tolerance: {tolerance:g} nats are reached at sigma / alpha = {last**-0.5:.3g} already, no more than "
            f"sigma_min = {sigma_min:.3g}. Ask for a smaller tolerance."
        )
    snr = _equal_steps(var, sigma_min**-2, last, steps) if steps > 1 else np.array([last])
    before = np.concatenate([[np.inf], snr[:-1]])
    chain = Chain.ddpm((1 - snr / before) / (1 + snr))
    signal = float(chain.kernel(chain.t_max).scale) ** 2
    return BalancedChain(chain, _bound(mean, var, signal))


def _bound(mean: np.ndarray, var: np.ndarray, signal: float) -> float:
    """1/2 sum_d [a^2 (m_d^2 + q_d - 1) - log(1 - a^2)], signal = a^2."""
    return 0.5 * float(signal * (mean**2 + var - 1).sum() - len(var) * math.log1p(-signal))


def _last_snr(mean: np.ndarray, var: np.ndarray, tolerance: float) -> float:
    """The snr at which the bound is the tolerance, by bisection in log a^2."""
    low, high = -690.0, math.log1p(-1e-16)
    for _ in range(100):
        middle = (low + high) / 2
        # a little short of it, for what rounding does to a product of many steps
        below = _bound(mean, var, math.exp(middle)) < tolerance * (1 - 1e-9)
        low, high = (middle, high) if below else (low, middle)
    return math.exp(low) / -math.expm1(low)


def _equal_steps(var: np.ndarray, first: float, last: float, steps: int) -> np.ndarray:
    """snr_1 = first > ... > snr_T = last at equal increments of int sqrt(sum_d (snr + 1/q_d)^-2) d snr."""
    from scipy.interpolate import CubicHermiteSpline

    q, count = np.unique(var, return_counts=True)
    offset = 1 / q[-1]  # in x = log(snr + offset) the integrand is of order one, constant where all q are one

    def density(x: np.ndarray) -> np.ndarray:
        snr = np.exp(x) - offset
        return np.exp(x) * np.array([math.sqrt((count * (q / (1 + q * s)) ** 2).sum()) for s in snr])

    x = np.linspace(math.log(last + offset), math.log(first + offset), _CELLS + 1)
    half = (x[1] - x[0]) / 2
    middle = x[:-1] + half
    cells = half * (density(middle - half / math.sqrt(3)) + density(middle + half / math.sqrt(3)))  # Gauss-Legendre
    length = np.concatenate([[0.0], np.cumsum(cells)])
    inner = np.linspace(0, length[-1], steps)[1:-1]
    found = np.exp(CubicHermiteSpline(length, x, 1 / density(x))(inner)) - offset
    return np.concatenate([[last], found, [first]])[::-1]
