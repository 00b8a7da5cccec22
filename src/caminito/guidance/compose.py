"""Several conditions at once: a product of experts.

    D(x_t) = D_0(x_t) + sum_i w_i (D_i(x_t) - D_0(x_t))

is the denoiser of p(x0) prod_i (p(x0 | c_i) / p(x0))^w_i where that factors into independent parts, one for each
expert; else the noisy marginals differ, and it is an approximation that is exact only as the noise vanishes. A negative
weight leads away from its condition.
Sources: Liu et al. 2022, eq. 11-13; Du et al. 2023, section 3 (why it is not exact, and corrections by MCMC).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from caminito._errors import ConfigError
from caminito.denoiser import Condition, Denoiser, Wrapped
from caminito.process import same_process
from caminito.process.base import Time

__all__ = ["compose"]


def compose(base: Denoiser, experts: Sequence[Denoiser], weights: Sequence[float] | None = None) -> Denoiser:
    """The denoiser of a product of experts.

    Parameters
    ----------
    base : Denoiser
        Without conditions: `without(denoiser)`.
    experts : sequence of Denoiser
        One for each condition: `given(denoiser, {"y": torch.tensor([3])})`.
    weights : sequence of float, optional
        1 for each unless given; below 0 leads away.

    Raises
    ------
    ConfigError
        If there is no expert, the weights are not one finite number for each, or processes differ.

    Examples
    --------
    >>> import torch
    >>> from caminito.denoiser import GaussianDenoiser
    >>> from caminito.guidance import compose
    >>> from caminito.process import VP
    >>> vp = VP()
    >>> base, left, low = (GaussianDenoiser(torch.tensor(m), 1.0, vp) for m in ([0.0, 0.0], [-2.0, 0.0], [0.0, -3.0]))
    >>> both = GaussianDenoiser(torch.tensor([-2.0, -3.0]), 1.0, vp)
    >>> x_t = torch.randn(5, 2)
    >>> torch.allclose(compose(base, [left, low]).mean(x_t, 0.4), both.mean(x_t, 0.4), atol=1e-5)
    True
    """
    shares = [1.0] * len(experts) if weights is None else [float(w) for w in weights]
    if not experts or len(shares) != len(experts) or not all(math.isfinite(w) for w in shares):
        raise ConfigError(
            f"weights: expected a finite number for each of at least one expert, got {len(experts)} experts and "
            f"{shares}."
        )
    for expert in experts:
        if not same_process(expert.process, base.process):
            raise ConfigError("experts: expected denoisers of the process of the base, got one of another.")
    return _Composed(base, experts, shares)


class _Composed(Wrapped):
    def __init__(self, base: Denoiser, experts: Sequence[Denoiser], weights: Sequence[float]) -> None:
        super().__init__(base)
        self.experts, self.weights = list(experts), list(weights)

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """D_0 + sum_i w_i (D_i - D_0)."""
        return self._led(self.denoiser.mean(x_t, t, cond), x_t, t, cond)

    def moments(self, x_t: Tensor, t: Time, cond: Condition = None) -> tuple[Tensor, Tensor | None]:
        """Both; the variance is that of the base."""
        mean, var = self.denoiser.moments(x_t, t, cond)
        return self._led(mean, x_t, t, cond), var

    def log_marginal(self, x_t: Tensor, t: Time, cond: Condition = None) -> None:
        """Unknown."""

    def _led(self, base: Tensor, x_t: Tensor, t: Time, cond: Condition) -> Tensor:
        total = base
        for expert, weight in zip(self.experts, self.weights):
            total = total + weight * (expert.mean(x_t, t, cond) - base)
        return total
