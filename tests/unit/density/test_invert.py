"""Noise undone: the laws of the founding text, closed forms, and what is refused."""

import math
import warnings

import numpy as np
import pytest
import torch

from caminito.density import ConstrainedTarget, diffuse_and_invert, invert
from caminito.density.denoising import tuned
from caminito.density.target import Target
from caminito.errors import ConfigError, CrowdedLadder, NonFiniteError, ShapeError
from caminito.testing import two_modes

N = 30_000


def standard(x):
    return -0.5 * (x**2).sum(-1)


def noisy(n, dim, tau, seed=0):
    return math.hypot(1, tau) * torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("tau", [1.0, math.sqrt(10)])
def test_the_law_of_the_argmax_of_the_text(tau):
    found = invert(standard, noisy(N, 1, tau), tau, starts=1).x
    law = 1 / (1 + tau**2)
    assert abs(float(found.var()) - law) < 4 * law * math.sqrt(2 / N)


def test_the_law_of_the_samples_of_the_text():
    """Whatever the noise, samples of x given o are samples of x."""
    found = invert(standard, noisy(N, 1, 3.0, 1), 3.0, "sample", sweeps=12, random_state=0).x
    assert abs(float(found.var()) - 1) < 4 * math.sqrt(2 / N)
    assert abs(float(found.mean())) < 4 / math.sqrt(N)
    assert abs(float((found**4).mean()) - 3) < 4 * math.sqrt(96 / N)


