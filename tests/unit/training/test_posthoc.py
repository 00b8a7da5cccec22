"""Averages of any width from snapshots of two: exact profiles, measured misfits, and a store that survives a stop."""

import itertools
import math

import numpy as np
import pytest
import torch

from caminito.errors import ConfigError, RunError
from caminito.training.ema import PowerAverage, exponent
from caminito.training.posthoc import STDS, Profile, Snapshots, coefficients, inner, misfit

PATHS = {  # weights as functions of the share of the run
    "constant": lambda u: np.full_like(u, 3.0),
    "linear": lambda u: u,
    "sinusoid": lambda u: np.sin(12 * u),
    "settling": lambda u: np.exp(-5 * u) + 10.0,
    "jump": lambda u: (u > 0.7).astype(float),
    "noise": lambda u: np.random.default_rng(0).normal(size=len(u)),
}
WIDTHS = [0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25]


def weights_of(steps, std):
    """The share of each step in a running average: int of the profile over (tau - 1, tau]."""
    power = exponent(std) + 1
    edge = (np.arange(steps + 1) / steps) ** power
    return np.diff(edge)


def equal(count, steps):
    return [Profile(steps * (i + 1) // count, std) for i in range(count) for std in STDS]


def test_golden_exponents_of_the_published_widths():
    for std, gamma in ((0.05, 16.972199), (0.10, 6.937204), (0.15, 3.557869)):
        assert abs(exponent(std) - gamma) < 0.5e-6


@pytest.mark.parametrize("std", WIDTHS)
def test_width_is_the_relative_standard_deviation_of_the_profile(std):
    g = exponent(std)
    mean, square = (g + 1) / (g + 2), (g + 1) / (g + 3)
    assert abs(math.sqrt(square - mean**2) - std) < 1e-12


@pytest.mark.parametrize("std", [0.05, 0.1, 0.2])
def test_a_running_average_has_the_profile_of_its_power(std):
    steps, path = 200, np.random.default_rng(1).normal(size=200)
    average = PowerAverage([torch.zeros(1, dtype=torch.float64)], std)
    for step, value in enumerate(path, start=1):
        average.update([torch.full((1,), value, dtype=torch.float64)], step)
    assert abs(float(average.values[0]) - path @ weights_of(steps, std)) < 1e-12


def test_inner_product_is_the_integral_of_two_profiles():
    for a, b in itertools.product([Profile(100, 0.05), Profile(60, 0.1), Profile(37, 0.2)], repeat=2):
        x, w = np.polynomial.legendre.leggauss(60)
        end = min(a.step, b.step)
        tau, w = (x + 1) * end / 2, w * end / 2
        p, q = ((exponent(f.std) + 1) * (tau / f.step) ** exponent(f.std) / f.step for f in (a, b))
        assert abs(inner(a, b) / (w @ (p * q)) - 1) < 1e-10


@pytest.mark.parametrize(("count", "most"), [(16, 0.025), (32, 0.007)])
def test_equally_spaced_snapshots_make_every_width_from_04_to_20_to_a_few_thousandths(count, most):
    kept = equal(count, 3200)
    found = {std: misfit(kept, Profile(3200, std)) for std in np.linspace(0.04, 0.2, 33)}
    assert max(found.values()) < most
    assert misfit(kept, Profile(3200, 0.05)) < 1e-6 and misfit(kept, Profile(3200, 0.1)) < 1e-6  # they are snapshots


def test_coefficients_sum_to_one_and_do_not_amplify_rounding():
    for count, std in itertools.product((4, 16, 32), WIDTHS):
        x = coefficients(equal(count, 3200), Profile(3200, std))
        assert abs(x.sum() - 1) < 1e-12 and np.abs(x).sum() < 10


def test_snapshots_after_the_wanted_end_take_no_part():
    kept = equal(32, 3200)
    x = coefficients(kept, Profile(1600, 0.15))
    assert all(x[i] == 0 for i, profile in enumerate(kept) if profile.step > 1600)
    assert np.allclose(x[:32], coefficients(equal(16, 1600), Profile(1600, 0.15)), atol=1e-9)


@pytest.mark.parametrize("name", PATHS)
def test_reconstruction_errs_by_no_more_than_its_misfit(name):
    """|sum_i x_i theta_i - theta_p| <= misfit |p| min_c |theta - c|, with theta constant between steps."""
    steps = 1024
    path = PATHS[name](np.arange(1, steps + 1) / steps)
    kept = equal(16, steps)
    held = np.array([path[: p.step] @ weights_of(p.step, p.std) for p in kept])
    for std in WIDTHS:
        wanted = Profile(steps, std)
        error = abs(coefficients(kept, wanted) @ held - path @ weights_of(steps, std))
        allowed = misfit(kept, wanted) * math.sqrt(inner(wanted, wanted)) * np.linalg.norm(path - path.mean())
        assert error <= allowed + 1e-10 * np.abs(path).max()
        if name in ("constant", "linear", "sinusoid", "settling") and std <= 0.2:
            assert error < 2e-3  # of values of order one; measured: 1.5e-3 at most


# -- the store --------------------------------------------------------------------------------------------------------


def weights(step):
    return [torch.full((3,), math.sin(step / 40)), torch.tensor(step / 100.0, dtype=torch.float64)]


def walked(folder, first, last, *, store=None, limit=8):
    store = store or Snapshots(folder, ["a.weight", "b"], weights(0), limit=limit)
    for step in range(first, last + 1):
        store.update(weights(step), step, last=step == 203)
    return store


def steps_of(folder):
    return sorted(int(path.stem.removeprefix("step_")) for path in folder.glob("step_*.safetensors"))


def test_between_half_and_all_of_the_limit_is_kept_equally_spaced(tmp_path):
    store = Snapshots(tmp_path, ["a.weight", "b"], weights(0), limit=8)
    for step in range(1, 150):
        store.update(weights(step), step)
        every = 2 ** max(0, math.ceil(math.log2(step / 8)))
        if step % every == 0:
            assert steps_of(tmp_path) == list(range(every, step + 1, every))
        assert len(steps_of(tmp_path)) <= 8 and (step < 8 or len(steps_of(tmp_path)) >= 4)


@pytest.mark.parametrize("std", [0.06, 0.1, 0.15])
def test_stored_snapshots_make_the_average_that_was_not_kept(tmp_path, std):
    walked(tmp_path, 1, 203, limit=32)
    direct = PowerAverage(weights(0), std)
    for step in range(1, 204):
        direct.update(weights(step), step)
    got = Snapshots.reconstruct(tmp_path, std)
    assert [got[n].dtype for n in ("a.weight", "b")] == [torch.float32, torch.float64]
    for name, value in zip(("a.weight", "b"), direct.values):
        assert float((got[name] - value).abs().max()) < 1e-3


def test_an_earlier_end_is_the_average_of_the_run_until_then(tmp_path):
    walked(tmp_path / "whole", 1, 203, limit=32)
    walked(tmp_path / "part", 1, 128, limit=32)
    a, b = Snapshots.reconstruct(tmp_path / "whole", 0.15, 128), Snapshots.reconstruct(tmp_path / "part", 0.15)
    assert float((a["b"] - b["b"]).abs()) < 5e-3  # of half as many snapshots


def test_a_run_that_was_stopped_and_resumed_leaves_the_same_files(tmp_path):
    walked(tmp_path / "whole", 1, 203)
    before = walked(tmp_path / "cut", 1, 70)
    saved = {name: value.clone() for name, value in before.tensors().items()}
    walked(tmp_path / "cut", 71, 90, store=before)  # killed after the checkpoint of step 70
    after = Snapshots(tmp_path / "cut", ["a.weight", "b"], weights(0), limit=8)
    after.load(saved, 70)
    assert max(steps_of(tmp_path / "cut")) <= 70
    walked(tmp_path / "cut", 71, 203, store=after)
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("whole", "cut")]
    assert files[0] == files[1]


def test_what_cannot_be_made_is_refused(tmp_path):
    walked(tmp_path, 1, 64)
    for std in (0.0, 0.3):
        with pytest.raises(ConfigError, match="sigma_rel: expected a width"):
            Snapshots.reconstruct(tmp_path, std)
    with pytest.raises(ConfigError, match="step: expected one of a snapshot .8, 16, .*, 64., got 60"):
        Snapshots.reconstruct(tmp_path, 0.1, 60)
    with pytest.raises(RunError, match="expected a file"):
        Snapshots.reconstruct(tmp_path / "nowhere", 0.1)
    with pytest.raises(ConfigError, match="limit: expected at least 4"):
        Snapshots(tmp_path, [], [], limit=1)
    (tmp_path / "step_00000064.safetensors").write_bytes(b"cut")
    with pytest.raises(RunError, match="checksum"):
        Snapshots.reconstruct(tmp_path, 0.1)
