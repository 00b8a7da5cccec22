"""Tables whose numbers walk by boosted trees or a network: their law, what samples depend on, and what is kept."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import estimator_checks_generator

import caminito
from caminito import TableDiffusion
from caminito.data import TableCodec
from caminito.errors import ConfigError, RunError
from caminito.estimators import boost_jumps
from caminito.estimators.coded import CodedTable
from caminito.estimators.rank_normal import repeated
from caminito.estimators.reveal_jumps import Reveal
from caminito.estimators.schema import TableConfig
from caminito.estimators.table_choice import candidates

ROWS, MADE = 400, 2000
SETTINGS = {"boost": {}, "network": {"max_steps": 150}}
COV = np.array([[1.0, 0.8], [0.8, 1.0]])
CENTRES = {"x": (-1.0, 1.0), "y": (1.5, 0.0)}


@pytest.fixture(scope="module", autouse=True)
def few_rounds():
    """Fewer trees, of more weight, on fewer copies of rows."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"_ROUNDS": 8, "_RATE": 0.4, "_SEEN": 1500}.items():
            patch.setattr(boost_jumps, name, value)
        yield


def mixed() -> pd.DataFrame:
    """Two normal numbers around a centre for each category, a grid, a column with holes, and a truth."""
    rng = np.random.default_rng(1)
    word = rng.choice(["x", "y"], ROWS, p=[0.6, 0.4])
    pair = np.array([CENTRES[w] for w in word]) + rng.multivariate_normal([0, 0], COV, ROWS)
    frame = pd.DataFrame({"a": pair[:, 0], "b": pair[:, 1], "word": word})
    frame["grid"] = (np.round(rng.gamma(2.0, size=ROWS) * 2) / 2).clip(0, 6)
    frame["holed"] = np.where(rng.random(ROWS) < 0.2, np.nan, rng.integers(0, 30, ROWS))
    frame["big"] = frame["a"] > 1
    return frame


@pytest.fixture(scope="module", params=["boost", "network"])
def fitted(request, few_rounds) -> TableDiffusion:
    return TableDiffusion(mode=request.param, random_state=0, **SETTINGS[request.param]).fit(mixed())


def test_numbers_have_the_law_that_they_have_given_their_category(fitted):
    frame, sample = mixed(), fitted.sample(MADE, random_state=1)
    for word, rows in frame.groupby("word"):
        made = sample[sample["word"] == word][["a", "b"]].to_numpy()
        error = np.sqrt(1 / len(rows) + 1 / len(made))  # of a mean: the deviation is 1
        assert np.abs(made.mean(axis=0) - CENTRES[word]).max() < 5 * error
    real, made = (np.cov(of[["a", "b"]].T) for of in (frame, sample))
    spread = np.sqrt(real[0, 0] * real[1, 1] * (2 / ROWS + 2 / MADE))  # of a covariance of normal numbers, at most
    assert np.abs(real - made).max() < 5 * spread
    share = (frame["word"] == "x").mean()
    assert abs((sample["word"] == "x").mean() - share) < 5 * np.sqrt(share * (1 - share) / MADE)


def test_columns_keep_their_grid_range_holes_and_dtypes(fitted):
    frame, sample = mixed(), fitted.sample(MADE, random_state=2)
    assert (sample.dtypes == frame.dtypes).all() and list(sample.columns) == list(frame.columns)
    assert sample["grid"].isin(frame["grid"].unique()).all() and sample["holed"].dropna().isin(frame["holed"]).all()
    for name in ("a", "b", "grid"):
        assert sample[name].between(frame[name].min(), frame[name].max()).all()
    assert abs(sample["holed"].isna().mean() - frame["holed"].isna().mean()) < 5 * np.sqrt(0.16 * (1 / ROWS + 1 / MADE))
    for value in (0.5, 1.0, 1.5):
        share = (frame["grid"] == value).mean()
        assert abs((sample["grid"] == value).mean() - share) < 5 * np.sqrt(share * (1 / ROWS + 1 / MADE))


def test_sample_number_i_depends_on_the_seed_and_i_alone(fitted):
    whole = fitted.sample(400, random_state=7)
    parts = [fitted.sample(count, random_state=7, first=first) for first, count in ((0, 1), (1, 250), (251, 149))]
    pd.testing.assert_frame_equal(whole, pd.concat(parts, ignore_index=True))
    assert not whole.equals(fitted.sample(400, random_state=8))


def test_a_saved_model_draws_the_same_samples(fitted, tmp_path):
    fitted.save(tmp_path)
    loaded = caminito.load(tmp_path)
    assert loaded.get_params() == fitted.get_params() and str(loaded.describe()) == str(fitted.describe())
    for condition in (None, {"word": "y"}):
        ours, theirs = (model.sample(80, random_state=3, condition=condition) for model in (fitted, loaded))
        pd.testing.assert_frame_equal(ours, theirs)
    part = "arrays.safetensors" if fitted.mode_ == "boost" else "network/weights.safetensors"
    content = (tmp_path / part).read_bytes()
    (tmp_path / part).write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError):
        caminito.load(tmp_path)


def test_what_only_trees_of_reveal_can_say_is_refused_and_why(fitted):
    with pytest.raises(ConfigError, match="move all numbers at once"):
        fitted.score_samples(mixed())
    assert fitted.mode_ in str(fitted.describe()) and fitted.trials_[0].mode == fitted.mode_
    sample = fitted.sample(50, condition={"word": "y", "a": (0.0, 3.0)})
    assert (sample["word"] == "y").all() and sample["a"].between(0, 3).all()


