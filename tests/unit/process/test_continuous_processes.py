"""Continuous schedules: exact ends, published values, inverse, rates and composition."""

import math

import pytest
import torch
from scipy import integrate

from caminito.process import EDM, VE, VP, Cosine, FromLogSNR, Kernel, RectifiedFlow, SubVP
from caminito.process import grid as grids

EPS = torch.finfo(torch.float64).eps
PROCESSES = [
    VP(),
    VP(0.5, 12.0),
    Cosine(),
    Cosine(shift=-1.4),
    SubVP(),
    VE(),
    VE(0.002, 80.0),
    EDM(),
    EDM(20.0, 1.0),
    RectifiedFlow(),
    FromLogSNR(lambda t: 9 - 22 * t),
]
names = [f"{type(p).__name__}{i}" for i, p in enumerate(PROCESSES)]
each = pytest.mark.parametrize("process", PROCESSES, ids=names)


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


@each
def test_data_at_time_zero_exactly(process):
    alpha, sigma = process.kernel(torch.zeros(3))
    assert torch.equal(alpha, torch.ones(3, dtype=torch.float64))
    assert torch.equal(sigma, torch.zeros(3, dtype=torch.float64))
    assert float(process.logsnr(0.0)) == math.inf


@each
def test_time_inverts_logsnr(process):
    level = torch.linspace(7.0, max(-7.0, float(process.logsnr(1.0)) + 0.1), 41, dtype=torch.float64)
    back = process.logsnr(process.time(level))
    # t carries a relative error of eps, alpha (or 1 - t) an absolute one: the level moves by eps exp(|level| / 2)
    assert float(((back - level).abs() / (1 + torch.exp(level.abs() / 2))).max()) < 64 * EPS


@each
def test_rates_are_the_derivatives_of_the_kernel(process):
    t = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    h = 1e-4

    def stencil(index):  # fourth order: error h^4 y5 / 30 and 2 eps y / h
        values = [process.kernel(t + k * h)[index] for k in (-2, -1, 1, 2)]
        return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)

    for index, rate in enumerate(process.rates(t)):
        slope = stencil(index)
        scale = process.kernel(t)[index].abs() + slope.abs()
        assert float(((rate - slope).abs() / scale).max()) < 1e-8


@each
def test_transitions_compose_to_the_marginal_and_to_each_other(process):
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    for i in range(8):
        for j in range(i + 1, 9):
            whole, direct = process.kernel(t[i]).then(process.transition(t[i], t[j])), process.kernel(t[j])
            assert abs(float(whole.scale - direct.scale)) <= 8 * EPS * float(direct.scale)
            # b^2 carries eps |logsnr| of sigma_t^2, at most 64 eps here
            assert abs(float(whole.std / direct.std) - 1) < 128 * EPS


def test_a_row_of_times_gives_a_row_of_coefficients():
    s, t = f64(0.0, 0.2, 0.5), f64(0.1, 0.9, 1.0)
    for process in PROCESSES:
        rows = process.bridge(s, t)
        for i in range(3):
            one = process.bridge(s[i], t[i])
            assert all(torch.equal(row[i], value) for row, value in zip(rows, one))


def test_bridge_is_stable_for_s_close_to_t():
    """As s -> t the bridge is x_t with the variance b^2 of the last stretch: ct -> 1, c0 -> 0, std / b -> 1."""
    process = VP()
    for gap in (1e-4, 1e-6, 1e-8):
        t = 0.5
        bridge, (_, b) = process.bridge(t - gap, t), process.transition(t - gap, t)
        beta = 0.1 + t * 19.9  # b^2 = beta gap + O(gap^2)
        # cancellation in the log-SNR gap: eps |logsnr| / gap, and the O(gap) term with beta of order 10
        assert abs(float(b**2) / (beta * gap) - 1) < 20 * gap + 20 * EPS / gap
        assert abs(float(bridge.std / b) - 1) < 20 * gap + 4 * EPS
        assert abs(float(bridge.ct) - 1) < 20 * gap


def test_vp_integrates_its_beta():
    process, t = VP(0.1, 20.0), 0.63
    integral, _ = integrate.quad(lambda u: 0.1 + u * 19.9, 0, t)
    alpha, sigma = process.kernel(t)
    assert math.isclose(float(alpha), math.exp(-integral / 2), rel_tol=1e-13)
    assert math.isclose(float(sigma**2), -math.expm1(-integral), rel_tol=1e-13)


