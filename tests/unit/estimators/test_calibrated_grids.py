"""Calibrated grids of a model: found once, used by `sample`, kept in the file."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caminito import DiffusionModel
from caminito.denoiser import MixtureDenoiser
from caminito.errors import ConditionError, ConfigError, DataError, GridError
from caminito.process import Chain
from caminito.sampling import DDIM, DPMpp2M

SMALL = {"width": 16, "depth": 1}
X = np.random.default_rng(0).normal(size=(300, 2)) * 0.1 + np.random.default_rng(1).choice([-1.0, 1.0], size=(300, 1))


def fitted(**options):
    return DiffusionModel(max_steps=3, network=SMALL, random_state=0, **options).fit(X)


@pytest.fixture
def model():
    """The law of X, exactly, in place of a network."""
    model = fitted()
    means = torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    var = torch.full((2,), 0.01, dtype=torch.float64)
    model.denoiser_ = MixtureDenoiser(torch.tensor([0.5, 0.5]), means, var, model.process_)
    model.residual_variance_ = None
    return model


def test_a_calibrated_grid_ends_nearer_to_many_steps_and_is_the_one_that_is_used(model):
    before = model.sample(64, n_steps=6, solver="ddim", random_state=0)
    found = model.calibrate(X, 6, solver="ddim")
    assert found.after < 0.8 * found.before
    assert found.method == "search" and found.solver == DDIM() and found.n_steps == 6
    assert torch.equal(model.solver_and_grid(6, "ddim")[1], found.times)
    assert not np.array_equal(before, model.sample(64, n_steps=6, solver="ddim", random_state=0))
    fine = model.sample(64, n_steps=96, solver="ddim", random_state=0)
    after = model.sample(64, n_steps=6, solver="ddim", random_state=0)
    assert np.square(after - fine).mean() < np.square(before - fine).mean()
    for steps, solver in ((7, "ddim"), (6, "heun")):
        assert torch.equal(
            model.solver_and_grid(steps, solver)[1], model.solver_and_grid(steps, solver, calibrated=False)[1]
        )


def test_a_grid_takes_the_place_of_an_earlier_one_and_a_new_fit_forgets_all(model):
    model.calibrate(X, 4, method="score")
    model.calibrate(X, 5)
    kept = model.calibrate(X, 4, method="klub")
    assert [g.n_steps for g in model.grids_] == [5, 4]
    assert torch.equal(model.solver_and_grid(4)[1], kept.times) and kept.solver == DPMpp2M()
    assert fitted().grids_ == []


def test_the_result_depends_on_the_seed_alone(model):
    first, again = (model.calibrate(X, 4, solver="ddim", random_state=3) for _ in range(2))
    assert torch.equal(first.times, again.times) and first.after == again.after
    assert not torch.equal(first.times, model.calibrate(X, 4, solver="ddim", random_state=4).times)


def test_solvers_that_draw_noise_get_the_grid_made_for_them(model):
    found = model.calibrate(X, 6, solver="ancestral")
    assert found.method == "klub" and found.before is None and found.after is None


def test_grids_are_saved_with_the_model(tmp_path):
    model = fitted()
    found = model.calibrate(X, 4, solver={"kind": "unipc", "order": 3}, method="trajectory")
    model.save(tmp_path / "m")
    loaded = DiffusionModel.load(tmp_path / "m")
    assert torch.equal(loaded.solver_and_grid(4, found.solver)[1], found.times)
    assert str(loaded.grids_[0]) == str(found) and "4 steps of UniPC" in str(found)
    assert np.array_equal(
        loaded.sample(5, n_steps=4, solver=found.solver), model.sample(5, n_steps=4, solver=found.solver)
    )


def test_a_chain_is_calibrated_in_its_own_steps():
    model = fitted(process=Chain.ddpm("linear", steps=40))
    found = model.calibrate(X, 5, solver="ddim")
    assert found.times.tolist() == sorted({int(t) for t in found.times}, reverse=True)
    assert found.times[0] == 40 and found.times[-1] == 0


def test_conditions_go_with_their_rows():
    y = (X[:, 0] > 0).astype(int)
    model = DiffusionModel(max_steps=3, network=SMALL, random_state=0).fit(X, y)
    assert model.calibrate(X, 3, y).n_steps == 3
    with pytest.raises(ConditionError, match="expected 300 rows"):
        model.calibrate(X, 3, y[:10])


def test_what_cannot_be_calibrated_is_refused_before_any_work(model):
    with pytest.raises(ConfigError, match="method: expected one of search, klub, score, trajectory"):
        model.calibrate(X, 4, method="best")
    with pytest.raises(DataError, match="at least 16 rows"):
        model.calibrate(X[:5], 4)
    with pytest.raises(ConfigError, match="n_steps: expected a whole number >= 1"):
        model.calibrate(X, 0)
    with pytest.raises(GridError, match="Ask for at most"):
        fitted(process=Chain.ddpm("linear", steps=40)).calibrate(X, 41)
