"""The objective against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from caminito._errors import ConfigError
from caminito._random import Stream, normal
from caminito.denoiser import EmpiricalDenoiser, GaussianDenoiser, NetworkDenoiser, Precondition
from caminito.process import EDM, VP, Chain
from caminito.training import TrainingConfig, batch_targets, denoising_loss, draw_times, fit_steps, weight_of


class Exact(nn.Module):
    """A network whose edm output is exactly that of the optimal denoiser of N(0, 1) data: zero."""

    def forward(self, x, label, cond=None):
        return torch.zeros_like(x)


def test_loss_of_the_exact_denoiser_is_the_weighted_posterior_variance():
    process = VP()
    denoiser = NetworkDenoiser(Exact(), Precondition("edm"), process, (8,))
    x0 = normal(0, Stream.SAMPLE, 0, (20_000, 8), dtype=torch.float64)
    eps = normal(0, Stream.NOISE, 0, (20_000, 8), dtype=torch.float64)
    for t in (0.1, 0.4, 0.9):
        time = torch.full((len(x0),), t, dtype=torch.float64)
        alpha, sigma = process.kernel(t)
        expected = float(weight_of("edm", process, t) * sigma**2 / (alpha**2 + sigma**2))
        loss = denoising_loss(denoiser, x0, time, eps)
        error = float(loss.std() / math.sqrt(len(loss)))
        assert abs(float(loss.mean()) - expected) < 5 * error


def test_edm_weight_makes_the_loss_of_unit_data_one_at_every_level():
    process = EDM()
    exact = GaussianDenoiser(torch.zeros(1), 1.0, process)
    t = torch.linspace(0.2, 1, 20, dtype=torch.float64)
    variance = torch.stack([exact.var(torch.zeros(1, 1, dtype=torch.float64), v)[0, 0] for v in t])
    assert torch.allclose(weight_of("edm", process, t) * variance, torch.ones(20, dtype=torch.float64), rtol=1e-12)


@pytest.mark.parametrize("kind", ["x0", "eps", "v", "flow", "edm"])
def test_weight_on_the_x0_error_is_the_same_loss_whatever_the_network_predicts(kind):
    """An x0 error e at level t costs w(t) e^2, and F's error is e / out: w out^2 dF^2 is the same number."""
    process, t = VP(), torch.tensor([0.3, 0.7], dtype=torch.float64)
    out = Precondition(kind).coefficients(process, t).out
    error = torch.tensor([0.1, -0.2], dtype=torch.float64)
    weight = weight_of("simple", process, t)
    snr = torch.exp(process.logsnr(t))
    assert torch.allclose(weight * out**2 * (error / out) ** 2, snr * error**2, rtol=1e-12)


def test_simple_weight_is_the_eps_error():
    process, t = VP(), torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    alpha, sigma = process.kernel(t)
    x0_error = torch.tensor([0.3, -0.1, 0.2], dtype=torch.float64)
    eps_error = alpha / sigma * x0_error
    assert torch.allclose(weight_of("simple", process, t) * x0_error**2, eps_error**2, rtol=1e-12)


def test_min_snr_is_capped_and_truncated_snr_is_floored():
    process, t = VP(), torch.linspace(0.01, 1, 50, dtype=torch.float64)
    assert float(weight_of("min-snr", process, t).max()) <= 5
    assert float(weight_of("snr", process, t).min()) >= 1


def test_unknown_weight_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"simple, snr, min-snr"):
        weight_of("vlb", VP(), 0.5)


def test_times_of_a_batch_do_not_depend_on_how_it_is_cut():
    for draws in ("independent", "low-discrepancy"):
        config = TrainingConfig(draws=draws, batch_size=64)
        whole = draw_times(EDM(), config, 3, 7, 64)
        parts = [draw_times(EDM(), config, 3, 7, 16, start=16 * k) for k in range(4)]
        assert torch.equal(whole, torch.cat(parts))


def test_low_discrepancy_uniform_times_hit_every_share_once():
    config = TrainingConfig(draws="low-discrepancy", times="uniform", batch_size=50)
    t = draw_times(EDM(), config, 0, 0, 50)
    assert torch.equal(torch.floor(t * 50).clamp_max(49).sort().values, torch.arange(50, dtype=torch.float64))


def test_chain_times_are_whole_steps_that_include_both_ends():
    chain = Chain.ddpm("linear", steps=20)
    config = TrainingConfig(times="uniform", batch_size=2000, draws="independent")
    t = draw_times(chain, config, 0, 0, 2000)
    assert set(t.tolist()) == set(map(float, range(1, 21)))


def test_lognormal_times_have_the_law_they_declare():
    config = TrainingConfig(time_mean=-0.7, time_std=1.1, batch_size=4096)
    logs = -EDM().logsnr(draw_times(EDM(), config, 0, 0, 4096)) / 2
    assert abs(float(logs.mean()) + 0.7) < 1e-2  # low-discrepancy: error O(1/B), tails cut by t_max
    assert abs(float(logs.std()) - 1.1) < 1e-2


@pytest.mark.parametrize(
    "process", [EDM(), VP(), Chain.ddpm(torch.linspace(1e-3, 0.2, 100))], ids=["edm", "vp", "chain"]
)
def test_batch_targets_are_the_exact_denoiser_of_the_batch(process):
    """A row's clean item is one of its batch, so the target is what the batch's own denoiser says of the row."""
    x0 = normal(0, Stream.SAMPLE, 0, (40, 2, 3), dtype=torch.float64)
    eps = normal(0, Stream.NOISE, 0, (40, 2, 3), dtype=torch.float64)
    t = torch.linspace(1, 100, 40, dtype=torch.float64).round()
    t = t if process.is_discrete else t / 100 * process.t_max
    found = batch_targets(process, x0, t, eps)
    exact = EmpiricalDenoiser(x0, process).mean(process.noise(x0, t, eps), t)
    assert torch.allclose(found, exact, rtol=1e-9, atol=1e-9)


def test_batch_targets_leave_the_optimum_and_shrink_the_variance():
    """Standard normal data: E[target | x_t] is still the exact posterior mean, x_t alpha / (alpha^2 + sigma^2)."""
    process, size = EDM(), 256
    t = torch.full((size,), float(process.time(torch.tensor(0.0, dtype=torch.float64))), dtype=torch.float64)
    errors, spread, plain = [], [], []
    for step in range(200):
        x0 = normal(1, Stream.SAMPLE, step, (size, 2), dtype=torch.float64)
        eps = normal(1, Stream.NOISE, step, (size, 2), dtype=torch.float64)
        x_t = process.noise(x0, t, eps)
        error = batch_targets(process, x0, t, eps) - x_t / 2
        errors.append(float((error * x_t).mean()))
        spread.append(float(error.square().mean()))
        plain.append(float((x0 - x_t / 2).square().mean()))
    errors = torch.tensor(errors)
    assert abs(float(errors.mean())) < 5 * float(errors.std()) / math.sqrt(len(errors))
    assert sum(plain) / len(plain) == pytest.approx(0.5, rel=0.02)
    assert sum(spread) < 0.1 * sum(plain)


def test_batch_targets_do_not_take_conditions():
    denoiser = NetworkDenoiser(nn.Identity(), Precondition("edm"), EDM(), (2,))
    config = TrainingConfig(steps=1, targets="batch")
    with pytest.raises(ConfigError, match="targets='item'"):
        next(fit_steps(denoiser, torch.zeros(4, 2), config, cond={"y": torch.zeros(4)}))
