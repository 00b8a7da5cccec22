"""Affine-Gaussian algebra: the two objects that every forward process is made of.

A `Kernel` says y | x ~ N(scale x, std^2 I). Kernels compose, so a chain of a thousand small steps is one kernel.
A `Bridge` says where the path was at time s, given both its ends: x_s | x_t, x_0 ~ N(c0 x_0 + ct x_t, std^2 I).
Coefficients are float64, of shape () or (B,), and are cast once, where they meet the data.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Bridge", "Kernel", "Normal", "times"]


def times(coefficient: Tensor, x: Tensor) -> Tensor:
    """`coefficient * x` with a float64 coefficient of shape () or (B,) laid along the batch axis and cast once."""
    if coefficient.ndim == 1:
        coefficient = coefficient.reshape(-1, *([1] * (x.ndim - 1)))
    return coefficient.to(dtype=x.dtype, device=x.device) * x


class Kernel(NamedTuple):
    """y | x ~ N(scale x, std^2 I)."""

    scale: Tensor
    std: Tensor

    def then(self, after: Kernel) -> Kernel:
        """The kernel of z | x, where y | x is this kernel and z | y is `after`."""
        return Kernel(after.scale * self.scale, torch.hypot(after.scale * self.std, after.std))

    def sample(self, x: Tensor, eps: Tensor) -> Tensor:
        """scale x + std eps."""
        return times(self.scale, x) + times(self.std, eps)


class Bridge(NamedTuple):
    """x_s | x_t, x_0 ~ N(c0 x_0 + ct x_t, std^2 I)."""

    c0: Tensor
    ct: Tensor
    std: Tensor

    def mean(self, x0: Tensor, x_t: Tensor) -> Tensor:
        """c0 x_0 + ct x_t."""
        return times(self.c0, x0) + times(self.ct, x_t)


class Normal(NamedTuple):
    """An isotropic or diagonal normal law; `mean` and `std` broadcast over one event."""

    mean: Tensor
    std: Tensor
