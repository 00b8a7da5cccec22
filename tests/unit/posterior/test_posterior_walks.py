"""Walks that draw, copy or go back: what each of their steps leaves as it is, and where they end."""

import itertools
import math

import pytest
import torch

from caminito.denoiser import GaussianDenoiser
from caminito.errors import ConfigError
from caminito.posterior import Blur, Identity, Linear, Select, daps, dps, observe, repaint, split_gibbs
from caminito.posterior.walks import Draws, below, levels, reverse, split
from caminito.process import VE, VP, Chain, RectifiedFlow
from caminito.process import grid as grids
from caminito.testing import Mixture

NAN = float("nan")
VPS = VP()
CHAIN = Chain.ddpm("cosine", steps=40)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


ROOT = randn(3, 3, seed=5)
PRIOR = Mixture(
    torch.ones(1, dtype=torch.float64),
    randn(1, 3, seed=11),
    (ROOT @ ROOT.T / 3 + 0.2 * torch.eye(3, dtype=torch.float64))[None],
)
MATRIX, NOISE = randn(2, 3, seed=8), torch.tensor([[0.09, 0.02], [0.02, 0.06]], dtype=torch.float64)
Y = torch.tensor([1.0, -0.5], dtype=torch.float64)


def prior(process=VPS):
    return GaussianDenoiser(PRIOR.means[0], PRIOR.covs[0], process)


def far(x, mean, cov):
    """Standard errors between the moments of rows and those of a normal law: the largest of means, of covariances."""
    n, variances = len(x), torch.diagonal(cov)
    apart = x - mean
    means = apart.mean(0).abs() / torch.sqrt(variances / n)
    error = torch.sqrt((variances[:, None] * variances + cov**2) / n)
    return float(means.max()), float(((apart.T @ apart / n - cov).abs() / error).max())


@pytest.mark.parametrize("level", [0.1, 1.0, 10.0])
def test_a_split_is_a_draw_of_the_product_of_two_normals(level):
    """N(z; x, l^2 I) N(y; A z, R) has precision I / l^2 + A^T R^-1 A."""
    n, x = 20_000, torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    y = torch.tensor([1.0, -0.5, NAN], dtype=torch.float64)
    matrix = torch.cat([MATRIX, torch.ones(1, 3, dtype=torch.float64)])
    noise = torch.block_diag(NOISE, torch.ones(1, 1, dtype=torch.float64))
    seen = observe(y, Linear(matrix), noise, (3,), dtype=torch.float64)
    draws = Draws(1)
    z = split(seen, x.expand(n, 3), level, draws)
    precision = torch.eye(3, dtype=torch.float64) / level**2 + MATRIX.T @ torch.linalg.solve(NOISE, MATRIX)
    cov = torch.linalg.inv(precision)
    means, covs = far(z, cov @ (x / level**2 + MATRIX.T @ torch.linalg.solve(NOISE, Y)), cov)
    assert means < 4 and covs < 4.5
    assert draws.base == 2  # tables of draws are used once


@pytest.mark.parametrize("process", [VPS, VE(), RectifiedFlow(), CHAIN], ids=["VP", "VE", "flow", "chain"])
def test_the_way_back_from_a_level_is_a_draw_of_the_data_given_their_noisy_self(process):
    wanted = 0.5 if not process.is_discrete else levels(prior(process), seen_all(), 30)[12]
    z = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
    x = reverse(prior(process), z.expand(6000, 3), wanted, 40, Draws(2))
    after, _ = PRIOR.given(z, torch.eye(3, dtype=torch.float64), wanted**2 * torch.eye(3, dtype=torch.float64))
    means, covs = far(x, after.means[0], after.covs[0])
    assert means < 4.5 and covs < 5  # with what 40 steps, or those that a chain has, leave


def seen_all():
    return observe(torch.zeros(3), Identity(), 0.3, (3,), dtype=torch.float64)


def test_the_way_back_from_infinity_is_a_draw_of_the_data():
    x = reverse(prior(), torch.empty(6000, 3, dtype=torch.float64), math.inf, 60, Draws(2))
    means, covs = far(x, PRIOR.means[0], PRIOR.covs[0])
    assert means < 4.5 and covs < 5


