"""The convergence table of an exact mixture: every solver, every error, every order.

Eight Gaussians on the unit circle, sd 0.1, variance exploding from sigma 20 to 0.02 on an even grid of log sigma, 256
starts; the reference is the same flow in 2048 steps of a method of fourth order. The quoted errors were computed
independently, in float64, against an adaptive integrator of eighth order.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch

from caminito.denoiser import MixtureDenoiser, from_x0
from caminito.process import EDM, VP, RectifiedFlow
from caminito.sampling import (
    DDIM,
    DEIS,
    IPNDM,
    LMS,
    PNDM,
    Adams,
    DPMpp2M,
    DPMpp2S,
    DPMpp3M,
    DPMSolver2,
    Euler,
    Heun,
    UniPC,
    trajectory,
)

CALLS = (64, 128, 256, 512)
QUOTED = {  # RMS error at those calls
    Euler(): (9.98e-3, 4.98e-3, 2.49e-3, 1.24e-3),
    DDIM(): (9.98e-3, 4.98e-3, 2.49e-3, 1.24e-3),
    Heun(): (2.06e-3, 4.88e-4, 1.19e-4, 2.95e-5),
    DPMSolver2(): (1.27e-3, 3.25e-4, 8.34e-5, 2.12e-5),
    DPMpp2S(): (1.77e-3, 5.07e-4, 1.37e-4, 3.57e-5),
    DPMpp2M(): (7.86e-4, 2.10e-4, 5.40e-5, 1.37e-5),
    DPMpp3M(legacy=True): (2.60e-4, 5.33e-5, 1.19e-5, 2.81e-6),
    DPMpp3M(): (1.65e-4, 2.03e-5, 2.51e-6, 3.13e-7),
    IPNDM(): (1.51e-4, 4.25e-5, 1.10e-5, 2.77e-6),
    UniPC(2): (2.25e-4, 3.04e-5, 3.91e-6, 4.95e-7),
    UniPC(3): (2.95e-5, 1.77e-6, 1.17e-7, 7.63e-9),
}
QUOTED_PLAIN_START = {Adams(4): (2.06e-5, 1.54e-6, 1.32e-7, 2.25e-8), Adams(3): QUOTED[DPMpp3M()]}
QUOTED_LMS = {LMS(2): 4.67e-4, LMS(3): 8.67e-5, LMS(4): 2.04e-5}  # at 128 calls
THEORY = {
    **{solver: solver.order for solver in QUOTED},
    Adams(4): 4,
    Adams(5): 5,
    **{Adams(order, kind): order for order in (2, 3) for kind in ("eps", "v")},
    DEIS(2): 2,
    DEIS(3): 3,
    LMS(2): 2,
    LMS(3): 3,
    PNDM(): 2,
    PNDM("heun"): 2,
    UniPC(1): 2,
    UniPC(2): 3,
    UniPC(3): 4,
    UniPC(2, "bh1"): 3,
}


MEANS = torch.stack([f(torch.arange(8, dtype=torch.float64) * math.pi / 4) for f in (torch.cos, torch.sin)], 1)
VAR = 0.01


def ring(process):
    """The exact denoiser in one formula, ten times faster than the general one."""

    def mean(x, t, cond):
        alpha, sigma = process.kernel(t)
        total = alpha**2 * VAR + sigma**2
        shares = torch.softmax(-(x[:, None] - alpha * MEANS).square().sum(-1) / (2 * total), 1)
        return shares @ MEANS * (sigma**2 / total) + alpha * VAR / total * x

    return from_x0(mean, process)


def test_the_formula_is_the_mixture():
    x = torch.from_numpy(np.random.RandomState(1).randn(20, 2))
    for process in (VP(), EDM(20.0)):
        general = MixtureDenoiser(torch.full((8,), 1 / 8), MEANS, torch.full((8,), VAR, dtype=torch.float64), process)
        for t in (0.01, 0.3, 0.9):
            assert torch.allclose(ring(process).mean(x, t), general.mean(x, t), rtol=0, atol=1e-12)


def even(process, steps, high=20.0, low=0.02):
    """Even in log(sigma / alpha)."""
    ratio = torch.linspace(math.log(high), math.log(low), steps + 1, dtype=torch.float64)
    return process.time(-2 * ratio).clamp_max(process.t_max)


def end(denoiser, grid, solver):
    alpha, sigma = denoiser.process.kernel(grid[0])
    start = torch.from_numpy(np.random.RandomState(0).randn(256, 2)) * torch.hypot(alpha, sigma)
    *_, last = trajectory(denoiser, start, grid, solver)
    return last.x / denoiser.process.kernel(grid[-1]).scale


@functools.cache
def flow(solver, calls):
    """End points of the walk in so many calls."""
    process = EDM(20.0, rho=1.0)
    return end(ring(process), even(process, calls // solver.evals), solver)


def errors(solver, calls):
    return [float((flow(solver, n) - flow(UniPC(3), 2048)).square().sum(1).mean().sqrt()) for n in calls]


@pytest.mark.parametrize("solver", QUOTED, ids=str)
def test_errors_are_those_of_the_quoted_table(solver):
    assert errors(solver, CALLS) == pytest.approx(QUOTED[solver], rel=0.02)


@pytest.mark.parametrize("solver", QUOTED_LMS, ids=str)
def test_adams_bashforth_in_sigma_is_that_of_the_quoted_table(solver):
    assert errors(solver, (128,)) == pytest.approx([QUOTED_LMS[solver]], rel=0.02)


@pytest.mark.parametrize("solver", THEORY, ids=str)
def test_measured_order_is_that_of_theory(solver):
    slope = -np.polyfit(np.log(CALLS), np.log(errors(solver, CALLS)), 1)[0]
    assert slope > THEORY[solver] - 0.22


@pytest.mark.parametrize("solver", QUOTED_PLAIN_START, ids=str)
def test_correcting_the_first_steps_never_costs_and_pays_where_they_are_what_is_left(solver):
    found, plain = np.array(errors(solver, CALLS)), np.array(QUOTED_PLAIN_START[solver])
    assert np.all(found < 1.03 * plain)
    assert solver != Adams(4) or found[-1] < 0.4 * plain[-1]


@pytest.mark.parametrize(("solver", "order"), [(DPMpp3M(), 3), (Adams(4), 3), (UniPC(2), 3), (DPMpp3M(legacy=True), 2)])
def test_orders_of_walks_that_begin_where_the_data_are_seen(solver, order):
    """From sigma 1 the prediction bends from the first step on, and what that one does wrong stays."""
    process = EDM(20.0, rho=1.0)
    grids = [even(process, n, high=1.0) for n in (128, 256, 512, 2048)]
    *found, exact = (end(ring(process), grid, rule) for grid, rule in zip(grids, [solver] * 3 + [UniPC(3)]))
    apart = [float((x - exact).square().sum(1).mean().sqrt()) for x in found]
    assert np.diff(-np.log2(apart)).mean() == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("solver", [DPMpp2M(), DPMpp3M(), Adams(3, "v"), DEIS(3), UniPC(2), Heun()], ids=str)
def test_the_flow_is_the_same_in_every_schedule(solver):
    """The same levels of sigma / alpha give the same points, in units of alpha, whatever the process is called."""
    walks = {}
    for process in (EDM(20.0, rho=1.0), VP(), RectifiedFlow()):
        grid = even(process, 24, high=18.0)
        start = torch.from_numpy(np.random.RandomState(0).randn(64, 2)) * process.kernel(grid[0]).std
        *_, last = trajectory(ring(process), start, grid, solver)
        walks[type(process).__name__] = last.x / process.kernel(grid[-1]).scale
    for found in walks.values():
        assert torch.allclose(found, walks["EDM"], rtol=0, atol=1e-8)
