"""Attention between the positions of a grid, and from them to a sequence of tokens.

    softmax(q k^T / sqrt(d)) v,   per head,

through torch's fused `scaled_dot_product_attention`. The grid is read as a sequence by a view: with channels last in
memory no value moves between the convolutions and the attention.
Source: Vaswani et al. 2017, eq. 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

__all__ = ["CrossAttention", "SelfAttention", "as_grid", "as_sequence"]


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself; its last layer starts at zero.

    Parameters
    ----------
    channels : int
        Channels of the sequence.
    head_size : int
        Channels of one head, at most: the largest divisor of `channels` that is no larger.
    """

    def __init__(self, channels: int, head_size: int) -> None:
        super().__init__()
        self.heads = _heads(channels, head_size)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = _zeroed(nn.Linear(channels, channels))

    def forward(self, sequence: Tensor) -> Tensor:
        """Map (B, N, channels) to (B, N, channels)."""
        rows, length, channels = sequence.shape
        qkv = self.qkv(sequence).view(rows, length, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = _attend(q, k, v, None)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(rows, length, channels))
        return out


class CrossAttention(nn.Module):
    """Multi-head attention of a sequence to tokens; its last layer starts at zero.

    Parameters
    ----------
    channels : int
        Channels of the sequence that asks.
    token_size : int
        Size of the tokens that answer.
    head_size : int
        Channels of one head, at most: the largest divisor of `channels` that is no larger.
    """

    def __init__(self, channels: int, token_size: int, head_size: int) -> None:
        super().__init__()
        self.heads = _heads(channels, head_size)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(token_size, 2 * channels)
        self.out = _zeroed(nn.Linear(channels, channels))

    def forward(self, sequence: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Map (B, N, channels), tokens (B, L, token_size) and their mask (B, L) to (B, N, channels).

        `mask` is True where a token may be seen; every row must see one at least.
        """
        rows, length, channels = sequence.shape
        size = channels // self.heads
        q = self.query(sequence).view(rows, length, self.heads, size).transpose(1, 2)
        key_value = self.key_value(tokens).view(rows, tokens.shape[1], 2, self.heads, size)
        k, v = key_value.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = _attend(q, k, v, mask[:, None, None, :])
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(rows, length, channels))
        return out


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of every head at once, in the fastest precision of the device."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and torch.is_grad_enabled():
        # Forward and backward together take four to twelve times longer in bfloat16 than in float32 (torch 2.13).
        with torch.autocast("cpu", enabled=False):
            return scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=mask).to(q.dtype)
    return scaled_dot_product_attention(q, k, v, attn_mask=mask)


def as_sequence(x: Tensor) -> Tensor:
    """Read a grid (B, C, *grid) as a sequence (B, N, C); a view where channels are last in memory."""
    return x.movedim(1, -1).flatten(1, -2)


def as_grid(sequence: Tensor, like: Tensor) -> Tensor:
    """Read a sequence (B, N, C) as a grid shaped like `like`, channels last in memory; always a view."""
    return sequence.unflatten(1, like.shape[2:]).movedim(-1, 1)


def _heads(channels: int, head_size: int) -> int:
    """The least number of heads that share the channels equally and have at most `head_size` each."""
    return next(heads for heads in range(math.ceil(channels / head_size), channels + 1) if channels % heads == 0)


def _zeroed(layer: nn.Linear) -> nn.Linear:
    """Let a layer start by giving nothing."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
