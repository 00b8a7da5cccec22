"""The variational bound: entropy plus what the prior misses, on Gaussian data, for any process and grid."""

import itertools
import math

import pytest
import torch

from caminito._errors import ConfigError, GridError
from caminito.denoiser import Denoiser, GaussianDenoiser, MixtureDenoiser, from_x0
from caminito.process import EDM, VE, VP, Chain, Cosine, Normal, RectifiedFlow
from caminito.process import grid as grids
from caminito.sampling import Levels, variational_bound

STANDARD = Normal(torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64))
CORNERS = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)


class Corners:
    """The noise of the four corners: with x0 = m +- sqrt(q), the mean over rows is exact for all quadratics."""

    def normal(self, step, like):
        return CORNERS[:, 1].reshape(-1, *([1] * (like.ndim - 1))).expand_as(like).to(like)


def expected(denoiser, mean, var, grid=None, **options):
    """Mean of the bound over N(mean, var) data and over noise: all its terms are quadratic in both."""
    m, q = (torch.as_tensor(v, dtype=torch.float64).reshape(-1) for v in (mean, var))
    x0 = m + CORNERS[:, :1] * torch.sqrt(q)
    return float(variational_bound(denoiser, x0, grid, noise=Corners(), **options).total.mean())


def entropy(var):
    return float(0.5 * torch.log(2 * math.pi * math.e * torch.as_tensor(var, dtype=torch.float64)).sum())


def mismatch(process, mean, var, t):
    """KL(q(x_t) || N(0, I))."""
    alpha, sigma = process.kernel(t)
    excess = alpha**2 * (torch.as_tensor(var).double() - 1) + (alpha**2 + sigma**2 - 1)
    return float(0.5 * ((alpha * torch.as_tensor(mean).double()) ** 2 + excess - torch.log1p(excess)).sum())


TABLE = {  # schedule, variance of the data: entropy, small, large, optimal; nats
    ("linear", 1.0): (1.41893853, 1.99753338, 1.41893853, 1.41893853),
    ("linear", 0.25): (0.72579135, 1.29571728, 0.72688361, 0.72579135),
    ("linear", 0.01): (-0.88364656, -0.38242323, -0.86405870, -0.88364656),
    ("cosine", 0.25): (0.72579135, 1.25578477, 0.72640333, 0.72579135),
}


@pytest.mark.parametrize(("name", "q"), TABLE)
def test_bound_of_a_thousand_steps_to_the_printed_digits(name, q):
    """Reference values computed with independent code; the optimal variance leaves what the prior misses alone."""
    chain = Chain.ddpm(name)
    denoiser = GaussianDenoiser(torch.zeros(1), q, chain)
    assert abs(entropy(q) - TABLE[name, q][0]) <= 0.5e-8
    for variance, printed in zip(("small", "large", "posterior"), TABLE[name, q][1:]):
        got = expected(denoiser, 0.0, q, variance=variance, prior=STANDARD)
        assert abs(got - printed) <= 0.5e-8, variance
    # a thousand terms of order one, each to a few units of rounding
    assert abs(got - entropy(q) - mismatch(chain, 0.0, q, 1000.0)) < 1e-12


def test_published_gap_of_the_linear_table_is_the_divergence_of_its_end():
    for q, gap in ((0.25, 2.291e-10), (0.01, 3.991e-10)):
        assert abs(mismatch(Chain.ddpm("linear"), 0.0, q, 1000.0) - gap) <= 0.5e-13


TURNING = Chain([0.0, 0.2, 1.5, -0.3, 0.4], [0.0, 0.3, 0.5, 0.8, 0.6])  # begins without noise; alpha < 0 after 3
FORGETTING = Chain([0.1, 0.3, 1.0, 0.5], [0.4, 0.5, 1.0, 0.7])  # alpha = 0 after 3
PAUSING = Chain([0.1, 0.5, 0.2], [0.5, 0.0, 0.4])  # a step that only scales
ERASED = Chain([0.1, 1.0, 0.0], [0.5, 0.0, 0.7])  # signal and noise both gone after 2


def visited(process, steps):
    return None if process.is_discrete else grids.karras(process, steps)


