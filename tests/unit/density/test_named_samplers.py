"""MALA, annealed Langevin, DiGS, RDMC and SLIPS: what they leave unchanged, what they get right, where they fail."""

import math

import pytest
import torch

from caminito.density import Normal, Target, sample
from caminito.density.digs import diffusive_gibbs, digs
from caminito.density.langevin import NoisyPoint, Walkers, annealed_langevin, chains, mala
from caminito.density.modes import search
from caminito.density.rdmc import posterior_score, rdmc
from caminito.density.slips import slips
from caminito.errors import ConfigError
from caminito.testing.targets import mog40, two_modes

QUICK = {
    mala: {"steps": 100},
    annealed_langevin: {"levels": 20, "steps": 8},
    digs: {"sweeps": 6},
    rdmc: {"levels": 20, "opening": 4, "draws": 8},
    slips: {"levels": 24, "moves": 10, "opening": 4},
}
TINY = {
    mala: {"steps": 6},
    annealed_langevin: {"levels": 3, "steps": 2},
    digs: {"sweeps": 2, "levels": 2},
    rdmc: {"levels": 3, "opening": 1, "draws": 4, "moves": 2},
    slips: {"levels": 3, "moves": 4, "opening": 1},
}
ALL = pytest.mark.parametrize("sampler", QUICK, ids=lambda f: f.__name__)


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(x):
    """An unnormalised N((1, -1), diag(1, 0.25))."""
    return 5.0 - 0.5 * (x[:, 0] - 1) ** 2 - 2 * (x[:, 1] + 1) ** 2


@ALL
def test_moments_of_a_normal(sampler):
    n = 800
    draws = sampler(Target(normal, 2), Normal(torch.zeros(2), 1.2), n, chance(), **QUICK[sampler])
    assert draws.x.shape == (n, 2) and draws.log_evidence is None
    biased = 0.05 if sampler in (rdmc, slips) else 0.0  # by steps in time
    stds = torch.tensor([1.0, 0.5], dtype=torch.float64)
    inner = (draws.x - torch.tensor([1.0, -1.0], dtype=torch.float64)) / stds
    assert inner.mean(0).abs().max() < 4 / math.sqrt(n) + biased
    assert (inner.square().mean(0) - 1).abs().max() < 4 * math.sqrt(2 / n) + 2 * biased


@ALL
def test_draws_are_a_function_of_the_generator_and_calls_are_counted(sampler):
    target = Target(normal, 2)
    first, again, other = (
        sampler(target, Normal(torch.zeros(2), 1.0), 8, chance(seed), **TINY[sampler]) for seed in (1, 1, 2)
    )
    torch.testing.assert_close(first.x, again.x, rtol=0, atol=0)
    assert not torch.equal(first.x, other.x)
    each = [draws.diagnostics for draws in (first, again, other)]
    assert sum(seen["calls"] for seen in each) == target.calls
    assert sum(seen["evaluations"] for seen in each) == target.evaluations


@ALL
def test_options_out_of_range_are_refused(sampler):
    name = next(iter(QUICK[sampler]))
    with pytest.raises(ConfigError, match=name):
        sampler(Target(normal, 2), Normal(torch.zeros(2), 1.0), 8, chance(), **{name: 0})


@pytest.mark.parametrize("kind", ["mala", "digs"])
def test_exact_draws_stay_exact(kind):
    known = two_modes(2, variances=(0.3, 0.1))
    target, n = Target(known.log_prob, 2), 20_000
    x = known.draw(n)
    step = torch.full((n,), 0.1, dtype=torch.float64)
    walkers, moved = Walkers.at(target.value_and_grad, x, step), chance(3)
    for sigma in (1.5, 0.5, 0.2):
        if kind == "mala":
            walkers, acceptance = chains(target.value_and_grad, walkers, 2, moved, warm_up=0.0)
        else:
            h = step * sigma**2 / (1 + sigma**2)
            walkers, _, jumped, acceptance = diffusive_gibbs(target, walkers, sigma, h, 2, moved)
            assert 0.05 < jumped < 0.95
        assert 0.3 < acceptance < 0.99
    assert bool((walkers.x != x).any(1).double().mean() > 0.9)
    value, slope = target.value_and_grad(walkers.x)
    torch.testing.assert_close(walkers.value, value)
    torch.testing.assert_close(walkers.slope, slope)
    for statistic in (
        lambda x: x[:, 0],
        lambda x: x.square().sum(1),
        lambda x: known.shares(x)[:, 0],
        known.log_prob,
    ):
        before, after = statistic(x), statistic(walkers.x)
        assert abs(float(after.mean() - before.mean())) < 4.5 * float(before.std()) * math.sqrt(2 / n)


