"""The normal family of tables: noise along the data, columns that keep their law, and how far samples are led."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

import caminito
from caminito import TableDiffusion
from caminito.data import TableCodec
from caminito.estimators.coded import CodedTable
from caminito.estimators.denoise_jumps import Denoise, _carrying
from caminito.estimators.table_choice import Trial, _Judge, candidates, distances, least_rows, tried
from caminito.estimators.table_progress import watched


def bound(rows: int = 1200) -> pd.DataFrame:
    """y is x but for a hundredth, z is skewed, and grid takes four values."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(rows)
    return pd.DataFrame(
        {
            "x": x,
            "y": x + 0.01 * rng.standard_normal(rows),
            "z": rng.exponential(size=rows) ** 2,
            "grid": rng.choice([0, 1, 2, 5], rows, p=[0.1, 0.2, 0.3, 0.4]),
        }
    )


def family(frame: pd.DataFrame, **options) -> Denoise:
    matrix = TableCodec().fit(frame).encode(frame)
    table = CodedTable(matrix, TableCodec().fit(frame).columns_)
    return Denoise(table, **{"start": 0.2, "copies": 3, "trees": 6} | options).fit()


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return bound()


def test_noise_along_the_data_keeps_how_far_columns_are_from_a_sum_of_others(frame):
    apart = {}
    for along in (False, True):
        one = family(frame, along=along)
        drawn = one.draw(1000, seed=1)
        apart[along] = np.std(drawn[:, 1] - drawn[:, 0])
        assert np.std(drawn[:, 0]) == pytest.approx(1.0, abs=0.15)  # forests draw to the middle
    assert apart[True] == pytest.approx(0.01, rel=0.1)  # as in the data
    drawn = one.straighten().draw(1000, seed=1)
    assert np.std(drawn[:, 1] - drawn[:, 0]) == pytest.approx(0.01, rel=0.3)  # quantiles bend it a little
    assert apart[False] < 0.005  # a leaf says both


def test_uncorrelated_columns_are_left_where_they_are():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.standard_normal((4000, 3)), columns=list("abc"))
    one = Denoise(family(frame, along=True).table, start=0.2, along=True)
    np.testing.assert_allclose(one._axes, np.eye(3), atol=0.05)
    np.testing.assert_allclose(one._axes @ one._back, np.eye(3), atol=1e-9)


def test_straightened_columns_have_the_law_of_the_training_rows(frame):
    one = family(frame)
    before = ks_2samp(one.draw(2000, seed=2)[:, 2], frame["z"]).statistic
    drawn = one.straighten().draw(2000, seed=2)
    bound_of_equal_laws = 1.63 * np.sqrt(1 / 2000 + 1 / len(frame))  # of one in a hundred
    assert ks_2samp(drawn[:, 2], frame["z"]).statistic < bound_of_equal_laws < before
    for value, share in frame["grid"].value_counts(normalize=True).items():
        error = np.sqrt(share * (1 - share) / 2000)
        assert abs((drawn[:, 3] == value).mean() - share) < 5 * error + 1 / 200  # quantiles are kept at 200 places
    assert drawn[:, 2].min() >= frame["z"].min() and drawn[:, 2].max() <= frame["z"].max()


def test_lines_through_straightened_samples_are_those_through_the_rows():
    rng = np.random.default_rng(0)
    a, b, c, d, e = rng.standard_normal((5, 2000))
    y = np.exp(0.5 * b)
    w = 0.7 * a + 0.5 * y + 0.15 * d  # nearly said by the two others: its slope is known to .58 / .15 / sqrt(n)
    frame = pd.DataFrame({"a": a, "y": y, "w": w, "t": a - 2 * w + y + 0.5 * e + 0.3 * c})
    one = family(frame, along=True, start=0.5)

    def slopes(rows) -> np.ndarray:
        return np.linalg.lstsq(np.column_stack([np.ones(len(rows)), rows[:, :-1]]), rows[:, -1])[0]

    true, error = slopes(one.table.matrix), 0.58 / 0.15 * np.sqrt(1 / 8000 + 1 / 20_000)  # walks, and samples
    off = np.abs(slopes(one.straighten().draw(20_000, seed=2)) - true).max()
    one.along, one.stretch = False, None  # quantiles alone
    assert off < 3 * error and off < np.abs(slopes(one.straighten().draw(20_000, seed=2)) - true).max() / 2


@pytest.mark.parametrize("least", [1.0, 1e-4])
def test_one_covariance_is_carried_to_another_by_a_symmetric_map(least):
    rng = np.random.default_rng(0)
    cov, wanted = (half @ half.T + least * np.eye(4) for half in (rng.standard_normal((4, 3)) for _ in range(2)))
    np.testing.assert_allclose(_carrying(wanted, wanted), np.eye(4), atol=1e-6)
    carrying = _carrying(cov, wanted)
    np.testing.assert_allclose(carrying @ cov @ carrying, wanted, atol=1e-8)
    np.testing.assert_allclose(carrying, carrying.T, atol=1e-8)
    assert np.linalg.eigvalsh(carrying).min() > 0  # the gradient of a convex function: it moves rows least


def test_a_saved_model_draws_the_same_straightened_rows(frame, tmp_path):
    model = TableDiffusion(mode="denoise", start=0.2, jitter=0.3, random_state=0).fit(frame)
    assert model._family.ends is not None and model._family.along
    model.save(tmp_path / "model")
    again = TableDiffusion.load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.sample(50, random_state=3), model.sample(50, random_state=3))
    assert least_rows(model._reveal.table) == 5


