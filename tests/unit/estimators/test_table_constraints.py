"""Constraints on the rows of a table: every sample meets each of them exactly, and keeps the law that the table has."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from caminito import TableDiffusion
from caminito.errors import ConditionError, ConfigError, DataError

ROWS, DRAWN = 1200, 1500
CONSTRAINTS = [
    "start <= end",
    "day < until",
    "total = price * amount",
    "both = a + b",
    "1 <= amount <= 9",
    {"sex": ["F", "M"]},
]


def a_table() -> pd.DataFrame:
    """Two orders and two formulas over numbers, whole numbers, dates and a category, with known laws."""
    rng = np.random.default_rng(5)
    sex = rng.choice(["F", "M"], ROWS, p=[0.4, 0.6])
    start = rng.uniform(0, 50, ROWS)
    day = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 800, ROWS), "D")
    price, amount = rng.integers(100, 999, ROWS) / 100, rng.integers(1, 10, ROWS)
    a, b = rng.normal(size=(2, ROWS))
    return pd.DataFrame(
        {
            "sex": sex,
            "start": start,
            "end": start + rng.exponential(np.where(sex == "F", 1.0, 4.0)),
            "day": day,
            "until": day + pd.to_timedelta(rng.integers(1, 90, ROWS), "D"),
            "price": price,
            "amount": amount,
            "total": (price * amount).round(2),
            "a": a,
            "b": b,
            "both": a + b,
        }
    )


FRAME = a_table()


@pytest.fixture(scope="module")
def model() -> TableDiffusion:
    return TableDiffusion(constraints=CONSTRAINTS, random_state=0).fit(FRAME)


@pytest.fixture(scope="module")
def sample(model) -> pd.DataFrame:
    return model.sample(DRAWN, random_state=1)


def keeps(frame: pd.DataFrame) -> None:
    """Every row meets each constraint, exactly; sums within the last digit where the sum was given."""
    assert (frame["start"] <= frame["end"]).all()
    assert (frame["day"] < frame["until"]).all()
    assert (frame["total"] == (frame["price"] * frame["amount"]).round(2)).all()
    assert np.allclose(frame["both"], frame["a"] + frame["b"], rtol=1e-12, atol=1e-12)
    assert frame["amount"].between(1, 9).all()
    assert frame["sex"].isin(["F", "M"]).all()


def test_every_sample_meets_every_constraint_exactly(sample):
    keeps(sample)
    assert (sample["both"] == sample["a"] + sample["b"]).all()
    assert (sample.dtypes == FRAME.dtypes).all()


@pytest.mark.parametrize("sex", ["F", "M"])
def test_differences_have_the_law_they_were_drawn_from(sample, sex):
    gap = (sample["end"] - sample["start"])[sample["sex"] == sex]
    law = stats.expon(scale={"F": 1.0, "M": 4.0}[sex])
    real = (FRAME["end"] - FRAME["start"])[FRAME["sex"] == sex]
    limit = 1.95 * np.sqrt(1 / len(gap) + 1 / len(real))  # Kolmogorov's distance at 0.001, both being samples
    assert stats.kstest(gap, law.cdf).statistic < limit


def test_what_a_formula_gives_and_the_columns_of_an_order_keep_their_marginals(sample):
    limit = 1.95 * np.sqrt(1 / DRAWN + 1 / ROWS)
    assert stats.kstest(sample["both"], stats.norm(scale=np.sqrt(2)).cdf).statistic < limit
    assert stats.kstest(sample["start"], stats.uniform(0, 50).cdf).statistic < limit
    for name in ("end", "total", "day", "until"):
        made, real = (
            frame[name].astype("int64" if "day" in name or "until" in name else float) for frame in (sample, FRAME)
        )
        assert stats.ks_2samp(made, real).statistic < limit


@pytest.mark.parametrize(
    "condition",
    [
        {"end": (3, 4)},
        {"end": 10.0},
        {"start": 49.9, "end": (49.9, 50.5)},
        {"start": (10, 20), "end": (15, 30), "sex": "F"},
        {"until": ("2021-01-01", "2021-01-10"), "day": ("2020-12-01", None)},
        {"day": "2021-02-03"},
        {"total": (10, 20)},
        {"total": 12.0},
        {"total": (10, 20), "amount": [3, 4]},
        {"price": 2.5, "total": (8, 18)},
        {"both": 1.25},
        {"a": 0.3, "both": 0.1},
        {"both": (-0.5, 0.5), "b": (1, 2)},
    ],
)
def test_conditions_on_bound_columns_are_met_together_with_the_constraints(model, condition):
    made = model.sample(300, condition=condition, random_state=2)
    keeps(made)
    for name, what in condition.items():
        if isinstance(what, tuple):
            low, high = (
                None
                if end is None
                else made[name].dtype.type(end)
                if name not in ("day", "until")
                else pd.Timestamp(end)
                for end in what
            )
            assert low is None or (made[name] >= low).all()
            assert high is None or (made[name] <= high).all()
        elif isinstance(what, list):
            assert made[name].isin(what).all()
        else:
            assert (made[name] == (pd.Timestamp(what) if name == "day" else what)).all()


def test_the_rest_has_its_law_given_the_later_end_of_an_order(model):
    given = FRAME[["sex", "end"]].iloc[:1000]
    made = model.sample(1000, condition=given, random_state=3)
    keeps(made)
    assert (made["end"].to_numpy() == given["end"].to_numpy()).all()
    for sex, scale in (("F", 1.0), ("M", 4.0)):
        rows = (given["sex"] == sex).to_numpy() & (given["end"] > 20).to_numpy()
        gap = (made["end"] - made["start"])[rows]
        limit = 1.95 * np.sqrt(2 / rows.sum())  # donors recur
        assert stats.kstest(gap, stats.expon(scale=scale).cdf).statistic < limit


def test_a_sum_is_divided_as_its_law_says(model):
    given = pd.DataFrame({"both": np.full(1, 2.0).repeat(1000)})
    given["both"] += np.linspace(-0.5, 0.5, 1000)  # neighbours, so that more than one leaf is asked
    made = model.sample(1000, condition=given, random_state=4)
    keeps(made)
    centred = made["a"] - given["both"] / 2  # a given a + b = s is normal: s / 2, variance 1 / 2
    assert abs(centred.mean()) < 5 * np.sqrt(0.5 / 60)  # leaves of so few rows that some 60 donors serve all
    assert abs(centred.std() - np.sqrt(0.5)) < 0.2


def holed(frame: pd.DataFrame, share: float = 0.2) -> pd.DataFrame:
    rng = np.random.default_rng(6)
    return frame.mask(rng.random(frame.shape) < share)


def test_holes_are_filled_so_that_every_row_meets_the_constraints():
    model = TableDiffusion(constraints=CONSTRAINTS, random_state=0).fit(FRAME.iloc[:300])
    rows = holed(FRAME.iloc[200:400])
    for filled in model.impute(rows, n_draws=2, random_state=0):
        assert not filled.isna().any().any()
        keeps(filled.astype({"amount": int}))
        known = rows.notna()
        assert filled.where(known).equals(rows.where(known).astype(filled.dtypes))


def test_missing_values_are_data_and_leave_an_order_met():
    rng = np.random.default_rng(0)
    start = rng.normal(size=800)
    frame = pd.DataFrame({"start": start, "end": start + rng.exponential(size=800)})
    frame.loc[rng.random(800) < 0.3, "end"] = np.nan
    frame.loc[rng.random(800) < 0.2, "start"] = np.nan
    model = TableDiffusion(constraints="start <= end", copies="allow", random_state=0).fit(frame)
    made = model.sample(800, random_state=1)
    both = made.dropna()
    assert (both["start"] <= both["end"]).all()
    for pattern in ((False, False), (False, True), (True, False), (True, True)):
        real, drawn = ((table.isna().to_numpy() == pattern).all(axis=1).mean() for table in (frame, made))
        assert abs(real - drawn) < 5 * np.sqrt(2 * real * (1 - real) / 800)
    asked = model.sample(50, condition={"start": None, "end": (0, 1)}, random_state=1)
    assert asked["start"].isna().all() and asked["end"].between(0, 1).all()
    filled = TableDiffusion(constraints="start <= end", missing="fill", random_state=0).fit(frame).sample(500)
    assert (filled["start"] <= filled["end"]).all()


def test_whole_numbers_in_a_strict_chain_have_room_for_those_between():
    rng = np.random.default_rng(0)
    cells = np.sort(np.array([rng.choice(8, 3, replace=False) for _ in range(400)]), axis=1)
    frame = pd.DataFrame(cells, columns=["low", "mid", "high"]).astype({"mid": "Int64"})
    model = TableDiffusion(constraints=["low < mid < high", "high <= 7"], random_state=0).fit(frame)
    rows = pd.DataFrame({"low": [0, 5, 3, None], "mid": [None] * 4, "high": [2, 7, None, 2]}, dtype="Int64")
    for made in (model.sample(500), model.impute(rows), model.sample(4, condition=rows)):
        assert (made["low"] < made["mid"]).all() and (made["mid"] < made["high"]).all() and (made["high"] <= 7).all()
    assert model.impute(rows)["mid"].tolist()[:2] == [1, 6]  # nothing else fits
    with pytest.raises(ConditionError, match=r"low < mid < high"):
        model.sample(1, condition={"low": 4, "mid": 3})


def test_spans_of_time_are_computed_from_dates_and_dates_from_spans():
    rng = np.random.default_rng(0)
    start = pd.Timestamp("2024-03-01", tz="Europe/Paris") + pd.to_timedelta(rng.integers(0, 10**6, 300), "s")
    lasts = pd.to_timedelta(rng.integers(60, 7200, 300), "s")
    frame = pd.DataFrame({"start": start, "the end": start + lasts, "lasts": lasts, "n": rng.integers(1, 9, 300)})
    model = TableDiffusion(constraints=["lasts = `the end` - start"], random_state=0).fit(frame)
    asked = model.sample(100, condition={"lasts": ("0 days 00:10:00", "0 days 00:20:00")}, random_state=1)
    for made in (model.sample(200, random_state=1), asked):
        assert (made["the end"] - made["start"] == made["lasts"]).all()
        assert (made.dtypes == frame.dtypes).all()
    assert asked["lasts"].between(pd.Timedelta(minutes=10), pd.Timedelta(minutes=20)).all()
    with pytest.raises(ConfigError, match="unit of time"):
        TableDiffusion(constraints=["lasts = start * n"]).fit(frame)


def test_a_product_of_whole_numbers_is_met_when_it_is_given():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.integers(2, 12, (800, 2)), columns=["rows", "seats"])
    frame["places"] = frame["rows"] * frame["seats"]
    model = TableDiffusion(constraints="places = rows * seats", random_state=0).fit(frame)
    for condition in ({"places": 24}, {"places": (20, 30)}, {"places": 24, "rows": (3, 5)}):
        made = model.sample(200, condition=condition)
        assert (made["places"] == made["rows"] * made["seats"]).all()
    assert set(model.sample(300, condition={"places": 24})["rows"]) >= {3, 4, 6, 8}
    with pytest.raises(ConditionError, match="places"):
        model.sample(5, condition={"places": 23})


def test_a_range_on_a_sum_is_met_by_what_it_is_the_sum_of():
    rng = np.random.default_rng(0)
    cells = rng.exponential(size=(1000, 2))
    frame = pd.DataFrame(cells[cells.sum(axis=1) <= 2], columns=["a", "b"]).assign(cap=0.0)
    frame["s"] = frame["a"] + frame["b"]
    frame["cap"] = frame["s"] + rng.exponential(size=len(frame))
    model = TableDiffusion(constraints=["s = a + b", "s <= 2", "0 <= a", "0 <= b", "s <= cap"], random_state=0)
    model.fit(frame)
    for condition in (None, {"cap": 1.0}, {"cap": (0.5, 0.9)}, {"s": (1.9, 2.0)}):
        made = model.sample(1000, condition=condition, random_state=1)
        assert (made["s"] <= 2).all() and (made["s"] <= made["cap"]).all() and (made[["a", "b"]] >= 0).all().all()
        assert np.allclose(made["s"], made["a"] + made["b"], rtol=1e-12)


def test_a_saved_model_samples_the_same(model, tmp_path):
    model.save(tmp_path)
    again = TableDiffusion.load(tmp_path)
    condition = {"end": (3, 4), "total": (5, 50)}
    pd.testing.assert_frame_equal(model.sample(40, random_state=1), again.sample(40, random_state=1))
    one, two = (each.sample(40, condition=condition, random_state=1) for each in (model, again))
    pd.testing.assert_frame_equal(one, two)
    assert again.constraints == CONSTRAINTS
    part = model.sample(10, random_state=1, first=30)
    pd.testing.assert_frame_equal(part, model.sample(40, random_state=1).iloc[30:].reset_index(drop=True))


def test_rows_that_break_a_constraint_are_counted_and_named():
    frame = FRAME.copy()
    frame.loc[[3, 7, 11], "end"] = -1.0
    frame.loc[5, "sex"] = "X"
    with pytest.raises(DataError, match=r"3 rows do not meet 'start <= end': 3, 7, 11 .*1 row does not meet .*: 5 "):
        TableDiffusion(constraints=CONSTRAINTS).fit(frame)


def test_rows_to_fill_that_break_a_constraint_are_refused(model):
    rows = FRAME.iloc[:3].assign(end=-1.0, start=lambda t: t["start"].mask(t.index == 1))
    with pytest.raises(DataError, match="2 rows do not meet 'start <= end'"):
        model.impute(rows)


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ("strat <= end", "Did you mean 'start'"),
        ({"sexx": ["F"]}, "Did you mean 'sex'"),
        ("totl = price * amount", "Did you mean 'total'"),
        (["a < b", "b < a"], "less than itself"),
        (["start <= end", "end <= 3", "start >= 4"], "got none"),
        ("3 <= amount <= 2", "got none"),
        (["both = a + b", "both = a - b"], "one formula"),
        (["both = a + b", "a = both - b"], "circle"),
        ("both = both + b", "own formula"),
        ("sex <= end", "have an order"),
        ("start <= day", "can be compared"),
        ("a + b <= both", "column of its own"),
        ("total = sex * amount", "numbers or times"),
        ("both = abs(a)", "a call"),
        ("both = __import__('os').system('true')", "a call"),
        ("both = a.real", "a dot"),
        ("total = 5", "expected columns"),
        ("a == b", "single ="),
        ("start", "a comparison"),
        ("start <=", "a comparison"),
        (7, "expected a list"),
        ([7], "expected texts"),
        ({"sex": ("F", "M")}, "List its values"),
        ({"sex": 3}, "interval"),
        ({"sex": ["X"]}, "some row has"),
    ],
)
def test_constraints_that_say_nothing_or_contradict_one_another_are_refused(constraints, message):
    with pytest.raises(ConfigError, match=message):
        TableDiffusion(constraints=constraints).fit(FRAME.iloc[:50])


def test_denoise_keeps_ranges_and_leaves_what_binds_columns_to_reveal():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(0, 1, (100, 2)), columns=["a", "b"])
    model = TableDiffusion(mode="denoise", start=0.3, jitter=0.1, constraints=["0 <= a <= 1"]).fit(frame)
    assert model.mode_ == "denoise" and model.sample(300)["a"].between(0, 1).all()
    frame["b"] += 1
    with pytest.raises(ConfigError, match=r"mode='denoise': .*'a <= b'"):
        TableDiffusion(mode="denoise", constraints=["a <= b"]).fit(frame)
    assert TableDiffusion(constraints=["a <= b"]).fit(frame).mode_ == "reveal"


def test_the_jump_to_the_end_of_an_order_is_told_by_its_difference(model):
    assert model.explain_jump("end", max_depth=1).startswith("end - start, from sex, start")
    assert "days" in model.explain_jump("until", max_depth=1)
    assert model.explain_jump("total") == "total = price * amount: computed"
    with pytest.raises(ConfigError, match="no density"):
        model.score_samples(FRAME)
