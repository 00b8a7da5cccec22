"""Data seen in part: what is drawn has the closed-form law given what was seen, in the units of the data."""

import math
import sys
import types
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal

from caminito import DiffusionModel, ImageDiffusion
from caminito.data import shrink
from caminito.denoiser import GaussianDenoiser, Wrapped
from caminito.errors import ConditionError, ConfigError, DataError, DegenerateWeights, ShapeError
from caminito.estimators import observed
from caminito.estimators.layout import Layout
from caminito.estimators.observed import told
from caminito.posterior import (
    Blur,
    Compose,
    Downsample,
    Identity,
    Linear,
    Mask,
    Nonlinear,
    Select,
    observe,
)

UNET = {"kind": "unet", "width": 16, "multipliers": [1], "blocks": 1, "attention": []}
MLP = {"kind": "mlp", "width": 16, "depth": 1}
RNG = np.random.default_rng(0)
NAN = np.nan


def normal_law(shape, centre, scales):
    """Mean and covariance of random data, flattened with the channels first."""
    size = math.prod(shape)
    root = RNG.normal(size=(size, size)) / np.sqrt(size) + 0.5 * np.eye(size)
    scale = np.broadcast_to(np.reshape(scales, (-1, *[1] * (len(shape) - 1))), shape).ravel()
    mean = np.broadcast_to(np.reshape(centre, (-1, *[1] * (len(shape) - 1))), shape).ravel()
    return mean + scale * RNG.normal(size=size) * 0.3, scale[:, None] * (root @ root.T) * scale


def exact(model, mean, cov):
    """The model with the exact denoiser of N(mean, cov), data units, in the place of its network."""
    layout = Layout.of(model.codec_)
    centre, std = (v.flatten().numpy() for v in (layout.mean, layout.std))
    encoded = torch.from_numpy((mean - centre) / std).reshape(layout.event_shape)
    model.denoiser_ = GaussianDenoiser(encoded, torch.from_numpy(cov / std[:, None] / std), model.process_)
    model.residual_variance_ = None
    return model


def conditioned(mean, cov, A, y, noise):
    """Law of x given y = A x + noise; noise a covariance."""
    seen = A @ cov @ A.T + noise
    gain = np.linalg.solve(seen, A @ cov).T
    log_evidence = multivariate_normal(A @ mean, seen, allow_singular=False).logpdf(y)
    return mean + gain @ (y - A @ mean), cov - gain @ A @ cov, log_evidence


def close(found, mean, var, *, share=0.02, rounded=0.0):
    """Moments within 4.5 standard errors, and a share of the deviation for the length of the steps."""
    draws = found.reshape(len(found), -1).astype(np.float64)
    sd = np.sqrt(var + rounded)
    count = len(draws)
    assert np.all(np.abs(draws.mean(0) - mean) <= (4.5 / np.sqrt(count) + share) * sd)
    assert np.all(np.abs(draws.std(0) / sd - 1) <= 4.5 / np.sqrt(2 * count) + 2 * share)


@pytest.fixture(scope="module")
def rows():
    """A model of three numbers of very different units, and its law."""
    mean, cov = normal_law((3,), [0.2, -30.0, 1000.0], [1e-3, 5.0, 400.0])
    X = RNG.multivariate_normal(mean, cov, 64)
    return exact(DiffusionModel(network=MLP, max_steps=1, random_state=0).fit(X), mean, cov), mean, cov


@pytest.fixture(scope="module")
def grey():
    """Images of bytes, well within their range."""
    mean, cov = normal_law((1, 4, 4), 128.0, 18.0)
    X = np.clip(np.rint(RNG.multivariate_normal(mean, cov, 64)), 0, 255).astype(np.uint8).reshape(-1, 4, 4)
    return exact(ImageDiffusion(network=UNET, max_steps=1, random_state=0).fit(X), mean, cov), mean, cov, X