def test_a_sweep_at_one_level_leaves_the_posterior_unchanged():
    """At noise level l it is that of y = A x + N(0, R + l^2 A A^T): draws of it stay draws of it, others move there."""
    n, level = 6000, 0.3
    seen = observe(Y, Linear(MATRIX), NOISE, (3,), dtype=torch.float64)
    after, _ = PRIOR.given(Y, MATRIX, NOISE + level**2 * MATRIX @ MATRIX.T)
    exact = after.means[0] + randn(n, 3, seed=1) @ torch.linalg.cholesky(after.covs[0]).T
    begun = PRIOR.means[0] + randn(n, 3, seed=2) @ torch.linalg.cholesky(PRIOR.covs[0]).T
    assert max(far(exact, after.means[0], after.covs[0])) < 4 and min(far(begun, after.means[0], after.covs[0])) > 20
    draws = Draws(3)

    def sweep(x):
        out = reverse(prior(), split(seen, x, level, draws), level, 30, draws)
        draws.next(31)
        return out

    for _ in range(2):
        exact = sweep(exact)
    means, covs = far(exact, after.means[0], after.covs[0])
    assert means < 4.5 and covs < 5
    gaps = [far(begun, after.means[0], after.covs[0])[0]]
    for _ in range(3):
        begun = sweep(begun)
        gaps.append(far(begun, after.means[0], after.covs[0])[0])
    assert gaps[0] > gaps[1] > gaps[2] > gaps[3]


@pytest.mark.parametrize("process", [VPS, VE(sigma_max=2.0), CHAIN, RectifiedFlow()], ids=["VP", "VE", "chain", "flow"])
def test_levels_fall_and_are_levels_that_the_process_has(process):
    denoiser = prior(process)
    found = levels(denoiser, observe(Y, Linear(MATRIX), NOISE, (3,)), 20)
    assert all(a > b > 0 for a, b in itertools.pairwise(found))
    level = torch.tensor(found, dtype=torch.float64)
    t = process.time(-2 * torch.log(level)).clamp(max=process.t_max)
    alpha, sigma = process.kernel(t)
    torch.testing.assert_close(sigma / alpha.abs(), level, rtol=1e-9, atol=0)
    assert float(t.min()) >= (1 if process.is_discrete else 0)
    if process is VPS:
        spread = math.sqrt(float(denoiser.data_moments[1].mean()))
        assert found[0] == pytest.approx(10 * spread) and found[-1] < 0.3 * math.sqrt(0.06)
    assert len(below(denoiser, t[0], 8)) == 9  # also of a chain, whose steps end where its times do
    for start in (t[0], t[-1]):
        way = below(denoiser, start, 8)
        assert float(way[0]) == float(start) and bool((way.diff() < 0).all()) and float(way[-1]) == 0 and len(way) <= 9


def test_levels_know_how_well_an_operator_sees():
    """A difference takes a constant to 0, and still sees: its levels go down to its noise."""
    by_difference = levels(prior(), observe(torch.zeros(2), Linear(lambda x: x.diff(dim=1)), 0.03, (3,)), 10)
    assert 0.002 < by_difference[-1] < 0.02
    strong = levels(prior(), observe(torch.zeros(3), Linear(5 * torch.eye(3)), 0.3, (3,)), 10)
    weak = levels(prior(), observe(torch.zeros(3), Linear(torch.eye(3)), 0.3, (3,)), 10)
    assert weak[-1] == pytest.approx(0.1) and strong[-1] == pytest.approx(0.02)


def test_repaint_keeps_what_is_seen_exactly():
    y = torch.tensor([[0.7, NAN, -0.2], [NAN, NAN, 1.5]], dtype=torch.float64)
    seen = observe(y, Identity(), 0.3, (3,), dtype=torch.float64)
    for process in (VPS, CHAIN):
        x = repaint(prior(process), seen, 200, grids.grid(process, 20), times_again=2)
        x = x.reshape(2, 200, 3)
        for p in range(2):
            known = ~torch.isnan(y[p])
            assert torch.equal(x[p][:, known], y[p][known].expand(200, -1))
            assert bool((x[p][:, ~known].std(0) > 0.1).all())
    cov, mean = PRIOR.covs[0], PRIOR.means[0]
    slope = cov[1, [0, 2]] @ torch.linalg.inv(cov[[0, 2]][:, [0, 2]])
    expected = mean[1] + slope @ (y[0, [0, 2]] - mean[[0, 2]])
    plain = repaint(
        prior(), observe(y[0], Identity(), 0.3, (3,), dtype=torch.float64), 200, grids.grid(VPS, 20), times_again=1
    )
    again = repaint(
        prior(), observe(y[0], Identity(), 0.3, (3,), dtype=torch.float64), 200, grids.grid(VPS, 20), times_again=8
    )
    off = [abs(float(x[:, 1].mean() - expected)) for x in (plain, again)]
    assert off[1] < 4 * math.sqrt(float(cov[1, 1] - slope @ cov[[0, 2], 1]) / 200) and off[1] < off[0] + 0.02


