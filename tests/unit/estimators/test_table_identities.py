"""Tables: what samples depend on, what they look like, and what they keep away from."""

from __future__ import annotations

import itertools
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

import caminito
from caminito import TableDiffusion
from caminito.errors import ConfigError, DataError, RunError
from caminito.estimators.table_impute import Imputer

RNG = np.random.default_rng(0)


def mixed(rows: int = 240) -> pd.DataFrame:
    """Every kind of column, some with holes that go together."""
    rng = np.random.default_rng(1)
    age = rng.integers(18, 90, rows)
    gone = rng.random(rows) < 0.15
    frame = pd.DataFrame(
        {
            "age": age,
            "height": np.round(rng.normal(170, 9, rows), 1),
            "visits": pd.array(rng.poisson(3, rows), dtype="Int64"),
            "size": pd.Categorical(rng.choice(["s", "m", "l"], rows), ["s", "m", "l"], ordered=True),
            "city": pd.Categorical(rng.choice(["Roma", "Lima", "Oslo"], rows)),
            "name": rng.choice(["ada", "bob", "eve", "kim"], rows),
            "well": age < 60,
            "when": pd.date_range("2024-01-01", periods=rows, freq="h", tz="Europe/Rome"),
        }
    )
    frame.loc[gone, "visits"] = pd.NA
    frame.loc[gone | (rng.random(rows) < 0.1), "name"] = None
    return frame


@pytest.fixture(scope="module")
def revealed() -> TableDiffusion:
    return TableDiffusion(mode="reveal", random_state=0).fit(mixed())


@pytest.fixture(scope="module")
def denoised() -> TableDiffusion:
    return TableDiffusion(mode="denoise", start=0.3, jitter=0.1, random_state=0).fit(
        np.random.default_rng(2).normal(size=(120, 3))
    )


def test_scikit_learn_finds_nothing_to_object_to():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(TableDiffusion(mode="reveal", random_state=0), on_fail=None)
    failed = [(r["check_name"], str(r["exception"])) for r in results if r["status"] == "failed"]
    assert not failed
    assert sum(r["status"] == "passed" for r in results) >= 45


def test_sample_number_i_depends_on_the_seed_and_i_alone(revealed, denoised):
    condition = {"age": (30, 60), "city": "Oslo"}
    for model, how in ((revealed, {}), (revealed, {"condition": condition}), (denoised, {})):
        whole = pd.DataFrame(model.sample(40, random_state=7, **how))
        parts = [pd.DataFrame(model.sample(8, random_state=7, first=8 * k, **how)) for k in range(5)]
        pd.testing.assert_frame_equal(whole, pd.concat(parts, ignore_index=True).astype(whole.dtypes))
        assert not whole.equals(pd.DataFrame(model.sample(40, random_state=8, **how)))


def test_a_saved_model_draws_the_same_samples(revealed, denoised, tmp_path):
    for number, model in enumerate((revealed, denoised)):
        model.sample(5, condition={model.codec_.names_[0]: (None, None)})  # a chain more
        model.save(tmp_path / str(number))
        loaded = caminito.load(tmp_path / str(number))
        assert isinstance(loaded, TableDiffusion) and loaded.get_params() == model.get_params()
        for condition in (None, {model.codec_.names_[1]: (0, None)}):
            ours, theirs = (pd.DataFrame(m.sample(30, random_state=3, condition=condition)) for m in (model, loaded))
            pd.testing.assert_frame_equal(ours, theirs)
        assert str(loaded.describe()) == str(model.describe())
    holed = mixed().drop(index=[3])
    again = TableDiffusion.load(tmp_path / "0")
    pd.testing.assert_frame_equal(revealed.impute(holed, random_state=1), again.impute(holed, random_state=1))
    with pytest.raises(DataError, match="does not hold the training table"):
        again.impute()


def test_a_table_that_was_filled_is_saved_with_its_holes(tmp_path):
    frame = mixed(120)
    model = TableDiffusion(mode="reveal", missing="fill", random_state=0).fit(frame)
    model.save(tmp_path)
    loaded = caminito.load(tmp_path)
    pd.testing.assert_frame_equal(model.sample(20, random_state=1), loaded.sample(20, random_state=1))
    pd.testing.assert_frame_equal(model.impute(random_state=1), loaded.impute(frame, random_state=1))


@pytest.mark.parametrize("file", ["arrays.safetensors", "manifest.json"])
def test_a_file_that_was_altered_is_refused(revealed, tmp_path, file):
    revealed.save(tmp_path)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError):
        caminito.load(tmp_path)
    revealed.save(tmp_path)
    manifest = tmp_path / "manifest.json"
    told = json.loads(manifest.read_text())
    del told["reveal"]["min_rows"]
    manifest.write_text(json.dumps(told))
    with pytest.raises(RunError, match="does not fit"):
        caminito.load(tmp_path)


def test_samples_do_not_depend_on_the_number_of_threads(denoised):
    X = np.random.default_rng(2).normal(size=(120, 3))
    again = clone(denoised).set_params(n_jobs=2).fit(X)
    assert np.array_equal(denoised.sample(50), again.sample(50))


