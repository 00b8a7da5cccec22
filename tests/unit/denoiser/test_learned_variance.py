"""The learned Sigma of Improved DDPM, as Var[x0 | x_t]."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from caminito._errors import ConfigError, ShapeError
from caminito.denoiser import GaussianDenoiser, NetworkDenoiser, Precondition, VarianceRange
from caminito.process import VP, Chain, grid
from caminito.sampling import DDIM, Ancestral, sample, variational_bound

CHAINS = {
    "linear": Chain.ddpm("linear", steps=100),
    "cosine": Chain.ddpm("cosine", steps=30),
    "three": Chain.ddpm([0.1, 0.4, 0.9]),
    "zero-snr": Chain.ddpm("cosine", steps=20, zero_snr=True),
}
each = pytest.mark.parametrize("name", CHAINS)


def randn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def steps(chain):
    return torch.arange(1, int(chain.t_max) + 1, dtype=torch.float64)


def log_betas(chain):
    """log beta_t and log beta-tilde_t, t = 1..T, with log beta-tilde_1 := log beta-tilde_2, by the book."""
    beta = chain.std**2
    abar = chain.kernel(torch.arange(int(chain.t_max) + 1)).scale ** 2
    tilde = (1 - abar[:-1]) / (1 - abar[1:]) * beta
    tilde[0] = tilde[1]
    return torch.log(beta), torch.log(tilde)


class Fixed(nn.Module):
    """Says F = 0, which is exact for data N(0, d^2) under edm, and the outputs 2 v - 1 of the row's step."""

    def __init__(self, chain, v, kind):
        super().__init__()
        self.labels = kind.coefficients(chain, steps(chain)).label
        self.out = nn.Parameter(2 * v - 1)

    def forward(self, x, label, cond=None):
        step = (label[:, None].double() - self.labels).abs().argmin(1)
        return torch.cat([torch.zeros_like(x).double(), self.out[step][:, None].expand(x.shape)], 1)


def optimal_v(chain, q):
    """v of each step for data N(0, q): (Sigma* - beta-tilde) / c0^2 = q sigma^2 / (alpha^2 q + sigma^2)."""
    t = steps(chain)
    alpha, sigma = chain.kernel(t)
    large, small = log_betas(chain)
    bridge = chain.bridge(t - 1, t)
    best = bridge.std**2 + bridge.c0**2 * q * sigma**2 / (alpha**2 * q + sigma**2)
    return (torch.log(best) - small) / (large - small)


