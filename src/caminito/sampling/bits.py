"""Bits per dimension of whole-numbered data, from a density on the line.

A density has no bits; a whole number X has. If p is a density of data units, the cell of X, [X - w/2, X + w/2), has
probability P(X) = w^d E p(X + w (u - 1/2)) with u uniform, and by Jensen's inequality

    log2 P(X) >= E log2 p(X + w (u - 1/2)) + d log2 w,

so the density of data with uniform noise added bounds the code length of the data themselves (w = 1 for 8-bit images).
Source: Theis et al. 2016, section 3.1; Uria et al. 2013.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from caminito._errors import ConfigError
from caminito._random import Stream, uniform

__all__ = ["bits_per_dim", "dequantise"]


def bits_per_dim(log_prob: Tensor | float, size: int, *, log_det: Tensor | float = 0.0) -> Tensor:
    """-(log_prob + log_det) / (size log 2).

    Parameters
    ----------
    log_prob : tensor or number
        Log-density, or a bound of it, in nats, in the units of what the denoiser saw.
    size : int
        Entries of an event.
    log_det : tensor or number
        log |dx/dX| of the map from data units X to those units, as a codec's `log_det` gives it: for 8-bit data that
        were scaled to [-1, 1) by X / 128 - 1 it is -size log 128, which is the 7 bits that are added elsewhere.

    Returns
    -------
    tensor, float64
        Bits per entry, in data units: 8 for uniform noise over 256 whole numbers.

    Raises
    ------
    ConfigError
        If `size` < 1.
    """
    if size < 1:
        raise ConfigError(f"size: expected a whole number >= 1, the entries of an event, got {size}.")
    nats = torch.as_tensor(log_prob, dtype=torch.float64) + torch.as_tensor(log_det, dtype=torch.float64)
    return -nats / (size * math.log(2))


def dequantise(x: Tensor, *, width: float = 1.0, seed: int = 0, first: int = 0) -> Tensor:
    """x + width (u - 1/2), u uniform on [0, 1): a point of the cell of values that round to x.

    Parameters
    ----------
    x : tensor of any dtype, shape (B, *event)
        Whole numbers, or multiples of `width`, in data units.
    width : float
        Spacing of the values.
    seed, first : int
        Row i depends on (seed, first + i) alone.

    Returns
    -------
    tensor, float64, shape of x, on its device

    Notes
    -----
    The cell is centred on x, as that of a codec that rounds. Where a model was trained on cells that start at x
    (X + u), add width / 2.
    """
    event = tuple(x.shape[1:])
    size = math.prod(event)
    u = uniform(seed, Stream.DEQUANTISE, 0, len(x) * size, start=first * size).reshape(len(x), *event)
    return x.to(torch.float64) + width * (u - 0.5).to(x.device)
