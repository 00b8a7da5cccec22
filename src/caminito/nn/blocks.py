"""The parts that networks of grids are made of: residual blocks, halving and doubling, and what all of them refuse.

A block is

    x + conv(silu(scale(label) * norm(conv(silu(norm(x)))) + shift(label))),

with its second convolution zero at birth. Channels stay last in memory, so that convolutions, norms and attention
follow each other without a copy. Source: Ho et al. 2020, appendix B; Dhariwal & Nichol 2021, section 3 (scale and
shift).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from caminito._errors import ConfigError, ShapeError
from caminito.nn.attention import CrossAttention, SelfAttention, as_grid, as_sequence
from caminito.nn.grid import Border, GridConv, upsample

__all__ = [
    "Attention",
    "Borders",
    "Down",
    "Norm",
    "Resample",
    "Stage",
    "Up",
    "check_input",
    "check_levels",
    "modulation_of",
    "spread",
]

Resample = Literal["pool", "conv"]
Borders = tuple[Border | None, ...]


class Norm(nn.Module):
    """Group norm with groups of sixteen channels; the fastest norm of channels-last bfloat16 on a CPU."""

    def __init__(self, channels: int, *, affine: bool = True) -> None:
        super().__init__()
        self.groups = math.gcd(channels, max(1, channels // 16))
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        # Some autocasts would widen the norm to float32 and write twice the bytes; its sums are float32 anyway.
        with torch.autocast(x.device.type, enabled=False):
            weight = None if self.weight is None else self.weight.to(x.dtype)
            bias = None if self.bias is None else self.bias.to(x.dtype)
            return functional.group_norm(x, self.groups, weight, bias, 1e-5)


class Stage(nn.Module):
    """A residual block and, where asked, attention."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        border: Borders,
        dropout: float,
        head_size: int | None,
        token_size: int | None,
    ) -> None:
        super().__init__()
        self.outputs = outputs
        self.norm1 = Norm(inputs)
        self.conv1 = GridConv(inputs, outputs, border)
        self.norm2 = Norm(outputs, affine=False)
        self.conv2 = GridConv(outputs, outputs, border, zero=True)
        self.dropout = dropout
        self.shortcut = GridConv(inputs, outputs, border, kernel=1) if inputs != outputs else None
        self.attention = None if head_size is None else Attention(outputs, head_size, token_size)

    def forward(self, x: Tensor, modulation: Tensor | None, tokens: Tensor | None, mask: Tensor | None) -> Tensor:
        hidden = self.norm2(self.conv1(functional.silu(self.norm1(x))))
        if modulation is not None:
            scale, shift = modulation.chunk(2, dim=1)
            hidden = torch.addcmul(spread(shift, hidden), hidden, spread(scale, hidden))
        hidden = functional.silu(hidden)
        if self.dropout:
            hidden = functional.dropout(hidden, self.dropout, self.training)
        x = (x if self.shortcut is None else self.shortcut(x)) + self.conv2(hidden)
        return x if self.attention is None else self.attention(x, tokens, mask)


class Attention(nn.Module):
    """Self-attention over the grid, then cross-attention to the tokens if there are any."""

    def __init__(self, channels: int, head_size: int, token_size: int | None) -> None:
        super().__init__()
        self.norm = Norm(channels)
        self.own = SelfAttention(channels, head_size)
        self.cross_norm = None if token_size is None else Norm(channels)
        self.cross = None if token_size is None else CrossAttention(channels, token_size, head_size)

    def forward(self, x: Tensor, tokens: Tensor | None, mask: Tensor | None) -> Tensor:
        x = x + as_grid(self.own(as_sequence(self.norm(x))), x)
        if self.cross is not None and self.cross_norm is not None:
            x = x + as_grid(self.cross(as_sequence(self.cross_norm(x)), tokens, mask), x)
        return x


class Down(nn.Module):
    """Half the grid."""

    def __init__(self, channels: int, border: Borders, resample: Resample) -> None:
        super().__init__()
        self.factor = tuple(1 if b is None else 2 for b in border)
        self.conv = GridConv(channels, channels, border, stride=2) if resample == "conv" else None

    def forward(self, x: Tensor) -> Tensor:
        if self.conv is not None:
            out: Tensor = self.conv(x)
            return out
        pool = functional.avg_pool2d if len(self.factor) == 2 else functional.avg_pool3d
        return pool(x, self.factor)


class Up(nn.Module):
    """Double the grid: mix the channels where points are few, then repeat; or repeat, then convolve."""

    def __init__(self, inputs: int, outputs: int, border: Borders, resample: Resample) -> None:
        super().__init__()
        self.factor = tuple(1 if b is None else 2 for b in border)
        self.before = GridConv(inputs, outputs, border, kernel=1) if resample == "pool" else None
        self.after = GridConv(inputs, outputs, border) if resample == "conv" else None

    def forward(self, x: Tensor) -> Tensor:
        x = upsample(x if self.before is None else self.before(x), self.factor)
        return x if self.after is None else self.after(x)


def spread(features: Tensor, like: Tensor) -> Tensor:
    """Read (B, C) as (B, C, 1, ...) with as many axes as `like`."""
    return features.reshape(*features.shape, *(1,) * (like.ndim - 2))


def modulation_of(size: int, modulated: list[int]) -> nn.Linear:
    """From an embedding to the scales and shifts of all blocks: 1 and 0 at birth, but for the weights."""
    modulation = nn.Linear(size, sum(modulated))
    with torch.no_grad():
        for bias in modulation.bias.split(modulated):
            bias.zero_()[: len(bias) // 2] = 1.0
    return modulation


def check_input(x: Tensor, label: Tensor, dims: int, channels: int) -> None:
    """Refuse an event or label of another shape."""
    if x.ndim != dims + 2 or x.shape[1] != channels:
        axes = ", ".join(f"grid {a + 1}" for a in range(dims))
        raise ShapeError(f"x: expected shape (rows, {channels}, {axes}), got {tuple(x.shape)}. Channels come first.")
    if label.shape != x.shape[:1]:
        raise ShapeError(f"label: expected shape ({x.shape[0]},), got {tuple(label.shape)}. One number per row.")


def check_levels(
    dims: int,
    patch: int,
    dropout: float,
    multipliers: Sequence[int],
    depths: Sequence[int],
    attention: Sequence[int],
) -> None:
    """Refuse impossible options."""
    if dims not in (1, 2, 3):
        raise ConfigError(f"dims: expected 1, 2 or 3 axes, got {dims!r}.")
    if patch not in (1, 2, 4):
        raise ConfigError(f"patch: expected 1, 2 or 4, got {patch!r}.")
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout: expected a share in [0, 1), got {dropout!r}.")
    if not multipliers or min(multipliers) < 1:
        raise ConfigError(f"multipliers: expected one positive integer per level, got {multipliers!r}.")
    if len(depths) != len(multipliers) or min(depths) < 1:
        raise ConfigError(
            f"blocks: expected a positive integer, or one for each of the {len(multipliers)} levels, got {depths!r}."
        )
    if not set(attention) <= set(range(len(multipliers))):
        raise ConfigError(f"attention: expected levels 0 to {len(multipliers) - 1}, got {attention!r}.")
