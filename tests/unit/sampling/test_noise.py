"""Noise sources: the path under refinement, the independence of rows from the batch, and the walks they serve."""

from __future__ import annotations

import math

import pytest
import torch

from caminito._errors import ConfigError
from caminito.denoiser import GaussianDenoiser
from caminito.process import VP
from caminito.process import grid as grids
from caminito.sampling import Ancestral, Brownian, PerSample, Shared, sample, trajectory

LIKE = torch.zeros(5, 3, dtype=torch.float64)


def increments(grid, like=LIKE, **options):
    source = Brownian(grid, **options)
    return [source.normal(i, like) * math.sqrt(float(grid[i - 1] - grid[i])) for i in range(1, len(grid))]


def test_a_coarse_increment_is_the_sum_of_the_fine_ones():
    fine = torch.tensor([1.0, 0.9, 0.71, 0.5, 0.33, 0.2, 0.01, 0.0], dtype=torch.float64)
    pieces, whole = increments(fine), increments(fine[[0, 3, 5, 7]])
    for (a, b), coarse in zip([(0, 3), (3, 5), (5, 7)], whole, strict=True):
        assert torch.allclose(sum(pieces[a:b]), coarse, rtol=0, atol=1e-12)


def test_increments_are_standard_normal_and_independent():
    grid = torch.linspace(1, 0, 9, dtype=torch.float64) ** 3
    like = torch.zeros(20_000, 1, dtype=torch.float64)
    source = Brownian(grid, seed=3)
    draws = torch.cat([source.normal(i, like) for i in range(1, len(grid))], 1)
    error = 5 / math.sqrt(len(draws))
    assert float(draws.mean(0).abs().max()) < error
    assert float((draws.T @ draws / len(draws) - torch.eye(8)).abs().max()) < error * math.sqrt(2)


def test_a_row_has_its_path_whatever_the_batch():
    grid = grids.karras(VP(), 6)
    whole = increments(grid, seed=1)
    part = increments(grid, LIKE[:2], seed=1, start=3)
    for a, b in zip(whole, part, strict=True):
        assert torch.equal(a[3:], b)


def test_refining_the_grid_converges_along_each_path():
    """Ancestral sampling of one Brownian path: halving the steps halves the distance, row by row (strong order 1)."""
    process = VP()
    denoiser = GaussianDenoiser(torch.zeros(2), 0.5, process)
    walks = [
        sample(
            denoiser,
            64,
            grid=torch.linspace(1, 0, n + 1, dtype=torch.float64)[:-1],
            solver=Ancestral(),
            seed=4,
            dtype=torch.float64,
            noise="brownian",
        )
        for n in (16, 32, 64, 128, 1024)
    ]
    errors = [float((x - walks[-1]).square().mean().sqrt()) for x in walks[:-1]]
    fresh = sample(denoiser, 64, steps=1024, solver=Ancestral(), seed=5, dtype=torch.float64)
    assert errors[-1] < 0.25 * errors[0] < 0.25 * float((fresh - walks[-1]).square().mean().sqrt())


def test_a_shared_generator_gives_its_own_next_values():
    a, b = (torch.Generator().manual_seed(0) for _ in range(2))
    source = Shared(a)
    for step in range(3):
        assert torch.equal(source.normal(step, LIKE), torch.randn(LIKE.shape, generator=b, dtype=torch.float64))


def test_a_solver_without_noise_does_not_mind_the_source():
    denoiser = GaussianDenoiser(torch.zeros(3), 0.5, VP())
    x, grid = torch.ones(5, 3), grids.karras(VP(), 5)
    *_, a = trajectory(denoiser, x, grid, noise=Brownian(grid))
    *_, b = trajectory(denoiser, x, grid, noise=PerSample(9))
    assert torch.equal(a.x, b.x)


def test_an_unknown_source_is_refused():
    with pytest.raises(ConfigError, match="expected 'per-sample' or 'brownian', got 'pink'"):
        sample(GaussianDenoiser(torch.zeros(3), 0.5, VP()), 2, noise="pink")
