"""Samples, constants and weights of densities whose answers are known; warnings where they cannot be trusted."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch.distributions import constraints

from caminito._errors import (
    CaminitoWarning,
    ConfigError,
    DegenerateWeights,
    FellBack,
    NonFiniteError,
    RunsDisagree,
    ShapeError,
    UndiscoveredModes,
)
from caminito.density import Normal, StudentMixture, Target, find_modes, sample
from caminito.density.draws import Draws
from caminito.density.proposal import laplace, learnt, widest
from caminito.density.sample import _doubts, _rhat, _standard_error, _Work
from caminito.testing import targets


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _mixture(**options):
    means = torch.tensor([[0.0, 0.0], [4.0, -2.0]], dtype=torch.float64)
    covs = torch.tensor([[[1.0, 0.5], [0.5, 2.0]], [[0.3, 0.0], [0.0, 0.1]]], dtype=torch.float64)
    return StudentMixture(torch.tensor([3.0, 1.0]), means, covs, **options)


@pytest.mark.parametrize("dof", [1.5, 8.0, math.inf])
def test_a_student_mixture_is_the_sum_of_its_parts_and_its_gradient_is_its_gradient(dof):
    from scipy.stats import multivariate_normal, multivariate_t

    mixture = _mixture(dof=dof, wide=0.2, wide_dof=3.0)
    x = 3 * torch.randn(20, 2, generator=_generator(), dtype=torch.float64)
    total = 0.0
    for share, mean, cov, own in zip(mixture.weights, mixture.means, mixture.covs, [dof, dof, 3.0]):
        if math.isinf(own):
            law = multivariate_normal(mean.numpy(), cov.numpy())
        else:
            law = multivariate_t(mean.numpy(), cov.numpy(), df=own)
        total = total + float(share) * law.pdf(x.numpy())
    value, slope = mixture.value_and_grad(x)
    np.testing.assert_allclose(value.numpy(), np.log(total), rtol=1e-10)
    torch.testing.assert_close(mixture.value(x), value)
    step = 1e-6 * torch.eye(2, dtype=torch.float64)
    for i in range(2):
        around = (mixture.value(x + step[i]) - mixture.value(x - step[i])) / 2e-6
        torch.testing.assert_close(slope[:, i], around, atol=1e-7, rtol=1e-6)


def test_draws_of_a_student_mixture_have_its_law():
    mixture = _mixture(dof=8.0, wide=0.1, wide_dof=5.0)
    n = 40_000
    x = mixture.draw(n, _generator())
    # another normalised density over this one has mean one under it
    other = Normal(torch.tensor([0.5, 0.0], dtype=torch.float64), 0.8)
    ratio = torch.exp(other.value(x) - mixture.value(x))
    assert abs(float(ratio.mean()) - 1) < 4 * float(ratio.std()) / math.sqrt(n)
    own = torch.exp(mixture.parts(x) - mixture.value(x)[:, None]).mean(0)
    assert float((own - mixture.weights).abs().max()) < 0.01
    mean = mixture.weights @ mixture.means
    assert float((x.mean(0) - mean).abs().max()) < 4 * float(x.std(0).max()) / math.sqrt(n)
    assert torch.equal(mixture.draw(5, _generator(1)), mixture.draw(5, _generator(1)))


def test_the_wide_part_covers_all_centres():
    mixture = _mixture(wide=0.1)
    assert len(mixture.weights) == 3
    assert math.isclose(float(mixture.weights[-1]), 0.1)
    away = mixture.means[:2] - mixture.means[2]
    assert float(torch.einsum("kd,de,ke->k", away, torch.linalg.inv(mixture.covs[2]), away).max()) < 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"dof": 0.0}, ConfigError),
        ({"wide": 1.0}, ConfigError),
        ({"weights": torch.tensor([1.0, -1.0])}, ConfigError),
        ({"weights": torch.ones(3)}, ShapeError),
        ({"means": torch.zeros(2)}, ShapeError),
        ({"covs": torch.stack([torch.eye(2), -torch.eye(2)])}, ConfigError),
    ],
    ids=["dof", "wide", "negative", "count", "no matrix", "no covariance"],
)
def test_a_student_mixture_refuses_what_is_none(options, error):
    given = {"weights": torch.ones(2), "means": torch.zeros(2, 2), "covs": torch.eye(2).expand(2, 2, 2), **options}
    with pytest.raises(error):
        StudentMixture(given.pop("weights"), given.pop("means"), given.pop("covs"), **given)


def test_a_reference_from_modes_agrees_and_one_from_draws_bends_with_them():
    target = targets.bananas(2)
    asked = Target(target.log_prob, 2)
    modes = find_modes(target.log_prob, 2, n_starts=64, random_state=0)
    first, agreed = laplace(asked, modes, _generator())
    assert 0.01 < agreed < 0.6
    better, more = learnt(asked, target.draw(2000, 1), first, _generator(), parts=len(modes))
    assert more > agreed + 0.2
    x = better.draw(4000, _generator(2))
    ratio = torch.exp(target.log_prob(x) - better.value(x))
    assert abs(float(ratio.mean()) - 1) < 5 * float(ratio.std()) / math.sqrt(4000)


@pytest.mark.parametrize("scale", [0.05, 300.0])
def test_a_wide_start_finds_its_scale(scale):
    target = Target(lambda x: -0.5 * ((x / scale) ** 2).sum(-1), 3)
    found, agreed = widest(target, _generator())
    assert scale / 2 <= float(found.covs[0, 0, 0].sqrt()) <= 2 * scale
    assert agreed > 0.3


def test_two_modes_in_eight_dimensions_are_weighed_without_any_warning():
    target = targets.two_modes(8).raised(5.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CaminitoWarning)
        result = sample(target.log_prob, 8, 2000, n_starts=32, random_state=0)
    assert result.method == "ddw"
    assert result.diagnostics["fallback"] == 0
    assert abs(result.log_evidence - 5) < 4 * result.log_evidence_se < 0.05
    assert (
        float((result.weights - torch.tensor([2 / 3, 1 / 3])).abs().max()) < 4 * float(result.weights_se.max()) < 0.06
    )
    assert float((target.shares(result.samples).mean(0) - target.weights).abs().max()) < 0.03
    assert result.diagnostics["calls"] < 400
    assert set(result.runs.tolist()) == {0, 1, 2, 3}
    exact = target.draw(2000, 1)
    assert float((result.samples.std(0) - exact.std(0)).abs().max()) < 0.06


def test_forty_modes_in_the_plane_from_a_start_that_knows_no_scale():
    target = targets.mog40(2)
    result = sample(target.log_prob, 2, 1000, random_state=0)
    assert abs(result.log_evidence) < 0.02
    assert abs(result.log_evidence) < 4 * result.log_evidence_se
    assert result.diagnostics["calls"] <= 2000
    spread = 0.5 * (target.shares(result.samples).mean(0) - target.weights).abs().sum()
    assert float(spread) < 0.11  # of exact draws 0.08
    assert result.warnings == []


def test_the_law_of_samples_of_a_normal_is_that_normal():
    a = torch.randn(5, 5, generator=_generator(3), dtype=torch.float64)
    cov = a @ a.T / 5 + 0.1 * torch.eye(5, dtype=torch.float64)
    mean = torch.arange(5.0, dtype=torch.float64)
    law = torch.distributions.MultivariateNormal(mean, cov)
    result = sample(law.log_prob, 5, 4000, n_starts=16, random_state=2)
    root = torch.linalg.cholesky(cov)
    z = torch.linalg.solve_triangular(root, (result.samples - mean).T, upper=False)
    assert float(z.mean(1).abs().max()) < 4.5 / math.sqrt(4000)
    assert float((z @ z.T / 4000 - torch.eye(5)).abs().max()) < 4.5 * math.sqrt(2 / 4000)
    assert abs(result.log_evidence) < max(4 * result.log_evidence_se, 1e-3)


@pytest.mark.slow
def test_rings_are_no_peaks_and_auto_says_what_it_did_instead():
    target = targets.rings()
    with pytest.warns(FellBack, match="ridges"):
        result = sample(target.log_prob, 2, 1000, runs=2, n_starts=32, random_state=0)
    assert result.diagnostics["fallback"] == 1
    assert any("ridges" in text for text in result.warnings)
    assert abs(result.log_evidence) < max(4 * result.log_evidence_se, 0.02)
    assert float((target.shares(result.samples).mean(0) - target.weights).abs().sum()) / 2 < 0.05
    assert result.weights is None
    with pytest.raises(ConfigError, match="auto"):
        sample(target.log_prob, 2, 100, method="ddw", n_starts=32, random_state=0)


def test_a_constraint_gives_points_inside_and_the_constant_of_the_whole():
    rate = torch.tensor([0.5, 4.0], dtype=torch.float64)

    def log_prob(x):
        return (torch.log(x) - rate * x).sum(-1)  # two gammas of shape 2, without their constants rate^2

    result = sample(log_prob, 2, 2000, constraint=constraints.positive, n_starts=32, random_state=0)
    assert bool((result.samples > 0).all())
    assert abs(result.log_evidence + 2 * float(torch.log(rate).sum())) < 4 * result.log_evidence_se + 0.005
    expected = 2 / rate
    assert float(((result.samples.mean(0) - expected) / expected).abs().max()) < 4.5 / math.sqrt(2 * 2000)


def test_too_few_starts_for_the_modes_are_told():
    target = targets.mog40(10)
    with pytest.warns(UndiscoveredModes, match="n_starts"):
        result = sample(target.log_prob, 10, 200, runs=2, scale=20.0, n_starts=12, random_state=0)
    assert result.diagnostics["missing"] > 0.3
    assert any("missed" in text for text in result.warnings)


def test_a_mode_that_was_lost_on_the_way_is_told():
    target = targets.two_modes(10, variances=(0.001, 0.001))
    with pytest.warns(DegenerateWeights, match="lost"):
        result = sample(target.log_prob, 10, 100, method="smc", runs=1, scale=1.0, random_state=0)
    assert float((target.shares(result.samples).mean(0) - target.weights).abs().max()) > 0.1


def test_weights_that_are_off_by_a_tenth_are_told():
    """Two runs see weights that differ by 0.25: whatever their mean, one of them is off by more than 0.1."""
    modes = find_modes(targets.two_modes(2).log_prob, 2, n_starts=16, random_state=0)
    parts = []
    for share in (0.5, 0.75):
        rows = (torch.arange(400) >= 400 * share).long()
        parts.append(Draws(modes.x[rows], 0.0, {"ancestors": 0.9, "importance_ess": 0.9, "levels": 1.0}))
    work = _Work(Target(targets.two_modes(2).log_prob, 2), 400, 2, _generator(), modes=modes, method="ddw", agreed=0.9)
    work.draws = parts
    shares = torch.tensor([[0.5, 0.5], [0.75, 0.25]], dtype=torch.float64)
    error = _standard_error(shares, torch.full((2,), 0.2 / 400, dtype=torch.float64))
    kinds = [kind for kind, _ in _doubts(work, _rhat(shares, shares * (1 - shares), 400.0), 0.01, error)]
    assert kinds == [RunsDisagree]


def test_a_standard_error_of_many_runs_is_theirs_and_of_few_leans_on_what_is_known():
    values = torch.randn(2000, 1, generator=_generator(), dtype=torch.float64)
    assert math.isclose(float(_standard_error(values, torch.ones(1))), 1 / math.sqrt(2000), rel_tol=0.05)
    assert math.isclose(float(_standard_error(values[:1], torch.ones(1))), 1.0)
    assert float(_standard_error(torch.ones(4, 1), torch.ones(1))) == pytest.approx(math.sqrt(3 / 6 / 4))


@pytest.mark.parametrize("log_prob", [lambda x: x.sum(-1), lambda x: 0 * x.sum(-1)], ids=["improper", "constant"])
def test_by_name_what_is_no_density_is_refused(log_prob, request):
    with pytest.raises(ConfigError, match=request.node.callspec.id):
        sample(log_prob, 2, 10, method="smc", runs=1, random_state=0)


@pytest.mark.parametrize(
    "method", ["smc", pytest.param("nrpt", marks=pytest.mark.slow), "slips", "digs", "rdmc", "langevin"]
)
def test_by_name_each_sampler_draws_a_normal(method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CaminitoWarning)
        result = sample(lambda x: -0.5 * ((x - 1) ** 2).sum(-1), 2, 100, method=method, runs=1, random_state=0)
    assert result.method == method
    assert result.samples.shape == (100, 2)
    assert float((result.samples.mean(0) - 1).abs().max()) < 0.6
    assert 0.6 < float(result.samples.std(0).mean()) < 1.4
    known = method in ("smc", "nrpt")
    assert (result.log_evidence is not None) == known
    if known:
        assert abs(result.log_evidence - math.log(2 * math.pi)) < 0.15


def test_the_same_seed_gives_the_same_samples_and_another_gives_others():
    log_prob = targets.two_modes(3).log_prob
    one, two, other = (sample(log_prob, 3, 50, runs=2, n_starts=16, random_state=s) for s in (5, 5, 6))
    assert torch.equal(one.samples, two.samples)
    assert one.log_evidence == two.log_evidence
    assert not torch.equal(one.samples, other.samples)
    assert len(one.samples.unique(dim=0)) == 50


@pytest.mark.parametrize(
    ("log_prob", "error", "words"),
    [
        (lambda x: x.sum(-1) * torch.nan, NonFiniteError, "nan"),
        (lambda x: x.sum(-1) + torch.inf, NonFiniteError, "inf"),
        (lambda x: -(x**2).sum(), ShapeError, "one number for each"),
        (lambda x: (-(x**2)).detach().sum(-1), ConfigError, "gradient"),
        (lambda x: 0 * x.sum(-1), ConfigError, "constant"),
        (lambda x: x.sum(-1), ConfigError, "improper"),
    ],
    ids=["nan", "inf", "scalar", "no gradient", "constant", "improper"],
)
def test_what_is_no_density_is_refused(log_prob, error, words):
    with pytest.raises(error, match=words):
        sample(log_prob, 2, 10, n_starts=16, random_state=0)


@pytest.mark.parametrize(
    "option", [{"dim": 0}, {"n": 0}, {"n": True}, {"runs": 0}, {"scale": 0.0}, {"scale": -1.0}, {"method": "nuts"}]
)
def test_options_out_of_range_are_refused(option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        sample(lambda x: -(x**2).sum(-1), **{"dim": 2, "n": 10, **option})


@pytest.mark.parametrize("method", ["digs", "langevin"])
def test_a_mode_that_all_runs_lose_is_told(method):
    target = targets.two_modes(8)
    with pytest.warns(DegenerateWeights, match=r"mode that holds (33|67)% of the mass"):
        found = sample(target.log_prob, 8, 64, method=method, random_state=0)
    assert abs(float(target.shares(found.samples).mean(0)[0]) - 2 / 3) > 0.2
