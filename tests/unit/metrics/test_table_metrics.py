"""Figures of tables: each against a number found by hand, its definition written out, or another package."""

import math
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog

from caminito._errors import ConfigError, DataError, NonFiniteError
from caminito.metrics import Score, column_shapes, pair_trends, table_report
from caminito.metrics._columns import coded_tables, distances, nearest, row_numbers

TABLES = Path(__file__).resolve().parents[4] / "shared" / "data" / "tables"


@pytest.fixture
def unjudged(monkeypatch):
    """The classifier of C2ST is the slow part; what is not about it goes without."""
    monkeypatch.setattr("caminito.metrics.table._told_apart", lambda *_: Score(0.5, 0.5, ""))


def mixed(n=300, seed=0):
    """Every type a table can have, with holes."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    day = pd.Timestamp("2024-01-01", tz="Europe/Madrid")
    table = pd.DataFrame(
        {
            "real": x,
            "grid": np.round(2 * x + rng.standard_normal(n)).astype(int),
            "Int64": pd.array(rng.integers(0, 5, n), dtype="Int64"),
            "yes": x + rng.standard_normal(n) > 0,
            "boolean": pd.array(x > 0.5, dtype="boolean"),
            "word": np.array(["a", "b", "c"])[rng.integers(0, 3, n)],
            "size": pd.Categorical.from_codes(rng.integers(0, 3, n), ["s", "m", "l"], ordered=True),
            "when": day + pd.to_timedelta(np.round(rng.exponential(1e6, n)), unit="s"),
            "lasts": pd.to_timedelta(rng.integers(0, 10**5, n), unit="s"),
            "same": 1.0,
        }
    )
    for place, name in enumerate(["real", "Int64", "boolean", "word", "size", "when"]):
        table.loc[rng.random(n) < 0.02 * (place + 1), name] = None
    return table


def broken(table, seed=1):
    """A bootstrap with some columns torn from the others, and noise."""
    rng = np.random.default_rng(seed)
    fake = table.sample(len(table), replace=True, random_state=seed).reset_index(drop=True)
    for name in list(fake.columns)[::2]:
        fake[name] = fake[name].sample(frac=1, random_state=seed).array
    for name in fake.select_dtypes("float"):
        fake[name] = 1.07 * fake[name] + 0.1 * rng.standard_normal(len(fake))
    return fake


# shapes and trends


REAL = pd.DataFrame({"x": [0.0, 1.0, 2.0, 10.0], "y": [0.0, 1.0, 2.0, 3.0], "z": ["a", "a", "b", None]})
FAKE = pd.DataFrame({"x": [0.0, 0.5, 1.0, 1.0], "y": [0.0, 2.0, 1.0, 1.0], "z": ["a", "b", "b", "c"]})


def test_shapes_found_by_hand():
    # x: at 1, F = 2/4 and G = 4/4. y: at 1, F = 2/4 and G = 3/4. z: (2/3, 1/3, 0) against (1/4, 2/4, 1/4)
    assert column_shapes(REAL, FAKE) == pytest.approx({"x": 50.0, "y": 25.0, "z": 100 * (5 / 12 + 2 / 12 + 3 / 12) / 2})


def test_trends_found_by_hand():
    # x, y: sums of products of deviations 15.5 / sqrt(62.75 * 5) and 0.5 / sqrt(0.6875 * 2)
    correlations = 15.5 / math.sqrt(62.75 * 5), 0.5 / math.sqrt(0.6875 * 2)
    # bins of x: (1, 2, 3, 11) beside (1, 6, 11, 11); with z: 1a 2a 3b 11- beside 1a 6b 11b 11c: only 1a is shared
    # bins of y: (1, 4, 7, 11) beside (1, 11, 6, 6); with z: 1a 4a 7b 11- beside 1a 11b 6b 6c: only 1a is shared
    expected = {("x", "y"): 50 * abs(correlations[0] - correlations[1]), ("x", "z"): 75.0, ("y", "z"): 75.0}
    assert pair_trends(REAL, FAKE) == pytest.approx(expected)


def test_missing_values_share_a_bin_with_the_largest_and_are_a_category_of_their_own():
    real = pd.DataFrame({"x": [0.0, 1.0, 2.0, np.nan], "z": ["a", "a", "b", None]})
    fake = pd.DataFrame({"x": [0.0, 1.0, np.nan, 2.0], "z": ["a", "a", "b", None]})
    assert pair_trends(real, fake) == {("x", "z"): 0.0}
    assert column_shapes(real, fake) == {"x": 0.0, "z": 0.0}


def test_columns_without_values_and_pairs_without_correlation_are_left_out():
    real = pd.DataFrame({"x": [1.0, 2.0, 3.0], "same": [5.0, 5.0, 5.0], "empty": [np.nan] * 3})
    assert column_shapes(real, real) == {"x": 0.0, "same": 0.0}
    assert pair_trends(real, real) == {}


def test_a_contingency_table_too_large_to_count_in_full_gives_the_same(monkeypatch):
    real, fake = mixed(), broken(mixed())
    expected = pair_trends(real, fake)
    monkeypatch.setattr("caminito.metrics.table._CELLS", 10)
    assert pair_trends(real, fake) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["made here", "adult", "shoppers"])
def test_shapes_and_trends_are_those_of_sdmetrics(name):
    properties = pytest.importorskip("sdmetrics.reports.single_table._properties")
    if name == "made here":
        real = mixed().drop(columns="lasts")  # sdmetrics has no durations
    elif (TABLES / f"{name}.csv").is_file():
        real = pd.read_csv(TABLES / f"{name}.csv")
    else:
        pytest.skip(f"{name}.csv is not there")
    fake = broken(real)
    facts = {"columns": {column: {"sdtype": _sdtype(real[column])} for column in real}}
    shapes, trends = properties.ColumnShapes(), properties.ColumnPairTrends()
    theirs = [100 * (1 - each.get_score(real.copy(), fake.copy(), facts)) for each in (shapes, trends)]
    ours = column_shapes(real, fake), pair_trends(real, fake)
    assert [np.mean(list(errors.values())) for errors in ours] == pytest.approx(theirs, abs=1e-6)
    table = shapes.details.dropna(subset="Score")
    assert ours[0] == pytest.approx(dict(zip(table["Column"], 100 * (1 - table["Score"]))), abs=1e-6)
    table = trends.details.dropna(subset="Score")
    assert ours[1] == pytest.approx(
        dict(zip(zip(table["Column 1"], table["Column 2"]), 100 * (1 - table["Score"]))), abs=1e-6
    )


def _sdtype(column):
    kinds = pd.api.types
    if kinds.is_bool_dtype(column):
        return "boolean"
    if kinds.is_datetime64_any_dtype(column):
        return "datetime"
    return "numerical" if kinds.is_numeric_dtype(column) else "categorical"


# rows


def test_distances_of_rows_by_their_definition():
    x, y = mixed(40, seed=2), mixed(30, seed=3)
    scale = mixed(50, seed=4)
    first, second, third = coded_tables({"x": x, "y": y, "scale": scale})
    found = np.concatenate([block for _, block in distances(first, second, third)])
    for i, j in product(range(0, 40, 7), range(0, 30, 7)):
        assert found[i, j] == pytest.approx(sum(_apart(x[c][i], y[c][j], scale[c]) for c in x), abs=1e-9)
    assert np.array_equal(nearest(first, second, third), found.min(axis=1))


def _apart(a, b, column):
    if pd.isna(a) or pd.isna(b):
        return float(pd.isna(a) != pd.isna(b))
    if isinstance(a, bool | np.bool_ | str):
        return float(a != b)
    width = column.max() - column.min()
    return abs(a - b) / width if width else abs(a - b)


def test_distances_do_not_depend_on_the_size_of_blocks(monkeypatch):
    first, second = coded_tables({"x": mixed(40), "y": mixed(30, seed=1)})
    whole = nearest(first, second, first)
    monkeypatch.setattr("caminito.metrics._columns.BLOCK_VALUES", 50)
    assert np.array_equal(nearest(first, second, first), whole)


def test_rows_have_one_number_if_and_only_if_they_are_equal():
    table = pd.DataFrame({"a": [1.0, 1.0, np.nan, np.nan, 1.0], "b": ["x", "x", "y", "y", None]})
    (numbers,) = row_numbers(coded_tables({"table": table}))
    assert [numbers[i] == numbers[j] for i, j in combinations(range(5), 2)] == [
        (i, j) in [(0, 1), (2, 3)] for i, j in combinations(range(5), 2)
    ]


def test_wasserstein_is_the_cheapest_transport(unjudged):
    rng = np.random.default_rng(5)
    real, fake, test = (pd.DataFrame({"x": rng.random(12), "z": rng.choice(["a", "b"], 12)}) for _ in range(3))
    report = table_report(real, fake, test=test)
    assert report.scores["wasserstein"].value == pytest.approx(_transport(test, fake, real), abs=1e-9)
    assert report.scores["wasserstein"].floor == pytest.approx(_transport(test, real, real), abs=1e-9)


def _transport(x, y, scale):
    cost = np.abs(x["x"].to_numpy()[:, None] - y["x"].to_numpy()) / np.ptp(scale["x"])
    cost = cost + (x["z"].to_numpy()[:, None] != y["z"].to_numpy())
    n = len(x)
    sums = np.concatenate([np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))])
    return linprog(cost.ravel(), A_eq=sums, b_eq=np.full(2 * n, 1 / n)).fun


def test_coverage_and_distances_to_the_nearest_row_by_their_definition(unjudged):
    rng = np.random.default_rng(6)
    real, test, fake = rng.random((40, 2)), rng.random((30, 2)), 0.6 * rng.random((40, 2))
    report = table_report(*map(pd.DataFrame, (real, fake)), test=pd.DataFrame(test), max_rows=30)
    width = np.ptp(real, axis=0)

    def apart(x, y):
        return (np.abs(x[:, None] - y[None]) / width).sum(axis=2)

    few = fake[np.sort(np.random.default_rng(0).choice(40, 30, replace=False))]
    reach = np.sort(apart(test, test), axis=1)[:, 2]  # no twins: k = 1 leaves room for all, and one more
    assert report.scores["coverage"].value == np.mean(apart(test, few).min(axis=1) < reach)
    few = fake[np.sort(np.random.default_rng(1).choice(40, 30, replace=False))]
    ratio = np.median(apart(few, real).min(axis=1)) / np.median(apart(test, real).min(axis=1))
    assert report.scores["dcr_ratio"].value == pytest.approx(ratio)
    known = real[np.sort(np.random.default_rng(3).choice(40, 30, replace=False))]
    share = np.mean(apart(few, known).min(axis=1) < apart(few, test).min(axis=1))
    assert report.scores["dcr_share"][:2] == (pytest.approx(share), 0.5)


def test_the_neighbourhood_grows_until_twins_leave_room(unjudged):
    twins = pd.DataFrame({"x": np.repeat(np.arange(10.0), 3)})  # each value three times: two neighbours at distance 0
    report = table_report(
        twins, twins + 0.9, test=twins
    )  # k = 3 reaches the next value, 4 too: 1 away, in a range of 9
    assert report.scores["coverage"].value == 1.0
    assert table_report(twins, twins + 100.0, test=twins).scores["coverage"].value == 0.0


# the report


def test_a_memoriser_is_seen_by_copies_and_distances(unjudged):
    rows = mixed(400)
    real, test = rows.iloc[:200], rows.iloc[200:]
    report = table_report(real, real.sample(frac=1, random_state=0), test=test)
    assert report.scores["copies"][:2] == (1.0, 0.0)
    assert report.scores["dcr_ratio"].value == 0.0
    assert report.scores["dcr_share"].value == 1.0
    assert report.scores["shape"].value == 0.0 and report.scores["trend"].value == pytest.approx(0.0, abs=1e-9)
    assert report.scores["wasserstein"].value == report.scores["wasserstein"].floor
    assert (report.n_real, report.n_fake, report.n_test) == (200, 200, 200)


def test_fresh_rows_are_at_the_floor_on_average_and_torn_ones_are_not(unjudged):
    names = ("shape", "trend", "missing", "wasserstein", "coverage", "dcr_ratio", "dcr_share")
    excess = {name: [] for name in names}
    for seed in range(12):
        real, fresh, test = (mixed(100, seed=3 * seed + place) for place in range(3))
        for name, score in table_report(real, fresh, test=test).scores.items():
            excess.setdefault(name, []).append(score.value - score.floor)
    for name in names:
        assert abs(np.mean(excess[name])) <= 4.5 * np.std(excess[name], ddof=1) / math.sqrt(12), name
    torn = table_report(real, broken(real), test=test).scores
    for name in ("trend", "wasserstein"):
        assert torn[name].value - torn[name].floor > max(excess[name]), name


def test_trees_tell_torn_rows_from_real_ones_and_fresh_rows_not():
    real, fresh = mixed(150), mixed(150, seed=1)
    score = table_report(real, fresh, max_rows=10).scores["c2st"]
    assert abs(score.value - 0.5) <= 4.5 * math.sqrt(301 / (12 * 150**2))  # sd of the area under no difference
    assert abs(score.floor - 0.5) <= 4.5 * math.sqrt(151 / (12 * 75**2))
    assert table_report(real, broken(real), max_rows=10).scores["c2st"].value > 0.5 + 4.5 * 0.0334


def test_marginal_errors_are_means_and_their_floor_is_scaled_to_the_rows_made(unjudged):
    real, fake, test = mixed(200), broken(mixed(300, seed=5)), mixed(50, seed=6)
    report = table_report(real, fake, test=test)
    assert report.columns == column_shapes(real, fake) and report.pairs == pair_trends(real, fake)
    scale = math.sqrt((1 / 300 + 1 / 200) / (1 / 200 + 1 / 50))
    for name, errors in (("shape", column_shapes), ("trend", pair_trends)):
        assert report.scores[name].value == pytest.approx(np.mean(list(errors(real, fake).values())))
        assert report.scores[name].floor == pytest.approx(scale * np.mean(list(errors(real, test).values())))
    holes = [100 * abs(real[c].isna().mean() - fake[c].isna().mean()) for c in real]
    assert report.scores["missing"].value == pytest.approx(np.mean(holes))


def test_without_test_rows_the_floor_comes_from_two_halves(unjudged):
    real = mixed(200)
    scores = table_report(real, broken(real)).scores
    assert set(scores) == {"shape", "trend", "missing", "c2st", "wasserstein", "coverage", "copies"}
    halves = np.array_split(np.random.default_rng(0).permutation(200), 2)
    least = np.mean(list(column_shapes(*(real.iloc[half] for half in halves)).values()))
    assert scores["shape"].floor == pytest.approx(math.sqrt((2 / 200) / (2 / 100)) * least)
    assert "has seen" in scores["wasserstein"].meaning


def test_copies_count_equal_rows_and_their_floor_real_ones(unjudged):
    real = pd.DataFrame({"x": np.arange(10.0), "z": list("aabbaabbaa")})
    fake = real.copy()
    fake.loc[:6, "x"] += 0.5
    fake.loc[9, "z"] = "b"
    test = real.copy()
    test.loc[:8, "z"] = "never"
    assert table_report(real, fake, test=test).scores["copies"][:2] == (0.2, 0.1)
    assert table_report(pd.concat([real, real.head(1)]), fake).scores["copies"].floor == 2 / 11


def test_utility_is_what_made_rows_teach(unjudged):
    rng = np.random.default_rng(7)

    def rows(n, sign=1.0):
        x = rng.standard_normal(n)
        three = np.select([x < -0.4, x < 0.4], ["low", "mid"], "high")
        return pd.DataFrame({"x": x, "number": 3 * sign * x, "two": sign * x > 0, "three": three, "bit": (x > 0) * 1})

    real, test, fake = rows(150), rows(100), rows(150, -1.0)
    for target, names in (("number", ["x"]), ("two", ["x"]), ("three", ["x"]), ("bit", ["x"])):
        some = [table[[*names, target]] for table in (real, fake, test)]
        score = table_report(some[0], some[1], test=some[2], target=target).scores["utility"]
        assert score.floor > 0.95 and score.better == "higher"
        assert score.value < 0.05 if target in ("number", "two") else score.value > 0.95
    only = fake.assign(two=True)
    assert table_report(real, only, test=test, target="two").scores["utility"].value == 0.5


def test_classes_that_are_not_real_teach_nothing(unjudged):
    rng = np.random.default_rng(8)
    real = pd.DataFrame({"x": rng.random(60)}).assign(y=lambda t: (t["x"] > 0.5) * 1)
    fake = pd.concat([real, pd.DataFrame({"x": rng.random(60), "y": 0.5})])
    scores = table_report(real, fake, test=real, target="y").scores
    assert scores["utility"].value == scores["utility"].floor == 1.0


def test_a_report_is_a_function_of_its_seed_and_of_no_order_of_columns_or_index():
    real, fake, test = mixed(60), broken(mixed(60)), mixed(40, seed=9)
    once = table_report(real, fake, test=test, target="yes", max_rows=30)
    again = table_report(
        real, fake[fake.columns[::-1]].set_index(fake.index[::-1]), test=test, target="yes", max_rows=30
    )
    assert once == again
    assert table_report(real, fake, test=test, target="yes", max_rows=30, seed=1).scores != once.scores
    assert all(isinstance(score, Score) and math.isfinite(score.value) for score in once.scores.values())


def test_columns_of_very_many_values_are_judged_too():
    rng = np.random.default_rng(10)
    real, fake = (pd.DataFrame({"id": rng.integers(0, 10**6, 260).astype(str), "x": rng.random(260)}) for _ in "ab")
    report = table_report(real, fake)
    assert report.columns["id"] > 95
    assert report.scores["c2st"].value > 0.3


# what is refused


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t.to_numpy(), DataError, "fake: expected a pandas DataFrame, got ndarray"),
        (lambda t: t.head(9), DataError, "fake: expected at least 10 rows and one column, got 9 rows"),
        (lambda t: t.drop(columns="word"), DataError, "fake: expected the columns of `real`, but it lacks word"),
        (lambda t: t.assign(new=1), DataError, "it has also new"),
        (lambda t: t.rename(columns={"word": "real"}), DataError, "every column label once, got real twice"),
        (lambda t: t.assign(real="x"), DataError, "fake, column 'real': expected float64"),
        (lambda t: t.assign(when=3), DataError, "fake, column 'when': expected datetime64"),
        (lambda t: t.assign(real=np.inf), NonFiniteError, "fake, column 'real': .* got 300 infinite"),
        (lambda t: t.assign(word=[[1]] * len(t)), DataError, "column 'word': .* got lists"),
    ],
)
def test_tables_that_cannot_be_compared_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        table_report(mixed(), change(mixed()))


def test_impossible_options_are_refused(unjudged):
    with pytest.raises(ConfigError, match="max_rows: expected at least 10, got 9"):
        table_report(mixed(), mixed(), max_rows=9)
    with pytest.raises(ConfigError, match="target: expected one of the columns real, grid, .* got 'income'"):
        table_report(mixed(), mixed(), test=mixed(), target="income")
    with pytest.raises(DataError, match="target 'real': expected values that are not missing"):
        table_report(mixed(), mixed().assign(real=np.nan), test=mixed(), target="real")