def test_boosted_samples_do_not_depend_on_the_number_of_threads():
    X = mixed()[["a", "b"]].head(150)
    one = TableDiffusion(mode="boost", random_state=0).fit(X)
    two = clone(one).set_params(n_jobs=2).fit(X)
    assert one.sample(300).equals(two.sample(300))


def test_the_trees_correct_a_line_that_is_exact_for_normal_data():
    import torch

    from caminito.denoiser import GaussianDenoiser

    rng = np.random.default_rng(3)
    codec = TableCodec()
    matrix = codec.fit_encode(rng.multivariate_normal([3, -1], 4 * COV, 3000))
    table = CodedTable(matrix, codec.columns_)
    boost = boost_jumps.Boost(table, Reveal(table, [0, 1], min_rows=5)).fit()
    exact = GaussianDenoiser(torch.zeros(2), torch.from_numpy(COV), boost._process)
    x0 = torch.from_numpy(rng.multivariate_normal([0, 0], COV, 4000))
    for t in boost._grid[[0, 4, 8]]:
        x = boost._process.noise(x0, t, torch.from_numpy(rng.normal(size=(4000, 2))))
        seen = {"beside": np.empty((4000, 0))}
        off = (boost.denoiser.mean(x, t, seen) - exact.mean(x, t)).square().mean()
        assert float(off) < 0.05 * float((exact.mean(x, t) - x0).square().mean())


def test_leaves_have_so_many_different_rows_where_rows_arerepeated():
    codec = TableCodec()
    X = np.random.default_rng(0).normal(size=(200, 2))
    matrix = codec.fit_encode(X)
    table = CodedTable(matrix, codec.columns_, np.r_[np.full(10, 30.0), np.ones(190)])
    boost = boost_jumps.Boost(table, Reveal(table, [0, 1], min_rows=8), min_rows=8)
    worst = np.sort(np.bincount(boost.rows))[::-1][:7].sum()
    assert boost._leaf > worst == 210


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([2.0, 2.0, 2.0], [0, 1, 2]),
        ([3.0, 1.0, 2.0], [0, 0, 0, 1, 2, 2]),
        ([0.5, 0.25, 0.25], [0] * 6 + [1] * 3 + [2] * 3),
    ],
)
def test_rows_are_repeated_as_their_weights_say(weights, expected):
    assert repeated(np.array(weights)).tolist() == expected


def test_numbers_alone_and_y_walk_too():
    X = np.random.default_rng(0).normal(size=(400, 2)) + np.repeat([[0], [9]], 200, axis=0)
    model = TableDiffusion(mode="boost", random_state=0).fit(X, np.repeat(["a", "b"], 200))
    sample = model.sample(400)
    assert sample.shape == (400, 2) and np.corrcoef(sample.T)[0, 1] > 0.8  # 0.95, of which few trees get most
    assert (model.sample(40, condition={"y": "b"}) > 4).all()


SMALL_CHECKS = {
    "check_no_attributes_set_in_init",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_n_features_in",
    "check_estimators_overwrite_params",
    "check_dont_overwrite_attributes",
    "check_fit_check_is_fitted",
    "check_transformer_n_iter",
}


@pytest.mark.parametrize("mode", ["boost", "network"])
def test_the_checks_of_scikit_learn_that_ask_for_no_density_pass(mode, monkeypatch):
    for name, value in {"_LEVELS": 2, "_ROUNDS": 1, "_SEEN": 1}.items():
        monkeypatch.setattr(boost_jumps, name, value)
    settings = {"max_steps": 1} if mode == "network" else {}
    ran = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for model, check in estimator_checks_generator(TableDiffusion(mode=mode, random_state=0, **settings)):
            if (name := check.func.__name__) in SMALL_CHECKS:
                check(model)
                ran.add(name)
    assert len(ran) >= 6


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"mode": "network", "max_steps": 0}, "max_steps: expected a whole number"),
        ({"mode": "network", "minutes": -1}, "minutes: expected a number > 0"),
        ({"mode": "boost", "max_steps": 5}, "max_steps: the budget of mode='network'"),
        ({"minutes": 2}, "minutes: the budget of mode='network'"),
        ({"mode": "network", "privacy_k": 5}, "has no leaves"),
    ],
)
def test_impossible_settings_are_refused(bad, told):
    with pytest.raises(ConfigError, match=told):
        TableDiffusion(**bad).fit(mixed())


def test_a_mode_names_its_candidates():
    def table(frame: pd.DataFrame) -> CodedTable:
        codec = TableCodec()
        matrix = codec.fit_encode(frame)
        return CodedTable(matrix, codec.columns_)

    words, numbers = table(mixed()[["word", "big", "holed"]]), table(mixed()[["a", "b", "grid"]])
    assert candidates("auto", words) == ["reveal"] == candidates("reveal", words)
    assert candidates("auto", numbers) == ["reveal", "denoise"]
    for mode in ("denoise", "boost", "network"):
        assert candidates(mode, numbers) == [mode]
        with pytest.raises(ConfigError, match=f"mode='{mode}': expected numbers"):
            candidates(mode, words)
        assert TableConfig(mode=mode).mode == mode