@pytest.mark.parametrize("process", [VPS, VE(), CHAIN, RectifiedFlow()], ids=["VP", "VE", "chain", "flow"])
def test_dps_daps_and_split_gibbs_move_towards_what_was_seen(process):
    seen = observe(Y, Linear(MATRIX), NOISE, (3,), dtype=torch.float64)
    denoiser, grid = prior(process), grids.grid(process, 30)
    begun = (Y - PRIOR.means[0] @ MATRIX.T).norm()  # of the prior mean
    for x in (dps(denoiser, seen, 100, grid), daps(denoiser, seen, 100, grid), split_gibbs(denoiser, seen, 100)):
        missed = (Y - x.mean(0) @ MATRIX.T).norm()
        assert bool(torch.isfinite(x).all()) and float(missed) < 0.35 * float(begun)
        assert bool((x.std(0) > 0.05).all())


WIDE = GaussianDenoiser(torch.zeros(2), 25.0, VE(sigma_max=300.0))
TWO, TWO_NOISE = torch.tensor([3.0, -4.0], dtype=torch.float64), torch.tensor([0.04, 0.25], dtype=torch.float64)


def test_daps_has_the_noise_of_the_observation_where_the_prior_says_nothing():
    seen = observe(TWO, Identity(), torch.diag(TWO_NOISE), (2,), dtype=torch.float64)
    x = daps(WIDE, seen, 4000, grids.grid(WIDE.process, 30), inner=3)
    var = 1 / (1 / TWO_NOISE + 1 / 25)
    means, covs = far(x, TWO * var / TWO_NOISE, torch.diag(var))
    assert means < 4.5 and covs < 5


def test_split_gibbs_is_the_recursion_of_its_sweeps():
    """Entries apart and all normal: each sweep takes a normal law to one that is known."""
    seen = observe(TWO, Identity(), torch.diag(TWO_NOISE), (2,), dtype=torch.float64)
    x = split_gibbs(WIDE, seen, 4000, count=12, inner=30)
    mean, var = torch.zeros(2, dtype=torch.float64), torch.full((2,), 25.0, dtype=torch.float64)
    for level in levels(WIDE, seen, 12):
        share = TWO_NOISE / (TWO_NOISE + level**2)  # of x in z; the rest is of y
        mean, var = share * mean + (1 - share) * TWO, share**2 * var + share * level**2
        kept = 25 / (25 + level**2)
        mean, var = kept * mean, kept**2 * var + kept * level**2
    means, covs = far(x, mean, torch.diag(var))
    assert means < 4.5 and covs < 5


def test_walks_tell_their_steps_and_refuse_what_is_not_theirs():
    seen, heard = observe(torch.ones(3), Identity(), 0.3, (3,)), []
    walks = {
        "repaint": lambda told: repaint(prior(), seen, 2, grids.grid(VPS, 4), progress=told),
        "dps": lambda told: dps(prior(), seen, 2, grids.grid(VPS, 4), progress=told),
        "daps": lambda told: daps(prior(), seen, 2, grids.grid(VPS, 4), progress=told),
        "split": lambda told: split_gibbs(prior(), seen, 2, count=4, inner=2, progress=told),
    }
    for walk in walks.values():
        heard.clear()
        walk(lambda done, total: heard.append((done, total)))
        assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]
    grid = grids.grid(VPS, 4)
    blurred = observe(torch.ones(1, 4), Blur(1.0), 0.3, (1, 4))
    for make, message in (
        (lambda: repaint(prior(), observe(torch.ones(2), Select([0, 1]), 0.3, (3,)), 2, grid), "expected a mask"),
        (lambda: repaint(GaussianDenoiser(torch.zeros(1, 4), 1.0, VPS), blurred, 2, grid), "expected a mask"),
        (lambda: repaint(prior(), seen, 2, grid, times_again=0), "times_again: expected a whole number >= 1"),
        (lambda: dps(prior(), seen, 2, grid, scale=0), "scale: expected a number > 0"),
        (lambda: daps(prior(), seen, 2, grid, inner=0), "inner"),
        (lambda: split_gibbs(prior(), seen, 2, inner=0), "inner"),
        (lambda: split_gibbs(prior(), seen, 2, count=1.5), "count"),
    ):
        with pytest.raises(ConfigError, match=message):
            make()


def test_each_table_of_draws_is_read_from_a_row_on():
    draws, like = Draws(4, base=3), torch.empty(5, 2, dtype=torch.float64)
    whole = draws.normal(2, like)
    assert torch.equal(draws.from_row(3).normal(2, like[:2]), whole[3:])
    assert torch.equal(Draws(4, base=5).taken(like), whole) and not torch.equal(Draws(4).taken(like), whole)
    draws.next(2)
    assert draws.base == 5
