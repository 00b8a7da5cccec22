"""Predictions that stay in range: the published formulas, and what the solvers make of them."""

import itertools

import pytest
import torch

from caminito.denoiser import GaussianDenoiser, MixtureDenoiser, from_x0
from caminito.errors import ConfigError, ShapeError
from caminito.guidance import clip, constrain, dynamic_threshold, match_std, renormalise
from caminito.process import VP, Chain, RectifiedFlow
from caminito.process import grid as grids
from caminito.sampling import DDIM, Ancestral, PerSample, sample, trajectory

EPS = torch.finfo(torch.float64).eps
BOUNDED = [clip(-1.0, 1.0), dynamic_threshold(quantile=0.9), renormalise()]


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def wild(process):
    """A denoiser that leaves [-1, 1] at every step."""
    return from_x0(lambda x, t, cond: 1.7 * torch.sin(3 * x) + 0.4, process)


def ddim_of_diffusers(denoiser, x, grid, eta, noise, *, use_clipped_model_output):
    """diffusers' DDIMScheduler.step with clip_sample=True, along our grid."""
    process = denoiser.process
    for i, (t, s) in enumerate(itertools.pairwise(grid), start=1):
        (alpha, sigma), (alpha_s, sigma_s) = process.kernel(t), process.kernel(s)
        x0 = denoiser.mean(x, t)
        eps = (x - alpha * x0) / sigma
        x0 = x0.clamp(-1, 1)
        if use_clipped_model_output:
            eps = (x - alpha * x0) / sigma
        variance = (sigma_s / sigma) ** 2 * (1 - alpha**2 / alpha_s**2)
        std = eta * torch.sqrt(variance)
        x = alpha_s * x0 + torch.sqrt(sigma_s**2 - std**2) * eps + std * noise.normal(i, x)
    return x


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_of_a_clipped_denoiser_is_that_of_diffusers_with_the_clipped_model_output(eta):
    chain = Chain.ddpm("linear")
    denoiser, grid, noise, x = wild(chain), grids.trailing(chain, 20), PerSample(3), randn(6, 5)
    *_, last = trajectory(constrain(denoiser, clip(-1.0, 1.0)), x, grid, DDIM(eta), noise=noise)
    theirs = {
        again: ddim_of_diffusers(denoiser, x, grid, eta, noise, use_clipped_model_output=again)
        for again in (True, False)
    }
    # twenty steps of a map of slope 5, from the rounding of their difference sigma_s^2 - std^2
    assert float((last.x - theirs[True]).abs().max()) < 1e-9
    assert float((last.x - theirs[False]).abs().max()) > 1e-2  # the other variant is another rule


@pytest.mark.parametrize(
    "process", [VP(), RectifiedFlow(), Chain.ddpm("cosine", zero_snr=True)], ids=["vp", "flow", "chain"]
)
@pytest.mark.parametrize("project", BOUNDED)
def test_samples_of_any_process_end_within_the_bounds(process, project):
    for solver in (DDIM(), Ancestral("large")):
        x = sample(constrain(wild(process), project), (20, 3), steps=10, solver=solver, dtype=torch.float64)
        assert float(x.abs().max()) <= 1


def test_an_exact_denoiser_of_points_within_the_bounds_is_not_changed_by_a_bit():
    corners = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    exact = MixtureDenoiser(torch.full((3,), 1 / 3, dtype=torch.float64), 0.99 * corners, 0.0, VP())
    x = randn(50, 2)
    for project in BOUNDED:
        for t in (1e-3, 0.3, 1.0):
            assert torch.equal(constrain(exact, project).mean(x, t), exact.mean(x, t))


def test_variance_passes_through_and_the_density_is_not_claimed():
    exact = GaussianDenoiser(torch.zeros(2), 2.0, VP())
    held, x = constrain(exact, clip(-1.0, 1.0)), randn(4, 2)
    assert torch.equal(held.var(x, 0.4), exact.var(x, 0.4))
    mean, var = held.moments(x, 0.4)
    assert torch.equal(mean, held.mean(x, 0.4)) and torch.equal(var, exact.var(x, 0.4))
    assert held.log_marginal(x, 0.4) is None
    assert (held.event_shape, held.data_moments) == (exact.event_shape, exact.data_moments)


def test_conditions_reach_the_denoiser():
    asked = from_x0(lambda x, t, cond: cond["y"].reshape(-1, 1).expand_as(x), VP())
    got = constrain(asked, clip(0.0, 1.0)).mean(randn(3, 2), 0.5, {"y": torch.tensor([-1.0, 0.5, 2.0])})
    assert got[:, 0].tolist() == [0.0, 0.5, 1.0]


# -- the projections --------------------------------------------------------------------------------------------------


