"""Measuring Var[x0 | x_t] of a trained denoiser on held-out data."""

from __future__ import annotations

import torch
from torch import Tensor

from caminito._random import Stream, normal
from caminito.denoiser import Condition, Denoiser, ResidualVariance, rows_of

__all__ = ["fit_residual_variance"]


@torch.no_grad()
def fit_residual_variance(
    denoiser: Denoiser, x0: Tensor, times: Tensor, *, cond: Condition = None, seed: int = 0, batch_size: int = 512
) -> ResidualVariance:
    """The denoiser with the mean square of its residuals at each time, per channel.

    Parameters
    ----------
    denoiser : Denoiser
    x0 : tensor, shape (N, *event)
        Held-out data: on training data residuals are too small.
    times : float64 tensor
        Where to measure; any order, 0 excluded.

    Notes
    -----
    Source: Bao et al. 2022 (Analytic-DPM), eq. 8, in data prediction.
    """
    process = denoiser.process
    order = torch.unique(times[times > 0]).flip(0)  # log-SNR increases
    rows = []
    for number, t in enumerate(order):
        total = torch.zeros(x0.shape[1], dtype=torch.float64)
        for low in range(0, len(x0), batch_size):
            part = x0[low : low + batch_size]
            shape = tuple(part.shape)
            eps = normal(seed, Stream.VALIDATION, number, shape, start=low, dtype=x0.dtype, device=x0.device)
            given = rows_of(cond, slice(low, low + batch_size))
            error = (denoiser.mean(process.noise(part, t, eps), t, given) - part).double().square()
            total += error.reshape(*error.shape[:2], -1).mean(2).sum(0).cpu()
        rows.append(total / len(x0))
    logsnr = process.logsnr(order)
    finite = torch.isfinite(logsnr)
    return ResidualVariance(denoiser, logsnr[finite], torch.stack(rows)[finite])
