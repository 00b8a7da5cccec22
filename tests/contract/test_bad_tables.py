"""Tables and questions that no model can serve are refused: what was expected, what came, and how to mend it."""

import warnings

import numpy as np
import pandas as pd
import pytest

from caminito import TableDiffusion
from caminito.data import read_table
from caminito.errors import ConditionError, DataError, RepeatedTarget

RNG = np.random.default_rng(0)
ROWS = 200


def table():
    age = RNG.integers(18, 80, ROWS)
    return pd.DataFrame(
        {
            "age": age,
            "income": np.round(RNG.lognormal(8, 1, ROWS), 2),
            "sex": np.array(["F", "M"])[RNG.integers(0, 2, ROWS)],
            "town": np.array(["Lugo", "Vigo", "Soria"])[RNG.integers(0, 3, ROWS)],
            "since": pd.Timestamp("2010-01-01") + pd.to_timedelta(RNG.integers(0, 3000, ROWS), unit="D"),
        }
    )


TABLE = table()


@pytest.fixture(scope="module")
def model():
    return TableDiffusion(random_state=0).fit(TABLE)


def with_column(**columns):
    return TABLE.assign(**{name: pd.Series(values, dtype=object) for name, values in columns.items()})


TABLES = {
    "empty": (TABLE.iloc[:0], ["at least 2 rows", "got none", "more data"]),
    "one row": (TABLE.iloc[:1], ["at least 2 rows", "1 row"]),
    "no columns": (TABLE[[]], ["0 feature(s)", "Give a table with columns"]),
    "nothing but holes": (TABLE.assign(age=np.nan), ["'age'", f"all {ROWS} are missing", "Drop the column"]),
    "lists": (with_column(age=[[1, 2]] * ROWS), ["'age'", "got list", "one value each"]),
    "infinite": (
        TABLE.assign(income=TABLE["income"].where(TABLE.index != 7, np.inf)),
        ["'income'", "1 infinite", "first in row 7", "NaN"],
    ),
    "one name twice": (TABLE.set_axis(["a", "b", "a", "c", "d"], axis=1), ["more than once: 'a'", "Rename"]),
}


@pytest.mark.parametrize("case", TABLES, ids=lambda case: case.replace(" ", "-"))
def test_what_nothing_can_be_learnt_from_is_refused(case):
    frame, words = TABLES[case]
    with pytest.raises(DataError) as caught:
        TableDiffusion(random_state=0).fit(frame)
    for word in words:
        assert word in str(caught.value), f"{word!r} is not in: {caught.value}"


CONDITIONS = {
    "unknown column": ({"agee": 30}, ["'agee'", "Did you mean 'age'?"]),
    "unknown column unlike any": ({"zzz": 30}, ["'zzz'", "Known: age, income, sex, town, since"]),
    "unseen category": ({"town": "Vigoo"}, ["'town'", "'Vigoo'", "Known", "Is 'Vigo' meant?"]),
    "unseen among several": ({"town": ["Vigo", "Roma"]}, ["'town'", "'Roma'"]),
    "beyond the data": ({"age": (200, 300)}, ["'age'", "they go from 18 to 79", "Widen"]),
    "upside down": ({"age": (60, 20)}, ["'age'", "low <= high", "Swap"]),
    "interval of a category": ({"town": ("Lugo", "Vigo")}, ["'town'", "has no order"]),
    "no date": ({"since": "yesterday"}, ["'since'", "'yesterday'", "2020-12-31"]),
    "date out of range": ({"since": "99999-01-01"}, ["'since'", "99999-01-01"]),
    "dates out of range": ({"since": ("2300-01-01", "2400-01-01")}, ["'since'", "they go from 2010"]),
    "missing where nothing is": ({"age": None}, ["'age'", "missing, which no row has"]),
    "not a whole number": ({"age": 30.5}, ["'age'", "30.5", "the nearest is 30"]),
    "infinite": ({"age": np.inf}, ["'age'", "inf"]),
    "contradiction": (
        {"age": (18, int(TABLE["age"].nsmallest(3).iloc[-1])), "income": (float(TABLE["income"].max()), None)},
        ["'age', 'income' together", "got none", "Widen"],
    ),
}


@pytest.mark.parametrize("case", CONDITIONS, ids=lambda case: case.replace(" ", "-"))
def test_conditions_that_nothing_can_meet_are_refused(model, case):
    condition, words = CONDITIONS[case]
    with pytest.raises(ConditionError) as caught:
        model.sample(5, condition=condition)
    for word in words:
        assert word in str(caught.value), f"{word!r} is not in: {caught.value}"


FILLED = {
    "unseen category": ({"town": "Roma"}, ["'town'", "seen in training", "'Roma' (1 row)", "Known"]),
    "infinite": ({"income": -np.inf}, ["'income'", "1 infinite"]),
    "words for numbers": ({"age": "old"}, ["'age'", "kind integer", "'old'"]),
}


@pytest.mark.parametrize("case", FILLED, ids=lambda case: case.replace(" ", "-"))
def test_rows_that_hold_what_was_never_seen_are_not_filled(model, case):
    cells, words = FILLED[case]
    holed = TABLE.iloc[:3].astype(object)
    holed.loc[0, "sex"] = None
    for name, value in cells.items():
        holed.loc[1, name] = value
    with pytest.raises(DataError) as caught:
        model.impute(holed)
    for word in words:
        assert word in str(caught.value), f"{word!r} is not in: {caught.value}"


def test_columns_that_the_model_does_not_know_are_named_with_the_nearest(model):
    with pytest.raises(DataError, match=r"lacks 'age' and has also 'agee' \(is 'age' meant\?\)"):
        model.impute(TABLE.rename(columns={"age": "agee"}))


@pytest.mark.parametrize(
    ("y", "column"),
    [
        (TABLE["income"], "income"),
        (TABLE["sex"] == "F", "sex"),
        (TABLE["town"].map({"Lugo": 2, "Vigo": 0, "Soria": 1}), "town"),
    ],
    ids=["equal", "other names", "other codes"],
)
def test_a_target_that_is_a_column_again_is_told(y, column):
    with pytest.warns(RepeatedTarget, match=f"the values of column '{column}' again. Leave that column, or y, out"):
        TableDiffusion(mode="reveal", random_state=0).fit(TABLE, y)


def test_a_target_of_its_own_is_not():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RepeatedTarget)
        TableDiffusion(mode="reveal", random_state=0).fit(TABLE, RNG.permutation(TABLE["sex"]))
        TableDiffusion(mode="reveal", random_state=0).fit(TABLE[["age", "income"]], RNG.permutation(TABLE["income"]))


def test_of_very_many_categories_each_can_be_asked_for_and_a_new_one_is_refused_in_few_words():
    names = np.char.add("user ", np.arange(20_000).astype(str))
    frame = pd.DataFrame({"user": names, "x": RNG.normal(size=len(names))})
    fitted = TableDiffusion(mode="reveal", min_rows=1000, random_state=0).fit(frame)
    assert set(fitted.sample(50)["user"]) <= set(names)
    assert fitted.sample(3, condition={"user": "user 77"})["user"].tolist() == ["user 77"] * 3
    with pytest.raises(ConditionError, match="'nobody'") as caught:
        fitted.sample(3, condition={"user": "nobody"})
    assert len(str(caught.value)) < 1000


def test_ragged_rows_of_a_file_are_told_by_their_lines(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3\n4,5\n6,7,8\n")
    for read in (read_table, TableDiffusion().fit):
        with pytest.raises(DataError, match=r"expected 2 fields.*line 3 has 1, line 5 has 3"):
            read(tmp_path / "t.csv")
