"""Embeddings of real numbers: what a network sees of its label and, if asked, of its coordinates.

A real number u becomes

    (cos(w_1 u), ..., cos(w_m u), sin(w_1 u), ..., sin(w_m u)),        w_k geometric between `low` and `high`.

Slow waves tell far values apart, fast ones near values. Everything is computed in float32 under any autocast: in
bfloat16 half of a thousand labels would coincide. The frequencies are fixed, not drawn, so nothing needs saving.
Source: Vaswani et al. 2017, section 3.5; Tancik et al. 2020 for coordinates.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from caminito._errors import ConfigError

__all__ = ["Fourier", "LabelEmbedding"]


class Fourier(nn.Module):
    """Cosines and sines of a real number at geometrically spaced angular frequencies.

    Parameters
    ----------
    features : int
        Number of outputs per number; even.
    low, high : float
        Smallest and largest angular frequency, in radians per unit of the input.

    Raises
    ------
    ConfigError
        If `features` is not a positive even number or the frequencies are not 0 < low <= high.
    """

    def __init__(self, features: int, *, low: float = 0.5, high: float = 64.0) -> None:
        super().__init__()
        if features < 2 or features % 2:
            raise ConfigError(f"features: expected a positive even number, got {features}.")
        if not 0 < low <= high:
            raise ConfigError(f"frequencies: expected 0 < low <= high, got low={low}, high={high}.")
        self.features = features
        self.low = low
        self.high = high

    def forward(self, value: Tensor) -> Tensor:
        """Map shape (...) to float32 of shape (..., features)."""
        half = self.features // 2
        step = math.log(self.high / self.low) / max(1, half - 1)
        exponent = torch.arange(half, device=value.device, dtype=torch.float32) * step
        angle = value.float().unsqueeze(-1) * (self.low * exponent.exp())
        return torch.cat([angle.cos(), angle.sin()], dim=-1)


class LabelEmbedding(nn.Module):
    """Learned embedding of the label: Fourier features, then a two-layer perceptron.

    Parameters
    ----------
    features : int
        Number of Fourier features; even.
    size : int
        Size of the embedding.
    """

    def __init__(self, features: int, size: int) -> None:
        super().__init__()
        self.fourier = Fourier(features)
        self.inner = nn.Linear(features, size)
        self.outer = nn.Linear(size, size)

    def forward(self, label: Tensor) -> Tensor:
        """Map labels (B,) to embeddings (B, size)."""
        waves = self.fourier(label).to(self.inner.weight.dtype)
        embedding: Tensor = self.outer(nn.functional.silu(self.inner(waves)))
        return embedding
