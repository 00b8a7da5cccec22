"""Particles: moments, weights of modes and log p(y) against the exact posterior, in standard errors over clouds.

Clouds of one observation are independent, so their spread gives the standard error of what they say on average.
"""

import dataclasses
import math
import warnings

import pytest
import torch

from caminito.denoiser import GaussianDenoiser, ResidualVariance, Wrapped
from caminito.errors import ConfigError, DegenerateWeights, NonFiniteError
from caminito.posterior import (
    Cloud,
    Downsample,
    Identity,
    Linear,
    Nonlinear,
    Select,
    mmps,
    observe,
    posterior,
    split_smc,
    tds,
)
from caminito.posterior.particles import along_curve, equal
from caminito.process import EDM, VP, Chain, Cosine
from caminito.process import grid as grids
from caminito.testing import Mixture

NAN = float("nan")
VPS = VP()
ONE = torch.ones(1, dtype=torch.float64)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def errors(values, exact):
    """How many standard errors the mean over clouds (P, ...) is from what is exact."""
    return ((values.mean(0) - exact) / (values.std(0) / math.sqrt(len(values)))).abs()


def said(cloud, exact):
    """Weighted mean and second moments about the exact mean, of each cloud."""
    weights = cloud.log_weights.exp()
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights), dtype=torch.float64))
    apart = cloud.x - exact.mean
    return (weights[..., None] * cloud.x).sum(1), torch.einsum("pk,pki,pkj->pij", weights, apart, apart)


def correlated(size=3):
    root = randn(size, size, seed=5)
    cov = root @ root.T / size + 0.2 * torch.eye(size, dtype=torch.float64)
    return Mixture(ONE, randn(1, size, seed=11), cov[None])


MATRIX, NOISE = randn(2, 3, seed=8), torch.tensor([[0.09, 0.02], [0.02, 0.06]], dtype=torch.float64)
Y = torch.tensor([1.0, -0.5], dtype=torch.float64)


def seen_through_matrix(count):
    return observe(Y.expand(count, 2), Linear(MATRIX), NOISE, (3,), dtype=torch.float64)


def test_twisted_particles_are_exact_in_any_number_of_steps_for_gaussian_data_of_independent_entries():
    prior = Mixture(ONE, randn(1, 3, seed=11), torch.diag(torch.tensor([1.5, 0.3, 0.7], dtype=torch.float64))[None])
    after, log_y = prior.given(Y, MATRIX, NOISE)
    fading = Chain.discretise(Cosine(), [0.002, 0.2, 0.5, 1.0])  # no signal is left at its end
    for process, steps, count in ((VPS, 3, 40), (VPS, 12, 20), (fading, 4, 40)):
        denoiser = GaussianDenoiser(prior.means[0], prior.covs[0], process)
        cloud = tds(denoiser, seen_through_matrix(count), 64, grids.grid(process, steps), seed=steps)
        means, moments = said(cloud, after.moments())
        assert float(errors(cloud.log_evidence.sub(log_y).exp(), 1.0)) < 4
        assert float(errors(means, after.means[0]).max()) < 4
        assert float(errors(moments, after.covs[0]).max()) < 4.5  # the largest of six


def test_the_bias_of_twisted_particles_shrinks_with_their_steps():
    """Entries that hang together are taken apart within a step: an error of the size of the step."""
    prior = correlated()
    after, log_y = prior.given(Y, MATRIX, NOISE)
    bias, evidence = [], []
    for steps in (10, 30, 90):
        denoiser = GaussianDenoiser(prior.means[0], prior.covs[0], VPS)
        cloud = tds(denoiser, seen_through_matrix(20), 48, grids.grid(VPS, steps), seed=1)
        means, _ = said(cloud, after.moments())
        bias.append(float((means.mean(0) - after.means[0]).norm()))
        evidence.append(float(errors(cloud.log_evidence.sub(log_y).exp(), 1.0)))
    assert bias[0] > 2 * bias[1] > 4 * bias[2]
    assert evidence[-1] < 4