def gaussian(dim):
    turn = torch.linalg.qr(torch.randn(dim, dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    return turn @ torch.diag(torch.logspace(0.5, -2, dim, dtype=torch.float64)) @ turn.T


def test_a_normal_of_any_covariance_is_inverted_by_its_gain():
    dim, noise = 4, 0.7
    cov, eye = gaussian(dim), torch.eye(dim, dtype=torch.float64)
    inverse = torch.linalg.inv(cov)

    def log_prob(x):
        return -0.5 * ((x @ inverse) * x).sum(-1)

    o = noisy(600, dim, 1.0)
    gain = cov @ torch.linalg.inv(cov + noise**2 * eye)
    torch.testing.assert_close(invert(log_prob, o, noise).x, o @ gain.T, atol=1e-8, rtol=0)
    found = invert(log_prob, o[:20], noise, "mean", random_state=0, sweeps=20)
    off = (found.x - o[:20] @ gain.T) / found.std_error
    assert float(found.std_error.max()) < 0.03  # of 80 plain draws: up to 0.07
    assert float(off.abs().median()) < 1.5  # of t with 3 degrees: 0.76
    drawn = invert(log_prob, o, noise, "sample", random_state=1)
    apart = drawn.x - o @ gain.T
    law = cov - gain @ cov
    ratio = torch.linalg.eigvals(torch.linalg.solve(law, torch.cov(apart.T))).real
    assert bool(((ratio - 1).abs() < 4 * math.sqrt(2 / 600) + dim / 600).all())


def test_a_mixture_by_quadrature():
    known = two_modes(1, weights=(0.3, 0.7), variances=(0.05, 0.4))
    noise = 1.3
    o = torch.linspace(-3, 4, 15, dtype=torch.float64)[:, None]
    line = torch.linspace(-4, 6, 20001, dtype=torch.float64)
    law = known.log_prob(line[:, None]) - 0.5 * (line - o) ** 2 / noise**2
    share = torch.softmax(law, 1)
    mean, top = share @ line, line[law.argmax(1)]
    found = invert(known.log_prob, o, noise, random_state=0)
    torch.testing.assert_close(found.x[:, 0], top, atol=1e-3, rtol=0)
    off = []
    for seed in (2, 1, 0):
        found = invert(known.log_prob, o, noise, "mean", random_state=seed, chains=8, sweeps=60)
        off.append((found.x[:, 0] - mean) / found.std_error[:, 0])
    assert float(found.std_error.max()) < 0.1
    assert float(torch.stack(off).abs().max()) < 4  # at right a hill of 1 % of the mass, met by few rows or none
    assert 0.4 < float(torch.stack(off).abs().median()) < 0.9  # of a normal: 0.67
    one = o[7].expand(3000, 1)
    drawn = invert(known.log_prob, one, noise, "sample", random_state=2).x
    below = float((drawn < 0).double().mean())
    exact = float(share[7] @ (line < 0).double())
    assert abs(below - exact) < 4 * math.sqrt(exact * (1 - exact) / 3000)


def test_modes_far_apart_are_drawn_with_their_weights():
    known = two_modes(3)
    x = known.draw(400, 0)
    o = x + 2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn = invert(known.log_prob, o, 2.0, "sample", random_state=0, sweeps=25).x
    share = known.shares(drawn)[:, 0]
    assert abs(float(share.mean()) - 2 / 3) < 4 * math.sqrt(2 / 9 / 400)


def test_a_gradient_of_the_user_and_numpy():
    o = np.array([[1.0, -2.0], [0.5, 4.0]])
    found = invert(lambda x: -0.5 * np.square(x).sum(-1), o, 1.0, gradient=lambda x: -x)
    np.testing.assert_allclose(found.x.numpy(), o / 2, atol=1e-10)


def test_the_edge_of_a_support_is_not_left():
    def exponential(x):
        return torch.where(x[:, 0] >= 0, -x[:, 0], -torch.inf)

    o = torch.linspace(-2, 3, 50, dtype=torch.float64)[:, None]
    assert bool((invert(exponential, o, 1.0, "sample", random_state=0).x >= 0).all())
    assert bool((invert(exponential, o, 1.0, "map", random_state=0).x >= 0).all())
    mean = invert(exponential, o, 1.0, "mean", chains=8, sweeps=40, random_state=0)
    shifted = o - 1  # of a normal cut at 0
    exact = shifted + torch.exp(-0.5 * shifted**2) / math.sqrt(2 * math.pi) / torch.special.ndtr(shifted)
    assert bool(((mean.x - exact).abs() < 5 * mean.std_error + 0.01).all())
    assert float(mean.std_error.max()) < 0.2


def test_the_same_seed_gives_the_same_points():
    o = noisy(20, 2, 1.0)
    for how in ("map", "mean"):
        a, b = (invert(two_modes(2).log_prob, o, 1.0, how, sweeps=2, random_state=3).x for _ in range(2))
        assert torch.equal(a, b)


@pytest.mark.parametrize(("steps", "how", "law"), [(1, "map", 1 / 10), (1, "sample", 1.0), (6, "sample", 1.0)])
def test_diffuse_and_invert_has_the_law_of_its_way(steps, how, law):
    found = diffuse_and_invert(standard, 1, 2000, 3.0, steps, how=how, std=1.0, random_state=0)
    assert found.shape == (2000, 1)
    assert abs(float(found.var()) - law) < 4.5 * law * math.sqrt(2 / 2000)


def test_many_small_jumps_are_one_large_one_for_a_normal():
    found = diffuse_and_invert(standard, 1, 300, 3.0, 20, std=1.0, random_state=0)
    once = diffuse_and_invert(standard, 1, 300, 3.0, 1, std=1.0, random_state=0)
    torch.testing.assert_close(found, once, atol=1e-6, rtol=0)


def test_a_ladder_has_few_rungs_where_it_needs_none():
    target, o = Target(standard, 1), noisy(100, 1, 0.1)
    chance = torch.Generator().manual_seed(0)
    assert len(tuned(target, o, 0.1, chance).beta) == 2
    assert len(tuned(Target(two_modes(4).log_prob, 4), noisy(64, 4, 2.0), 2.0, chance).beta) > 4


def test_a_ladder_that_cannot_be_as_long_as_it_should_is_told(monkeypatch):
    monkeypatch.setattr("caminito.density.denoising._RUNGS", 3)
    with pytest.warns(CrowdedLadder, match="rungs"):
        invert(two_modes(4).log_prob, noisy(20, 4, 2.0), 2.0, "sample", sweeps=1, random_state=0)
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error", CrowdedLadder)
        invert(two_modes(4).log_prob, noisy(20, 4, 2.0), 2.0, "sample", sweeps=1, random_state=0)


@pytest.mark.parametrize("how", ["map", "mean", "sample"])
@pytest.mark.parametrize(
    ("function", "error", "word"),
    [
        (lambda x: (x * torch.nan).sum(-1), NonFiniteError, "nan"),
        (lambda x: x.sum(-1) + torch.inf, NonFiniteError, "inf"),
        (lambda x: x.sum(), ShapeError, "one number for each"),
        (lambda x: torch.zeros(len(x)), ConfigError, "gradient"),
        (lambda x: -np.square(x.numpy()).sum(-1), ConfigError, "gradient"),
        (lambda x: x.sum(-1) * 0 - torch.inf, NonFiniteError, "-inf"),
    ],
)
def test_what_is_no_log_density_is_refused(function, error, word, how):
    with pytest.raises(error, match=word):
        invert(function, torch.ones(5, 2), 1.0, how, random_state=0)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"noise": 0.0}, ConfigError, "noise"),
        ({"noise": -1.0}, ConfigError, "noise"),
        ({"noise": math.nan}, ConfigError, "noise"),
        ({"how": "mode"}, ConfigError, "how"),
        ({"starts": 0}, ConfigError, "starts"),
        ({"chains": 1}, ConfigError, "chains"),
        ({"sweeps": 0}, ConfigError, "sweeps"),
        ({"o": torch.ones(3)}, ShapeError, "one dimension"),
        ({"o": "kitten"}, ShapeError, "numbers"),
        ({"o": torch.ones(0, 2)}, ShapeError, "points"),
        ({"o": torch.full((2, 2), torch.nan)}, NonFiniteError, "NaN"),
    ],
)
def test_options_that_cannot_be_are_refused(options, error, word):
    given = {"log_prob": standard, "o": torch.ones(3, 2), "noise": 1.0, **options}
    with pytest.raises(error, match=word):
        invert(**given)


@pytest.mark.parametrize(
    "options", [{"dim": 0}, {"n": 0}, {"steps": 0}, {"std": -1.0}, {"noise": 0.0}, {"how": "median"}]
)
def test_diffuse_and_invert_refuses_what_cannot_be(options):
    given = {"dim": 2, "n": 3, "noise": 1.0, **options}
    with pytest.raises(ConfigError, match=next(iter(options))):
        diffuse_and_invert(standard, **given)


def test_a_constrained_density_is_inverted_without_a_test_of_its_bounds():
    """Gamma(3), in z = log x: p(z) = exp(3 z - e^z) up to a constant, highest at z = log 3."""
    target = ConstrainedTarget(lambda x: 2 * torch.log(x[:, 0]) - x[:, 0], 1, torch.distributions.constraints.positive)
    z = invert(target.log_prob, torch.zeros(2, 1), 100.0, random_state=0).x
    assert float(z[0]) == pytest.approx(math.log(3), abs=1e-3)
