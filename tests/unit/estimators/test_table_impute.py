"""What is put into the holes of a table: the conditional law there, and nothing anywhere else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline

from caminito import TableDiffusion
from caminito.errors import ConfigError, DataError
from caminito.estimators import table_impute
from caminito.metrics import coverage
from caminito.training import fit_leaves

MEANS, NOISE = {"x": 0.0, "y": 3.0, "z": -3.0}, np.array([-1.0, 0.0, 1.0])
SHARES = [0.2, 0.3, 0.5]


def law(rows: int, seed: int) -> pd.DataFrame:
    """v is a mean of its own for each kind, and one of three values around it; w is v to the other side."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(list(MEANS), rows)
    v = np.array([MEANS[k] for k in kind]) + rng.choice(NOISE, rows, p=SHARES)
    return pd.DataFrame(
        {"kind": kind, "v": v, "w": -v + rng.choice([0.0, 0.5], rows), "free": rng.integers(0, 3, rows)}
    )


def holed(frame: pd.DataFrame, share: float, seed: int = 0, columns=("kind", "v", "w")) -> pd.DataFrame:
    out, rng = frame.copy(), np.random.default_rng(seed)
    for name in columns:
        out.loc[rng.random(len(out)) < share, name] = None
    return out


@pytest.fixture(scope="module")
def model() -> TableDiffusion:
    return TableDiffusion(mode="reveal", random_state=0).fit(holed(law(4000, 0), 0.2))


def test_imputed_cells_have_the_conditional_law(model):
    frame = law(3000, 1)
    frame[["v", "w"]] = np.nan
    draws = model.impute(frame, n_draws=2, random_state=1)
    for full in draws:
        for kind, mean in MEANS.items():
            v = full["v"][full["kind"] == kind]
            n, std = len(v), np.sqrt(0.61)
            learnt = 4000 * 0.8 * 0.8 / 3  # rows that the donors are from
            error = std * np.sqrt(1 / n + 1.25 / learnt)  # four draws of the weights of the rows add a quarter
            assert abs(v.mean() - (mean + 0.3)) < 5 * error
            fourth = np.mean((NOISE[:, None] - 0.3) ** 4 * np.array([[0.2], [0.3], [0.5]]) * 3)
            assert abs(v.var() - 0.61) < 5 * np.sqrt(fourth - 0.61**2) * np.sqrt(1 / n + 1.25 / learnt) + 0.02
        rest = full["w"] + full["v"]  # both were missing: drawn together, not apart
        assert rest.isin([0.0, 0.5]).mean() > 0.97


def test_draws_of_one_cell_are_spread_over_its_law(model):
    frame = law(600, 1)
    frame[["v", "w"]] = np.nan
    values = np.stack([full["v"] for full in model.impute(frame, n_draws=10, random_state=1)])
    noise = np.round(values - frame["kind"].map(MEANS).to_numpy(), 6)
    shares = np.stack([(noise == value).mean(axis=0) for value in NOISE])
    apart = np.sqrt(0.61 / 10)  # of the mean of ten draws, were they independent
    assert noise.mean(axis=0).std() < 0.6 * apart
    np.testing.assert_allclose(shares.mean(axis=1), SHARES, atol=0.05)


@pytest.mark.parametrize("count", [100, 300])
def test_intervals_of_draws_have_the_truth_as_often_as_they_say(count):
    inside = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(count + 200, 1)) + 0.7 * rng.normal(size=(count + 200, 4))
        train, test = rows[:count], rows[count:]
        hidden = rng.random(test.shape) < 0.5
        model = TableDiffusion(mode="reveal", random_state=0).fit(train)
        draws = np.stack(model.impute(np.where(hidden, np.nan, test), n_draws=119, random_state=0))
        inside.append(coverage(draws[:, hidden], test[hidden], levels=0.95).share[0])
    assert 0.92 < np.mean(inside) < 0.98  # one table scatters by .01 to .02: a standard error of less than .01


def test_draws_of_columns_that_say_nothing_of_each_other_are_not_locked():
    grid = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0), [0.0, 1.0]), axis=-1).reshape(-1, 3)
    model = TableDiffusion(mode="reveal", random_state=0).fit(grid)
    rows = np.column_stack([np.full((100, 2), np.nan), np.arange(100) % 2])
    draws = np.stack(model.impute(rows, n_draws=119, random_state=0))
    apart = (draws - draws.mean(axis=0))[..., :2] / draws.std(axis=0)[..., :2]
    each = (apart[..., 0] * apart[..., 1]).mean(axis=0)  # of each row: the correlation over its draws
    assert abs(each.mean()) < 0.05
    assert np.sqrt(np.mean(each**2)) < 1.5 / np.sqrt(119)  # the scatter of independent draws; half as much more


