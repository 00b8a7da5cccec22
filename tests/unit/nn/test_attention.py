"""Attention against its formula."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from caminito.nn.attention import CrossAttention, SelfAttention, as_grid, as_sequence


def _formula(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d)) v, head by head, in plain operations."""
    out = []
    for qh, kh, vh in zip(q.chunk(heads, -1), k.chunk(heads, -1), v.chunk(heads, -1)):
        scores = qh @ kh.transpose(1, 2) / math.sqrt(qh.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, :], -torch.inf)
        out.append(scores.softmax(-1) @ vh)
    return torch.cat(out, dim=-1)


def test_self_attention_is_its_formula(draw: Callable[..., Tensor]) -> None:
    attention = SelfAttention(12, 4).double()
    torch.nn.init.eye_(attention.out.weight)
    x = draw(2, 7, 12).double()
    q, k, v = attention.qkv(x).chunk(3, dim=-1)
    torch.testing.assert_close(attention(x), _formula(q, k, v, 3), atol=1e-12, rtol=1e-12)


def test_cross_attention_is_its_formula(draw: Callable[..., Tensor]) -> None:
    attention = CrossAttention(12, 5, 4).double()
    torch.nn.init.eye_(attention.out.weight)
    x, tokens = draw(2, 7, 12).double(), draw(2, 3, 5).double()
    mask = torch.tensor([[True, False, True], [True, True, True]])
    k, v = attention.key_value(tokens).chunk(2, dim=-1)
    expected = _formula(attention.query(x), k, v, 3, mask)
    torch.testing.assert_close(attention(x, tokens, mask), expected, atol=1e-12, rtol=1e-12)


def test_self_attention_commutes_with_a_permutation_of_positions(draw: Callable[..., Tensor]) -> None:
    attention = SelfAttention(8, 4).double()
    torch.nn.init.eye_(attention.out.weight)
    x = draw(2, 6, 8).double()
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    torch.testing.assert_close(attention(x[:, order]), attention(x)[:, order], atol=1e-12, rtol=1e-12)


def test_grid_and_sequence_are_views_of_channels_last_memory(draw: Callable[..., Tensor]) -> None:
    x = draw(2, 8, 3, 5).contiguous(memory_format=torch.channels_last)
    sequence = as_sequence(x)
    assert sequence.data_ptr() == x.data_ptr()
    assert torch.equal(sequence[:, 7], x[:, :, 1, 2])
    back = as_grid(sequence, x)
    assert back.data_ptr() == x.data_ptr()
    assert back.stride() == x.stride()


@pytest.mark.parametrize(("channels", "most", "size"), [(12, 4, 4), (12, 5, 4), (144, 32, 24), (7, 6, 1), (8, 64, 8)])
def test_a_head_has_the_largest_divisor_of_the_channels_that_is_allowed(channels: int, most: int, size: int) -> None:
    assert SelfAttention(channels, most).heads == CrossAttention(channels, 3, most).heads == channels // size
