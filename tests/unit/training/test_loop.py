"""The training loop: exact resume, averaging, stops."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
import torch

from caminito import nn as networks
from caminito.denoiser import GaussianDenoiser, NetworkDenoiser, Precondition
from caminito.errors import ConfigError, NonFiniteError, RunError, StorageError, UnscaledData
from caminito.process import EDM
from caminito.training import (
    PowerAverage,
    TrainingConfig,
    averaged,
    fit_residual_variance,
    fit_steps,
    initial_state,
    load_checkpoint,
    save_checkpoint,
    validate,
)
from caminito.training.ema import exponent


class Own(torch.nn.Module):
    """A module of a user's, which draws by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))

    def forward(self, x, label, cond=None):
        return self.body(torch.cat([x, label[:, None]], 1)) + 0.1 * torch.randn_like(x)


def denoiser(dropout: float | None = 0.0) -> NetworkDenoiser:
    """With a perceptron that drops features, or (None) a module of a user's."""
    torch.manual_seed(0)
    if dropout is None:
        return NetworkDenoiser(Own(), Precondition("edm"), EDM(20.0), (2,))
    net = networks.ResidualMLP(2, width=16, depth=1, dropout=dropout, conditions={"y": networks.Label(2)})
    return NetworkDenoiser(net, Precondition("edm"), EDM(20.0), (2,))


def data(n: int = 200) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(n, 2))).float()
    return x, {"y": (x[:, 0] > 0).long()}


def weights(model: NetworkDenoiser) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.network.parameters()]


@pytest.mark.parametrize("dropout", [0.0, 0.3, None])
def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(tmp_path, dropout):
    x, cond = data()
    config = TrainingConfig(steps=12, batch_size=32, warmup=3)
    whole = denoiser(dropout)
    for last in fit_steps(whole, x, config, cond=cond, seed=4):
        pass
    cut = denoiser(dropout)
    for progress in fit_steps(cut, x, config, cond=cond, seed=4):
        if progress.step == 5:
            save_checkpoint(tmp_path, progress.state)
            break
    again = denoiser(dropout)
    state = initial_state(again.network, config)
    tensors, facts = load_checkpoint(tmp_path)
    state.load(tensors, facts["step"], facts["elapsed"])
    for resumed in fit_steps(again, x, config, cond=cond, seed=4, resume=state):
        pass
    assert resumed.step == last.step == 12
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(again)))
    assert all(torch.equal(a, b) for a, b in zip(last.state.average.values, state.average.values))


@pytest.mark.parametrize(("dropout", "steps"), [(0.0, 0), (0.3, 3), (None, 3)])
def test_torch_is_seeded_anew_only_for_networks_that_may_draw(monkeypatch, dropout, steps):
    model, (x, cond) = denoiser(dropout), data()
    seeds = []
    monkeypatch.setattr(torch, "manual_seed", seeds.append)
    for _ in fit_steps(model, x, TrainingConfig(steps=3, batch_size=16), cond=cond):
        pass
    assert len(set(seeds)) == steps


def test_training_learns_the_gaussian_that_the_closed_form_knows():
    """Held-out x0 error within 10 % of the exact posterior variance at levels where the data matter."""
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.normal(size=(4000, 2))).float()
    model = NetworkDenoiser(networks.ResidualMLP(2, width=32, depth=2), Precondition("x0"), EDM(20.0), (2,))
    config = TrainingConfig(
        steps=400, batch_size=256, learning_rate=4e-3, warmup=20, precision="float32", weight="uniform"
    )
    for progress in fit_steps(model, x, config, seed=0):
        pass
    held = torch.from_numpy(rng.normal(size=(4000, 2))).float()
    with averaged(progress.state):
        found = validate(model, held, config, 0)
    exact = GaussianDenoiser(torch.zeros(2), 1.0, EDM(20.0))
    best = validate(exact, held, config, 0)
    assert found.mean < 1.1 * best.mean


def test_averaged_weights_are_in_place_only_inside_the_block():
    x, cond = data()
    model = denoiser()
    for progress in fit_steps(model, x, TrainingConfig(steps=3, batch_size=16), cond=cond):
        pass
    before = weights(model)
    with averaged(progress.state):
        assert all(torch.equal(a, b) for a, b in zip(weights(model), progress.state.average.values))
    assert all(torch.equal(a, b) for a, b in zip(weights(model), before))