def test_vp_small_noise_keeps_all_digits():
    # sigma^2 = B - B^2/2 + ...: at t = 1e-12, B = 1e-13 and 1 - exp(-B) by subtraction would keep three digits
    sigma = float(VP().kernel(1e-12).std)
    assert math.isclose(sigma**2, 1e-13 * (1 + 0.5 * 199 * 1e-12), rel_tol=1e-12)


def test_variance_is_preserved_by_vp_cosine_and_log_snr_curves():
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    for process in (VP(), Cosine(), Cosine(-2.0), FromLogSNR(lambda u: 5 - 9 * u)):
        alpha, sigma = process.kernel(t)
        assert float((alpha**2 + sigma**2 - 1).abs().max()) < 8 * EPS


def test_signal_is_gone_exactly_at_the_end_of_cosine_and_rectified_flow():
    for process in (Cosine(), Cosine(1.0), RectifiedFlow()):
        alpha, sigma = process.kernel(1.0)
        assert float(alpha) == 0.0 and float(sigma) == 1.0
        assert float(process.logsnr(1.0)) == -math.inf
        assert float(process.time(-math.inf)) == 1.0
        c0, ct, std = process.bridge(0.5, 1.0)  # x_1 says nothing of x_0.5
        assert float(ct) == 0.0 and torch.equal(Kernel(c0, std).scale, process.kernel(0.5).scale)
        assert float(std) == float(process.kernel(0.5).std)


def test_a_shift_moves_the_log_snr_by_exactly_that_much():
    t = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    moved = Cosine(shift=-1.7).logsnr(t) - Cosine().logsnr(t)
    assert float((moved + 1.7).abs().max()) < 64 * EPS


def test_sub_vp_noise_is_the_square_of_vp_noise():
    t = torch.linspace(0, 1, 21, dtype=torch.float64)
    assert torch.equal(SubVP().kernel(t).std, VP().kernel(t).std ** 2)
    assert torch.equal(SubVP().kernel(t).scale, VP().kernel(t).scale)


def test_ve_solves_its_stochastic_equation():
    """d sigma^2 / dt = g^2 with g = smin (smax/smin)^t sqrt(2 log(smax/smin)) (Song et al. 2021, eq. 30)."""
    process = VE(0.01, 50.0)
    for t in (0.1, 0.5, 1.0):
        g2 = lambda u: (0.01 * 5000.0**u) ** 2 * 2 * math.log(5000.0)  # noqa: E731
        integral, _ = integrate.quad(g2, 0, t, epsrel=1e-12)
        assert math.isclose(float(process.kernel(t).std) ** 2, integral, rel_tol=1e-10)


def test_a_uniform_grid_of_edm_is_the_karras_grid_that_ends_at_zero():
    n = 18
    sigma = EDM(80.0, 7.0).kernel(grids.uniform(EDM(), n)).std
    i = torch.arange(n + 1, dtype=torch.float64)
    expected = (80.0 ** (1 / 7) * (1 - i / n)) ** 7
    assert torch.allclose(sigma, expected, rtol=64 * EPS, atol=0)


def test_a_curve_and_its_inverse_agree_with_bisection():
    curve = lambda t: 8 - 20 * t**1.5  # noqa: E731
    inverse = lambda l: ((8 - l) / 20) ** (2 / 3)  # noqa: E731, E741
    level = torch.linspace(6, -11, 18, dtype=torch.float64)
    found = FromLogSNR(curve).time(level)
    assert float((found - FromLogSNR(curve, inverse).time(level)).abs().max()) < 64 * EPS


def test_noise_is_alpha_x0_plus_sigma_eps_row_by_row():
    x0, eps, t = torch.randn(4, 2, 3), torch.randn(4, 2, 3), f64(0.0, 0.3, 0.7, 1.0)
    x = RectifiedFlow().noise(x0, t, eps)
    for i in range(4):
        a, s = (float(c[i]) for c in RectifiedFlow().kernel(t))
        assert torch.allclose(x[i], a * x0[i] + s * eps[i], rtol=0, atol=1e-6)  # float32 rounding
    assert x.dtype == torch.float32


def test_prior_is_the_law_of_gaussian_data_at_the_end():
    mean, var = f64(1.0, -2.0), f64(0.25, 4.0)
    for process in PROCESSES:
        for t in (None, 0.4):
            alpha, sigma = process.kernel(1.0 if t is None else t)
            law = process.prior(mean, var, t)
            assert torch.allclose(law.mean, alpha * mean, rtol=4 * EPS, atol=0)
            assert torch.allclose(law.std**2, alpha**2 * var + sigma**2, rtol=8 * EPS, atol=0)