def test_digs_weighs_the_modes_that_mala_cannot_leave():
    known, n = two_modes(1), 600
    beside = Normal(known.modes[1], 0.3)  # all begin at the mode of weight 1/3
    share = {
        sampler: float(known.shares(sampler(Target(known.log_prob, 2), beside, n, chance(5), **options).x)[:, 0].mean())
        for sampler, options in ((digs, {"sweeps": 15, "widest": 5.0}), (mala, {"steps": 150}))
    }
    assert abs(share[digs] - 2 / 3) < 4 * math.sqrt(2 / 9 / n)
    assert share[mala] < 0.2


def test_annealed_langevin_is_wrong_about_unequal_widths():
    """Nothing corrects the weights that basins had early on: the bar that weighted samplers have to clear."""
    known = two_modes(6, weights=(0.5, 0.5), variances=(0.02, 0.4))
    reference = Normal(torch.zeros(6), 1.2)
    draws = annealed_langevin(Target(known.log_prob, 6), reference, 300, chance(), levels=20, steps=8)
    assert abs(float(known.shares(draws.x)[:, 0].mean()) - 0.5) > 0.2


def test_the_noisy_point_is_the_posterior_at_x0():
    """Of N(0, 2^2) given y: the gradient vanishes at the known mean, and is that of the value everywhere."""
    target = Target(lambda x: -x.square().sum(1) / 8, 3)
    y = torch.randn(5, 3, generator=chance(), dtype=torch.float64)
    law = NoisyPoint(target, y, 0.6, 0.8)
    mean = 0.6 * 4 * y / (0.36 * 4 + 0.64)
    torch.testing.assert_close(law(mean)[1], torch.zeros_like(y))
    x = torch.randn(5, 3, generator=chance(1), dtype=torch.float64)
    lean = 1e-6 * torch.eye(3, dtype=torch.float64)[0]
    slope = (law(x + lean)[0] - law(x - lean)[0]) / 2e-6
    torch.testing.assert_close(law(x)[1][:, 0], slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("t", [0.02, 0.2, 1.0])
def test_the_score_of_rdmc_is_that_of_the_noisy_normal(t):
    """In units of the reference X_0 ~ N(m, v): X_t ~ N(alpha m, alpha^2 v + sigma^2)."""
    mean, scale, n = torch.tensor([0.5, -0.5], dtype=torch.float64), 2.0, 400
    alpha, noise = math.exp(-t), 1 - math.exp(-2 * t)
    centre = (torch.tensor([1.0, -1.0], dtype=torch.float64) - mean) / scale
    total = alpha**2 * torch.tensor([1.0, 0.25], dtype=torch.float64) / scale**2 + noise
    x = alpha * centre + total.sqrt() * torch.randn(n, 2, generator=chance(), dtype=torch.float64)
    found = posterior_score(Target(normal, 2), mean + scale * x, mean, scale, t, chance(1), draws=16, moves=12)
    exact = (alpha * centre - x) / total
    gap = (found.score - exact).mean(0)
    spread = (found.score - exact).std(0)
    assert bool((gap.abs() < 4 * spread / math.sqrt(n) + 0.01).all())
    assert bool((spread < 0.3 / total.sqrt()).all())  # of a score whose deviation is 1 / sqrt(total)


def test_the_target_score_is_preferred_at_little_noise():
    target, mean = Target(normal, 2), torch.zeros(2, dtype=torch.float64)
    x = torch.randn(200, 2, generator=chance(), dtype=torch.float64)
    late, early = (posterior_score(target, x, mean, 1.0, t, chance(), moves=8).weight for t in (0.01, 3.0))
    assert late > 0.9 and early < 0.2


def test_slips_keeps_two_modes_apart_and_both():
    known = two_modes(8)
    reference = Normal(torch.zeros(8), 1.0)
    draws = slips(Target(known.log_prob, 8), reference, 200, chance(1), levels=24, moves=10, opening=4)
    assert abs(float(known.shares(draws.x)[:, 0].mean()) - 2 / 3) < 0.15
    apart = (draws.x[:, None] - known.modes).square().mean(2).min(1).values
    assert float(apart.mean()) == pytest.approx(0.05, rel=0.2)


def test_rdmc_does_not_run_away_among_many_modes():
    known = mog40(2)
    reference = Normal(torch.zeros(2), 25.0)
    draws = rdmc(Target(known.log_prob, 2), reference, 25, chance(), levels=20, opening=4)
    assert float(draws.x.abs().max()) < 60


def test_a_small_search_that_is_lost_among_many_modes_does_not_refuse_the_density():
    known = mog40(2)
    with pytest.raises(ConfigError, match="improper"):  # sixteen starts do not settle, with this seed
        search(Target(known.log_prob, 2), chance(0), n_starts=16)
    found = sample(known.log_prob, 2, 100, method="smc", runs=1, random_state=0)
    assert found.samples.shape == (100, 2)