@pytest.fixture(scope="module")
def colour():
    """Colour images of real numbers, with channels of different spread."""
    mean, cov = normal_law((3, 4, 4), [0.0, 5.0, -2.0], [1.0, 0.1, 3.0])
    X = np.moveaxis(RNG.multivariate_normal(mean, cov, 64).reshape(-1, 3, 4, 4), 1, -1)
    return exact(ImageDiffusion(network=UNET, max_steps=1, random_state=0).fit(X), mean, cov), mean, cov, X


# -- laws in closed form ----------------------------------------------------------------------------------------------


def test_filled_pixels_have_the_conditional_law_and_known_ones_are_the_same_bytes(grey):
    model, mean, cov, X = grey
    mask = np.ones((4, 4), dtype=bool)
    mask[0], mask[2, 1:3] = False, False
    found = model.inpaint(X[3], mask * 255, n_draws=800, method="mmps", random_state=1)
    assert found.draws.shape == (800, 4, 4) and found.draws.dtype == np.uint8
    assert (found.draws[:, ~mask] == X[3][~mask]).all() and (found.std[~mask] == 0).all()
    known = np.flatnonzero(~mask)
    centre, var, _ = conditioned(mean, cov, np.eye(16)[known], X[3].ravel()[known], np.eye(len(known)))
    holes = mask.ravel()
    close(found.draws[:, mask], centre[holes], np.diag(var)[holes], rounded=1 / 12)
    np.testing.assert_allclose(found.mean, found.draws.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.std, found.draws.std(0), rtol=1e-12)
    low, high = found.interval(0.5)
    inside = ((found.draws >= low) & (found.draws <= high))[:, mask].mean()
    assert 0.45 < inside < 0.6 and (low[~mask] == X[3][~mask]).all()


def test_rows_with_holes_of_their_own_are_filled_by_their_own_conditional_laws(rows):
    model, mean, cov = rows
    X = np.stack([mean + 0.7 * np.sqrt(np.diag(cov)), mean, mean - np.sqrt(np.diag(cov)), mean, mean])
    missing = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]], dtype=bool)
    found = model.impute(np.where(missing, NAN, X), n_draws=800, method="mmps", random_state=3)
    assert found.draws.shape == (5, 800, 3) and found.log_evidence is None
    noise = np.diag((0.01 * model.codec_.std) ** 2)
    for p in range(4):
        known = ~missing[p]
        assert (found.draws[p][:, known] == X[p, known]).all()
        A = np.eye(3)[known]
        centre, var = mean, cov
        if known.any():
            centre, var, _ = conditioned(mean, cov, A, X[p, known], A @ noise @ A.T)
        close(found.draws[p][:, ~known], centre[~known], np.diag(var)[~known])
    assert (found.draws[4] == X[4]).all() and (found.std[4] == 0).all()


def test_the_evidence_is_that_of_what_was_seen_in_the_units_of_the_data(rows):
    model, mean, cov = rows
    seen = np.array([[mean[0] + 4e-4, NAN, NAN], [NAN, mean[1] - 2, mean[2] + 200], [*mean]])
    found = model.impute(seen, n_draws=64, particles=192, n_steps=80, noise=0.1 * np.sqrt(np.diag(cov)), random_state=0)
    assert found.method == "tds" and found.diagnostics["particles"] == 192
    for p in range(2):
        known = ~np.isnan(seen[p])
        A = np.eye(3)[known]
        expected = conditioned(mean, cov, A, seen[p, known], 0.01 * A @ np.diag(np.diag(cov)) @ A.T)[2]
        assert found.log_evidence[p] == pytest.approx(expected, abs=0.2)
    assert np.isnan(found.log_evidence[2]) and np.isnan(found.diagnostics["ess"][2])
    assert (found.diagnostics["ess"][:2] > 0.2).all() and (found.diagnostics["ancestors"][:2] > 10).all()


