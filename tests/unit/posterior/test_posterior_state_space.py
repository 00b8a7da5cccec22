"""A path of a linear state space seen now and then: draws against the smoother of Rauch, Tung and Striebel."""

import math

import pytest
import torch

from caminito.denoiser import GaussianDenoiser
from caminito.posterior import Identity, Select, mmps, observe, tds
from caminito.process import VP
from caminito.process import grid as grids
from caminito.sampling import sample
from caminito.testing import Mixture, StateSpace

NAN = float("nan")
STEPS, EVERY, NOISE = 20, 3, 0.3
ONE = torch.eye(1, dtype=torch.float64)
SPACE = StateSpace(
    mean=torch.tensor([0.5], dtype=torch.float64),
    cov=torch.tensor([[0.6]], dtype=torch.float64),
    forward=torch.tensor([[0.8]], dtype=torch.float64),
    drive=torch.tensor([[0.36]], dtype=torch.float64),
)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seen_path():
    law = SPACE.joint(STEPS)
    path = law.mean + torch.linalg.cholesky(law.cov) @ randn(STEPS, seed=3)
    y = torch.full((STEPS,), NAN, dtype=torch.float64)
    y[::EVERY] = path[::EVERY] + NOISE * randn(len(path[::EVERY]), seed=4)
    return y


@pytest.mark.parametrize("size", [1, 2])
def test_the_smoother_is_the_conditional_of_the_whole_path(size):
    turn = torch.tensor([[0.9, 0.3], [-0.3, 0.8]], dtype=torch.float64)[:size, :size]
    space = StateSpace(
        randn(size), torch.eye(size, dtype=torch.float64), turn, 0.3 * torch.eye(size, dtype=torch.float64)
    )
    matrix, noise = randn(2, size, seed=1), torch.tensor([[0.2, 0.05], [0.05, 0.1]], dtype=torch.float64)
    y = randn(7, 2, seed=2)
    y[1], y[4, 0], y[6] = NAN, NAN, NAN
    law = space.joint(7)
    keep = ~torch.isnan(y.flatten())
    whole = torch.block_diag(*[matrix] * 7)[keep]
    prior = Mixture(torch.ones(1, dtype=torch.float64), law.mean[None], law.cov[None])
    after, log_y = prior.given(y.flatten()[keep], whole, torch.block_diag(*[noise] * 7)[keep][:, keep])
    means, covs, log_path = space.smoothed(y, matrix, noise)
    torch.testing.assert_close(means.flatten(), after.means[0], rtol=0, atol=1e-12)
    blocks = after.covs[0].reshape(7, size, 7, size)
    torch.testing.assert_close(covs, torch.stack([blocks[i, :, i] for i in range(7)]), rtol=0, atol=1e-12)
    torch.testing.assert_close(log_path, log_y, rtol=0, atol=1e-11)


def test_moment_matching_walks_to_the_smoothed_path():
    law, y, n = SPACE.joint(STEPS), seen_path(), 600
    prior = GaussianDenoiser(law.mean, law.cov, VP())
    seen = observe(y[::EVERY], Select(range(0, STEPS, EVERY)), NOISE, (STEPS,), dtype=torch.float64)
    means, covs, _ = SPACE.smoothed(y[:, None], ONE, NOISE**2 * ONE)
    x = sample(mmps(prior, seen), (n, STEPS), steps=40, solver="dpmpp2m-sde", dtype=torch.float64)
    var = covs[:, 0, 0]
    assert float(((x.mean(0) - means[:, 0]) / torch.sqrt(var / n)).abs().max()) < 4.5  # the largest of twenty
    # 40 steps leave the variance of a single entry wrong by about a hundredth
    assert float((x.var(0) / var - 1).abs().max()) < 4.5 * math.sqrt(2 / n) + 0.01
    assert float(((x.mean(0) - law.mean) / torch.sqrt(var / n)).abs().max()) > 20


def test_twisted_particles_have_the_smoothed_path_and_its_evidence():
    law, y, count = SPACE.joint(STEPS), seen_path(), 16
    prior = GaussianDenoiser(law.mean, law.cov, VP())
    seen = observe(y.expand(count, STEPS), Identity(), NOISE, (STEPS,), dtype=torch.float64)
    means, covs, log_y = SPACE.smoothed(y[:, None], ONE, NOISE**2 * ONE)
    cloud = tds(prior, seen, 40, grids.grid(VP(), 100), iterations=4)
    weights = cloud.log_weights.exp()[..., None]

    def errors(found, exact):
        return float(((found.mean(0) - exact) / (found.std(0) / math.sqrt(count))).abs().max())

    # the largest of twenty, each a t of 15
    assert errors((weights * cloud.x).sum(1), means[:, 0]) < 5.5
    assert errors((weights * (cloud.x - means[:, 0]) ** 2).sum(1), covs[:, 0, 0]) < 5.5
    assert errors((cloud.log_evidence - log_y).exp(), 1.0) < 4


def test_draws_of_a_mixture_have_its_moments():
    chance = torch.Generator().manual_seed(3)
    roots = torch.randn(3, 2, 2, generator=chance, dtype=torch.float64)
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    mixture = Mixture(weights, torch.randn(3, 2, generator=chance, dtype=torch.float64), roots @ roots.mT)
    mean, cov = mixture.moments()
    n = 20_000
    x = mixture.draw(n, seed=1)
    assert float(((x.mean(0) - mean) / torch.diagonal(cov).sqrt()).abs().max()) < 4 / n**0.5
    fourth = ((x - mean)[:, :, None] * (x - mean)[:, None]).std(0)
    assert float(((torch.cov(x.T) - cov) / fourth).abs().max()) < 4 / n**0.5
    assert torch.equal(x, mixture.draw(n, seed=1)) and not torch.equal(x, mixture.draw(n, seed=2))
