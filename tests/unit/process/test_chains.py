"""Chains: published tables, terminal signal, marginals, and the simulated path."""

import math
from fractions import Fraction

import pytest
import torch

from caminito.process import VP, Chain, Cosine, RectifiedFlow, beta_table
from caminito.process import grid as grids

EPS = torch.finfo(torch.float64).eps


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


def abar_end(chain):
    return float(chain.kernel(chain.t_max).scale) ** 2


def test_published_ends_of_the_named_tables():
    """Ho et al. 2020; Nichol & Dhariwal 2021 (cap .999); Rombach et al. 2022: to the digits they are quoted with."""
    assert f"{abar_end(Chain.ddpm('linear')):.4e}" == "4.0358e-05"
    assert f"{abar_end(Chain.ddpm('cosine')):.2e}" == "2.43e-09"
    scaled = Chain.ddpm("scaled-linear")
    alpha, sigma = scaled.kernel(1000.0)
    assert f"{float(sigma / alpha):.4f}" == "14.6146"
    long = Chain.ddpm("cosine", steps=4000)
    alpha, sigma = long.kernel(4000.0)
    assert f"{float(alpha**2):.1e}" == "1.5e-10" and 8e4 < float(sigma / alpha) < 8.3e4


def test_level_of_the_misprint_example():
    chain = Chain.ddpm("linear")
    assert f"{float(chain.scale[500]) ** 2:.8f}" == "0.98994004"
    assert f"{float(chain.kernel(501.0).scale) ** 2:.10f}" == "0.0777966584"