def test_enlarged_images_have_the_law_of_those_whose_block_means_were_seen(colour):
    model, mean, cov, X = colour
    small = shrink(X[5:6], 2)[0]
    A = Downsample(2)(torch.eye(48).reshape(48, 3, 4, 4)).reshape(48, -1).T.double().numpy()
    noise = 0.05
    y = np.moveaxis(small, -1, 0).ravel()
    centre, var, _ = conditioned(mean, cov, A, y, noise**2 * np.eye(12))
    how = {"n_draws": 300, "n_steps": 25, "noise": noise, "options": {"iterations": 12}, "random_state": 2}
    found = model.enlarge(small, 2, **how)
    assert found.method == "mmps" and found.draws.shape == (300, 4, 4, 3)
    low, high = model.codec_.limits
    draws = np.moveaxis(found.draws, -1, 1).reshape(300, -1)
    inside = (np.abs(centre - low) > 5 * np.sqrt(np.diag(var))) & (np.abs(centre - high) > 5 * np.sqrt(np.diag(var)))
    assert inside.sum() > 24
    close(draws[:, inside], centre[inside], np.diag(var)[inside], share=0.03)
    few = {"n_draws": 2, "n_steps": 2, "random_state": 0}
    assert (model.enlarge(small[None], **few).draws[0] == model.enlarge(small, 2, **few).draws).all()


def test_a_matrix_that_mixes_columns_and_a_covariance_of_noise_give_the_conditional_law(rows):
    model, mean, cov = rows
    sd = np.sqrt(np.diag(cov))
    A = np.array([[1 / sd[0], 1 / sd[1], 0], [0, -1 / sd[1], 2 / sd[2]]])
    noise = np.array([[0.04, 0.02], [0.02, 0.05]])
    y = A @ mean + [0.5, -0.8]
    centre, var, evidence = conditioned(mean, cov, A, y, noise)
    walk = model.posterior(y, Linear(torch.from_numpy(A)), noise, method="mmps", n_draws=800, random_state=0)
    close(walk.draws, centre, np.diag(var))
    cloud = model.posterior(
        y, Linear(torch.from_numpy(A)), noise, n_draws=16, particles=192, n_steps=80, random_state=0
    )
    assert cloud.method == "tds" and cloud.log_evidence == pytest.approx(evidence, abs=0.2)


OPERATORS = {
    "identity": Identity(),
    "select": Select([1, 20, 47]),
    "blocks": Downsample(2),
    "blur": Blur(0.7),
    "both": Compose(Downsample(2), Blur(0.7)),
    "matrix": Linear(torch.from_numpy(RNG.normal(size=(5, 48)))),
    "function": Linear(lambda x: x.sum(1) + x[:, 0]),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("kind", ["number", "each", "covariance"])
def test_the_likelihood_of_what_a_denoiser_is_told_is_that_of_the_data(colour, name, kind):
    model, operator = colour[0], OPERATORS[name]
    layout = Layout.of(model.codec_)
    x = torch.from_numpy(RNG.normal(size=(1, 3, 4, 4)))
    X = layout.mean + layout.std * x
    shape = operator.seen((3, 4, 4))
    size = math.prod(shape)
    noise = {
        "number": torch.tensor(0.3, dtype=torch.float64),
        "each": torch.from_numpy(RNG.uniform(0.2, 0.6, shape)),
        "covariance": torch.from_numpy(0.1 * np.eye(size) + 0.05),
    }[kind]
    y = operator(X) + torch.from_numpy(RNG.normal(size=(1, *shape)))
    y.view(-1)[2] = torch.nan if kind != "covariance" else 0.0
    seen = told(layout, y, operator, noise)
    told_ = observe(seen.y.double(), seen.operator, seen.noise, (3, 4, 4), dtype=torch.float64)
    plain = observe(y, operator, noise, (3, 4, 4), dtype=torch.float64)
    assert float(told_.log_prob(x) + seen.nats) == pytest.approx(float(plain.log_prob(X)), rel=1e-4, abs=1e-4)
    assert (seen.operator.gram((3, 4, 4)) is None) == (operator.gram((3, 4, 4)) is None)


def test_with_one_scale_for_all_entries_any_operator_is_told_as_it_is(grey):
    layout = Layout.of(grey[0].codec_)
    operator = Linear(torch.from_numpy(RNG.normal(size=(2, 16))))
    assert told(layout, torch.zeros(1, 2, dtype=torch.float64), operator, torch.tensor(1.0)).operator is operator


def test_a_nonlinear_operator_sees_the_data_in_their_units(rows):
    model, mean, cov = rows
    seen = []

    def product(X):
        seen.append(X.detach())
        return (X[:, :1] - mean[0]) * (X[:, 2:] - mean[2]) / np.sqrt(cov[0, 0] * cov[2, 2])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateWeights)
        found = model.posterior([0.9], Nonlinear(product), 0.1, n_draws=64, n_steps=60, random_state=0)
    spread = np.sqrt(np.diag(cov))
    got = ((found.draws[:, 0] - mean[0]) * (found.draws[:, 2] - mean[2])) / (spread[0] * spread[2])
    many = (RNG.multivariate_normal(np.zeros(3), cov, 100_000) / spread)[:, [0, 2]].prod(1)
    weights = np.exp(-0.5 * ((0.9 - many) / 0.1) ** 2)
    expected = np.average(many, weights=weights)
    deviation = np.sqrt(np.average((many - expected) ** 2, weights=weights))
    assert abs(got.mean() - expected) < deviation and 0.5 < got.std() / deviation < 1.5
    last = torch.cat(seen[-20:]).numpy()
    assert np.all(np.abs((last - mean) / spread).mean(0) < 4)


