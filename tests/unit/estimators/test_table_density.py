"""How likely a row is to the jumps of a table, the trees of the jumps in words, and tables that are refused."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pandas as pd
import pytest

from caminito import TableDiffusion
from caminito.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def discrete() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 4, 900)
    frame = pd.DataFrame({"a": a, "b": np.array(["x", "y", "z"])[(a + rng.integers(0, 2, 900)) % 3]})
    return frame.assign(c=np.where(rng.random(900) < 0.2, np.nan, (a > 1) * 1.0), d=rng.random(900) < 0.3)


@pytest.mark.parametrize("min_rows", ["auto", 5, 40])
def test_probabilities_of_all_cells_of_a_table_sum_to_one(discrete, min_rows):
    model = TableDiffusion(mode="reveal", min_rows=min_rows, random_state=0).fit(discrete)
    cells = pd.DataFrame(
        list(itertools.product(range(4), "xyz", [0.0, 1.0, np.nan], [False, True])), columns=list("abcd")
    )
    scores = model.score_samples(cells)
    assert abs(np.exp(scores).sum() - 1) < 1e-12
    sample = model.sample(20_000)
    joined = cells.fillna(-1).merge(sample.fillna(-1).value_counts().rename("n").reset_index(), how="left")
    shares = joined["n"].fillna(0).to_numpy() / 20_000  # what it draws is what it scores, up to ten rows in each leaf
    assert np.abs(shares - np.exp(scores)).max() < 5 * np.sqrt(0.1 / 20_000) + 0.01


def test_with_y_the_density_is_that_of_x():
    rng = np.random.default_rng(1)
    a = rng.integers(0, 3, 500)
    X = pd.DataFrame({"a": a, "b": (a + rng.integers(0, 2, 500)).astype(str)})
    model = TableDiffusion(mode="reveal", random_state=0).fit(X, a % 2)
    cells = pd.DataFrame(list(itertools.product(range(3), ["0", "1", "2", "3"])), columns=["a", "b"])
    assert abs(np.exp(model.score_samples(cells)).sum() - 1) < 1e-12


def test_densities_of_numbers_integrate_to_one_beside_their_atoms_and_holes():
    rng = np.random.default_rng(2)
    kind = rng.choice(["p", "q"], 400)
    v = np.where(kind == "p", rng.normal(size=400), rng.exponential(3, 400))
    v[rng.random(400) < 0.2] = 0.0  # an atom
    v[rng.random(400) < 0.1] = np.nan
    model = TableDiffusion(mode="reveal", min_rows=20, random_state=0).fit(pd.DataFrame({"kind": kind, "v": v}))
    assert model.columns_[1].atoms == (0.0,)
    low, high = np.nanmin(v), np.nanmax(v)
    fine = np.linspace(low, high, 40_001)
    middle = (fine[1:] + fine[:-1]) / 2
    total = 0.0
    for each in "pq":
        density = np.exp(model.score_samples(pd.DataFrame({"kind": each, "v": middle})))
        points = np.exp(model.score_samples(pd.DataFrame({"kind": each, "v": [0.0, np.nan]})))
        total += density.sum() * (fine[1] - fine[0]) + points.sum()
    assert abs(total - 1) < 2e-3  # of a step function on 40 000 cells
    outside = model.score_samples(pd.DataFrame({"kind": ["p", "p"], "v": [low - 1, high + 1]}))
    assert np.isneginf(outside).all()


def test_scores_tell_rows_of_the_law_from_others():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1500, 1))
    X = np.column_stack([x, x + 0.1 * rng.normal(size=(1500, 1))])
    model = TableDiffusion(mode="reveal", random_state=0).fit(X[:1000])
    inside = model.score_samples(X[1000:])
    broken = model.score_samples(np.column_stack([X[1000:, 0], rng.permutation(X[1000:, 1])]))
    assert np.median(inside) > np.median(broken) + 2
    exact = -0.5 * (X[1000:, 0] ** 2 + ((X[1000:, 1] - X[1000:, 0]) / 0.1) ** 2) - np.log(2 * np.pi * 0.1)
    finite = np.isfinite(inside)
    assert finite.mean() > 0.98 and abs(inside[finite].mean() - exact[finite].mean()) < 0.7
    assert model.score(X[:50]) == model.score_samples(X[:50]).mean()


def test_only_the_chain_of_jumps_has_a_density_and_trees_to_show():
    X = np.random.default_rng(0).normal(size=(100, 2))
    model = TableDiffusion(mode="denoise", start=0.3, jitter=0.1, random_state=0).fit(X)
    for ask in (lambda: model.score_samples(X), lambda: model.explain_jump(0)):
        with pytest.raises(ConfigError, match=r"got 'denoise'.*Fit TableDiffusion\(mode='reveal'\)"):
            ask()


def test_a_jump_is_told_in_the_words_of_the_table(discrete):
    model = TableDiffusion(mode="reveal", random_state=0).fit(
        discrete.assign(work=np.where(discrete["a"] > 1, "on", "off"))
    )
    told = model.explain_jump("a").splitlines()
    assert told[0] == "a, from work: 2 leaves"
    share = (discrete["a"] == 0).sum() / (discrete["a"] < 2).sum()
    assert told[1].startswith(f"    work is off: {(discrete['a'] < 2).sum()} rows (")
    assert f"0 {share:.0%}" in told[1] and "    work is on: " in told[2]
    assert model.explain_jump("work").splitlines()[0] == "work, from nothing: 1 leaf"
    deep = model.explain_jump("c", max_depth=9)
    assert "    a <= 1" in deep and "b is " in deep and "missing" in deep
    leaves = [line for line in deep.splitlines() if " rows" in line]
    assert len(leaves) == model._reveal.chain(()).trees[2].leaves
    assert sum(int(line.split(": ")[1].split(" rows")[0]) for line in leaves) == len(discrete)
    assert "(then " in model.explain_jump("d", max_depth=1)
    with pytest.raises(DataError, match=r"'wrk' \(is 'work' meant\?\)"):
        model.explain_jump("wrk")
    with pytest.raises(ConfigError, match="max_depth"):
        model.explain_jump("a", max_depth=0)


def test_a_number_is_told_by_its_range_and_a_rule_by_a_value_and_missing():
    rng = np.random.default_rng(4)
    x = rng.integers(0, 50, 300).astype(float)
    y = x * 2 + rng.integers(0, 9, 300)
    x[rng.random(300) < 0.1] = np.nan
    told = (
        TableDiffusion(mode="reveal", min_rows=60, random_state=0).fit(pd.DataFrame({"x": x, "y": y})).explain_jump("y")
    )
    assert "x <= " in told and "or missing" in told and " to " in told and "half of them to" in told


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (pd.DataFrame({"a": []}), "at least 2 rows"),
        (pd.DataFrame({"a": [1.0]}), "at least 2 rows"),
        (pd.DataFrame({"a": [1.0, 2.0], "b": [np.nan, np.nan]}), r"'b'.*all 2 are missing"),
        (pd.DataFrame({"a": [1, 2], "b": [[1], [2, 3]]}), r"'b'.*got list"),
        (pd.DataFrame({"a": [1.0, np.inf]}), r"'a'.*finite numbers, got 1 infinite"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), "more than once: 'a'"),
    ],
)
def test_tables_that_cannot_be_learnt_are_refused(table, told):
    with pytest.raises(DataError, match=told):
        TableDiffusion().fit(table)


@pytest.mark.parametrize("weights", [np.zeros(10), np.full(10, -1.0), np.ones(9), np.full(10, np.nan)])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(DataError, match="sample_weight"):
        TableDiffusion().fit(np.arange(20.0).reshape(10, 2), sample_weight=weights)


def test_y_of_another_length_is_refused():
    with pytest.raises(DataError, match="y: expected one value for each of 10 rows"):
        TableDiffusion().fit(np.arange(20.0).reshape(10, 2), np.arange(9))


def test_numbers_that_do_not_vary_have_nothing_to_denoise():
    with pytest.raises(ConfigError, match="mode='reveal'"):
        TableDiffusion(mode="denoise").fit(pd.DataFrame({"a": ["x", "y"] * 20}))


def test_a_hundred_thousand_categories_take_seconds():
    rng = np.random.default_rng(5)
    zone = rng.integers(0, 50, 100_000)
    frame = pd.DataFrame(
        {"id": np.char.mod("id%06d", rng.permutation(100_000)), "zone": zone, "x": zone + rng.random(100_000).round(2)}
    )
    clock = time.process_time()
    model = TableDiffusion(mode="reveal", random_state=0).fit(frame)
    sample = model.sample(1000)
    model.sample(10, condition={"id": frame["id"].iloc[:10].tolist()})
    assert time.process_time() - clock < 20
    assert sample["id"].isin(frame["id"]).all() and (np.abs(sample["x"] - sample["zone"] - 0.5) < 1.5).mean() > 0.95
