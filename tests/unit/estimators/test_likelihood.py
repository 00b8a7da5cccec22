"""Densities at the facade, in data units, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from caminito import DiffusionModel, ImageDiffusion
from caminito.denoiser import GaussianDenoiser
from caminito.errors import ApproximateLikelihood, ConditionError, ConfigError
from caminito.process import Chain

SMALL = {"width": 16, "depth": 1}
MEAN, STD = np.array([3.0, -200.0]), np.array([0.5, 40.0])


def exact(X, process="auto", **options):
    """A model of X whose network was exchanged for the exact denoiser of independent normal columns."""
    model = DiffusionModel(process=process, max_steps=1, network=SMALL, random_state=0, **options).fit(X)
    size = model.event_shape_
    model.denoiser_ = GaussianDenoiser(torch.zeros(size), torch.ones(size), model.process_)
    model.residual_variance_ = None
    return model


@pytest.fixture(scope="module")
def normals():
    return np.random.default_rng(0).normal(MEAN, STD, size=(300, 2))


def known(X):
    return stats.norm.logpdf(X, X.mean(0), X.std(0)).sum(1)


@pytest.mark.parametrize(("method", "tolerance"), [("heun", 4e-3), ("dopri5", 4e-3)])
def test_the_ode_gives_the_density_in_data_units(normals, method, tolerance):
    model = exact(normals)
    got = model.score_samples(normals, method=method, n_steps=200)
    # what is left is the blur by sigma_min = .02: (.02)^2 / 2 |x^2 - 1| in each of two directions, and the steps
    assert np.abs(got - known(normals)).max() < tolerance
    assert model.score(normals) == pytest.approx(known(normals).mean(), abs=4e-3)


def test_the_bound_lies_below_the_density_by_the_mismatch_of_the_prior(normals):
    model = exact(normals)
    gap = known(normals) - model.score_samples(normals, method="bound", n_steps=400)
    # with the exact denoiser and its variance the mean of the bound is the entropy plus KL(q_T || p_T), here 0
    assert abs(gap.mean()) < 5 * gap.std() / math.sqrt(len(gap))


def test_a_chain_gives_its_bound_and_says_so(normals):
    model = exact(normals, Chain.ddpm("cosine", steps=60))
    with pytest.warns(ApproximateLikelihood, match="variational bound"):
        auto = model.score_samples(normals)
    assert np.array_equal(auto, model.score_samples(normals, method="bound"))
    assert auto.mean() == pytest.approx(known(normals).mean(), abs=0.3)
    with pytest.raises(ConfigError, match="a chain has no probability-flow ODE. Use 'bound'"):
        model.score_samples(normals, method="heun")


@pytest.mark.parametrize("method", ["bound", "heun"])
def test_bits_per_dim_of_rounded_normals_are_their_entropy(method):
    # cells of 1 are finer than the least noise, .0087 of 200: the exact denoiser of the normal is that of the cells
    X = np.rint(np.random.default_rng(0).normal(100, 200, size=(400, 3))).astype(np.int64)
    model = exact(X)
    got = model.bits_per_dim(X, method=method, n_steps=300)
    entropy = math.log2(200 * math.sqrt(2 * math.pi * math.e))
    assert got.shape == (400,)
    assert got.mean() == pytest.approx(entropy, abs=5 * got.std() / 20 + 0.01)


def test_bits_of_images_count_the_levels_that_they_have():
    """A model that knows nothing but mean and variance cannot say a uniform byte in fewer than 8 bits."""
    X = np.random.default_rng(0).integers(0, 256, size=(64, 4, 4)).astype(np.uint8)
    unet = {"width": 16, "multipliers": [1], "blocks": 1, "attention": []}
    model = ImageDiffusion(max_steps=1, network=unet, random_state=0).fit(X)
    model.denoiser_ = GaussianDenoiser(torch.zeros(1, 4, 4), torch.ones(1, 4, 4), model.process_)
    model.residual_variance_ = None
    assert 8 < model.bits_per_dim(X, n_steps=100).mean() < 8.4  # a normal instead of a uniform: log2 sqrt(pi e / 6)
    assert 8 < model.bits_per_dim(X, method="heun", n_steps=100).mean() < 8.4


def test_the_density_of_an_item_depends_on_it_and_on_its_number_alone(normals):
    model = DiffusionModel(max_steps=5, network=SMALL, random_state=0).fit(normals)
    for method in ("heun", "bound"):
        whole = model.score_samples(normals[:30], method=method, random_state=1)
        again = model.score_samples(normals[:30], method=method, random_state=1)
        assert np.array_equal(whole, again)
        assert np.allclose(model.score_samples(normals[:7], method=method, random_state=1), whole[:7], atol=1e-3)


def test_a_density_is_conditional_where_conditions_are_given(normals):
    y = np.where(normals[:, 0] > 3, "high", "low")
    model = DiffusionModel(max_steps=300, network=SMALL, random_state=0).fit(normals, y)
    right, wrong = model.score_samples(normals[:50], y[:50]), model.score_samples(normals[:50], y[::-1][:50])
    swapped = np.where(y == "high", "low", "high")[:50]
    assert right.mean() > model.score_samples(normals[:50], swapped).mean() + 1
    assert right.shape == wrong.shape == (50,)
    with pytest.raises(ConditionError, match="expected 50 rows"):
        model.score_samples(normals[:50], y[:20])


def test_what_cannot_be_asked_is_refused(normals):
    model = exact(normals)
    with pytest.raises(ConfigError, match="expected a model of whole numbers, such as 8-bit images"):
        model.bits_per_dim(normals)
    with pytest.raises(ConfigError, match="method: expected one of auto, heun, dopri5, bound, got 'rk45'"):
        model.score_samples(normals, method="rk45")