@pytest.mark.parametrize("made", [law, lambda rows, seed: near_sums(rows, seed)[0].rename(columns={"c": "v"})])
def test_a_draw_is_the_same_however_many_follow_and_whatever_rows_come_with_it(made, monkeypatch):
    frame = made(60, 9)
    frame.loc[::2, "v"] = np.nan
    frame.loc[::3, "kind"] = None
    model = TableDiffusion(mode="reveal", random_state=0).fit(made(300, 0))
    many = model.impute(frame, n_draws=50, random_state=3)
    for count in (1, 12):
        few = model.impute(frame, n_draws=count, random_state=3)
        for one, other in zip([few] if count == 1 else few, many):
            pd.testing.assert_frame_equal(one, other)
    assert any(model._imputer._by_lines.values())
    monkeypatch.setattr(table_impute, "_CELLS", 100)  # a few rows at once
    for one, other in zip(model.impute(frame, n_draws=50, random_state=3), many):
        pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("ordered", [True, False])
def test_splits_are_found_on_some_of_the_rows_and_all_are_donors(ordered):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 30, (400, 3)).astype(np.int32)
    shown = np.sort(rng.permutation(400)[:267])
    others = np.setdiff1d(np.arange(400), shown)
    changed = codes.copy()
    changed[others, 2] = rng.integers(0, 30, len(others))
    first, second = (
        fit_leaves(each, 2, [0, 1], ordered=[ordered, ordered, True], min_rows=6, shown=shown)
        for each in (codes, changed)
    )
    assert np.array_equal(first.feature, second.feature) and np.array_equal(first.threshold, second.threshold)
    leaf = first.leaf(codes)
    for node in np.flatnonzero(first.feature < 0):
        rows = first.order[first.first[node] : first.last[node]]
        assert set(rows) == set(np.flatnonzero(leaf == node)) and np.isin(rows, shown).sum() >= 6
    assert len(np.unique(first.order)) == 400


@pytest.mark.parametrize("rows", [3, 14, 200])
def test_leaves_that_donors_are_from_have_as_many_different_rows_as_asked(rows):
    frame = pd.concat([law(rows, 0)] * 2)
    model = TableDiffusion(mode="reveal", privacy_k=12, random_state=0).fit(frame)
    model.impute(frame.assign(v=np.nan), n_draws=25)
    least = min(12, len(frame.drop_duplicates()))
    for (column, kind), forest in model._imputer._forests.items():
        assert len(forest) == 12
        for grown in forest if kind != "masked" else []:
            leaves = grown.tree.feature < 0
            for begin, end in zip(grown.tree.first[leaves], grown.tree.last[leaves]):
                donors = grown.rows[grown.tree.order[begin:end]]
                assert len(np.unique(model._imputer.table.codes[donors], axis=0)) >= least


