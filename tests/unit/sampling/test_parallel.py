"""Sampling a window of steps at once gives the walk taken step by step, in fewer rounds."""

from __future__ import annotations

import math

import pytest
import torch

from caminito._errors import ConfigError, NonFiniteError
from caminito.denoiser import MixtureDenoiser, from_x0
from caminito.process import EDM, VP, Chain
from caminito.process import grid as grids
from caminito.sampling import DDIM, Adams, Ancestral, DPMpp2M, Heun, PerSample, UniPC, picard, trajectory


def ring(process):
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    return MixtureDenoiser(torch.full((8,), 1 / 8), torch.stack([angle.cos(), angle.sin()], 1), 0.01, process)


def start(process, n=16):
    return PerSample(0).normal(0, torch.zeros(n, 2, dtype=torch.float64)) * process.kernel(process.t_max).std


def step_by_step(denoiser, x, grid, solver):
    *_, last = trajectory(denoiser, x, grid, solver)
    return last.x


def test_a_hundred_steps_of_ddim_take_a_third_of_the_rounds():
    process = VP()
    denoiser, grid, x = ring(process), grids.uniform(process, 100), start(process)
    swept = picard(denoiser, x, grid, DDIM(), tolerance=1e-4)
    assert float((swept.x - step_by_step(denoiser, x, grid, DDIM())).square().mean().sqrt()) < 1e-3
    assert swept.rounds <= 100 / 3


@pytest.mark.parametrize("solver", [DDIM(), DDIM(0.5), Ancestral(), DPMpp2M(), Adams(3), UniPC(2)], ids=str)
@pytest.mark.parametrize("process", [EDM(20.0), Chain.ddpm("cosine", steps=40)], ids=["edm", "chain"])
@pytest.mark.parametrize("window", [None, 7, 1])
def test_the_result_is_the_walk_itself_when_the_tolerance_is_small(solver, process, window):
    denoiser, grid, x = ring(process), grids.grid(process, 20), start(process)
    swept = picard(denoiser, x, grid, solver, tolerance=1e-12, window=window)
    assert torch.allclose(swept.x, step_by_step(denoiser, x, grid, solver), rtol=0, atol=1e-9)
    assert swept.rounds <= 21


def test_a_window_of_one_step_is_the_walk_bit_for_bit():
    process = EDM(20.0)
    denoiser, grid, x = ring(process), grids.karras(process, 8), start(process)
    assert torch.equal(picard(denoiser, x, grid, DPMpp2M(), window=1).x, step_by_step(denoiser, x, grid, DPMpp2M()))


def test_errors_name_what_came():
    process = VP()
    denoiser, grid, x = ring(process), grids.uniform(process, 4), start(process)
    with pytest.raises(ConfigError, match=r"one denoiser call per step, got Heun"):
        picard(denoiser, x, grid, Heun())
    with pytest.raises(ConfigError, match=r"got 0 and 0.1"):
        picard(denoiser, x, grid, window=0, tolerance=0.1)
    with pytest.raises(NonFiniteError, match=r"step \d+ of 4"):
        picard(from_x0(lambda x, t, cond: x * math.nan, process), x, grid)