def test_fields_are_drawn_given_the_points_that_were_observed():
    mean, cov = normal_law((1, 3, 4), 280.0, 5.0)
    X = RNG.multivariate_normal(mean, cov, 64).reshape(-1, 3, 4)
    model = exact(DiffusionModel(network=UNET, max_steps=1, random_state=0).fit(X), mean, cov)
    places = {(0, 1): 284.0, (2, 3): 275.0, (1, 0): 281.5}
    known = [int(np.ravel_multi_index(place, (3, 4))) for place in places]
    noises = dict(zip(places, (0.5, 1.0, 2.0)))
    centre, var, _ = conditioned(
        mean, cov, np.eye(12)[known], np.array(list(places.values())), np.diag(np.square([*noises.values()]))
    )
    found = model.assimilate(places, noises, n_draws=500, method="mmps", random_state=0)
    assert found.draws.shape == (500, 3, 4)
    close(found.draws, centre, np.diag(var))
    field, noise = np.full((3, 4), NAN), np.ones((3, 4))
    for place, value in places.items():
        field[place], noise[place] = value, noises[place]
    few = {"n_draws": 3, "n_steps": 3, "method": "mmps", "random_state": 0}
    drawn = model.assimilate(places, noises, **few).draws
    assert (model.assimilate(field, noise, **few).draws == drawn).all()
    mask = Mask(torch.from_numpy(~np.isnan(field))[None])
    assert (model.posterior(field[None], mask, noise[None], **few).draws == drawn).all()
    for wrong, message in (
        ({(3, 0): 1.0}, "expected indices of a field of shape (3, 4), counted from 0, got (3, 0)"),
        ({5: 1.0}, "expected indices of a field of shape (3, 4), counted from 0, got 5"),
    ):
        with pytest.raises(ShapeError, match=_plain(message)):
            model.assimilate(wrong, 1.0)
    with pytest.raises(ConfigError, match="expected the indices of the observations, got others"):
        model.assimilate(places, {(0, 0): 1.0})


# -- what depends on what ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["mmps", "tds", "diffpir"])
def test_draws_do_not_depend_on_how_many_are_worked_at_once(rows, method):
    model, mean, _ = rows
    X = np.array([[mean[0], NAN, NAN], [NAN, mean[1], NAN], [NAN, NAN, mean[2]]])
    how = {"n_draws": 5, "particles": 16 if method == "tds" else None, "method": method, "n_steps": 12}
    told_ = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateWeights)
        whole = model.impute(X, random_state=0, **how, progress=lambda done, total: told_.append((done, total)))
        parts = model.impute(X, random_state=0, batch_size=4, **how)
        other = model.impute(X, random_state=1, **how)
    np.testing.assert_allclose(parts.array, whole.array, rtol=2e-5)
    assert not np.allclose(other.array, whole.array, rtol=1e-3)
    assert told_[-1][0] == told_[-1][1] > 1