def test_large_tables_are_revealed():
    codec = TableCodec()
    matrix = codec.fit_encode(pd.DataFrame(np.random.default_rng(0).standard_normal((5001, 3))))
    assert candidates("auto", CodedTable(matrix, codec.columns_)) == ["reveal"]
    assert candidates("auto", CodedTable(matrix[:5000], codec.columns_)) == ["reveal", "denoise"]


@pytest.mark.parametrize(("rows", "least"), [(5000, 5), (20_000, 5), (80_000, 8), (400_000, 40)])
def test_leaves_stay_small_in_large_tables(rows, least):
    assert least_rows(SimpleNamespace(matrix=range(rows), weights=np.array([float(rows)]))) == least


@pytest.mark.parametrize(
    ("noise", "settings", "least"),
    [(1e-3, {}, 3), (1.0, {}, 5), (1e-3, {"min_rows": 5}, 5), (1e-3, {"privacy_k": 4}, 4), (1e-3, {"privacy_k": 6}, 6)],
)
def test_leaves_are_smaller_where_samples_are_far_from_training_rows(noise, settings, least, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1500, 1)) + noise * rng.standard_normal((1500, 4))
    model = TableDiffusion(mode="reveal", random_state=0, **settings).fit(X)
    tree = model._reveal.chain(()).trees[1]
    assert int((tree.last - tree.first)[tree.feature < 0].min()) == model.choices_["rows in a leaf"].value == least
    assert ("far from training rows" in model.choices_["rows in a leaf"].why) == (least < 5)
    assert model.trials_[0].options == {"min_rows": least}
    model.save(tmp_path)
    assert np.array_equal(caminito.load(tmp_path).sample(30, random_state=1), model.sample(30, random_state=1))


@pytest.mark.parametrize(
    ("distances", "modes", "leaves"),
    [
        ([0.96, 0.9], ["reveal"], [3, 5]),
        ([0.96, 0.87], ["reveal"], [5, 3]),
        ([0.94], ["reveal"], [5]),
        ([math.nan], ["reveal"], [5]),
        ([0.96, 0.9], ["reveal", "denoise"], [3, 5]),
    ],
)
def test_smaller_leaves_are_taken_where_samples_keep_their_distance(distances, modes, leaves, monkeypatch):
    told, seen = iter(distances), []
    monkeypatch.setattr(_Judge, "nearest", lambda self, rows, whole=False: next(told, 1.3))
    codec = TableCodec()
    matrix = codec.fit_encode(bound(1600)[["x", "z", "grid"]])  # one part is kept aside
    with watched(seen.append):
        found = tried(matrix, codec.columns_, None, modes, [0, 1, 2], min_rows=5, smaller=3, seed=0, n_jobs=None)
    assert [trial.options["min_rows"] for trial in found if trial.mode == "reveal"] == leaves
    assert len(leaves) == 1 or found[-1].options == {"min_rows": leaves[-1]}
    assert seen[-1].fraction == 1 and len({each.total for each in seen}) == 1


def test_all_training_rows_are_searched_where_asked_to():
    rng = np.random.default_rng(0)
    codec = TableCodec()
    matrix = codec.fit_encode(pd.DataFrame(rng.standard_normal((10_300, 2)), columns=["x", "y"]))
    table = CodedTable(matrix[300:], codec.columns_)
    judge, copies = _Judge(table, matrix[:300], 0), table.matrix[:300]
    assert judge.nearest(copies, whole=True) == 0 < judge.nearest(copies)
    whole = distances(matrix[:300], table.matrix, table, judge._scale).min(1)
    far = distances(matrix[:300] + 1, table.matrix, table, judge._scale).min(1)
    assert judge.nearest(matrix[:300] + 1, whole=True) == pytest.approx(np.median(far) / np.median(whole))


@pytest.mark.parametrize(("rows", "of_categories"), [(4000, 5), (6000, 10)])
def test_leaves_that_say_categories_are_twice_as_large_in_large_tables(rows, of_categories):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(rows)
    frame = pd.DataFrame({"x": x, "y": x + rng.standard_normal(rows), "kind": rng.choice(["a", "b"], rows)})
    reveal = TableDiffusion(mode="reveal", min_rows=5, random_state=0).fit(frame)._reveal
    trees = reveal.chain((0, 2)).trees[1], reveal.chain((0, 1)).trees[2]
    least = [int((tree.last - tree.first)[tree.feature < 0].min()) for tree in trees]
    assert least == [5, of_categories]


@pytest.mark.parametrize(
    ("nearest", "near", "off"), [(1.0, 0.0, 0.0), (0.4, 1.0, 1.0), (1.8, 0.0, 0.5), (float("nan"), 0.0, 0.0)]
)
def test_too_near_is_told_from_too_far(nearest, near, off):
    trial = Trial("reveal", {}, 1.0, nearest, 0.0, 0.0)
    assert trial.near == pytest.approx(near) and trial.off == pytest.approx(off)


@pytest.mark.parametrize("seed", [0, 2])
def test_noise_at_the_end_takes_samples_as_far_from_training_rows_as_it_was_set_to(seed):
    chance = np.random.RandomState(seed)
    z = chance.normal(size=(160, 3))
    X = np.column_stack([z, z @ chance.normal(size=(3, 3)) + 0.3 * chance.normal(size=(160, 3))])
    for trial in TableDiffusion(mode="denoise", random_state=0).fit(X).trials_:
        low, high = trial.options["jitter"] > 0, trial.options["jitter"] < 1  # at an end there is nothing to choose
        assert trial.nearest > 0.84 or not high  # the aim is .88, and the gate ends at .8: half of that room is left
        assert trial.nearest < 0.92 or not low
        assert trial.near == 0