WALKS = [
    *((chain, None) for chain in (TURNING, FORGETTING, PAUSING, ERASED)),
    (TURNING, grids.explicit(TURNING, [5.0, 3.0, 2.0, 0.0])),
    (Chain.ddpm("scaled-linear", zero_snr=True), grids.trailing(Chain.ddpm("scaled-linear"), 7)),
    *((process, grids.grid(process, steps)) for process in (VP(), Cosine(), VE(), EDM()) for steps in (2, 9)),
    (RectifiedFlow(), grids.uniform(RectifiedFlow(), 6)),
]


@pytest.mark.parametrize(("process", "grid"), WALKS, ids=lambda v: type(v).__name__)
def test_least_bound_of_gaussian_data_is_their_entropy_on_any_grid_of_any_process(process, grid):
    mean, var = torch.tensor([1.5, -0.5, 0.0]), torch.tensor([1.0, 0.25, 30.0])
    denoiser = GaussianDenoiser(mean, var, process)
    got = expected(denoiser, mean, var, grid, variance="posterior")
    assert abs(got - entropy(var)) < 1e-11  # rounding, of variances up to 30 over bridges down to 4e-6
    top = process.t_max if grid is None else grid[0]
    got = expected(denoiser, mean, var, grid, variance="posterior", prior=STANDARD)
    missed = mismatch(process, mean, var, top)
    assert abs(got - entropy(var) - missed) < 1e-11 * (1 + missed)


@pytest.mark.parametrize(("process", "grid"), WALKS, ids=lambda v: type(v).__name__)
def test_no_other_variance_has_a_smaller_bound(process, grid):
    """Term by term: each fixed variance is one number in place of the best one."""
    mean, var = torch.tensor([0.3, 0.0]), torch.tensor([0.25, 2.0])
    denoiser = GaussianDenoiser(mean, var, process)
    best = expected(denoiser, mean, var, grid, variance="posterior")
    for variance in ("small", "large"):
        assert expected(denoiser, mean, var, grid, variance=variance) > best - 1e-10, variance


def test_bound_along_a_grid_is_that_of_the_chain_that_visits_it():
    """Two ways to the same kernels: closed forms in log-SNR, and products of steps."""
    times = torch.tensor([1.0, 0.7, 0.4, 0.2, 0.05, 0.0], dtype=torch.float64)
    x0 = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for process, variance in itertools.product((VP(), VE(), RectifiedFlow()), ("small", "large", "posterior")):
        chain = Chain.discretise(process, times.flip(0))
        walked = variational_bound(GaussianDenoiser(torch.zeros(3), 0.5, process), x0, times, variance=variance)
        stepped = variational_bound(GaussianDenoiser(torch.zeros(3), 0.5, chain), x0, variance=variance)
        assert torch.allclose(walked.total, stepped.total, rtol=1e-11, atol=1e-11)
        assert torch.allclose(walked.steps, stepped.steps, rtol=1e-9, atol=1e-11)