def test_more_observations_than_memory_holds_are_taken_in_blocks_with_noise_of_their_own(rows, monkeypatch):
    model, mean, _ = rows
    X = np.tile([mean[0], NAN, NAN], (5, 1))
    monkeypatch.setattr(observed, "_AT_ONCE", 2 * 4 * 3)
    done = []
    found = model.impute(
        *(X,), n_draws=4, method="mmps", n_steps=6, random_state=0, progress=lambda *now: done.append(now)
    )
    free = found.draws[:, :, 1].ravel()
    assert len(np.unique(free)) == 20
    shares = [a / b for a, b in done]
    assert shares == sorted(shares) and shares[-1] == 1


def test_a_class_reaches_the_rows_that_lack_something_and_no_others():
    X, y = RNG.normal(size=(32, 2)), np.arange(32) % 2
    model = DiffusionModel(network=MLP, max_steps=1, random_state=0).fit(X, y)
    asked = []

    class Listening(Wrapped):
        def mean(self, x_t, t, cond=None):
            asked.append(None if cond is None else cond["y"].tolist())
            return super().mean(x_t, t, cond)

    model.denoiser_, model.residual_variance_ = Listening(model.denoiser_), None
    holes = np.array([[0.0, NAN], [0.0, 0.0], [NAN, 1.0]])
    how = {"n_draws": 2, "method": "diffpir", "n_steps": 2, "random_state": 0}
    model.impute(holes, condition=[1, 1, 0], **how)
    assert asked and all(each == [1, 1, 0, 0] for each in asked)
    asked.clear()
    model.impute(holes, **how)
    assert asked and all(each is None for each in asked)
    with pytest.raises(ConditionError, match="expected 3 rows"):
        model.impute(holes, condition=[1, 1], **how)


# -- containers -------------------------------------------------------------------------------------------------------


def test_nothing_missing_is_given_back_as_it_is(grey, rows):
    model, _, _, X = grey
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model.inpaint(X[:2], np.zeros((4, 4)), n_draws=3)
        whole = rows[0].impute(rows[1])
    assert (found.draws == X[:2, None]).all() and found.draws.shape == (2, 3, 4, 4)
    assert found.log_evidence is None and found.method == "" and not found.warnings and not found.diagnostics
    assert (whole.draws == rows[1]).all() and whole.draws.shape == (1, 3)


def test_everything_missing_gives_plain_samples(grey):
    model, mean, cov, X = grey
    found = model.inpaint(X[0], np.ones((4, 4)), n_draws=800, method="mmps", random_state=0)
    close(found.draws, mean, np.diag(cov), rounded=1 / 12)


def test_a_mask_may_be_one_for_all_one_for_each_or_one_for_each_channel(colour):
    model, _, _, X = colour
    how = {"n_draws": 2, "method": "diffpir", "n_steps": 2, "random_state": 0}
    flat = np.zeros((4, 4), dtype=np.uint8)
    flat[1, 2] = 200
    broken = X[:2].copy()
    broken[:, 1, 2] = NAN
    for mask in (flat, np.stack([flat] * 2), np.repeat(flat[..., None], 3, 2), np.tile(flat[..., None], (2, 1, 1, 3))):
        found = model.inpaint(broken, mask, **how)
        assert (found.draws != X[:2, None]).sum() == 2 * 2 * 3 and (found.draws != X[:2, None])[:, :, 1, 2].all()
    one_channel = np.zeros((4, 4, 3), dtype=bool)
    one_channel[1, 2, 0] = True
    found = model.inpaint(X[0], one_channel, **how)
    assert (found.draws != X[0]).sum() == 2