def test_a_weight_of_k_is_the_row_k_times():
    frame = mixed(100)
    weight = np.random.default_rng(0).integers(0, 4, 100)
    many = frame.loc[np.repeat(frame.index, weight)]
    settings = {"mode": "reveal", "copies": "allow", "random_state": 0}
    weighted = TableDiffusion(**settings).fit(frame, sample_weight=weight)
    repeated = TableDiffusion(**settings).fit(many)
    pd.testing.assert_frame_equal(weighted.sample(60), repeated.sample(60), check_categorical=False)
    holed = frame[weight > 0].head(20)
    assert np.allclose(weighted.score_samples(holed), repeated.score_samples(holed))
    pd.testing.assert_frame_equal(weighted.impute(holed), repeated.impute(holed))


def test_a_frame_comes_back_with_its_columns_dtypes_and_grids(revealed):
    frame, sample = mixed(), revealed.sample(300)
    assert list(sample.columns) == list(frame.columns)
    assert (sample.dtypes == frame.dtypes).all()
    for name in frame.columns:
        assert sample[name].dropna().isin(frame[name].dropna().unique()).all()


def test_categories_that_no_row_has_are_kept_in_the_dtype_and_never_drawn():
    frame = pd.DataFrame({"a": pd.Categorical(["x", "y"] * 40, ["x", "never", "y"]), "b": range(80)})
    model = TableDiffusion(mode="reveal", random_state=0).fit(frame)
    sample = model.sample(200)
    assert sample["a"].dtype == frame["a"].dtype and set(sample["a"]) == {"x", "y"}
    assert set(model.impute(frame.assign(a=None))["a"]) == {"x", "y"}


@pytest.mark.parametrize("mode", ["reveal", "denoise"])
def test_numbers_on_a_grid_stay_on_it(mode):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"a": rng.integers(0, 60, 150) * 0.1, "b": rng.integers(0, 9, 150) * 5, "c": rng.normal(size=150)}
    )
    frame["a"] = frame["a"].round(1)
    sample = TableDiffusion(mode=mode, start=0.3, jitter=0.1, random_state=0).fit(frame).sample(200)
    assert np.array_equal(sample["a"], sample["a"].round(1)) and (sample["b"] % 5 == 0).all()
    assert (sample.dtypes == frame.dtypes).all()


def test_arrays_of_numbers_and_of_objects_come_back_as_they_were():
    numbers = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    assert TableDiffusion(mode="reveal", random_state=0).fit(numbers).sample(5).dtype == np.float32
    things = mixed(60)[["age", "name", "well"]].to_numpy(dtype=object)
    sample = TableDiffusion(mode="reveal", random_state=0).fit(things).sample(20)
    assert sample.dtype == object and set(map(type, sample[:, 0])) == {int} and set(sample[:, 2]) <= {True, False}


def test_a_frame_of_polars_comes_back_as_one():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"n": [1, 2, None, 4] * 20, "s": ["x", "y", "x", None] * 20, "z": [0.5, 1.5, 2.5, 3.5] * 20})
    model = TableDiffusion(mode="reveal", random_state=0).fit(frame)
    sample = model.sample(40)
    assert isinstance(sample, pl.DataFrame) and sample.schema == frame.schema
    assert (model.sample(40, condition=sample.select("s").with_columns(pl.lit("y").alias("s")))["s"] == "y").all()
    full = model.impute()
    assert full.schema == frame.schema and sum(full.null_count().row(0)) == 0
    assert full.filter(frame["n"].is_not_null())["n"].equals(frame["n"].drop_nulls())


def test_missing_values_come_as_often_and_as_jointly_as_they_are():
    frame = mixed(1500)
    frame["when"] = frame["when"].where(frame["age"] < 70)  # missing where another column says so
    sample = TableDiffusion(mode="reveal", random_state=0).fit(frame).sample(4000)
    real, made = frame.isna().to_numpy(), sample.isna().to_numpy()
    kinds = np.unique(np.concatenate([real, made]), axis=0)
    for kind in kinds:
        p, q = ((of == kind).all(axis=1).mean() for of in (real, made))
        error = np.sqrt(max(p * (1 - p), 1 / 1500) * (1 / 1500 + 1 / 4000))
        assert abs(p - q) < 5 * error
    for name in ("visits", "name", "when"):
        p = frame[name].isna().mean()
        assert abs(sample[name].isna().mean() - p) < 5 * np.sqrt(p * (1 - p) * (1 / 1500 + 1 / 4000))
    assert (sample["when"].isna() == (sample["age"] >= 70)).mean() > 0.97


def test_a_model_that_fills_never_emits_missing_values_and_has_the_law_behind_the_holes():
    rng = np.random.default_rng(4)
    rich = rng.random(4000) < 0.5
    income = np.where(rich, rng.choice([5, 6], 4000), rng.choice([1, 2], 4000)).astype(float)
    income[rich & (rng.random(4000) < 0.6)] = np.nan  # the rich do not say
    frame = pd.DataFrame({"income": income, "rich": rich})
    sample = TableDiffusion(mode="reveal", missing="fill", random_state=0).fit(frame).sample(4000)
    assert not sample.isna().any().any()
    assert ((sample["income"] > 3) == sample["rich"]).mean() > 0.99
    assert abs((sample["income"] > 3).mean() - 0.5) < 5 * np.sqrt(0.25 * (2 / 4000))  # not 0.29, of those who say