def near_sums(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """c is a sum of a and b but for noise, and 2 less for one of two kinds; d is a product. Also the noise."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-1, 1, (2, rows))
    kind = rng.choice(["x", "y"], rows)
    noise = 0.1 * rng.standard_normal(rows)
    c = a - 2 * b - 2 * (kind == "y") + noise
    return pd.DataFrame(
        {"a": a, "b": b, "kind": kind, "c": c, "d": np.where(kind == "x", 1, -1) * np.round(4 * a)}
    ), noise


def rms(values) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize(("rows", "repeats"), [(300, 1), (1000, 1), (500, 2), (6000, 1)])
def test_columns_that_are_nearly_sums_of_others_are_filled_to_what_lines_leave(rows, repeats, monkeypatch):
    train, (frame, noise) = near_sums(rows, 0)[0], near_sums(400, 1)
    holes = frame.assign(c=np.nan)
    model = TableDiffusion(mode="reveal", random_state=0).fit(pd.concat([train] * repeats))
    draws = np.stack([full["c"] for full in model.impute(holes, n_draws=10, random_state=0)])
    middle = model.impute(holes, how="centre")["c"]
    assert model._imputer._by_lines == {3: True}
    steps = 4 / rows  # between the values that the column has, near its ends twice as far
    assert rms(middle - frame["c"]) < 1.2 * rms(noise) + 3 * steps
    assert 0.06 < draws.std(axis=0).mean() < 0.12 + steps  # leaves of three have two thirds of the variance
    monkeypatch.setattr(model._imputer, "_by_lines", {3: False})
    monkeypatch.setattr(model._imputer, "_forests", {})
    worse = 1.5 if rows <= 500 else 1.02  # of many rows trees alone say nearly as much
    assert rms(model.impute(holes, how="centre")["c"] - frame["c"]) > worse * rms(middle - frame["c"])


def test_columns_that_lines_say_little_of_are_filled_by_trees_alone():
    train, holes = near_sums(400, 0)[0], near_sums(50, 1)[0].assign(d=np.nan)
    model = TableDiffusion(mode="reveal", random_state=0).fit(train)
    model.impute(holes, random_state=0)
    assert model._imputer._by_lines == {4: False}


def test_centres_are_medians_and_the_most_frequent():
    rng, rows = np.random.default_rng(0), 4000
    kind = rng.choice(["x", "y"], rows)
    noise = rng.choice([-1.0, 0.0, 5.0], rows, p=[0.2, 0.45, 0.35])  # median 0, mean 1.55
    word = np.where(rng.random(rows) < 0.7, kind, "other")
    frame = pd.DataFrame({"kind": kind, "v": np.where(kind == "x", 0.0, 10.0) + noise, "word": word})
    model = TableDiffusion(mode="reveal", random_state=0).fit(frame)
    holes = pd.DataFrame({"kind": ["x", "y"] * 50, "v": np.nan, "word": [None] * 100})
    full = model.impute(holes, how="centre")
    assert (full["v"] == np.where(full["kind"] == "x", 0.0, 10.0)).all()
    assert (full["word"] == full["kind"]).all()
    pd.testing.assert_frame_equal(full, model.impute(holes, how="centre", random_state=9))
    np.testing.assert_array_equal(model.impute(holes[:1], how="centre").iloc[0], full.iloc[0])


def test_a_category_is_told_from_numbers_that_tell_it(model):
    frame = law(1000, 2)
    truth = frame["kind"].copy()
    frame["kind"] = None
    apart = truth.to_numpy() != "never"
    assert (model.impute(frame, random_state=1)["kind"] == truth)[apart].mean() > 0.97


def test_observed_cells_the_index_and_the_dtypes_stay_as_they_were(model):
    frame = holed(law(300, 3), 0.3, seed=1).sample(frac=1, random_state=0)
    frame.loc[frame.index[0], "v"] = 0.123456789  # no value of the training table
    before = frame.copy()
    full = model.impute(frame)
    assert full is not frame and (full.index == frame.index).all() and (full.dtypes == frame.dtypes).all()
    assert not full.isna().any().any()
    for name in frame.columns:
        kept = frame[name].notna()
        assert full[name][kept].equals(frame[name][kept])
    pd.testing.assert_frame_equal(frame, before)


def test_a_row_is_filled_by_its_values_its_place_and_the_seed_alone(model):
    frame = holed(law(60, 4), 0.4, seed=2)
    whole = model.impute(frame, random_state=3)
    pd.testing.assert_frame_equal(model.impute(frame.head(20), random_state=3), whole.head(20))
    pd.testing.assert_frame_equal(model.impute(frame, random_state=3, n_draws=3)[0], whole)
    assert not model.impute(frame, random_state=4).equals(whole)
    draws = model.impute(frame, random_state=3, n_draws=3)
    assert len(draws) == 3 and not draws[0].equals(draws[1]) and not draws[1].equals(draws[2])


def test_every_kind_of_column_is_filled_in_its_own_dtype():
    n = 200
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "whole": pd.array(rng.integers(0, 9, n), dtype="Int64"),
            "true": pd.array(rng.random(n) < 0.5, dtype="boolean"),
            "level": pd.Categorical(rng.choice(["lo", "hi"], n), ["lo", "hi"], ordered=True),
            "when": pd.date_range("2024-03-01", periods=n, freq="h", tz="Europe/Rome"),
            "long": pd.to_timedelta(rng.integers(0, 99, n), unit="min"),
            "text": rng.choice(["p", "q"], n),
            "both": np.array([True, False] * (n // 2), dtype=object),
        }
    )
    holes = frame.mask(rng.random(frame.shape) < 0.2)
    full = TableDiffusion(mode="reveal", random_state=0).fit(holes).impute()
    assert not full.isna().any().any() and (full.dtypes == holes.dtypes).all()
    for name in frame.columns:
        assert full[name].isin(frame[name].unique()).all()
        assert full[name][holes[name].notna()].equals(holes[name].dropna())
    none = holes.head(10).assign(when=pd.NaT, text=None, level=None)
    full = TableDiffusion(mode="reveal", random_state=0).fit(frame).impute(none)
    assert full["when"].dtype == frame["when"].dtype and full["level"].isin(["lo", "hi"]).all()


def test_a_category_that_the_holed_table_lacks_can_still_be_drawn():
    frame = pd.DataFrame({"a": ["u", "v"] * 100, "b": [0, 1] * 100})
    model = TableDiffusion(mode="reveal", random_state=0).fit(frame)
    given = pd.DataFrame({"a": pd.Categorical(["u", None, None]), "b": [0, 1, 1]})
    assert model.impute(given)["a"].tolist() == ["u", "v", "v"]


def test_arrays_structures_and_lists_are_filled_too():
    X = np.random.default_rng(0).normal(size=(80, 2))
    X[::5, 0] = np.nan
    model = TableDiffusion(mode="reveal", random_state=0).fit(X)
    full = model.impute(X)
    assert isinstance(full, np.ndarray) and np.isfinite(full).all() and np.isnan(X).any()
    assert np.array_equal(full[~np.isnan(X)], X[~np.isnan(X)])
    assert np.array_equal(model.impute(X.tolist()), full)
    assert np.array_equal(model.impute(pd.DataFrame(X)).to_numpy(), full)
    table = np.array([(1.0, "p"), (np.nan, "q")] * 30, dtype=[("n", "f8"), ("s", "U1")])
    full = TableDiffusion(mode="reveal", random_state=0).fit(table).impute(table)
    assert full.dtype == table.dtype and (full["n"] == 1).all()


def test_a_frame_of_polars_is_filled_by_a_model_of_pandas():
    pl = pytest.importorskip("polars")
    frame = law(200, 5)
    model = TableDiffusion(mode="reveal", random_state=0).fit(frame)
    holes = pl.DataFrame(
        {"kind": ["x", None], "v": [None, 3.25], "w": [0.5, None], "free": [None, 2]},
        schema_overrides={"free": pl.Int64},
    )
    full = model.impute(holes)
    assert full.schema == holes.schema and sum(full.null_count().row(0)) == 0
    assert full["v"][1] == 3.25 and full["w"][0] == 0.5 and full["kind"][1] == "y"


def test_a_table_without_holes_comes_back_as_it_was(model):
    frame = law(30, 6)
    pd.testing.assert_frame_equal(model.impute(frame), frame)


def test_a_pipeline_takes_it_as_a_step():
    frame = holed(law(400, 7), 0.2, columns=("v", "w"))
    steps = make_pipeline(TableDiffusion(mode="reveal", random_state=0), RandomForestClassifier(20, random_state=0))
    steps.fit(frame[["v", "w", "free"]], frame["kind"])
    assert steps.score(frame[["v", "w", "free"]], frame["kind"]) > 0.85
    names = steps[:-1].set_output(transform="pandas").fit(frame[["v", "w"]]).get_feature_names_out()
    assert list(names) == ["v", "w"]


def test_what_cannot_be_filled_is_refused(model):
    frame = law(10, 8)
    with pytest.raises(DataError, match=r"'kind'.*categories seen in training, got 'q'"):
        model.impute(frame.assign(kind="q"))
    with pytest.raises(DataError, match=r"lacks 'free'"):
        model.impute(frame.drop(columns="free"))
    with pytest.raises(ConfigError, match="n_draws"):
        model.impute(frame, n_draws=0)
    with pytest.raises(ConfigError, match="how: expected 'sample' or 'centre', got 'mean'"):
        model.impute(frame, how="mean")
    with pytest.raises(ConfigError, match="how='centre' has one answer"):
        model.impute(frame, how="centre", n_draws=2)
    with pytest.raises(ValueError, match="same order"):
        model.transform(frame[frame.columns[::-1]])
