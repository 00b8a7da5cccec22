"""Modes of densities whose modes are known, and what is refused."""

import math

import pytest
import torch

from caminito._errors import ConfigError, NonFiniteError, ShapeError
from caminito.density import Target, find_modes
from caminito.density.climb import ascend, newton, precision, proximal
from caminito.testing import targets


def _covariance(dim, seed=0):
    a = torch.randn(dim, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return a @ a.T / dim + 0.1 * torch.eye(dim, dtype=torch.float64)


def _normal(mean, cov):
    law = torch.distributions.MultivariateNormal(mean, cov)
    return law.log_prob


def _matched(found, wanted):
    return torch.cdist(wanted, found).amin(1)


@pytest.mark.parametrize("dim", [1, 20])
def test_the_mode_of_a_normal_and_its_mass_are_exact(dim):
    mean, cov = torch.linspace(-30, 50, dim, dtype=torch.float64), _covariance(dim)
    modes = find_modes(lambda x: _normal(mean, cov)(x) + 7, dim, n_starts=32, random_state=0)
    assert len(modes) == 1
    assert torch.allclose(modes.x[0], mean, atol=1e-6)
    inverse = torch.linalg.inv(cov)
    assert torch.allclose(modes.hessian[0], inverse, atol=1e-6 * float(inverse.abs().max()))
    assert math.isclose(float(modes.log_evidence[0]), 7, abs_tol=1e-6)
    assert modes.missing == 0
    assert not modes.ridge.any()


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_nobody_has_to_say_what_the_scale_is(scale):
    target = targets.two_modes(4)
    modes = find_modes(lambda x: target.log_prob(x / scale), 4, n_starts=32, random_state=1)
    assert len(modes) == 2
    assert float(_matched(modes.x / scale, target.modes).max()) < 1e-6
    assert torch.allclose(modes.weights, torch.tensor([2 / 3, 1 / 3], dtype=torch.float64), atol=1e-6)
    assert math.isclose(float(modes.log_evidence.logsumexp(0)), 4 * math.log(scale), abs_tol=1e-6)


def test_hessians_of_a_mixture_are_those_of_its_parts_where_these_are_apart():
    target = targets.two_modes(6, weights=(0.2, 0.8), variances=(0.05, 0.02))
    modes = find_modes(target.log_prob, 6, n_starts=32, random_state=0)
    heavy, light = modes.hessian
    eye = torch.eye(6, dtype=torch.float64)
    assert torch.allclose(heavy, eye / 0.02, atol=1e-4)
    assert torch.allclose(light, eye / 0.05, atol=1e-4)
    assert torch.allclose(modes.weights, torch.tensor([0.8, 0.2], dtype=torch.float64), atol=1e-6)


def test_forty_of_forty_modes_in_ten_dimensions_in_few_calls():
    target = targets.mog40(10)
    modes = find_modes(target.log_prob, 10, n_starts=128, random_state=0)
    assert len(modes) == 40
    assert float(_matched(modes.x, target.modes).max()) < 1e-3
    assert modes.calls < 400
    assert modes.evaluations < 3e5


def test_of_overlapping_parts_every_maximum_is_one_and_is_stationary():
    target = targets.mog40(2)
    modes = find_modes(target.log_prob, 2, random_state=0)
    assert 33 <= len(modes) <= 40
    slope = Target(target.log_prob, 2).value_and_grad(modes.x)[1]
    assert float(slope.abs().max()) < 1e-6
    assert float(torch.linalg.eigvalsh(modes.hessian).min()) > 0
    heaviest = target.modes[_matched(modes.x, target.modes) > 1.5 * math.log1p(math.e)]
    assert len(heaviest) <= 1


def test_two_wells_of_a_stiff_chain_are_two_modes():
    target = targets.phi4(0.01, dim=20, spacing=0.02)
    modes = find_modes(target.log_prob, 20, n_starts=32, random_state=0)
    assert len(modes) == 2
    assert float(_matched(modes.x, target.modes).max()) < 1e-4


def test_small_bumps_on_a_wide_hill_are_one_mode():
    def log_prob(x):
        return (-0.5 * x**2 + 0.01 * torch.cos(60 * x)).sum(-1)

    modes = find_modes(log_prob, 1, n_starts=32, random_state=0)
    assert len(modes) == 1
    assert float(modes.x.abs()) < 1e-6


def test_basins_that_few_starts_meet_are_missed_by_about_what_is_estimated():
    target = targets.mog40(10)
    few = find_modes(target.log_prob, 10, n_starts=24, scale=20.0, random_state=0)
    assert 10 < len(few) < 24
    many = find_modes(target.log_prob, 10, n_starts=1024, scale=20.0, random_state=1)
    known = _matched(many.x, few.x) < 0.5
    share = float(many.hits[~(torch.cdist(few.x, many.x).amin(0) < 0.5)].sum() / many.hits.sum())
    assert share / 2 < few.missing < share * 2
    assert known.any()
    assert many.missing < 0.02


def test_rings_and_funnels_are_flagged():
    assert bool(find_modes(targets.rings().log_prob, 2, n_starts=32, random_state=0).ridge.all())
    assert bool(find_modes(targets.funnel(10).log_prob, 10, n_starts=32, random_state=0).ridge.all())


def test_a_numpy_function_with_a_gradient_gives_what_torch_gives():
    import numpy as np

    inverse = torch.linalg.inv(_covariance(3)).numpy()
    modes = find_modes(
        lambda x: -0.5 * np.einsum("nd,de,ne->n", x - 2, inverse, x - 2),
        3,
        gradient=lambda x: -(x - 2) @ inverse,
        n_starts=16,
        random_state=0,
    )
    assert torch.allclose(modes.x, torch.full((1, 3), 2.0, dtype=torch.float64), atol=1e-6)


def test_the_same_seed_gives_the_same_modes_and_another_other_hits():
    target = targets.two_modes(4)
    one, two, other = (find_modes(target.log_prob, 4, n_starts=32, random_state=s) for s in (3, 3, 4))
    assert torch.equal(one.x, two.x)
    assert torch.equal(one.hits, two.hits)
    assert not torch.equal(one.hits, other.hits)


def test_a_support_with_an_edge_is_no_trouble():
    def log_prob(x):
        return torch.where((x > 0.5).all(-1), -((x - 1) ** 2).sum(-1), -torch.inf)

    modes = find_modes(log_prob, 2, n_starts=16, random_state=0)
    assert torch.allclose(modes.x, torch.ones(1, 2, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize(
    "log_prob",
    [
        lambda x: x[:, 0],
        lambda x: (x**2).sum(-1),
        lambda x: -0.5 * torch.log1p((x**2).sum(-1)),
        lambda x: -(x[:, 0] ** 2),
    ],
    ids=["slope", "bowl", "slow tail", "gutter"],
)
def test_an_improper_density_is_refused_with_that_word(log_prob):
    with pytest.raises(ConfigError, match="improper"):
        find_modes(log_prob, 2, n_starts=16, random_state=0)


def test_heavy_but_proper_tails_are_not_refused():
    modes = find_modes(lambda x: -1.5 * torch.log1p((x**2).sum(-1)), 2, n_starts=16, random_state=0)
    assert torch.allclose(modes.x, torch.zeros(1, 2, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("log_prob", [lambda x: 0 * x.sum(-1), lambda x: torch.full((len(x),), 3.0)])
def test_a_constant_is_refused_with_that_word(log_prob):
    with pytest.raises(ConfigError, match="constant"):
        find_modes(log_prob, 2, random_state=0)


def test_a_uniform_density_on_a_box_is_a_ridge_but_no_constant():
    def log_prob(x):
        return torch.where((x.abs() < 20).all(-1), 0 * x.sum(-1), -torch.inf)

    modes = find_modes(log_prob, 2, n_starts=16, random_state=0)
    assert bool(modes.ridge.all())
    assert float(modes.x.abs().max()) < 20


def test_many_modes_much_narrower_than_the_starts_are_all_found():
    target = targets.mog40(6)
    modes = find_modes(lambda x: target.log_prob(x * 1e5), 6, n_starts=64, random_state=0)
    assert len(modes) >= 38


@pytest.mark.parametrize(
    ("log_prob", "error", "words"),
    [
        (lambda x: x.sum(-1) * torch.nan, NonFiniteError, "nan"),
        (lambda x: x.sum(-1) + torch.inf, NonFiniteError, "inf"),
        (lambda x: -(x**2).sum(), ShapeError, "one number for each"),
        (lambda x: (-(x**2)).detach().sum(-1), ConfigError, "gradient"),
        (lambda x: x.sum(-1) * 0 - torch.inf, ConfigError, "-inf"),
    ],
    ids=["nan", "inf", "scalar", "no gradient", "nowhere"],
)
def test_what_is_no_density_is_refused(log_prob, error, words):
    with pytest.raises(error, match=words):
        find_modes(log_prob, 2, n_starts=16, random_state=0)


@pytest.mark.parametrize(
    "options", [{"dim": 0}, {"n_starts": 0}, {"n_levels": 0}, {"inner": -1}, {"scale": 0.0}, {"scale": -1.0}]
)
def test_options_out_of_range_are_refused(options):
    options = {"dim": 2, **options}
    with pytest.raises(ConfigError, match=next(name for name in reversed(options))):
        find_modes(lambda x: -(x**2).sum(-1), random_state=0, **options)


def test_a_proximal_point_of_a_normal_is_the_shrunken_centre():
    target = Target(lambda x: -0.5 * (x**2).sum(-1) / 4, 3)
    centre = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    std = torch.linspace(0.5, 3, 50, dtype=torch.float64)
    x, _ = proximal(target, centre, centre, std, torch.zeros(50, dtype=torch.float64), steps=12)
    assert torch.allclose(x, centre * (4 / (4 + std**2))[:, None], atol=1e-8)


def test_climbing_never_ends_lower_and_arrives_at_an_ill_conditioned_maximum():
    scales = torch.logspace(-2, 1, 12, dtype=torch.float64)
    target = Target(lambda x: -0.5 * ((x / scales) ** 2).sum(-1), 12)
    x = torch.randn(20, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start = target.value(x)
    ends = ascend(target, x, torch.zeros(20, dtype=torch.float64), steps=400)
    assert bool((ends.value >= start).all())
    assert bool(ends.arrived.all())
    assert float(ends.value.min()) > -0.05
    polished, bent = newton(target, ends.x, ends.curvature)
    assert float((polished.x / scales).abs().max()) < 1e-6
    assert torch.allclose(bent * scales * scales[:, None], torch.eye(12, dtype=torch.float64), atol=1e-4)


def test_second_derivatives_are_those_of_a_quartic():
    target = Target(lambda x: -(x**4).sum(-1) / 4 - x[:, 0] * x[:, 1], 2)
    x = torch.tensor([[1.0, 2.0], [-0.5, 30.0]], dtype=torch.float64)
    found = precision(target, x, torch.tensor([12.0, 2700.0], dtype=torch.float64))
    wanted = 3 * torch.diag_embed(x**2) + torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    assert torch.allclose(found, wanted, rtol=1e-6, atol=1e-5)