def test_cosine_table_is_the_ratio_of_its_levels_but_for_the_capped_last():
    """The product of capped betas differs from f(t) / f(0) only at the last index."""
    f = torch.cos((torch.arange(1001, dtype=torch.float64) / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2
    got = Chain.ddpm("cosine").kernel(torch.arange(1001, dtype=torch.float64)).scale ** 2
    ratio = got / (f / f[0])
    # 1 - beta is a difference: eps / (1 - beta) at each step, at most 1000 eps near the end, and 1000 factors
    assert float((ratio[:-1] - 1).abs().max()) < 1e-9
    assert float(ratio[-1]) > 1e3


def test_sigmoid_table_is_the_level_of_jabri_et_al():
    t = torch.linspace(0, 1, 51, dtype=torch.float64)
    lo, hi = 1 / (1 + math.exp(3)), 1 / (1 + math.exp(-3))
    level = (hi - torch.sigmoid(6 * t - 3)) / (hi - lo)
    got = Chain.ddpm("sigmoid", steps=50).kernel(torch.arange(51, dtype=torch.float64)).scale ** 2
    assert torch.allclose(got[:-1], level[:-1], rtol=1e-12, atol=0)


def test_linear_table_of_another_length_keeps_its_end():
    """Scaled by 1000 / T, sum of betas is kept, so log abar_T agrees to O(beta)."""
    short, long = abar_end(Chain.ddpm("linear", steps=200)), abar_end(Chain.ddpm("linear", steps=4000))
    assert abs(math.log(short) - math.log(long)) < 0.1 * abs(math.log(long))
    assert float(beta_table("linear", 200).sum()) == pytest.approx(float(beta_table("linear", 4000).sum()), rel=1e-12)


def test_noise_of_the_first_step_keeps_all_digits():
    chain = Chain.ddpm("linear")
    assert abs(float(chain.kernel(1.0).std) ** 2 / 1e-4 - 1) < 8 * EPS


def test_tables_agree_with_exact_rational_arithmetic():
    betas = beta_table("linear", 1000)
    chain = Chain.ddpm(betas)
    product = Fraction(1)
    for i, beta in enumerate(betas.tolist(), start=1):
        product *= 1 - Fraction(beta)
        product = Fraction(product.numerator >> 400, product.denominator >> 400) if i % 50 == 0 else product
        if i in (1, 10, 100, 500, 1000):
            sigma2 = float(1 - product)
            assert abs(float(chain.kernel(float(i)).std) ** 2 / sigma2 - 1) < 64 * EPS
            assert abs(float(chain.kernel(float(i)).scale) ** 2 / float(product) - 1) < 1000 * EPS


@pytest.mark.parametrize("name", ["linear", "scaled-linear", "cosine", "sigmoid"])
def test_zero_terminal_snr_is_the_affine_map_of_lin_et_al(name):
    """sqrt(abar)' = (sqrt(abar) - sqrt(abar_T)) sqrt(abar_1) / (sqrt(abar_1) - sqrt(abar_T)), algorithm 1."""
    t = torch.arange(1, 1001, dtype=torch.float64)
    root = Chain.ddpm(name).kernel(t).scale
    chain = Chain.ddpm(name, zero_snr=True)
    expected = (root - root[-1]) * root[0] / (root[0] - root[-1])
    got = chain.kernel(t).scale
    assert float(got[-1]) == 0.0 and float(chain.kernel(1000.0).std) == 1.0
    assert abs(float(got[0] - root[0])) < 4 * EPS
    assert float((got - expected).abs().max()) < 1e-12
    assert float(chain.logsnr(1000.0)) == -math.inf
    assert torch.isfinite(torch.stack([*chain.bridge(t - 1, t)])).all()


@pytest.mark.parametrize(
    "process", [VP(), Cosine(), RectifiedFlow(), Chain.ddpm("linear")], ids=lambda p: type(p).__name__
)
def test_discretised_chain_has_the_marginals_of_its_process(process):
    times = torch.linspace(0, process.t_max, 11, dtype=torch.float64)
    chain = Chain.discretise(process, times)
    assert torch.equal(chain.kernel(torch.zeros(())).scale, torch.ones((), dtype=torch.float64))
    for i in range(11):
        for got, expected in zip(chain.kernel(float(i)), process.kernel(times[i])):
            assert abs(float(got - expected)) < 1e-13  # ten steps of a few eps, |logsnr| up to 20
    without = Chain.discretise(process, times[1:])
    assert torch.equal(chain.scale, without.scale) and torch.equal(chain.std, without.std)


def test_respaced_chain_keeps_abar_at_the_kept_steps():
    chain = Chain.ddpm("linear")
    kept = grids.trailing(chain, 20).flip(0)
    short = Chain.discretise(chain, kept)
    i = torch.arange(21, dtype=torch.float64)
    assert torch.allclose(short.kernel(i).scale, chain.kernel(kept).scale, rtol=1e-12, atol=0)
    assert torch.allclose(short.kernel(i).std, chain.kernel(kept).std, rtol=1e-12, atol=0)


def test_general_chain_and_ddpm_chain_of_the_same_steps_agree():
    betas = beta_table("linear", 100)
    general = Chain(1 - torch.sqrt(1 - betas), torch.sqrt(betas))
    t = torch.arange(1, 101, dtype=torch.float64)
    for a, b in zip(general.kernel(t), Chain.ddpm(betas).kernel(t)):
        assert torch.allclose(a, b, rtol=1e-12, atol=0)


def test_drift_is_one_minus_scale():
    chain = Chain([0.0, 0.5, 1.0, 1.5], [0.1, 0.2, 0.3, 0.4])
    assert torch.equal(chain.drift, f64(0.0, 0.5, 1.0, 1.5))


def test_a_drift_of_one_forgets_and_of_more_turns_the_sign():
    chain = Chain([0.2, 1.0, 0.5], [0.1, 0.6, 0.2])
    assert float(chain.kernel(2.0).scale) == 0.0 and float(chain.kernel(2.0).std) == 0.6
    assert float(chain.bridge(1.0, 2.0).ct) == 0.0  # x_2 says nothing of x_1
    assert float(chain.transition(2.0, 3.0).scale) == 0.5
    turned = Chain([1.5, 0.0], [0.2, 0.3])
    assert float(turned.kernel(2.0).scale) == -0.5
    assert float(turned.bridge(0.0, 1.0).c0) == 1.0


def test_a_step_that_erases_signal_and_noise_leaves_the_past_as_it_was():
    """x_2 = 0 whatever came before: x_1 | x_2, x_0 is x_1 | x_0."""
    chain = Chain([0.1, 1.0, 0.2], [0.3, 0.0, 0.4])
    bridge = chain.bridge(1.0, 2.0)
    assert tuple(float(v) for v in bridge) == (0.9, 0.0, 0.3)
    assert float(chain.logsnr(2.0)) == -math.inf and float(chain.logsnr(3.0)) == -math.inf


def test_simulated_path_has_the_chain_moments_within_standard_errors():
    chain = Chain([0.1, 1.3, 0.4, 1.0, 0.0], [0.5, 0.0, 0.7, 0.2, 1.0])
    n, k = 40_000, 5.0
    x0 = torch.full((n, 1), 2.0, dtype=torch.float64)
    path = chain.simulate(x0, seed=4)[:, :, 0]
    assert path.shape == (6, n)
    for i in range(6):
        alpha, sigma = (float(c) for c in chain.kernel(float(i)))
        assert abs(float(path[i].mean()) - 2 * alpha) <= k * sigma / math.sqrt(n) + 1e-12
        assert abs(float(path[i].var()) - sigma**2) <= k * sigma**2 * math.sqrt(2 / n) + 1e-12
    # covariance of x_1 and x_3: a sigma_1^2
    a, s1, s3 = float(chain.transition(1.0, 3.0).scale), float(chain.kernel(1.0).std), float(chain.kernel(3.0).std)
    got = float(torch.cov(path[[1, 3]])[0, 1])
    assert abs(got - a * s1**2) < k * s1 * s3 * math.sqrt(2 / n)


def test_simulated_steps_obey_their_equation():
    """x_i - (1 - mu_i) x_{i-1} = sigma_i eps_i with eps_i independent of the path so far."""
    chain = Chain([0.1, 1.2, 0.3], [0.5, 0.0, 0.7])
    path = chain.simulate(torch.randn(20_000, 1, dtype=torch.float64), seed=1)[..., 0]
    for i in range(1, 4):
        rest = path[i] - chain.scale[i - 1] * path[i - 1]
        std = float(chain.std[i - 1])
        assert abs(float(rest.std()) - std) <= 5 * std / math.sqrt(2 * 20_000) + 1e-14
        if std:
            assert abs(float(torch.corrcoef(torch.stack([rest, path[i - 1]]))[0, 1])) < 5 / math.sqrt(20_000)


def test_row_i_of_a_simulation_depends_on_the_seed_and_i_alone():
    chain = Chain.ddpm("linear", steps=30)
    x0 = torch.randn(50, 3)
    whole = chain.simulate(x0, seed=9)
    assert torch.equal(chain.simulate(x0[:8], seed=9), whole[:, :8])
    other = x0.clone()
    other[1:] = 0
    assert torch.equal(chain.simulate(other, seed=9)[:, 0], whole[:, 0])
    assert not torch.equal(chain.simulate(x0, seed=10)[1], whole[1])
    assert torch.equal(whole[0], x0)


def test_time_is_the_step_of_nearest_log_snr():
    chain = Chain.ddpm("linear")
    t = torch.arange(0, 1001, 50, dtype=torch.float64)
    assert torch.equal(chain.time(chain.logsnr(t)), t)
    assert torch.equal(chain.time(chain.logsnr(t[1:]) + 1e-4), t[1:])
    assert float(chain.time(-math.inf)) == 1000 and float(chain.time(math.inf)) == 0


def test_a_row_of_steps_gives_the_rows_of_single_steps():
    chain = Chain([0.1, 1.3, 0.4, 1.0], [0.5, 0.0, 0.7, 0.2])
    s, t = f64(0, 1, 1, 2), f64(1, 3, 4, 3)
    rows = chain.transition(s, t)
    for i in range(4):
        one = chain.transition(s[i], t[i])
        assert float(rows.scale[i]) == float(one.scale) and float(rows.std[i]) == float(one.std)