def test_split_particles_have_the_moments_of_the_posterior_and_its_evidence():
    prior = correlated()
    after, log_y = prior.given(Y, MATRIX, NOISE)
    denoiser = GaussianDenoiser(prior.means[0], prior.covs[0], VPS)
    for count, levels, inner in ((24, 30, 16), (40, 6, 32)):  # few levels cost particles, not truth
        cloud = split_smc(denoiser, seen_through_matrix(count), 64, levels=levels, inner=inner)
        means, moments = said(cloud, after.moments())
        assert float(errors(cloud.log_evidence.sub(log_y).exp(), 1.0)) < 4
        assert float(errors(means, after.means[0]).max()) < 4
        assert float(errors(moments, after.covs[0]).max()) < 4.5


CENTRES = torch.tensor([[-1.5, -1.5], [1.5, 1.5], [1.5, -1.5]], dtype=torch.float64)
MODES = Mixture(
    torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64),
    CENTRES,
    (0.04 * torch.eye(2, dtype=torch.float64)).expand(3, 2, 2),
)
FIRST = torch.tensor([[1.0, 0.0]], dtype=torch.float64)


def shares(x):
    """Which mode each point is of, five standard deviations around it."""
    return torch.stack([((x - centre).norm(dim=-1) < 1).double() for centre in CENTRES], -1)


def test_weights_of_modes_are_right_by_particles_and_wrong_by_guidance_alone():
    y, after_and_log = (
        torch.tensor([0.3], dtype=torch.float64),
        MODES.given(torch.tensor([0.3], dtype=torch.float64), FIRST, 0.25 * torch.eye(1, dtype=torch.float64)),
    )
    after, log_y = after_and_log
    denoiser = MODES.denoiser(VPS)
    seen = observe(y.expand(24, 1), Select([0]), 0.5, (2,), dtype=torch.float64)
    clouds = (
        tds(denoiser, seen, 48, grids.grid(VPS, 50)),
        split_smc(denoiser, seen, 48, inner=16),
    )
    for cloud in clouds:
        weights = (cloud.log_weights.exp()[..., None] * shares(cloud.x)).sum(1)
        assert float(errors(weights, after.weights).max()) < 4
        assert float(errors(cloud.log_evidence.sub(log_y).exp(), 1.0)) < 4
    alone = posterior(denoiser, y, Select([0]), 0.5, method="mmps", n=400, steps=40, random_state=0)
    error = torch.sqrt(after.weights * (1 - after.weights) / 400)
    off = ((shares(alone.samples).mean(0) - after.weights) / error).abs()
    assert float(off[:2].min()) > 8  # though they are draws of the three modes:
    assert float(shares(alone.samples).sum(1).mean()) > 0.98


def test_several_observations_give_what_each_gives_alone():
    ys = torch.tensor([[-1.0], [0.3], [2.0]], dtype=torch.float64)
    denoiser, grid = MODES.denoiser(VPS), grids.grid(VPS, 40)
    seen = observe(ys.repeat_interleave(12, 0), Select([0]), 0.5, (2,), dtype=torch.float64)
    for cloud in (tds(denoiser, seen, 32, grid), split_smc(denoiser, seen, 32, inner=16)):
        weights = (cloud.log_weights.exp()[..., None] * shares(cloud.x)).sum(1)
        for i, y in enumerate(ys):
            after, log_y = MODES.given(y, FIRST, 0.25 * torch.eye(1, dtype=torch.float64))
            rows = slice(12 * i, 12 * i + 12)
            spread = weights[rows].std(0).clamp_min(1e-3) / math.sqrt(12)  # a mode may be empty in all twelve
            assert float(((weights[rows].mean(0) - after.weights) / spread).abs().max()) < 5  # t of 11, nine of them
            assert float(errors(cloud.log_evidence[rows].sub(log_y).exp(), 1.0)) < 5


@pytest.mark.parametrize("method", ["tds", "split-smc"])
def test_what_comes_of_an_observation_depends_on_no_other(method):
    denoiser = MODES.denoiser(VPS)
    told = {"noise": 0.5, "method": method, "n": 16, "steps": 12, "random_state": 3}
    y = torch.tensor([[0.3, NAN], [-1.0, 0.2], [2.0, 1.0]])
    whole = posterior(denoiser, y, **told)
    changed = y.clone()
    changed[1] = torch.tensor([1.4, NAN])
    other = posterior(denoiser, changed, **told)
    for p in (0, 2):
        assert torch.equal(whole.samples[p], other.samples[p])
        assert float(whole.log_evidence[p]) == float(other.log_evidence[p])
    assert not torch.equal(whole.samples[1], other.samples[1])
    alone = posterior(denoiser, y[0], **told)
    torch.testing.assert_close(alone.samples, whole.samples[0])


