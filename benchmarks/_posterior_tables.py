"""Holes of real tables: how well draws fill them, beside MICE, forests and ForestDiffusion.

A fifth of the rows of a table is kept aside; every method learns from the others, which are complete, and fills the
holes of those kept aside: `20 %` and `50 %` of the cells hidden completely at random, or, in each row, a `block` of
half of the columns, neighbours on a ring of them in random order. In small tables each row kept aside comes several
times with other holes, so that there are at least 200. Classes are left out, whole numbers are numbers; of california
there are 1000 rows, drawn for each seed.

    caminito          TableDiffusion().impute, the same in every mode
    MICE              IterativeImputer(sample_posterior=True): Bayesian ridge regressions, ten sweeps
    MICE forest       the same, five sweeps of forests that answer with one of five rows predicted much alike
    MissForest        IterativeImputer of forests, one answer; the score of a point, and no intervals
    ForestDiffusion   1.0.6, VP and RePaint, with fewer noise levels and copies of rows than its defaults, 50 and 100
    mean              of the column

Rows that are complete make every sweep over them grow the same forests: those are grown once, and sweep the holes.
Several draws of a row are made in one call, of copies of it, which takes the others least time; ours has `n_draws`.

Numbers are standardised by the training rows. The energy score (`fair`, so that methods may have different m) is of all
that is hidden in a row together. An interval of 95 % goes, with 119 draws, from the 3rd to the 117th, with 39 from the
first to the last: an exact sampler has the truth there 95 times in 100; where draws tie with it, it is inside by chance
(`caminito.metrics.coverage`). Standard errors take rows, with all their holes, for independent; differences of energy
are of the same rows with the same holes. Seconds are of one thread, CPU; trees that ours grows at the first hole are
part of `fit`.

    pip install xgboost ForestDiffusion==1.0.6
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from _forest import Table, load
from _points import Points, brief
from caminito.estimators import TableDiffusion
from caminito.metrics import coverage, energy_score
from tables import Peer

__all__ = ["tables"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

TABLES = {"iris": None, "wine": None, "yacht_hydrodynamics": None, "concrete_compression": None, "california": 1000}
HOLES = ("20 %", "50 %", "block")
SEEDS = 3  # at most
CASES = 200  # rows with holes, at least
SWEEPS, MATCHED_SWEEPS, DONORS = 10, 5, 5
PEER = {"n_t": 20, "duplicate_K": 20, "diffusion_type": "vp"}
LEVEL, COVERED, SHARE = 0.95, (0.93, 0.97), 0.7  # asked
RIVALS = ("MICE", "MissForest", "ForestDiffusion")

# -- rows and holes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Split:
    """Rows to learn from and rows to judge by, complete; columns that are numbers."""

    table: Table
    seed: int
    train: Array
    test: Array

    @classmethod
    def of(cls, name: str, seed: int) -> Split:
        """One of the splits of a table; of a large one, of rows drawn at random."""
        table, most = load(name), TABLES[name]
        rows = table.rows if table.kind.task == "numbers" else table.rows[:, :-1]
        if most is not None:
            rows = rows[np.random.default_rng(seed).choice(len(rows), most, replace=False)]
        train, test = train_test_split(rows, test_size=0.2, random_state=seed)
        return cls(table, seed, train, test)

    @cached_property
    def cases(self) -> Array:
        """The rows to judge by, as often as need be."""
        return np.tile(self.test, (-(-CASES // len(self.test)), 1))

    def hidden(self, holes: str) -> Flags:
        """Which cells of the cases are hidden."""
        chance = np.random.default_rng([self.seed, HOLES.index(holes)])
        rows, columns = self.cases.shape
        if holes != "block":
            return chance.random((rows, columns)) < float(holes.removesuffix("%")) / 100
        place = chance.permutation(columns)
        return (place - chance.integers(columns, size=(rows, 1))) % columns < columns // 2

    def scaled(self, rows: Array) -> Array:
        """In deviations of the training rows."""
        return (rows - self.train.mean(axis=0)) / self.train.std(axis=0)

    def back(self, rows: Array) -> Array:
        """In units of the table again."""
        return rows * self.train.std(axis=0) + self.train.mean(axis=0)


# -- methods -----------------------------------------------------------------------------------------------------------


class Method(Protocol):
    """Learns when it is made."""

    def fill(self, rows: Array, draws: int) -> Array:
        """Rows with holes, NaN, without them, `draws` times."""
        ...


class Caminito:
    """Ours, as it comes."""

    def __init__(self, split: Split) -> None:
        self.seed = split.seed
        self.model = TableDiffusion(random_state=split.seed).fit(split.train)
        self.model.impute(np.full((1, split.train.shape[1]), np.nan))

    def fill(self, rows: Array, draws: int) -> Array:
        return np.stack(self.model.impute(rows, n_draws=draws, random_state=self.seed))


class Matched(RandomForestRegressor):
    """A forest whose answer is the value of a training row, one of those with the nearest out-of-bag predictions."""

    def fit(self, X: Array, y: Array) -> Matched:
        super().fit(X, y)
        order = np.argsort(self.oob_prediction_)
        self.near_, self.values_ = self.oob_prediction_[order], np.asarray(y)[order]
        self.chance_ = np.random.default_rng(self.random_state)
        return self

    def predict(self, X: Array) -> Array:
        first = np.searchsorted(self.near_, super().predict(X)) - DONORS // 2
        first = np.clip(first, 0, len(self.near_) - DONORS)
        return self.values_[first + self.chance_.integers(DONORS, size=len(first))]


class Chained:
    """IterativeImputer, with its own regressions or with forests, which need a sweep of the training rows only."""

    def __init__(self, split: Split, forest: RandomForestRegressor | None = None, sweeps: int = SWEEPS) -> None:
        self.split = split
        self.imputer = IterativeImputer(
            forest,
            sample_posterior=forest is None,
            max_iter=sweeps if forest is None else 1,
            random_state=split.seed,
        )
        self.imputer.fit(split.scaled(split.train))
        if forest is not None:
            self.imputer.imputation_sequence_ = self.imputer.imputation_sequence_ * sweeps

    def fill(self, rows: Array, draws: int) -> Array:
        copies = np.tile(self.split.scaled(rows), (draws, 1))
        return self.split.back(self.imputer.transform(copies)).reshape(draws, *rows.shape)


def matched(split: Split) -> Chained:
    """MICE by forests and rows predicted alike."""
    return Chained(split, Matched(oob_score=True, max_features="sqrt", random_state=split.seed), MATCHED_SWEEPS)


def missforest(split: Split) -> Chained:
    """As Stekhoven and Buehlmann 2012 have it: 100 trees, the root of the columns at each split."""
    return Chained(split, RandomForestRegressor(max_features="sqrt", random_state=split.seed))


class Repainted:
    """ForestDiffusion."""

    def __init__(self, split: Split) -> None:
        self.seed = split.seed
        make = Peer(split.table).make
        self.model = make(split.train, n_jobs=1, seed=split.seed, **PEER)

    def fill(self, rows: Array, draws: int) -> Array:
        np.random.seed(self.seed)  # it has no other
        copies = self.model.scaler.transform(np.tile(rows, (draws, 1)))  # it scales what it learns from, and not these
        return np.asarray(self.model.impute(X=copies, repaint=True)).reshape(draws, *rows.shape)


class Mean:
    """What everything must beat."""

    def __init__(self, split: Split) -> None:
        self.mean = split.train.mean(axis=0)

    def fill(self, rows: Array, draws: int) -> Array:
        return np.where(np.isnan(rows), self.mean, rows)[None].repeat(draws, axis=0)


METHODS: dict[str, tuple[Callable[[Split], Method], int]] = {  # and how many draws
    "caminito": (Caminito, 119),
    "MICE": (Chained, 119),
    "MICE forest": (matched, 39),
    "MissForest": (missforest, 1),
    "ForestDiffusion": (Repainted, 8),
    "mean": (Mean, 1),
}
LEAST = 39  # draws that intervals of 95 % take

# -- points ------------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Learner:
    """A method on a split, fitted when it is first asked for."""

    name: str
    split: Split

    @cached_property
    def fitted(self) -> tuple[Method, float]:
        """The method and its CPU-seconds."""
        begin = time.process_time()
        return METHODS[self.name][0](self.split), time.process_time() - begin

    def judged(self, holes: str) -> dict[str, Any]:
        """Seconds, and of each row its energy score, and how many of its hidden cells are covered of how many."""
        split, draws = self.split, METHODS[self.name][1]
        hidden = split.hidden(holes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            method, fit = self.fitted
            begin = time.process_time()
            filled = method.fill(np.where(hidden, np.nan, split.cases), draws)
            fill = time.process_time() - begin
        drawn = split.scaled(filled if draws > 1 else filled.repeat(2, axis=0))  # of a point: its distance
        truth = np.where(hidden, split.scaled(split.cases), np.nan)
        rows: list[list[float] | None] = []
        for place in range(len(split.test)):
            own, true = drawn[:, place :: len(split.test)], truth[place :: len(split.test)]
            count = int(np.isfinite(true).sum())
            if count == 0:
                rows.append(None)
                continue
            covered = [0, 0]
            if draws >= LEAST:
                covered = [brief(float(coverage(own, true, levels=LEVEL).share[0] * count)), count]
            rows.append([brief(energy_score(own, true)), *covered])
        return {"fit": fit, "fill": fill, **mean_energy(rows), **mean_covered(rows), "rows": rows}


Rows = Sequence[Sequence[float] | None]


def mean_energy(rows: Rows) -> dict[str, float]:
    """Mean over rows, and its standard error."""
    values = np.array([row[0] for row in rows if row is not None])
    return {"energy": float(values.mean()), "energy_se": float(values.std(ddof=1) / math.sqrt(len(values)))}


def mean_covered(rows: Rows) -> dict[str, float]:
    """Share of the hidden cells inside their intervals, and its standard error, cells of a row going together."""
    known = np.array([row[1:] for row in rows if row is not None])
    inside, count = known.T
    if not count.any():
        return {}
    share = inside.sum() / count.sum()
    scatter = np.sum((inside - share * count) ** 2) * len(count) / (len(count) - 1)
    return {"coverage": float(share), "coverage_se": float(math.sqrt(scatter) / count.sum())}


# -- the grid ----------------------------------------------------------------------------------------------------------


def summed(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Of a cell of the grid, by method, each with its points of all seeds."""
    together = {name: [row for point in points for row in point["rows"]] for name, points in found.items()}
    ours, out = together["caminito"], {}
    for name, points in found.items():
        figures = mean_energy(together[name]) | mean_covered(together[name])
        figures |= {key: float(np.mean([point[key] for point in points])) for key in ("fit", "fill")}
        if name != "caminito":
            apart = [[a[0] - b[0]] for a, b in zip(ours, together[name]) if a is not None and b is not None]
            difference = mean_energy(apart)
            figures |= {"ours_less": difference["energy"], "ours_less_se": difference["energy_se"]}
        out[name] = {key: brief(value) for key, value in figures.items()}
    return out


