"""Conditions on columns of a table: each is met by every sample, and what is left free has the conditional law."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from caminito import TableDiffusion
from caminito.errors import ConditionError

ROWS, DRAWN = 6000, 4000
LABELS = {"a": [0, 1, 2, 3], "b": ["x", "y", "z"], "c": [False, True], "d": [1.5, 2.5, np.nan]}
SHAPE = tuple(len(values) for values in LABELS.values())
LAW = np.random.default_rng(7).dirichlet(np.full(72, 0.7)).reshape(SHAPE)


def drawn_from_law() -> pd.DataFrame:
    cells = np.random.default_rng(8).choice(LAW.size, ROWS, p=LAW.ravel())
    places = np.unravel_index(cells, SHAPE)
    return pd.DataFrame({name: np.array(values)[k] for (name, values), k in zip(LABELS.items(), places)})


@pytest.fixture(scope="module")
def model() -> TableDiffusion:
    return TableDiffusion(mode="reveal", random_state=0).fit(drawn_from_law())


def counts(frame: pd.DataFrame) -> np.ndarray:
    places = [np.array([_place(values, v) for v in frame[name]]) for name, values in LABELS.items()]
    return np.bincount(np.ravel_multi_index(places, SHAPE), minlength=LAW.size).reshape(SHAPE)


def _place(values, value) -> int:
    return next(k for k, each in enumerate(values) if each == value or (each != each and value != value))


def agrees(frame: pd.DataFrame, allowed: np.ndarray) -> None:
    """Cell frequencies within 5 standard errors of the conditional law; those of the training table are part of it."""
    law = np.where(allowed, LAW, 0)
    mass = law.sum()
    law = law / mass
    error = np.sqrt(np.maximum(law * (1 - law), 1e-4) * (1 / len(frame) + 1 / (ROWS * mass)))
    made = counts(frame) / len(frame)
    assert (made[~allowed] == 0).all()
    assert (np.abs(made - law) < 5 * error).all()


def where(**chosen) -> np.ndarray:
    """Cells of the law with these places."""
    allowed = np.ones(SHAPE, dtype=bool)
    for axis, name in enumerate(LABELS):
        if name in chosen:
            inside = np.isin(np.arange(SHAPE[axis]), chosen[name])
            allowed &= inside.reshape([-1 if k == axis else 1 for k in range(4)])
    return allowed


@pytest.mark.parametrize(
    ("condition", "chosen"),
    [
        ({}, {}),
        ({"b": "y"}, {"b": [1]}),
        ({"c": True, "a": 2}, {"c": [1], "a": [2]}),
        ({"a": (1, 2)}, {"a": [1, 2]}),
        ({"a": (None, 1)}, {"a": [0, 1]}),
        ({"b": ["x", "z"]}, {"b": [0, 2]}),
        ({"d": None}, {"d": [2]}),
        ({"d": [2.5, None]}, {"d": [1, 2]}),
        ({"a": (1, 3), "b": ["x", "y"], "d": (2, 3), "c": False}, {"a": [1, 2, 3], "b": [0, 1], "d": [1], "c": [0]}),
    ],
)
def test_what_is_asked_is_met_and_the_rest_has_the_conditional_law(model, condition, chosen):
    agrees(model.sample(DRAWN, condition=condition, random_state=1), where(**chosen))


def test_a_table_with_holes_asks_of_each_row_what_it_holds(model):
    asked = pd.DataFrame({"b": ["x", "y", None, None] * 1000, "c": pd.array([True, None] * 2000, dtype="boolean")})
    sample = model.sample(4000, condition=asked, random_state=1)
    assert ((sample["b"] == asked["b"]) | asked["b"].isna()).all()
    assert ((sample["c"] == asked["c"]) | asked["c"].isna()).all()
    for start, chosen in enumerate([{"b": [0], "c": [1]}, {"b": [1]}, {"c": [1]}, {}]):
        agrees(sample.iloc[start::4], where(**chosen))
    shuffled = model.sample(4, condition=asked.iloc[4:8], random_state=1, first=4)
    pd.testing.assert_frame_equal(shuffled, sample.iloc[4:8].reset_index(drop=True))


def test_a_column_that_says_nothing_of_another_condition_does_not_weaken_it():
    # two intervals: the first on a constant column, whose tree has one leaf and knows nothing of what is given
    rng = np.random.default_rng(0)
    g = rng.integers(0, 2, 3000)
    frame = pd.DataFrame({"one": 1, "v": g * 10 + rng.integers(0, 4, 3000), "g": g.astype(str)})
    sample = (
        TableDiffusion(mode="reveal", random_state=0)
        .fit(frame)
        .sample(2000, condition={"g": "1", "one": (0, 2), "v": (2, 30)})
    )
    assert (sample["v"] >= 10).all()


def test_dates_are_asked_for_by_text_and_by_value():
    frame = pd.DataFrame({"when": pd.date_range("2024-01-01", periods=300), "n": np.arange(300) % 7})
    model = TableDiffusion(mode="reveal", random_state=0).fit(frame)
    for low, high in (("2024-02-01", "2024-02-29"), (datetime.datetime(2024, 2, 1), pd.Timestamp("2024-02-29"))):
        sample = model.sample(100, condition={"when": (low, high)})
        assert sample["when"].between("2024-02-01", "2024-02-29").all()
    assert (model.sample(10, condition={"when": "2024-03-05"})["when"] == pd.Timestamp("2024-03-05")).all()


def test_classes_and_intervals_of_y_can_be_asked_for():
    X = np.random.default_rng(0).normal(size=(400, 2))
    model = TableDiffusion(mode="reveal", random_state=0).fit(X, X.sum(axis=1))
    sample = model.sample(300, condition={"y": (1, None)})
    assert sample.shape == (300, 2) and sample.sum(axis=1).mean() > 1


def test_conditions_are_met_by_a_model_that_denoises():
    X = np.random.default_rng(0).normal(size=(200, 3)).round(3)
    model = TableDiffusion(mode="denoise", start=0.3, jitter=0.1, random_state=0).fit(X)
    sample = model.sample(100, condition={0: (0.5, 1.0), 1: 0.25})
    assert ((sample[:, 0] >= 0.5) & (sample[:, 0] <= 1)).all() and (sample[:, 1] == 0.25).all()


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ({"aa": 1}, r"'aa'.*Did you mean 'a'"),
        ({"wholly else": 1}, r"'wholly else'.*Known: a, b, c, d"),
        ({"b": "w"}, r"'b'.*categories seen in training, got 'w'.*Known"),
        ({"b": ["x", "w"]}, r"'b'.*got 'w'"),
        ({"a": (7, 9)}, r"'a'.*in \(7, 9\), got none; they go from 0 to 3"),
        ({"a": (2, 1)}, r"'a'.*low <= high, got \(2, 1\)"),
        ({"a": (1, 2, 3)}, r"'a'.*interval \(low, high\), got \(1, 2, 3\)"),
        ({"a": 1.5}, r"'a'.*a value that the column can have, got 1.5; the nearest is 2"),
        ({"a": "many"}, r"'a'.*got 'many'"),
        ({"b": ("x", "y")}, r"'b'.*list of values of a category.*got the interval"),
        ({"b": None}, r"'b'.*expected a value, got None"),
        (pd.DataFrame({"b": ["x", "y"]}), r"expected 3 rows, one for each sample, got 2"),
        (pd.DataFrame({"e": [1, 2, 3]}), r"'e'"),
        ("b", r"expected a mapping of columns, or a table.*got str"),
    ],
)
def test_conditions_that_cannot_be_met_are_refused_with_the_column_and_what_came(model, condition, told):
    with pytest.raises(ConditionError, match=told):
        model.sample(3, condition=condition)


def test_intervals_that_no_row_meets_together_are_refused():
    n = np.arange(200)
    model = TableDiffusion(mode="reveal", random_state=0).fit(pd.DataFrame({"low": n, "high": n + 50}))
    with pytest.raises(ConditionError, match="'low', 'high' together, got none"):
        model.sample(3, condition={"low": (100, 120), "high": (50, 80)})


def test_missing_is_no_condition_where_all_was_filled():
    model = TableDiffusion(mode="reveal", missing="fill", random_state=0).fit(drawn_from_law().head(300))
    with pytest.raises(ConditionError, match="'d'.*expected a value, got None"):
        model.sample(3, condition={"d": None})