def test_a_frame_is_filled_as_a_frame_with_its_index():
    frame = pd.DataFrame({"size": RNG.normal(size=40), "count": RNG.integers(0, 90, 40)})
    model = DiffusionModel(network=MLP, max_steps=1, random_state=0).fit(frame)
    holes = frame.iloc[:3].astype(float).set_axis(["a", "b", "c"])
    holes.loc["a", "count"], holes.loc["c", "size"] = NAN, NAN
    found = model.impute(holes, n_draws=2, method="diffpir", n_steps=3, random_state=0)
    assert found.draws.index.tolist() == [(row, draw) for row in "abc" for draw in (0, 1)]
    assert (found.draws.dtypes == frame.dtypes).all() and found.mean.shape == (3, 2)
    full = found.draw(1)
    assert full.index.tolist() == ["a", "b", "c"] and full.loc["b"].tolist() == holes.loc["b"].tolist()
    assert full.loc["a", "size"] == holes.loc["a", "size"] and full["count"].dtype == frame["count"].dtype
    np.testing.assert_allclose(found.mean[0, 1], found.draws.loc["a", "count"].mean())


def test_draws_go_to_arviz_one_chain_for_each_observation(rows, monkeypatch):
    found = rows[0].impute(np.tile([NAN, NAN, 900.0], (2, 1)), n_draws=4, method="diffpir", n_steps=2, random_state=0)
    fake = types.ModuleType("arviz")
    fake.__version__, fake.from_dict = "0.20.0", lambda posterior: posterior["x"]
    monkeypatch.setitem(sys.modules, "arviz", fake)
    assert np.array_equal(found.to_arviz(), found.draws)
    assert repr(found) == "Given(2 observations, 4 draws of shape (3,) by diffpir)"


# -- bad input --------------------------------------------------------------------------------------------------------


def _plain(text):
    import re

    return re.escape(text)


WRONG = Linear(lambda x: x[:, :2], lambda y: torch.cat([y, 3 * y[:, :1]], 1))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda m: m.posterior([[1.0, 2.0]]),
            ShapeError,
            "y: expected shape (3,), as an item of the training data has",
        ),
        (lambda m: m.posterior([1.0], Select([0])), ConfigError, "noise: expected the standard deviation of what was"),
        (lambda m: m.posterior([1.0], torch.eye(3), 1.0), ConfigError, "operator: expected one of caminito.posterior"),
        (
            lambda m: m.posterior([1.0, 2.0], Select([0]), 1.0),
            ShapeError,
            "y: expected shape (1,), as the operator sees",
        ),
        (lambda m: m.posterior([1.0, 2.0], WRONG, 1.0), ConfigError, "operator: expected <A x, y> = <x, A^T y>"),
        (lambda m: m.posterior([1.0], Select([0]), -1.0), ConfigError, "standard deviations >= 0, got -1"),
        (lambda m: m.posterior([1.0], Select([0]), [1.0, 2.0]), ShapeError, "noise: expected a number, standard dev"),
        (lambda m: m.posterior([1.0], Select([0]), 0.0), ConfigError, "noise: expected more than 0 for 'tds', got 0"),
        (lambda m: m.posterior([np.inf, 0, 0]), DataError, "got infinities"),
        (lambda m: m.posterior(["a", "b", "c"]), DataError, "y: expected numbers"),
        (lambda m: m.posterior([1.0, 0, 0], n_draws=0), ConfigError, "n_draws: expected a whole number >= 1, got 0"),
        (lambda m: m.posterior([1.0, 0, 0], n_steps=0), ConfigError, "n_steps: expected a whole number >= 1, got 0"),
        (lambda m: m.posterior([1.0, 0, 0], batch_size=0), ConfigError, "batch_size: expected a whole number >= 1"),
        (lambda m: m.posterior([1.0, 0, 0], method="best"), ConfigError, "method: expected one of auto, tds"),
        (lambda m: m.impute([[np.inf, NAN, 0.0]]), DataError, "X: expected finite numbers where they are known, got 1"),
        (lambda m: m.impute([[NAN, 0.0]]), ShapeError, "X: expected shape (3,)"),
        (
            lambda m: m.impute([0.0, 0, 0]).interval(1.0),
            ConfigError,
            "level: expected a number between 0 and 1",
        ),
    ],
)
def test_what_cannot_be_given_is_refused_with_its_reason(rows, call, error, message):
    with pytest.raises(error, match=_plain(message)):
        call(rows[0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, X: m.inpaint(X[0, :3], X[0] > 0), ShapeError, "images: expected shape (4, 4)"),
        (lambda m, X: m.inpaint(X[0], np.zeros((3, 4))), ShapeError, "mask: expected shape (4, 4)"),
        (lambda m, X: m.inpaint(X[:2], np.zeros((3, 4, 4))), ShapeError, "one for each of 2 images, got (3, 4, 4)"),
        (lambda m, X: m.inpaint(X[0], np.full((4, 4), NAN)), DataError, "mask: expected True where a pixel is to be"),
        (lambda m, X: m.inpaint(X[0] / 255, np.eye(4)), DataError, "images: expected values of uint8"),
        (lambda m, X: m.inpaint(X[0].astype(int) + 300, np.eye(4)), DataError, "images: expected values of uint8"),
        (lambda m, X: m.posterior(X[0] + 300.0), DataError, "y: expected values in the units of the training data, 0"),
        (
            lambda m, X: m.enlarge(X[0]),
            ShapeError,
            "expected images smaller than those of this model, 4 x 4, got 4 x 4",
        ),
        (
            lambda m, X: m.enlarge(X[0, :2, :2], 4),
            ShapeError,
            "the factor 4 is 4 x 4, that of the images of this model",
        ),
        (lambda m, X: m.enlarge(X[0, :2, :1]), ShapeError, "times a whole number is 4 x 4, that of the images"),
        (lambda m, X: m.enlarge(X[0, :2, :2], 1.5), ConfigError, "factor: expected a whole number >= 2, got 1.5"),
        (lambda m, X: m.enlarge(X[0, 0, :2]), ShapeError, "images: expected small images of the layout"),
        (lambda m, X: m.enlarge(np.full((2, 2), NAN)), DataError, "images: expected numbers, got NaN"),
    ],
)
def test_images_that_do_not_fit_are_refused_with_their_reason(grey, call, error, message):
    with pytest.raises(error, match=_plain(message)):
        call(grey[0], grey[3])