def test_a_model_that_fills_can_denoise():
    X = np.random.default_rng(5).normal(size=(150, 3))
    X[::7, 1] = np.nan
    sample = TableDiffusion(mode="denoise", start=0.3, jitter=0.1, missing="fill", random_state=0).fit(X).sample(80)
    assert np.isfinite(sample).all()


def test_samples_repeat_no_training_row_where_rows_kept_aside_never_do():
    cells = pd.DataFrame(list(itertools.product(range(6), repeat=4)), columns=list("abcd")).astype("category")
    train = cells.sample(frac=0.5, random_state=0)
    known = set(map(tuple, train.to_numpy()))
    free = TableDiffusion(mode="reveal", copies="allow", random_state=0).fit(train).sample(400)
    gated = TableDiffusion(mode="reveal", random_state=0).fit(train)
    assert np.mean([tuple(row) in known for row in free.to_numpy()]) > 0.3
    assert not any(tuple(row) in known for row in gated.sample(400).to_numpy())
    some = gated.sample(200, condition={"a": [1, 2, 3]})
    assert some["a"].isin([1, 2, 3]).all() and not any(tuple(row) in known for row in some.to_numpy())


def test_answers_to_conditions_are_no_copies_either_where_another_family_samples(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(300)
    X = np.column_stack([x, x + 0.3 * rng.standard_normal(300)])
    known = {tuple(row) for row in X}
    allowed = TableDiffusion(copies="allow", random_state=0).fit(X)
    model = TableDiffusion(random_state=0).fit(X)
    model.save(tmp_path)
    assert model.mode_ == "denoise"
    found = [one.sample(300, condition={0: (-1, 1)}) for one in (allowed, model, caminito.load(tmp_path))]
    assert sum(tuple(row) in known for row in found[0]) > 20
    assert not any(tuple(row) in known for row in found[1])
    assert np.array_equal(found[1], found[2])


@pytest.mark.parametrize(("settings", "least"), [({"min_rows": 9}, 9), ({"min_rows": 2, "privacy_k": 12}, 12)])
def test_every_leaf_of_every_tree_has_so_many_different_rows(settings, least):
    frame = mixed(200)
    frame = pd.concat([frame, frame, frame.head(50)])
    model = TableDiffusion(mode="reveal", random_state=0, **settings).fit(frame)
    model.sample(3, condition={"age": (20, 50), "city": "Lima"})
    assert len(model._reveal.trees) > 8
    for tree in model._reveal.trees.values():
        leaves = tree.feature < 0
        assert (tree.last - tree.first)[leaves].min() >= least
        for k in np.flatnonzero(leaves):
            rows = model._reveal.table.codes[tree.order[tree.first[k] : tree.last[k]]]
            assert len(np.unique(rows, axis=0)) >= least


def test_y_is_a_column_that_can_be_asked_for_and_does_not_come_out():
    X = RNG.normal(size=(300, 2)) + np.repeat([[0], [10], [20]], 100, axis=0)
    model = TableDiffusion(mode="reveal", random_state=0).fit(X, np.repeat(["a", "b", "c"], 100))
    sample = model.sample(100, condition={"y": "b"})
    assert sample.shape == (100, 2) and (np.abs(sample - 10) < 6).all()
    assert model.score_samples(X).shape == (300,) and np.isfinite(model.score_samples(X)).all()


def test_describe_says_what_was_chosen_and_why(revealed, denoised):
    assert "reveal" in str(revealed.describe()) and "asked for" in str(revealed.describe())
    assert "start, jitter" in str(denoised.describe())


def test_trees_that_conditions_ask_for_are_let_go_when_they_are_many(revealed, monkeypatch):
    from caminito.estimators import reveal_jumps

    expected = revealed.sample(10, random_state=2, condition={"well": True})
    monkeypatch.setattr(reveal_jumps, "_DONORS", 20 * len(revealed._reveal.table.matrix))
    for name in ("age", "height", "visits", "size", "city"):
        revealed.sample(2, condition={name: mixed()[name].iloc[0]})
        assert len(revealed._reveal.trees) <= 20
    pd.testing.assert_frame_equal(revealed.sample(10, random_state=2, condition={"well": True}), expected)


@pytest.mark.parametrize(
    "bad", [{"mode": "forest"}, {"min_rows": 0}, {"privacy_k": 0}, {"missing": "drop"}, {"start": -1}, {"copies": "no"}]
)
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        TableDiffusion(**bad).fit(mixed(40))


def test_trees_of_the_imputer_leave_donors_that_were_observed():
    frame = mixed()
    model = TableDiffusion(mode="reveal", random_state=0).fit(frame)
    imputer = model._imputer
    assert isinstance(imputer, Imputer)
    model.impute()
    for (column, _), forest in imputer._forests.items():
        for grown in forest:
            assert (imputer.table.codes[grown.rows, column] >= 0).all()