@pytest.mark.parametrize(("std", "gamma"), [(0.05, 16.972199), (0.10, 6.937204), (0.15, 3.557869)])
def test_power_of_the_average_has_the_published_values(std, gamma):
    assert exponent(std) == pytest.approx(gamma, abs=5e-7)


def test_power_average_of_a_ramp_has_the_width_it_declares():
    """Weights t^gamma on steps 1..T have relative standard deviation `std` as T grows (EDM2, eq. 2)."""
    steps, std = 4000, 0.1
    impulse = [torch.zeros(steps, dtype=torch.float64)]
    average = PowerAverage(impulse, std)
    for step in range(1, steps + 1):
        now = torch.zeros(steps, dtype=torch.float64)
        now[step - 1] = 1
        average.update([now], step)
    profile = average.values[0]
    place = (torch.arange(1, steps + 1) / steps).double()
    mean = float((profile * place).sum())
    width = float((profile * (place - mean) ** 2).sum().sqrt())
    assert float(profile.sum()) == pytest.approx(1, abs=1e-12)
    assert width == pytest.approx(std, rel=1e-3)  # O(1/T)


def test_a_loss_that_is_not_finite_stops_with_a_diagnosis():
    x, cond = data()
    x[3] = float("nan")
    with pytest.raises(NonFiniteError, match=r"step \d+.*not finite; remove them.*last checkpoint"):
        list(fit_steps(denoiser(), x, TrainingConfig(steps=50, batch_size=64), cond=cond))


def test_a_budget_is_asked_for():
    x, _ = data()
    with pytest.raises(ConfigError, match="steps, minutes, or both"):
        next(fit_steps(denoiser(), x, TrainingConfig()))


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    x, cond = data()
    steps = fit_steps(denoiser(), x, TrainingConfig(steps=3, batch_size=16), cond=cond)
    save_checkpoint(tmp_path, next(steps).state)

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    second = next(steps).state
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left"):
            save_checkpoint(tmp_path, second)
    _, facts = load_checkpoint(tmp_path)
    assert facts["step"] == 1
    assert not list(tmp_path.glob(".*"))  # no temporary file is left behind


def test_a_cut_checkpoint_is_refused(tmp_path):
    x, cond = data()
    state = next(fit_steps(denoiser(), x, TrainingConfig(steps=2, batch_size=16), cond=cond)).state
    path = save_checkpoint(tmp_path, state)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(RunError, match="checksum"):
        load_checkpoint(tmp_path)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    x, cond = data()
    save_checkpoint(tmp_path, next(fit_steps(denoiser(), x, TrainingConfig(steps=2, batch_size=16), cond=cond)).state)
    tensors, _ = load_checkpoint(tmp_path)
    other = networks.ResidualMLP(2, width=24, depth=1, conditions={"y": networks.Label(2)})
    with pytest.raises(RunError, match="another network"):
        initial_state(other, TrainingConfig()).load(tensors, 1, 0.0)


def test_residual_variance_of_an_exact_denoiser_is_its_variance():
    process = EDM(20.0)
    exact = GaussianDenoiser(torch.zeros(2), torch.tensor([1.0, 0.25]), process)
    rng = np.random.default_rng(0)
    n = 20_000
    x = torch.from_numpy(rng.normal(size=(n, 2)) * [1.0, 0.5])
    times = process.time(torch.tensor([4.0, 0.0, -4.0]))
    found = fit_residual_variance(exact, x, times)
    for t in times:
        expected = exact.var(x[:1], t)
        # the mean of n squared normals has relative standard error sqrt(2/n)
        assert torch.allclose(found.var(x[:1], t), expected, rtol=5 * (2 / n) ** 0.5)


def test_data_far_from_unit_scale_are_warned_of():
    x, cond = data()
    with pytest.warns(UnscaledData, match="standard deviation"):
        next(fit_steps(denoiser(), 1000 * x, TrainingConfig(steps=1, batch_size=16), cond=cond))