def test_a_codec_that_is_not_affine_and_a_model_that_waits_for_small_images_are_refused(grey, monkeypatch):
    model, _, _, X = grey

    class Bent:
        event_shape = (1, 4, 4)

    monkeypatch.setattr(model, "codec_", Bent())
    with pytest.raises(ConfigError, match="expected a model whose codec is affine"):
        model.inpaint(X[0], X[0] > 0)
    stage = ImageDiffusion(network=UNET, max_steps=1, upscale=2, random_state=0).fit(X)
    with pytest.raises(ConfigError, match=_plain("Use sample(n, condition={'low': images})")):
        stage.enlarge(X[0, ::2, ::2], 2)


def test_few_particles_are_warned_of_once(rows):
    model, mean, cov = rows
    far = np.tile(mean + 9 * np.sqrt(np.diag(cov)), (2, 1))
    far[:, 0] = NAN
    with pytest.warns(DegenerateWeights) as said:
        found = model.impute(far, n_draws=4, particles=8, n_steps=4, random_state=0)
    assert [str(each.message) for each in said] == found.warnings


def test_auto_is_one_method_for_all_however_many_are_walked_at_once(monkeypatch):
    model = DiffusionModel(network=MLP, max_steps=1, random_state=0).fit(RNG.normal(size=(64, 70)))
    broken = RNG.normal(size=(2, 70))
    broken[0, 10:], broken[1, 69] = NAN, NAN
    whole = model.impute(broken, n_draws=2, n_steps=3, random_state=0)
    monkeypatch.setattr(observed, "_AT_ONCE", 1)
    parts = model.impute(broken, n_draws=2, n_steps=3, random_state=0)
    assert whole.method == parts.method == "mmps"
    np.testing.assert_allclose(parts.draws[0], whole.draws[0], rtol=1e-4, atol=1e-4)