def test_dynamic_threshold_is_its_formula_item_by_item():
    """s = max(1, quantile of |x|), clip(x, -s, s) / s: Saharia et al. 2022, section 2.3."""
    x = randn(7, 3, 9, 9) * torch.tensor([0.1, 0.3, 0.5, 1.0, 2.0, 5.0, 50.0]).reshape(-1, 1, 1, 1)
    for q in (0.5, 0.9, 0.995, 1.0):
        got = dynamic_threshold(quantile=q)(x)
        for i in range(7):
            s = max(1.0, float(torch.quantile(x[i].abs().flatten(), q)))
            assert 1 <= s <= max(1.0, float(x[i].abs().max()))
            assert float((got[i] - x[i].clamp(-s, s) / s).abs().max()) <= 4 * EPS


def test_dynamic_threshold_is_not_plain_clipping_unless_few_values_are_beyond():
    x = torch.tensor([[0.5, -1.5, 2.0, 4.0]], dtype=torch.float64)
    assert dynamic_threshold(quantile=1.0)(x).tolist() == [[0.125, -0.375, 0.5, 1.0]]
    few = torch.linspace(-0.5, 0.5, 400, dtype=torch.float64).reshape(1, -1)
    few[0, 0] = 3.0
    assert torch.equal(dynamic_threshold(quantile=0.99)(few), few.clamp(-1, 1))


def test_renormalise_is_the_quantile_one_and_cuts_nothing():
    x = 3 * randn(5, 40)
    got = renormalise()(x)
    assert float((got - dynamic_threshold(quantile=1.0)(x)).abs().max()) <= 2 * EPS
    largest = x.abs().amax(1, keepdim=True).clamp_min(1)
    assert float((got * largest - x).abs().max()) <= 16 * EPS


@pytest.mark.parametrize("make", [clip, dynamic_threshold, renormalise])
def test_bounds_of_each_channel_are_those_of_its_units(make):
    """With x = m + h u per channel the projection of x is that of u."""
    m, h = torch.tensor([[[0.5]], [[-2.0]]], dtype=torch.float64), torch.tensor([[[2.0]], [[0.25]]]).double()
    u = 2 * randn(4, 2, 5, 5)
    got = make(m - h, m + h)(m + h * u)
    assert float(((got - m) / h - make(-1.0, 1.0)(u)).abs().max()) <= 100 * EPS
    assert bool((got >= m - h - 4 * EPS).all() and (got <= m + h + 4 * EPS).all())


@pytest.mark.parametrize("project", BOUNDED)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_row_has_the_same_bits_in_any_batch_and_its_own_dtype(project, dtype):
    x = (2 * randn(6, 11)).to(dtype)
    whole = project(x)
    assert whole.dtype == dtype
    assert all(torch.equal(project(x[i : i + 1])[0], whole[i]) for i in range(6))


def test_quantile_is_torchs_and_knows_no_largest_tensor():
    """torch.quantile refuses more than 2^24 values, and all of half precision."""
    from caminito.guidance.constrain import _quantile

    rows = randn(3, 1001)
    for q in (0.001, 0.37, 0.5, 0.995, 0.9995, 1.0):
        assert torch.allclose(_quantile(rows, q), torch.quantile(rows, q, dim=1), rtol=1e-14, atol=1e-14)
    assert torch.equal(_quantile(rows[:, :1], 0.3), rows[:, 0])
    long = torch.zeros(1, 2**24 + 1)
    long[0, :3] = 5.0
    assert float(dynamic_threshold(quantile=1.0)(long).max()) == 1.0


def test_matched_items_have_the_standard_deviation_and_keep_their_mean():
    x = torch.tensor([0.2, 1.0, 5.0]).double().reshape(-1, 1) * randn(3, 50) + 2.0
    for share in (0.0, 0.7, 1.0):
        got = match_std(0.5, share=share)(x)
        own = x.std(1, correction=0)
        assert torch.allclose(got.std(1, correction=0), share * 0.5 + (1 - share) * own, rtol=1e-12)
        assert torch.allclose(got.mean(1), x.mean(1), rtol=1e-12)
    flat = torch.full((1, 4), 3.0)
    assert torch.equal(match_std(0.5)(flat), flat)


def test_wrong_bounds_and_shapes_are_refused():
    for make in (clip, dynamic_threshold, renormalise):
        for low, high in ((1.0, -1.0), (0.0, 0.0), (-1.0, float("inf")), (torch.zeros(2), torch.tensor([1.0, -1.0]))):
            with pytest.raises(ConfigError, match="finite bounds with low < high"):
                make(low, high)
    for q in (0.0, 1.5):
        with pytest.raises(ConfigError, match="quantile: expected"):
            dynamic_threshold(quantile=q)
    with pytest.raises(ConfigError, match="std, share"):
        match_std(0.0)
    with pytest.raises(ShapeError, match="project: expected the shape"):
        constrain(wild(VP()), lambda x: x[:, :1]).mean(randn(2, 3), 0.5)
