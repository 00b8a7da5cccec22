"""Orders of the solvers, measured on the probability flow of an exact mixture against an adaptive reference."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from caminito.denoiser import MixtureDenoiser
from caminito.process import EDM, VE, VP, Cosine, FromLogSNR
from caminito.sampling import DDIM, DPMpp2M, Heun, trajectory

NFE = (8, 16, 32, 64, 128, 256)
PUBLISHED = {
    DDIM(): (8.27e-2, 4.04e-2, 2.00e-2, 9.98e-3, 4.98e-3, 2.49e-3),
    Heun(): (3.40e-1, 4.96e-2, 9.34e-3, 2.06e-3, 4.88e-4, 1.19e-4),
    DPMpp2M(): (3.99e-2, 9.09e-3, 2.73e-3, 7.86e-4, 2.10e-4, 5.40e-5),
}


def ring(process):
    """Eight components of standard deviation .1 on the unit circle."""
    angle = torch.arange(8, dtype=torch.float64) * (math.pi / 4)
    means = torch.stack([angle.cos(), angle.sin()], 1)
    return MixtureDenoiser(torch.full((8,), 1 / 8), means, 0.01, process)


@pytest.fixture(scope="module")
def reference():
    """256 starts at sigma = 20 carried to sigma = .02: dx / d log sigma = x - D."""
    denoiser = ring(EDM(20.0, 1.0))
    start = 20 * np.random.RandomState(0).randn(256, 2)

    def slope(log_sigma, flat):
        x = torch.from_numpy(flat.reshape(256, 2))
        return (x - denoiser.mean(x, math.exp(log_sigma) / 20)).numpy().ravel()

    span = (math.log(20.0), math.log(0.02))
    solved = solve_ivp(slope, span, start.ravel(), method="DOP853", rtol=1e-12, atol=1e-12)
    return torch.from_numpy(start), torch.from_numpy(solved.y[:, -1].reshape(256, 2))


def end_of(denoiser, x, grid, solver):
    for frame in trajectory(denoiser, x, grid, solver):
        x = frame.x
    return x


@pytest.mark.parametrize("solver", PUBLISHED, ids=lambda s: type(s).__name__)
def test_measured_order_is_the_claimed_one_and_errors_are_the_published_ones(solver, reference):
    start, exact = reference
    process = EDM(20.0, 1.0)
    errors = []
    for nfe in NFE:
        grid = torch.logspace(0, -3, nfe // solver.evals + 1, dtype=torch.float64)
        got = end_of(ring(process), start, grid, solver)
        errors.append(float((got - exact).square().sum(1).mean().sqrt()))
    for got, published in zip(errors, PUBLISHED[solver]):
        assert abs(got / published - 1) < 0.01  # three printed digits
    slope = math.log2(errors[-3] / errors[-1]) / 2
    assert abs(slope - solver.order) < 0.15


@pytest.mark.parametrize("solver", PUBLISHED, ids=lambda s: type(s).__name__)
def test_reschedule_invariance(solver, reference):
    """On the same noise levels VP, cosine and a log-SNR curve give the D of VE at every step, from rescaled starts."""
    start = reference[0][:32]
    # within the range of VP; y = x / alpha is the same in all
    levels = torch.linspace(-2 * math.log(20.0), -2 * math.log(0.05), 13, dtype=torch.float64)
    base = None
    for process in (VE(0.01, 50.0), VP(), Cosine(), FromLogSNR(lambda t: 8 - 20 * t)):
        times = process.time(levels)
        alpha = process.kernel(times[0]).scale
        frames = list(trajectory(ring(process), alpha * start, times, solver))
        walk = torch.stack([frame.x0 for frame in frames[1:]])
        base = walk if base is None else base
        # rounding of x by eps 20 at first, and D moves by up to 1 / sigma^2 of it: 400 at the end
        assert float((walk - base).abs().max()) < 1e-10