def held(cells: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """How many cells of the grid have what is asked, and how many may have it, as far as standard errors tell."""
    low, high = COVERED
    covered = [(row["caminito"]["coverage"], row["caminito"]["coverage_se"]) for row in cells.values()]
    out: dict[str, Any] = {
        "cells": len(cells),
        "asked": {"coverage": COVERED, "no worse on a share of": SHARE},
        "covered": sum(low <= share <= high for share, _ in covered),
        "covered, within two standard errors": sum(low - 2 * se <= share <= high + 2 * se for share, se in covered),
        "no worse than": {},
    }
    for name in next(iter(cells.values())):
        if name == "caminito":
            continue
        pairs = [(row[name]["ours_less"], row[name]["ours_less_se"]) for row in cells.values()]
        out["no worse than"][name] = {
            "cells": sum(less <= 0 for less, _ in pairs),
            "within one standard error": sum(less <= se for less, se in pairs),
        }
    out["no worse than"]["all of " + ", ".join(RIVALS)] = {
        "cells": sum(all(row[name]["ours_less"] <= 0 for name in RIVALS) for row in cells.values()),
        "within one standard error": sum(
            all(row[name]["ours_less"] <= row[name]["ours_less_se"] for name in RIVALS) for row in cells.values()
        ),
    }
    return out


def tables(args: argparse.Namespace) -> dict[str, Any]:
    """Five tables, three kinds of holes, every method."""
    if importlib.util.find_spec("ForestDiffusion") is None:
        raise SystemExit("--part tables is measured beside ForestDiffusion: pip install xgboost ForestDiffusion==1.0.6")
    points = Points(args.out / "scratch_posterior_tables.json", args.resume, hidden=("rows",))
    seeds = min(args.seeds, SEEDS)
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    with threadpool_limits(1):
        for name in TABLES:
            for seed in range(seeds):
                split = Split.of(name, seed)
                for method in METHODS:
                    learner = Learner(method, split)
                    for holes in HOLES:
                        place = f"{name}, {holes}"
                        point = points.get(f"{place} {method}/{seed}", partial(learner.judged, holes))
                        found.setdefault(place, {}).setdefault(method, []).append(point)
    cells = {place: summed(methods) for place, methods in found.items()}
    return {
        "seeds": seeds,
        "draws": {name: draws for name, (_, draws) in METHODS.items()},
        "rows": {name: len(Split.of(name, 0).train) + len(Split.of(name, 0).test) for name in TABLES},
        "ForestDiffusion": {"version": version("ForestDiffusion"), **PEER, "repaint": True},
        "summary": held(cells),
        "cells": cells,
    }
