"""Densities that are known entirely, from which a path leads to one that is not.

A reference can be drawn from and has a normalised log-density: what importance weights, tempered paths and swaps are
taken against. Student's t has tails that hold those of most targets; a mixture with a wide part never leaves a mode
that was not found without any chance.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["Normal", "Reference"]


class Reference(ABC):
    """A normalised density on R^dim that can be drawn from."""

    dim: int

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """n independent points, shape (n, dim), float64."""

    @abstractmethod
    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log q (n,) of points (n, dim) and its gradient (n, dim)."""

    def value(self, x: Tensor) -> Tensor:
        """log q of points (n, dim), shape (n,)."""
        return self.value_and_grad(x)[0]


class Normal(Reference):
    """N(mean, std^2 I) on R^dim.

    Parameters
    ----------
    mean : tensor (dim,)
    std : float
    """

    def __init__(self, mean: Tensor, std: float) -> None:
        self.mean, self.std, self.dim = mean.double(), float(std), len(mean)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """n independent points, shape (n, dim), float64."""
        noise = torch.randn(n, self.dim, generator=generator, dtype=torch.float64)
        return self.mean + self.std * noise

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log q (n,) of points (n, dim) and its gradient (n, dim)."""
        u = (x - self.mean) / self.std
        constant = self.dim * (0.5 * math.log(2 * math.pi) + math.log(self.std))
        return -0.5 * (u**2).sum(-1) - constant, -u / self.std
