"""Var[x0 | x_t] measured: the mean square of held-out residuals at each noise level.

For any denoiser D, E |x0 - D(x_t)|^2 over held-out data is at least the posterior variance, and equals it if D is
exact. It is kept per channel (or per column) and noise level, and interpolated linearly in log-SNR, in the logarithm.
Source: Bao et al. 2022 (Analytic-DPM), eq. 8, in data prediction.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from caminito._errors import ShapeError
from caminito.denoiser.base import Condition, Denoiser
from caminito.process.base import Time

__all__ = ["ResidualVariance"]


class ResidualVariance(Denoiser):
    """A denoiser with a measured variance beside its mean.

    Parameters
    ----------
    denoiser : Denoiser
        Its mean is passed through.
    logsnr : tensor, shape (L,), increasing
    residuals : tensor, shape (L, C)
        Mean squared residual at each level, for each of the C entries of the first event axis.
    """

    def __init__(self, denoiser: Denoiser, logsnr: Tensor, residuals: Tensor) -> None:
        if residuals.ndim != 2 or len(residuals) != len(logsnr) or not bool((logsnr.diff() > 0).all()):
            raise ShapeError(
                f"expected increasing log-SNR (L,) and residuals (L, C), got {tuple(logsnr.shape)} and "
                f"{tuple(residuals.shape)}."
            )
        self.denoiser, self.process = denoiser, denoiser.process
        self.event_shape, self.data_moments = denoiser.event_shape, denoiser.data_moments
        self.levels, self.residuals = logsnr.to(torch.float64), residuals.to(torch.float64)

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """Mean of the wrapped denoiser."""
        return self.denoiser.mean(x_t, t, cond)

    @property
    def mixes_conditions(self) -> bool:
        """Whether the wrapped denoiser does."""
        return self.denoiser.mixes_conditions

    def var(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """Interpolated residual variance, shape of x_t; constant beyond the measured levels."""
        at = np.atleast_1d(self.process.logsnr(t).numpy())
        logs = torch.log(self.residuals.clamp_min(1e-30)).numpy()
        table = np.stack([np.interp(at, self.levels.numpy(), logs[:, c]) for c in range(logs.shape[1])], 1)
        value = torch.exp(torch.from_numpy(table)).to(x_t)
        return value.reshape(*value.shape, *([1] * (x_t.ndim - 2))).expand(x_t.shape).clone()

    def log_marginal(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor | None:
        """That of the wrapped denoiser."""
        return self.denoiser.log_marginal(x_t, t, cond)