@each
def test_at_its_own_steps_it_is_the_sigma_of_the_paper(name):
    """beta-tilde + c0^2 Var[x0 | x_t] = exp(v log beta + (1 - v) log beta-tilde), Nichol & Dhariwal 2021, eq. 15."""
    chain = CHAINS[name]
    t = steps(chain)
    v = torch.rand(len(t), 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    large, small = (c[:, None] for c in log_betas(chain))
    c0, _, std = (c[:, None] for c in chain.bridge(t - 1, t))
    sigma = std**2 + c0**2 * VarianceRange(chain).var(v, t)
    # abar by subtraction from 1 in the book's formula: eps / (1 - abar_1) of it
    assert torch.allclose(sigma, torch.exp(v * large + (1 - v) * small), rtol=1e-11, atol=0)


def test_its_ends_are_a_point_and_the_standard_normal():
    """v = 0 is Var = 0; v = 1 is the posterior variance of N(0, 1), which at the first step too is beta_1."""
    chain = CHAINS["linear"]
    t, law = steps(chain), VarianceRange(chain)
    ones = torch.ones(len(t), 1, dtype=torch.float64)
    assert float(law.var(0 * ones, t)[1:].abs().max()) == 0
    alpha, sigma = chain.kernel(t)
    assert torch.allclose(law.var(ones, t)[:, 0], sigma**2 / (alpha**2 + sigma**2), rtol=1e-13)


def test_it_does_not_depend_on_how_a_chain_is_scaled():
    """Steps multiplied by any factors, signs too, leave sigma / |alpha| and so Var[x0 | x_t]."""
    chain = CHAINS["three"]
    factors = [2.0, -0.3, 5.0]
    scaled = Chain(
        1 - chain.scale * torch.tensor(factors), chain.std * torch.tensor([2.0, 0.6, 3.0])
    )  # |product of the factors so far| times the noise
    t, v = steps(chain), randn(3, 2).abs()
    assert torch.allclose(VarianceRange(chain).var(v, t), VarianceRange(scaled).var(v, t), rtol=1e-12)


def test_short_steps_make_the_variance_proportional_to_v():
    """rho -> 0: Var[x0 | x_t] -> v sigma^2 / (alpha^2 + sigma^2), with an error of rho v (1 - v) / 2 of V."""
    chain = Chain.ddpm("linear", steps=4000)
    t = torch.tensor([2000.0, 3500.0], dtype=torch.float64)
    law, v = VarianceRange(chain), torch.tensor([[0.3], [0.7]], dtype=torch.float64)
    alpha, sigma = chain.kernel(t)
    share = law.var(v, t)[:, 0] / (sigma**2 / (alpha**2 + sigma**2))
    assert bool(((share - v[:, 0]).abs() < law.rho(t) * v[:, 0] * (1 - v[:, 0])).all())


def test_another_process_takes_the_variance_at_its_own_noise():
    """A respaced chain passes some of the noise levels: Var[x0 | x_t] there is the same."""
    chain, kind = CHAINS["cosine"], Precondition("edm")
    kept = torch.tensor([6.0, 15.0, 30.0], dtype=torch.float64)
    law = VarianceRange(chain)
    network = Fixed(chain, torch.rand(30, generator=torch.Generator().manual_seed(1), dtype=torch.float64), kind)
    whole = NetworkDenoiser(network, kind, chain, (2,), variance=law)
    short = NetworkDenoiser(network, kind, Chain.discretise(chain, kept), (2,), variance=law)
    x = randn(3, 2)
    assert torch.allclose(whole.var(x, kept), short.var(x, torch.tensor([1.0, 2.0, 3.0])), rtol=1e-12)


def output_variance(chain, q, times, sigmas):
    """Of one entry, by ancestral steps with the exact mean and the given variances, over q."""
    alpha, sigma = chain.kernel(times[0])
    var = float(alpha**2 * q + sigma**2)
    for t, s, own in zip(times, times[1:], sigmas):
        alpha, sigma = chain.kernel(t)
        c0, ct, _ = chain.bridge(s, t)
        var = float((c0 * alpha * q / (alpha**2 * q + sigma**2) + ct) ** 2) * var + float(own)
    return var / q


@pytest.mark.parametrize(("strides", "respaced"), [(100, 1.0), (20, 0.96977), (10, 1.00197), (5, 1.56676)])
def test_at_longer_steps_it_stays_exact_where_the_respaced_range_does_not(strides, respaced):
    """Gaussian data of variance q with the v that is optimal at step length 1: the variance of the samples over q.

    Respacing as in the paper puts the same v into the wider range of a longer step; here the same v says Var[x0 | x_t],
    which any bridge takes.
    """
    chain, q = CHAINS["linear"], 0.25
    v, law = optimal_v(chain, q), VarianceRange(chain)
    times = torch.linspace(100, 0, strides + 1, dtype=torch.float64)
    t, s = times[:-1], times[1:]
    bridge = chain.bridge(s, t)
    ours = bridge.std**2 + bridge.c0**2 * law.var(v[t.long() - 1][:, None], t)[:, 0]
    assert output_variance(chain, q, times, ours) == pytest.approx(1, abs=1e-12)
    large, small = log_betas(Chain.ddpm(1 - (chain.kernel(t).scale / chain.kernel(s).scale).flip(0) ** 2))
    place = v[t.long() - 1].flip(0)
    theirs = torch.exp(place * large + (1 - place) * small).flip(0)
    assert output_variance(chain, q, times, theirs) == pytest.approx(respaced, abs=1e-5)


def test_v_alone_by_gradient_descent_reaches_the_best_bound():
    """The terms of the bound, in expectation, are least at the optimal variance; their sum is then the best bound."""
    chain, q = CHAINS["cosine"], 0.25
    t, law = steps(chain), VarianceRange(chain)
    alpha, sigma = chain.kernel(t)
    square = (q * sigma**2 / (alpha**2 * q + sigma**2))[:, None]  # E (x0 - D)^2 for exact D
    width = law.rho(t)[:, None]
    place = (0.5 * width).requires_grad_(True)  # v rho, in which the terms have the same curvature at their optimum
    optimizer = torch.optim.LBFGS([place], lr=1, max_iter=60, tolerance_grad=1e-14, tolerance_change=0)

    def closure():
        optimizer.zero_grad()
        loss = law.bound(square, place / width, t).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    v = place.detach() / width
    assert float((place.detach()[:, 0] - optimal_v(chain, q) * width[:, 0]).abs().max()) < 1e-5
    alpha, sigma = chain.kernel(chain.t_max)
    end = 0.5 * float(alpha**2 * q + sigma**2 - 1 - torch.log(sigma**2))  # E KL(q(x_T | x_0) || N(0, 1))
    ended = 0.5 * float(alpha**2 * q + sigma**2 - 1 - torch.log(alpha**2 * q + sigma**2))
    entropy = 0.5 * math.log(2 * math.pi * math.e * q)
    # the error of the bound is of second order in that of v
    assert float(law.bound(square, v, t).sum()) + end == pytest.approx(entropy + ended, abs=1e-10)


def test_the_bound_and_the_solvers_take_it_as_any_other_variance():
    """With v of the optimum everything agrees with the exact denoiser: bound, ancestral and DDIM, at any stride."""
    chain, q, kind = CHAINS["cosine"], 0.25, Precondition("edm", 0.5)
    learned = NetworkDenoiser(Fixed(chain, optimal_v(chain, q), kind), kind, chain, (3,), variance=VarianceRange(chain))
    learned.data_moments = (0.0, q)
    exact = GaussianDenoiser(torch.zeros(3), q, chain)
    x0 = math.sqrt(q) * randn(20, 3)
    for times in (None, grid.trailing(chain, 7)):
        a = variational_bound(learned, x0, times, variance="posterior")
        b = variational_bound(exact, x0, times, variance="posterior")
        assert torch.allclose(a.total, b.total, rtol=1e-9, atol=1e-9)
    for solver in (Ancestral("posterior"), DDIM(0.0, "posterior")):
        a, b = (
            sample(d, 10, solver=solver, grid=grid.trailing(chain, 7), dtype=torch.float64) for d in (learned, exact)
        )
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-9)