def test_drawn_bound_agrees_with_its_expectation():
    chain, q = Chain.ddpm("linear", steps=40), 0.25
    denoiser = GaussianDenoiser(torch.tensor([0.5]), q, chain)
    x0 = 0.5 + math.sqrt(q) * torch.randn(4000, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for variance in ("small", "large", "posterior"):
        total = variational_bound(denoiser, x0, variance=variance, seed=3).total
        exact = expected(denoiser, 0.5, q, variance=variance)
        assert abs(float(total.mean()) - exact) < 5 * float(total.std()) / math.sqrt(len(x0)), variance


def test_bound_of_a_mixture_lies_above_its_own_negative_log_density_and_falls_with_the_steps():
    means = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    x0 = means[torch.randint(2, (2000,), generator=generator)]
    x0 = x0 + 0.3 * torch.randn(2000, 1, generator=generator, dtype=torch.float64)
    process, gaps = VP(), []
    denoiser = MixtureDenoiser(torch.tensor([0.5, 0.5]), means, 0.09, process)
    for steps in (8, 32):
        bound = variational_bound(denoiser, x0, grids.karras(process, steps), variance="posterior")
        gap = bound.total + denoiser.log_marginal(x0, 0.0)
        gaps.append(float(gap.mean()))
        assert gaps[-1] > -5 * float(gap.std()) / math.sqrt(len(gap))
    assert gaps[1] < gaps[0] / 2


def test_parts_are_one_column_a_step_and_sum_to_the_total():
    denoiser = GaussianDenoiser(torch.zeros(2, 3), 1.0, Chain.ddpm("cosine", steps=5))
    bound = variational_bound(denoiser, torch.ones(4, 2, 3))
    assert bound.steps.shape == (4, 4) and bound.times.tolist() == [5.0, 4.0, 3.0, 2.0]
    assert {v.dtype for v in (bound.prior, bound.steps, bound.reconstruction, bound.total)} == {torch.float64}
    assert torch.equal(bound.total, bound.prior + bound.steps.sum(1) + bound.reconstruction)


def test_item_has_the_same_bound_in_any_batch():
    denoiser = GaussianDenoiser(torch.zeros(3), torch.tensor([0.1, 1.0, 4.0]), Chain.ddpm("cosine", steps=12))
    x0 = torch.randn(7, 3, generator=torch.Generator().manual_seed(2))
    for variance in ("small", "large", "posterior"):
        whole = variational_bound(denoiser, x0, variance=variance, seed=5, draws=2)
        parts = [
            variational_bound(denoiser, x0[i : i + 3], variance=variance, seed=5, draws=2, first=i) for i in (0, 3, 6)
        ]
        assert torch.equal(torch.cat([part.total for part in parts]), whole.total)


def test_draws_are_averaged_and_more_of_them_begin_with_the_same():
    denoiser = GaussianDenoiser(torch.zeros(1), 0.5, Chain.ddpm("cosine", steps=10))
    x0 = torch.ones(3, 1, dtype=torch.float64)
    one, two = (variational_bound(denoiser, x0, draws=n).steps for n in (1, 2))
    second = 2 * two - one
    assert bool((second != one).all()) and bool((second >= 0).all())


def test_conditions_reach_their_rows():
    class Told(Denoiser):
        process = Chain.ddpm("cosine", steps=8)
        event_shape = (1,)

        def mean(self, x_t, t, cond=None):
            return cond["centre"].expand_as(x_t)

        def var(self, x_t, t, cond=None):
            return cond["var"].expand_as(x_t)

    x0 = torch.tensor([[0.1], [0.2]]).double()
    rows = {"centre": torch.tensor([[0.1], [0.9]]).to(x0), "var": torch.tensor([[0.0625], [0.5]]).to(x0)}
    both = variational_bound(Told(), x0, variance="posterior", cond=rows)
    for i in range(2):
        cond = {name: value[i : i + 1] for name, value in rows.items()}
        alone = variational_bound(Told(), x0[i : i + 1], variance="posterior", cond=cond, first=i)
        assert torch.equal(alone.total[0], both.total[i])
    assert float(both.reconstruction[0]) == pytest.approx(0.5 * math.log(2 * math.pi * 0.0625), abs=1e-12)


def test_masses_of_all_levels_sum_to_one():
    levels = Levels(-1.0, 1.0, 256)
    x = torch.linspace(-1, 1, 256, dtype=torch.float64)
    for mean, std in ((0.0, 0.01), (0.999, 1e-3), (-3.0, 0.2), (0.2, 50.0)):
        total = torch.logsumexp(levels.log_prob(x, torch.full_like(x, mean), torch.full_like(x, std)), 0)
        assert abs(float(total)) < 1e-13


def test_mass_of_a_narrow_cell_is_its_density_times_its_width():
    """Next term: width^2 / 24 of the second derivative over the density, z^2 - 1 in units of std."""
    width = 2e-5
    levels = Levels(-1.0, 1.0, 100_001)
    x = torch.tensor([-0.5, 0.0, 0.25, 0.7], dtype=torch.float64)
    mean, std = torch.full_like(x, 0.1), torch.full_like(x, 0.05)
    density = torch.distributions.Normal(mean, std).log_prob(x) + math.log(width)
    z = (x - mean) / std
    after = (z**2 - 1) * (width / std) ** 2 / 24
    # rounding of the cell's ends, 1e-16 / width, times the hazard z
    assert torch.allclose(levels.log_prob(x, mean, std), density + after, rtol=0, atol=5e-10)


def test_mass_far_in_a_tail_and_about_the_centre_to_many_digits():
    mpmath = pytest.importorskip("mpmath")
    levels = Levels(-1.0, 1.0, 256)
    half = 1 / 255
    with mpmath.workdps(60):
        for mean, std, index in ((0.9, 0.01, 20), (-0.8, 0.02, 255), (0.3, 0.004, 165), (0.5, 0.3, 0), (0.0, 2.0, 127)):
            x = -1 + 2 * index / 255
            a = -mpmath.inf if index == 0 else (mpmath.mpf(x) - half - mean) / std
            b = mpmath.inf if index == 255 else (mpmath.mpf(x) + half - mean) / std
            a, b = (-b, -a) if a > 0 else (a, b)
            exact = float(mpmath.log(mpmath.ncdf(b) - mpmath.ncdf(a)))
            got = float(levels.log_prob(*(torch.tensor([v], dtype=torch.float64) for v in (x, mean, std))))
            assert got == pytest.approx(exact, rel=1e-11), (mean, std, index)


def test_levels_of_each_channel_have_units_of_their_own():
    """L_0 of scaled data with scaled levels is that of the data: a probability has no unit."""
    scale = torch.tensor([1.0, 3.0], dtype=torch.float64).reshape(2, 1)
    x0 = torch.tensor([[[-1.0, 0.2], [1.0, -0.6]]], dtype=torch.float64)
    values = []
    for c in (torch.ones_like(scale), scale):
        process = Chain([0.0, 0.0], [0.1, 0.1])
        denoiser = from_x0(lambda x, t, cond, c=c: 0.9 * c * x0, process)
        denoiser.var = lambda x, t, cond=None, c=c: (0.1 * c) ** 2 * torch.ones_like(x)
        levels = Levels(-1.0 * c, 1.0 * c, 11)
        values.append(variational_bound(denoiser, c * x0, variance="posterior", levels=levels).reconstruction)
    assert torch.allclose(values[0], values[1], rtol=1e-12, atol=0) and float(values[0]) > 0


def test_a_count_of_levels_means_those_from_minus_one_to_one():
    denoiser = GaussianDenoiser(torch.zeros(4), 0.2, Chain.ddpm("cosine", steps=6))
    x0 = torch.tensor([[-1.0, 1.0, 1 / 255, -3 / 255]], dtype=torch.float64)
    named = variational_bound(denoiser, x0, levels=256).total
    assert torch.equal(named, variational_bound(denoiser, x0, levels=Levels(-1.0, 1.0, 256)).total)


def test_a_wrong_question_is_told_what_to_ask():
    chain, x0 = Chain.ddpm("cosine", steps=4), torch.zeros(1, 1)
    exact = GaussianDenoiser(torch.zeros(1), 1.0, chain)
    with pytest.raises(ConfigError, match="expected 'small', 'large' or 'posterior', got 'tiny'"):
        variational_bound(exact, x0, variance="tiny")
    with pytest.raises(ConfigError, match="no steps of its own"):
        variational_bound(GaussianDenoiser(torch.zeros(1), 1.0, VP()), x0)
    with pytest.raises(ConfigError, match="a single step.*'large' or 'posterior'"):
        variational_bound(exact, x0, torch.tensor([4.0, 0.0]))
    with pytest.raises(ConfigError, match="knows only its mean"):
        variational_bound(from_x0(lambda x, t, cond: x, chain), x0, variance="posterior")
    with pytest.raises(GridError, match="a last time 0"):
        variational_bound(exact, x0, torch.tensor([4.0, 2.0]))
    with pytest.raises(ConfigError, match="draws: expected a whole number >= 1"):
        variational_bound(exact, x0, draws=0)
    with pytest.raises(ConfigError, match="at least 2 from low < high"):
        variational_bound(exact, x0, levels=1)
