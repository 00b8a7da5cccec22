"""Regressors as denoisers: any of them, one for each jump or one for all, held against the exact answer."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeRegressor

from caminito.denoiser import MixtureDenoiser, Precondition, RegressorDenoiser
from caminito.errors import ConditionError, ConfigError, DataError, GridError, ShapeError
from caminito.guidance import cfg
from caminito.nn import Given
from caminito.process import VP, Chain
from caminito.process.grid import karras, uniform
from caminito.sampling import DDIM, Ancestral, sample
from caminito.training import fit_regressors, fit_residual_variance

CHAIN = Chain([0.01 * i for i in range(1, 61)], [0.01 * i for i in range(1, 61)])  # the founding example
GRID = uniform(CHAIN, 60)
PHOTOS = torch.tensor([-1.0, 0.0, 1.0]).repeat(1000)[:, None]
TREE = DecisionTreeRegressor(min_samples_leaf=10)


@pytest.mark.parametrize("prediction", ["x0", "eps", "v", "flow", "edm", "previous"])
def test_linear_regression_finds_the_exact_denoiser_of_a_gaussian(prediction):
    # E[x0 | x_t] of N(m, s^2) is linear in x_t, so least squares converges to it as 1 / sqrt(n)
    chain = Chain.ddpm([0.1, 0.3, 0.6])
    x0 = 0.5 + 0.8 * torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fitted = fit_regressors(chain, x0, uniform(chain, 3), LinearRegression(), prediction=prediction, copies=5)
    exact = MixtureDenoiser([1.0], x0.mean()[None, None], x0.var()[None, None, None], chain)
    x = torch.linspace(-1, 2, 7, dtype=torch.float64)[:, None]
    for t in (1.0, 2.0, 3.0):
        assert torch.allclose(fitted(x, t), exact(x, t), atol=0.03)  # 5 standard errors of a slope of 100 000 pairs


@pytest.mark.parametrize("prediction", ["x0", "previous", "v"])
@pytest.mark.parametrize("together", [False, True])
def test_trees_bring_noise_back_to_the_three_photos_in_their_shares(prediction, together):
    trees = fit_regressors(CHAIN, PHOTOS, GRID, TREE, prediction=prediction, together=together)
    known = fit_residual_variance(trees, PHOTOS, GRID[:-1], seed=1)
    ends = sample(known, (3000, 1), grid=GRID, solver=Ancestral("posterior")).flatten()
    nearest = ends.round().clamp(-1, 1)
    assert float((ends - nearest).abs().quantile(0.99)) < 0.2
    shares = torch.stack([(nearest == photo).double().mean() for photo in (-1, 0, 1)])
    assert torch.allclose(shares, torch.full((3,), 1 / 3, dtype=torch.float64), atol=0.06)  # 7 standard errors


def test_mean_steps_without_noise_contract_to_the_middle():
    # E[x_(t-1) | x_t] iterated loses what Var[x_(t-1) | x_t] would have given: every path ends at the middle photo
    trees = fit_regressors(CHAIN, PHOTOS, GRID, TREE)
    x = float(CHAIN.kernel(60).std) * torch.randn(500, 1, generator=torch.Generator().manual_seed(0))
    for t in range(60, 0, -1):
        c0, ct, _ = CHAIN.bridge(t - 1, t)
        x = c0 * trees(x, t) + ct * x
    assert float((x.abs() < 0.1).double().mean()) > 0.99
    kept = sample(trees, (500, 1), grid=GRID, solver=DDIM()).abs()
    assert 0.5 < float((kept > 0.9).double().mean()) < 0.8  # two of three photos


def test_simulated_paths_are_what_is_fitted_when_they_are_given():
    paths = CHAIN.simulate(PHOTOS)
    trees = fit_regressors(CHAIN, PHOTOS, GRID, DecisionTreeRegressor(), prediction="previous", paths=paths)
    c0, ct, _ = CHAIN.bridge(9, 10)
    back = c0 * trees(paths[10], 10) + ct * paths[10]  # a full tree says what it was fitted to
    assert float(((back - paths[9]).abs() < 1e-4).double().mean()) > 0.99  # but for states too near to be told apart


def test_one_entry_regressors_are_fitted_to_each_entry():
    x0 = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)) @ torch.tensor([[1.0, 0.8], [0.0, 0.6]])
    grid = karras(VP(), 4)
    fitted = fit_regressors(VP(), x0, grid, GradientBoostingRegressor(n_estimators=5), seed=3)
    assert fitted(x0, grid[1]).shape == (400, 2)
    again = fit_regressors(VP(), x0, grid, GradientBoostingRegressor(n_estimators=5), seed=3, n_jobs=2)
    assert torch.equal(fitted(x0, grid[1]), again(x0, grid[1]))


def test_rows_at_several_times_are_answered_by_their_own_regressors():
    trees = fit_regressors(CHAIN, PHOTOS, GRID, TREE)
    x, t = torch.linspace(-0.5, 0.5, 6)[:, None], torch.tensor([1.0, 60.0, 10.0, 10.0, 33.0, 1.0])
    alone = torch.cat([trees(row[None], time) for row, time in zip(x, t)])
    assert torch.equal(trees(x, t), alone)


@pytest.mark.parametrize("together", [False, True])
def test_trees_with_and_without_their_condition_can_be_guided_by_it(together):
    label = torch.arange(len(PHOTOS)) % 3  # -1, 0, 1 in turn
    how = {"copies": 2, "together": together}
    trees = fit_regressors(CHAIN, PHOTOS, GRID, TREE, cond={"photo": label}, unconditional=True, **how)
    plain = fit_regressors(CHAIN, PHOTOS, GRID, TREE, **how)
    told_alone = fit_regressors(CHAIN, PHOTOS, GRID, TREE, cond={"photo": label}, **how)
    x, t = torch.randn(60, 1, generator=torch.Generator().manual_seed(0)), GRID[len(GRID) // 2]
    told, half = {"photo": torch.full((60,), 2)}, torch.arange(60) % 2 == 0
    assert torch.equal(trees.mean(x, t), plain.mean(x, t))
    assert torch.equal(trees.mean(x, t, told), told_alone.mean(x, t, told))
    mixed = trees.mean(x, t.expand(60), {"photo": Given(told["photo"], half)})
    assert torch.equal(mixed[half], told_alone.mean(x, t, told)[half])
    assert torch.equal(mixed[~half], plain.mean(x, t)[~half])
    strong, weak = trees.mean(x, t, told), trees.mean(x, t)
    assert float((strong - weak).abs().mean()) > 0.2
    assert torch.allclose(cfg(trees, 2.0).mean(x, t, told), 2 * strong - weak, atol=1e-6)
    drawn = sample(cfg(trees, 1.5), (30, 1), grid=GRID, solver=DDIM(), cond={"photo": torch.full((30,), 2)})
    assert bool((drawn > 0.7).all())


def test_some_of_the_conditions_of_a_row_are_refused():
    cond = {"a": torch.arange(len(PHOTOS)) % 3, "b": torch.arange(len(PHOTOS)) % 2}
    trees = fit_regressors(
        CHAIN, PHOTOS[:30], GRID, TREE, cond={k: v[:30] for k, v in cond.items()}, unconditional=True
    )
    here = {"a": torch.zeros(2), "b": Given(torch.zeros(2), torch.tensor([True, False]))}
    with pytest.raises(ConditionError, match="all conditions of a row or none"):
        trees.mean(PHOTOS[:2], GRID[0], here)
    for asked, got in (({"a": torch.zeros(2)}, "got a"), ({"a": torch.zeros(2), "c": torch.zeros(2)}, "got a, c")):
        with pytest.raises(ConditionError, match=f"expected a, b or nothing.*{got}"):
            trees.mean(PHOTOS[:2], GRID[0], asked)


def test_conditions_are_columns():
    label = torch.arange(3000) % 3
    trees = fit_regressors(CHAIN, PHOTOS, GRID, TREE, cond={"photo": label})
    x = sample(trees, (30, 1), grid=GRID, solver=DDIM(), cond={"photo": torch.full((30,), 2)})
    assert torch.allclose(x, torch.ones(30, 1), atol=0.05)
    with pytest.raises(DataError, match="photo.*One row for each"):
        trees(torch.zeros(5, 1), 3.0, {"photo": torch.zeros(4)})


def test_what_cannot_be_fitted_is_refused_before_anything_is():
    calls = []

    class Counting(DecisionTreeRegressor):
        def fit(self, *given):
            calls.append(given)
            return super().fit(*given)

    def fit(x0=PHOTOS, grid=GRID, regressor=None, process=CHAIN, **options):
        return fit_regressors(process, x0, grid, regressor or Counting(), **options)

    with pytest.raises(ConfigError, match="such as DecisionTreeRegressor"):
        fit(regressor=DecisionTreeRegressor)
    with pytest.raises(ShapeError, match=r"\(n, 1\)"):
        fit(x0=PHOTOS[:, 0])
    with pytest.raises(DataError, match="finite"):
        fit(x0=torch.tensor([[1.0], [np.nan]]))
    with pytest.raises(ConfigError, match="copies"):
        fit(copies=0)
    with pytest.raises(ShapeError, match="simulate"):
        fit(paths=CHAIN.simulate(PHOTOS)[:5])
    with pytest.raises(ConfigError, match="chain"):
        fit(process=VP(), grid=karras(VP(), 4), prediction="previous")
    with pytest.raises(GridError):
        fit(grid=torch.tensor([3.0]))
    with pytest.raises(DataError, match="condition 'y'"):
        fit(cond={"y": torch.zeros(3)})
    assert not calls
    with pytest.raises(ConfigError, match="one for each of 60 times, got 1"):
        RegressorDenoiser([TREE], Precondition("x0"), CHAIN, (1,), at=GRID[:-1])