@pytest.mark.parametrize("method", ["tds", "split-smc"])
@pytest.mark.parametrize("operator", [Identity(), Linear(randn(9, 2, seed=3))], ids=["entries", "nine of a matrix"])
def test_results_do_not_depend_on_the_batch_size(method, operator):
    """Bit for bit where no matrix product goes over the rows, else to rounding."""
    denoiser, count = MODES.denoiser(VPS), operator.seen((2,))[0]
    y = operator(randn(3, 2, seed=2)).float()
    told = {"noise": 0.7, "method": method, "n": 16, "steps": 4, "random_state": 0}
    told["options"] = {"inner": 2} if method == "split-smc" else {}
    whole = posterior(denoiser, y, operator, **told)
    for batch_size in (7, 16, 40):
        parts = posterior(denoiser, y, operator, batch_size=batch_size, **told)
        if count == 2:
            assert torch.equal(parts.samples, whole.samples) and torch.equal(parts.log_evidence, whole.log_evidence)
        torch.testing.assert_close(parts.samples, whole.samples, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(parts.log_evidence, whole.log_evidence, rtol=1e-4, atol=1e-4)


def test_more_than_eight_entries_are_twisted_by_one_number_and_stay_right():
    """D_y by few iterations, psi by c A A^T: both are rough, and neither the draws nor the evidence may feel it."""
    operator, event = Downsample(2), (1, 18)
    var = 0.1 + torch.linspace(0, 2, 18, dtype=torch.float64).cos() ** 2
    prior = Mixture(ONE, randn(1, 18, seed=4), torch.diag(var)[None])
    y = operator(randn(1, *event, seed=6))[0]
    seen = observe(y.expand(20, *y.shape), operator, 0.4, event, dtype=torch.float64)
    assert seen.size == 9
    after, log_y = prior.given(seen.y[0], seen.matrix(), torch.diag(seen.var))
    denoiser = GaussianDenoiser(prior.means[0].reshape(event), var.reshape(event), VPS)
    cloud = tds(denoiser, seen, 64, grids.grid(VPS, 20), iterations=2)
    means, moments = said(dataclasses.replace(cloud, x=cloud.x.flatten(2)), after.moments())
    assert float(torch.stack(cloud.ess).min()) < 0.7  # rough indeed
    assert float(errors(cloud.log_evidence.sub(log_y).exp(), 1.0)) < 4
    assert float(errors(means, after.means[0]).max()) < 4.5  # the largest of 18, by a t of 19
    variances = torch.diagonal(moments, dim1=1, dim2=2)
    assert float(errors(variances, torch.diagonal(after.covs[0])).max()) < 4.5


def test_particles_without_a_known_variance_probe_it():
    """Gaussian data of one variance: the probe finds it exactly, and the cloud is that of the denoiser that knows."""
    prior = Mixture(ONE, randn(1, 3, seed=1), 0.7 * torch.eye(3, dtype=torch.float64)[None])
    denoiser = prior.denoiser(VPS)

    class Mute(type(denoiser)):
        def var(self, x_t, t, cond=None):
            return None

        def moments(self, x_t, t, cond=None):
            return self.mean(x_t, t, cond), None

    mute = Mute(torch.ones(1), prior.means, 0.7, VPS)
    seen, grid = seen_through_matrix(2), grids.grid(VPS, 8)
    told, probed = tds(denoiser, seen, 20, grid), tds(mute, seen, 20, grid)
    torch.testing.assert_close(probed.x, told.x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(probed.log_evidence, told.log_evidence, rtol=1e-9, atol=1e-9)
    half = ResidualVariance(denoiser, torch.tensor([-9.0, 9.0]), torch.full((2, 3), 0.1))  # a variance that is wrong
    assert float((tds(half, seen, 20, grid).x - told.x).abs().max()) > 1e-3


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_curve_visits_every_point_once_and_keeps_neighbours_together(size):
    points = randn(3, 1000, size, seed=2)
    points[..., 2:] *= 0.01
    points = torch.special.ndtr(points)  # a square, thin in the other directions
    order = along_curve(points)
    assert torch.equal(order.sort(1).values, torch.arange(1000).expand(3, -1))
    row = torch.arange(3)[:, None]
    step = points[row, order].diff(dim=1).norm(dim=-1).mean(1)
    assert float(points.diff(dim=1).norm(dim=-1).mean()) > 0.3  # as they came
    assert float(step.max()) < (1 / 64 if size == 1 else 2 / math.sqrt(1000))  # a cell; twice the side for each point
    far = points[row, order][:, ::100].diff(dim=1).norm(dim=-1).mean(1)
    assert bool((far > 3 * step).all())


def test_the_curve_through_a_line_is_the_line_up_to_its_cells():
    points = torch.linspace(0, 1, 64, dtype=torch.float64)[
        torch.randperm(64, generator=torch.Generator().manual_seed(0))
    ]
    along = points[along_curve(points[None, :, None])[0]]
    assert torch.equal(along, along.sort().values) or torch.equal(along, along.sort(descending=True).values)


def test_the_curve_steps_from_each_cell_of_a_grid_to_a_neighbour():
    x, y = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    cells = torch.stack([x, y], -1).reshape(-1, 2).double()
    cells = cells[torch.randperm(4096, generator=torch.Generator().manual_seed(1))]
    along = along_curve((cells * torch.tensor([10.0, 1.0], dtype=torch.float64))[None])[0]
    assert bool((cells[along].diff(dim=0).abs().sum(1) == 1).all())


def test_points_that_are_all_the_same_have_an_order_too():
    order = along_curve(torch.ones(2, 10, 3))
    assert torch.equal(order.sort(1).values, torch.arange(10).expand(2, -1))


def test_equal_draws_have_the_expected_counts_in_random_order():
    logs = torch.log_softmax(randn(3, 50, seed=4), 1)
    x = torch.arange(150, dtype=torch.float64).reshape(3, 50, 1)
    cloud = Cloud(x, logs, torch.zeros(3), torch.arange(50).expand(3, -1) * 2)
    for n in (7, 50, 1000):
        draws, ancestors = equal(cloud, n, seed=5)
        number = (draws[..., 0] - x[:, :1, 0]).long()
        assert torch.equal(ancestors, 2 * number)
        counts = torch.stack([torch.bincount(row, minlength=50) for row in number])
        assert float((counts - n * logs.exp()).abs().max()) < 1 + 1e-9
    place = torch.arange(1000, dtype=torch.float64)
    for row in draws[..., 0]:
        assert abs(float(torch.corrcoef(torch.stack([place, row]))[0, 1])) < 4 / math.sqrt(1000)
    again, other = equal(cloud, 50, seed=5)[0], equal(cloud, 50, seed=6)[0]
    assert torch.equal(again, equal(cloud, 50, seed=5)[0]) and not torch.equal(again, other)


def test_an_exact_observation_is_refused_with_what_to_do():
    seen = observe(torch.ones(3), Identity(), torch.tensor([0.1, 0.0, 0.1]), (3,))
    denoiser, grid = correlated().denoiser(VPS), grids.grid(VPS, 4)
    for walk in (lambda: tds(denoiser, seen, 8, grid), lambda: split_smc(denoiser, seen, 8)):
        with pytest.raises(ConfigError, match=r"no particle meets.*instrument.*'repaint' \(masks\) or 'ddnm'"):
            walk()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"particles": 1}, "particles: expected a whole number >= 2, got 1"),
        ({"particles": 2.5}, "particles"),
        ({"ess": 0.0}, "ess: expected a share"),
        ({"ess": 1.5}, "ess"),
        ({"batch_size": 0}, "batch_size: expected a whole number >= 1"),
    ],
)
def test_particles_out_of_range_are_refused(options, message):
    denoiser, seen = correlated().denoiser(VPS), observe(torch.ones(3), Identity(), 0.1, (3,))
    told = {"particles": 8} | options
    with pytest.raises(ConfigError, match=message):
        tds(denoiser, seen, told.pop("particles"), grids.grid(VPS, 4), **told)
    told = {"particles": 8} | options
    with pytest.raises(ConfigError, match=message):
        split_smc(denoiser, seen, told.pop("particles"), **told)
    for name in ("levels", "inner", "sweeps"):
        with pytest.raises(ConfigError, match=name):
            split_smc(denoiser, seen, 8, **{name: 0})
    with pytest.raises(ConfigError, match="'split-smc', got a nonlinear one. Use method='tds'"):
        split_smc(denoiser, observe(torch.ones(3), Nonlinear(torch.square), 0.1, (3,)), 8)


