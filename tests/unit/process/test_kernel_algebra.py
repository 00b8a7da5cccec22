"""Kernels compose like the maps they are; the algebra of the misprinted formulas of DDPM."""

import torch

from caminito.process import Chain, Kernel, times

EPS = torch.finfo(torch.float64).eps


def kernels(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [
        Kernel(torch.randn(5, generator=g, dtype=torch.float64), torch.rand(5, generator=g, dtype=torch.float64))
        for _ in range(n)
    ]


def close(a, b, tol):
    return all(float(((x - y).abs() / (y.abs() + 1e-300)).max()) < tol for x, y in zip(a, b))


def test_then_is_associative():
    a, b, c = kernels(3)
    assert close(a.then(b).then(c), a.then(b.then(c)), 8 * EPS)


def test_then_has_the_identity_kernel_on_both_sides():
    a = kernels(1)[0]
    one = Kernel(torch.ones(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64))
    assert close(a.then(one), a, EPS) and close(one.then(a), a, EPS)


def test_then_is_sampling_in_two_steps():
    a, b = kernels(2)
    x, e = torch.randn(5, 3, dtype=torch.float64), torch.zeros(5, 3, dtype=torch.float64)
    assert torch.allclose(b.sample(a.sample(x, e), e), a.then(b).sample(x, e), rtol=8 * EPS, atol=0)
    one = torch.ones(5, 1, dtype=torch.float64)
    zero = torch.zeros(5, 1, dtype=torch.float64)
    # variances of independent noises add
    from_a, from_b = b.sample(a.sample(zero, one), zero), b.sample(a.sample(zero, zero), one)
    assert torch.allclose(from_a**2 + from_b**2, times(a.then(b).std ** 2, one), rtol=16 * EPS, atol=0)


def test_coefficients_are_cast_once_where_they_meet_the_data():
    third = torch.tensor(1 / 3, dtype=torch.float64)
    x = torch.tensor([[3.0]], dtype=torch.float32)
    assert times(third, x).dtype == torch.float32
    assert torch.equal(times(third, x), third.to(torch.float32) * x)


def linear():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    return betas, torch.exp(torch.cumsum(torch.log1p(-betas), 0)), Chain.ddpm(betas)


def test_bridge_of_ddpm_is_the_posterior_of_ho_et_al_eq_7():
    betas, abar, chain = linear()
    t = torch.arange(2, 1001)
    before, now, beta = abar[t - 2], abar[t - 1], betas[t - 1]
    bridge = chain.bridge(t - 1.0, t.to(torch.float64))
    expected = (
        torch.sqrt(before) * beta / (1 - now),
        torch.sqrt(1 - beta) * (1 - before) / (1 - now),
        torch.sqrt((1 - before) / (1 - now) * beta),
    )
    # 1 - abar by subtraction carries eps / (1 - abar), at most 1e4 eps at t = 1
    assert close(bridge, expected, 4e4 * EPS)


def test_posterior_mean_by_x0_and_by_eps_agree_at_every_step():
    """mu = (x - beta / sqrt(1 - abar) eps) / sqrt(alpha): the eps form of Ho et al. 2020, eq. 11."""
    betas, _, chain = linear()
    t = torch.arange(1, 1001)
    x0 = torch.linspace(-2, 2, 1000, dtype=torch.float64)[:, None]
    eps = torch.linspace(3, -3, 1000, dtype=torch.float64)[:, None] ** 2 - 1
    x = chain.noise(x0, t.to(torch.float64), eps)
    mean = chain.bridge(t - 1.0, t.to(torch.float64)).mean(x0, x)
    sigma = chain.kernel(t.to(torch.float64)).std
    expected = times(1 / torch.sqrt(1 - betas), x - times(betas / sigma, eps))
    assert float((mean - expected).abs().max()) < 1e-12


def test_posterior_mean_maps_the_noiseless_path_to_itself():
    _, _, chain = linear()
    t = torch.arange(1, 1001, dtype=torch.float64)
    c0, ct, _ = chain.bridge(t - 1, t)
    assert float((c0 + ct * chain.kernel(t).scale - chain.kernel(t - 1).scale).abs().max()) < 8 * EPS


def test_bridge_noise_is_a_standard_deviation_not_a_variance():
    betas, abar, chain = linear()
    std = float(chain.bridge(9.0, 10.0).std)
    variance = float((1 - abar[8]) / (1 - abar[9]) * betas[9])
    assert abs(std / variance**0.5 - 1) < 1e-12
    assert std > 40 * variance  # a variance in its place would add 40 times too little noise
