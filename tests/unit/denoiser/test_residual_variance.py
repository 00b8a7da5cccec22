"""Measured variance: exact at its levels, log-linear in log-SNR between them, constant beyond."""

import math

import torch

from caminito.denoiser import GaussianDenoiser, ResidualVariance
from caminito.process import VE, VP, Chain

LEVELS = torch.tensor([-4.0, 0.0, 2.0], dtype=torch.float64)
RESIDUALS = torch.tensor([[4.0, 1.0], [0.25, 1.0], [0.01, 0.5]], dtype=torch.float64)


def wrapped(process, shape=(2,)):
    return ResidualVariance(GaussianDenoiser(torch.zeros(shape), 1.0, process), LEVELS, RESIDUALS)


def test_variance_at_its_levels_is_the_residual_and_between_them_the_geometric_mean():
    d, x = wrapped(VP()), torch.zeros(3, 2, dtype=torch.float64)
    for level, expected in ((-4.0, (4.0, 1.0)), (0.0, (0.25, 1.0)), (-2.0, (1.0, 1.0)), (1.0, (0.05, math.sqrt(0.5)))):
        var = d.var(x, VP().time(level))
        assert torch.allclose(var, torch.tensor(expected, dtype=torch.float64).expand(3, 2), rtol=1e-12, atol=0)


def test_variance_is_constant_beyond_the_levels():
    d, x = wrapped(VP()), torch.zeros(1, 2, dtype=torch.float64)
    assert torch.allclose(d.var(x, 1.0), RESIDUALS[:1], rtol=1e-12, atol=0)
    assert torch.allclose(d.var(x, 0.0), RESIDUALS[-1:], rtol=1e-12, atol=0)


def test_variance_belongs_to_the_noise_level_not_to_the_clock():
    x = torch.zeros(1, 2, dtype=torch.float64)
    for level in (-3.0, 0.3, 1.9):
        a, b = wrapped(VP()).var(x, VP().time(level)), wrapped(VE()).var(x, VE().time(level))
        assert torch.allclose(a, b, rtol=1e-10, atol=0)


def test_variance_of_a_grid_is_per_channel_and_per_row():
    d = wrapped(VP(), (2, 3, 4))
    t = VP().time(torch.tensor([-4.0, 0.0], dtype=torch.float64))
    var = d.var(torch.zeros(2, 2, 3, 4, dtype=torch.float64), t)
    assert var.shape == (2, 2, 3, 4)
    for row, expected in enumerate(RESIDUALS[:2]):
        assert torch.allclose(var[row], expected.reshape(2, 1, 1).expand(2, 3, 4), rtol=1e-12, atol=0)


def test_mean_density_and_moments_are_those_of_the_wrapped():
    inner = GaussianDenoiser(torch.tensor([1.0, 2.0]), 0.5, VP())
    d = ResidualVariance(inner, LEVELS, RESIDUALS)
    x = torch.randn(3, 2, dtype=torch.float64)
    assert torch.equal(d.mean(x, 0.3), inner.mean(x, 0.3))
    assert torch.equal(d.log_marginal(x, 0.3), inner.log_marginal(x, 0.3))
    assert d.data_moments is inner.data_moments and d.process is inner.process and d.event_shape == (2,)


def test_exact_table_of_a_gaussian_interpolates_the_exact_variance():
    """log Var is smooth in log-SNR: linear interpolation errs by h^2 / 8 of its second derivative (at most 1/4)."""
    chain = Chain.ddpm("linear")
    inner = GaussianDenoiser(torch.zeros(1), 1.0, chain)
    t = torch.arange(1000, 0, -10, dtype=torch.float64)
    x = torch.zeros(1, 1, dtype=torch.float64)
    table = torch.cat([inner.var(x, s) for s in t])
    d = ResidualVariance(inner, chain.logsnr(t), table)
    gap = float(chain.logsnr(t).diff()[:-1].max())
    for s in range(15, 1000, 50):
        exact, got = float(inner.var(x, float(s))), float(d.var(x, float(s)))
        assert abs(math.log(got / exact)) <= gap**2 / 32 + 1e-12