def test_an_operator_that_is_not_finite_ends_the_walk_with_a_reason():
    denoiser, grid = correlated().denoiser(VPS), grids.grid(VPS, 4)
    seen = observe(torch.ones(3), Nonlinear(lambda x: torch.log(x - 99)), 0.1, (3,))
    with pytest.raises(NonFiniteError, match="left no particle with a weight.*units of y and noise"):
        tds(denoiser, seen, 8, grid)
    seen = observe(torch.ones(3), Nonlinear(lambda x: (x - x.detach()).abs().sqrt()), 0.1, (3,))
    with pytest.raises(NonFiniteError, match="finite derivatives where the walk goes"):
        tds(denoiser, seen, 8, grid)


class Wavy(Wrapped):
    """A Gaussian denoiser that is wrong by a small wave, and by much more in its derivative, as networks are."""

    def mean(self, x_t, t, cond=None):
        wave = torch.sin(2 * x_t.roll(1, -1) + torch.arange(3, dtype=x_t.dtype))
        return self.denoiser.mean(x_t, t, cond) + 0.002 * wave

    def var(self, x_t, t, cond=None):
        return self.denoiser.var(x_t, t, cond)


def test_particles_bear_a_denoiser_whose_derivative_is_wrong_along_what_varies_little():
    turn = torch.linalg.qr(randn(3, 3))[0]
    cov = turn @ torch.diag(torch.tensor([2.0, 0.002, 0.05], dtype=torch.float64)) @ turn.T
    cov, noise, y = (cov + cov.T) / 2, 0.02, torch.tensor([0.6, -0.3, NAN], dtype=torch.float64)
    seen = cov[:2, :2] + noise**2 * torch.eye(2, dtype=torch.float64)
    exact = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), seen).log_prob(y[:2])
    gain = torch.linalg.solve(seen, cov[:2]).T
    mean, std = gain @ y[:2], (cov - gain @ cov[:2]).diagonal().sqrt()
    wrong = Wavy(GaussianDenoiser(torch.zeros(3, dtype=torch.float64), cov, EDM()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateWeights)
        found = posterior(wrong, y, noise=noise, method="tds", n=400, random_state=0)
    assert abs(float(found.log_evidence - exact)) < 1  # 99 where every eigenvalue of A V A^T is believed
    assert float(found.ancestors) > 5  # 1
    assert float(((found.mean() - mean) / std).abs().max()) < 0.3
    assert float((found.std() / std - 1).abs().max()) < 0.2


@pytest.mark.parametrize("units", [1e-3, 1e3])
def test_what_is_believed_of_an_entry_does_not_depend_on_the_units_of_another(units):
    skewed = torch.tensor([[1.0, 0.52], [0.48, 1.0]], dtype=torch.float64)
    scale = torch.tensor([units, 1.0], dtype=torch.float64)
    normal = GaussianDenoiser(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64), EDM())
    prior = Skewed(normal, skewed)
    y = torch.tensor([0.5, 0.5], dtype=torch.float64)
    seen = observe(y * scale, Linear(torch.diag(scale)), 0.1 * scale, (2,), dtype=torch.float64)
    plain = observe(y, Linear(torch.eye(2, dtype=torch.float64)), 0.1, (2,), dtype=torch.float64)
    x = randn(5, 2)
    torch.testing.assert_close(mmps(prior, seen).mean(x, 1.0), mmps(prior, plain).mean(x, 1.0), rtol=1e-9, atol=1e-12)


class Skewed(Wrapped):
    """Mean C x_t / (1 + t^2): its derivative is no covariance."""

    def __init__(self, denoiser, matrix):
        super().__init__(denoiser)
        self.matrix = matrix

    def mean(self, x_t, t, cond=None):
        return x_t @ self.matrix.T / (1 + torch.as_tensor(t, dtype=x_t.dtype).reshape(-1, 1) ** 2)