def test_mean_and_variance_cost_one_call_of_the_network():
    calls = []

    class Counting(nn.Module):
        def forward(self, x, label, cond=None):
            calls.append(len(x))
            return torch.zeros(len(x), 2 * x.shape[1])

    chain = CHAINS["cosine"]
    model = NetworkDenoiser(Counting(), Precondition("edm"), chain, (2,), variance=VarianceRange(chain))
    sample(model, 4, solver="ancestral-posterior", grid=grid.trailing(chain, 6))
    assert len(calls) == 6
    variational_bound(model, torch.zeros(4, 2), variance="posterior")
    assert len(calls) == 6 + 30


def test_a_network_of_the_wrong_channel_count_is_told_so():
    chain = CHAINS["three"]
    for network, variance, expected in (
        (nn.Flatten(), VarianceRange(chain), r"expected 6 channels \(two per channel of x: its prediction and v\)"),
        (Twice(), None, r"expected 3 channels \(one per channel of x\)"),
    ):
        model = NetworkDenoiser(Called(network), Precondition("edm"), chain, (3,), variance=variance)
        with pytest.raises(ShapeError, match=expected):
            model.mean(torch.zeros(2, 3), 2.0)


class Twice(nn.Module):
    def forward(self, x):
        return torch.cat([x, x], 1)


class Called(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x, label, cond=None):
        return self.body(x)


@pytest.mark.parametrize(
    ("process", "why"), [(VP(), "VP has no steps"), (Chain.ddpm([0.5]), "at least 2 noisy steps, got 1")]
)
def test_a_process_without_a_range_is_refused(process, why):
    with pytest.raises(ConfigError, match=why):
        VarianceRange(process)


def test_steps_without_noise_before_the_first_noisy_one_have_no_range():
    """The first noisy step ends at data that are known exactly, so it is the one that has L_0."""
    law = VarianceRange(Chain([0.1, 0.2, 0.1], [0.0, 0.4, 0.5]))
    assert law.first == 2
    v = torch.full((1, 1), 0.25, dtype=torch.float64)
    var = law.var(v, 2.0)
    square = torch.full((1, 1), 0.3, dtype=torch.float64)
    normal = torch.distributions.Normal(0.0, var.sqrt())
    assert float(law.bound(square, v, 2.0)) == pytest.approx(float(-normal.log_prob(square.sqrt())), rel=1e-12)


def test_a_network_that_is_sure_and_wrong_costs_many_bits_and_not_infinitely_many():
    chain = Chain.ddpm("cosine", steps=50)

    class Sure(nn.Module):
        def forward(self, x, label, cond=None):
            return torch.cat([torch.zeros_like(x), torch.full_like(x, -9.0)], dim=1)  # x0 = 0, v = -4

    model = NetworkDenoiser(Sure(), Precondition("x0"), chain, (1,), variance=VarianceRange(chain))
    grid = torch.tensor([50.0, 40.0, 30.0, 0.0], dtype=torch.float64)
    bound = variational_bound(model, torch.ones(4, 1), grid, variance="posterior", levels=3)
    assert bool(torch.isfinite(bound.total).all()) and float(bound.reconstruction.min()) > 100
