"""Weights of points: how many they are worth, and systematic choice by them."""

import math

import pytest
import torch

from caminito._weights import effective_size, systematic


def randn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_systematic_resampling_gives_each_place_its_number_but_for_one():
    logs = 2 * randn(5, 40, seed=1)
    logs[:, 7] = -math.inf
    logs[3] -= 900
    start = torch.tensor([0.0, 0.2, 0.5, 0.7, 1 - 1e-12], dtype=torch.float64)
    for n in (13, 40, 400):
        chosen = systematic(logs, n, start)
        counts = torch.stack([torch.bincount(row, minlength=40) for row in chosen])
        assert bool((counts.sum(1) == n).all()) and bool((counts[:, 7] == 0).all())
        assert float((counts - n * torch.softmax(logs, 1)).abs().max()) < 1 + 1e-9
    ends = torch.tensor([[-math.inf, 0.0, 0.0, -math.inf]], dtype=torch.float64)
    assert systematic(ends, 4, torch.tensor([1 - 1e-12], dtype=torch.float64)).tolist() == [[1, 1, 2, 2]]


def test_one_row_needs_no_axis_of_rows():
    logs, start = randn(40, seed=2), torch.tensor(0.3, dtype=torch.float64)
    assert torch.equal(systematic(logs, 25, start), systematic(logs[None], 25, start[None])[0])


def test_effective_size_of_known_weights():
    assert effective_size(torch.zeros(7)) == pytest.approx(7)
    some = torch.tensor([[0.0, -torch.inf, -torch.inf], [-torch.inf] * 3, [900.0, 900.0, -torch.inf]])
    assert effective_size(some).tolist() == pytest.approx([1, 0, 2])
    w = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert effective_size(torch.log(w)) == pytest.approx(36 / 14)
