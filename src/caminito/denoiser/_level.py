"""A denoiser asked at a level of noise instead of a time of its process.

All that E[x0 | x_t] sees of a process is r = sigma / |alpha|, so any observation of x0 at that level will do once it is
brought to the scale of the denoiser's own: the process can be exchanged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from caminito.denoiser.base import Condition, Denoiser
from caminito.process import times

__all__ = ["mean_at_level"]


def mean_at_level(denoiser: Denoiser, x: Tensor, size: Tensor, logsnr: Tensor, cond: Condition) -> Tensor:
    """E[x0 | x] for x = size (x0 + r eps) / sqrt(1 + r^2), with r = exp(-logsnr / 2).

    Parameters
    ----------
    size, logsnr : float64 tensor, shape () or (B,)
        `logsnr` may be -inf: x is noise alone.

    Notes
    -----
    Exact where the process passes the level; otherwise the answer at the nearest level that it has (the nearest step of
    a chain, or the end), for x scaled to have the norm that it would have there. No alpha is divided by.
    """
    process = denoiser.process
    t = process.time(torch.maximum(logsnr, process.logsnr(process.t_max))).clamp(max=process.t_max)
    alpha, sigma = process.kernel(t)
    own = torch.hypot(alpha, sigma)
    return denoiser.mean(times(torch.where(alpha < 0, -own, own) / size, x), t, cond)
