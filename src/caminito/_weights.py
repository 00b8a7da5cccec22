"""Points that count unequally: how many they are worth, and which to go on with."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["effective_size", "systematic"]


def effective_size(log_weights: Tensor) -> Tensor:
    """(sum w)^2 / sum w^2 along the last axis: how many equal weights would vary as little; 0 if all are zero."""
    any_left = (log_weights > -torch.inf).any(-1)
    size = 1 / torch.softmax(log_weights, -1).square().sum(-1)
    return torch.where(any_left, size, torch.zeros_like(size))


def systematic(log_weights: Tensor, n: int, start: Tensor) -> Tensor:
    """n places along the last axis, each chosen about n w times: within one of its expected number.

    Parameters
    ----------
    log_weights : tensor, shape (..., N)
    n : int
    start : float64 tensor in [0, 1), shape (...)
        One uniform draw for all places of a row.

    Returns
    -------
    int64 tensor, shape (..., n), not decreasing along the last axis
    """
    edges = torch.cumsum(torch.softmax(log_weights, -1), -1)
    ticks = (torch.arange(n, dtype=torch.float64) + start[..., None]) / n
    return torch.searchsorted(edges / edges[..., -1:], ticks, right=True).clamp(max=log_weights.shape[-1] - 1)
