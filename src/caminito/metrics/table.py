"""How good a made table is: shapes of columns, trends of pairs, distances of rows, copies, and what it is good for.

The figures are the ones that the field reports, each beside its floor, what real rows get from the same judge.

    shape  100 mean_j e_j,     e_j  = max_v |F(v) - G(v)| for numbers, sum_v |f(v) - g(v)| / 2 for categories
    trend  100 mean_jk e_jk,   e_jk = |r - s| / 2 of two numbers, sum_uv |f(u, v) - g(u, v)| / 2 of any other pair

with F, f, r of the real table and G, g, s of the made one. Errors that grow like 1 / sqrt(rows) have their floor scaled
to the number of rows that were made. Source: sdmetrics, "Column Shapes" and "Column Pair Trends" (100 % less its
score); Naeem et al. 2020, "Reliable fidelity and diversity metrics" (coverage); Lopez-Paz & Oquab 2017 (C2ST).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caminito._errors import ConfigError, DataError
from caminito.metrics._columns import Coded, coded_tables, distances, nearest, row_numbers
from caminito.metrics._rows import Array
from caminito.metrics.report import Score

__all__ = ["TableReport", "column_shapes", "pair_trends", "table_report"]

Pair = tuple[Hashable, Hashable]

_BINS = 10
_DECIMALS = 14  # numbers that differ later are one value to the shape
_CELLS = 1 << 22  # of a contingency table that is counted in full
_SEARCHED = 50_000  # rows of the real table among which nearest ones are looked for
_JUDGED = 50_000  # rows of each side that a classifier sees
_CATEGORIES = 254  # that a histogram tree can hold; a column with more is ordered by how common its values are


@dataclass(frozen=True)
class TableReport:
    """A made table beside a real one.

    Attributes
    ----------
    scores : dict of str to Score
        Figures of the whole table; see `table_report`.
    columns : dict of label to float
        Error of each column's shape, in percent.
    pairs : dict of (label, label) to float
        Error of the trend of each pair, in percent.
    n_real, n_fake, n_test : int
        Rows given.
    """

    scores: dict[str, Score]
    columns: dict[Hashable, float]
    pairs: dict[Pair, float]
    n_real: int
    n_fake: int
    n_test: int


class _Sides(NamedTuple):
    """Who is compared with whom: `fake` and `stand_in` in turn with `reference`, equally many rows of each."""

    fake: Coded
    stand_in: Coded
    reference: Coded


def column_shapes(real: Any, fake: Any) -> dict[Hashable, float]:
    """Error of each column's shape, in percent: Kolmogorov-Smirnov distance of numbers, total variation of the others.

    Parameters
    ----------
    real, fake : DataFrame
        Tables with the same columns; dates and durations are numbers, words and truth values are categories.

    Returns
    -------
    dict of label to float
        0 = the same shape, 100 = nothing in common. A column without any value on one side is left out.

    Raises
    ------
    DataError, NonFiniteError
        If the tables cannot be compared.

    Notes
    -----
    Missing values are left out, as sdmetrics does: `table_report` counts them apart. Equal to 100 less the score of its
    `KSComplement` and `TVComplement`.

    Examples
    --------
    >>> import pandas as pd
    >>> real, fake = pd.DataFrame({"x": [1, 2, 3, 4], "y": list("aabb")}), pd.DataFrame({"x": [1, 2], "y": list("ac")})
    >>> column_shapes(real, fake)
    {'x': 50.0, 'y': 50.0}
    """
    return _shapes(*coded_tables({"real": real, "fake": fake}))


def pair_trends(real: Any, fake: Any) -> dict[Pair, float]:
    """Error of the trend of each pair of columns, in percent.

    Parameters
    ----------
    real, fake : DataFrame
        As in `column_shapes`.

    Returns
    -------
    dict of (label, label) to float
        Half the difference of the two correlations for two numbers, total variation of the two contingency tables for
        any other pair. A pair with a constant number has no correlation and is left out.

    Raises
    ------
    DataError, NonFiniteError
        If the tables cannot be compared.

    Notes
    -----
    A number beside a category falls into ten bins of equal width, *between the extremes of its own table*; its largest
    value and missing ones share an eleventh. That is what sdmetrics does, so the figures are its own up to 50 000 rows,
    above which it looks at a random part; here all rows count.
    """
    return _trends(*coded_tables({"real": real, "fake": fake}))


def table_report(
    real: Any,
    fake: Any,
    *,
    test: Any = None,
    target: Hashable | None = None,
    max_rows: int = 2000,
    seed: int = 0,
) -> TableReport:
    """Every figure of a made table beside what real rows get in its place.

    Parameters
    ----------
    real, fake : DataFrame
        What the model was fitted to, and what it made. The columns are the same and may be of any type; values may be
        missing.
    test : DataFrame, optional
        Real rows that the model has not seen. Without it the floors come from two halves of `real`, distances are to
        rows that the model knows, and `dcr_ratio`, `dcr_share` and `utility` are left out.
    target : label, optional
        Column that `utility` predicts from the others. Truth values, categories and numbers with two values are
        classes.
    max_rows : int
        Equally many rows of each table, and at most so many, enter `wasserstein` and `coverage`, and at most so many
        are asked for their nearest real row. The meaning of a score says how many there were.
    seed : int
        Of the choice of rows, and of the judges.

    Returns
    -------
    TableReport
        Its scores are

        - `shape`, `trend`: mean of `column_shapes` and of `pair_trends`, in percent;
        - `missing`: mean difference of the share of missing values, in percent, where a value is missing;
        - `c2st`: how well gradient-boosted trees tell made rows from those of `real` (area under the curve, 0.5 = not);
        - `wasserstein`: how far rows must move to become real ones, in ranges of a column;
        - `coverage`: share of real rows that have a made one in their neighbourhood;
        - `dcr_ratio`: median distance of a made row to its nearest in `real`, over that of a test row; 0 = copies;
        - `dcr_share`: share of made rows that are nearer to `real` than to equally many test rows; 0.5 = no memory;
        - `copies`: share of made rows that are rows of `real`;
        - `utility`: the `target` of test rows predicted by trees that saw made rows only; the floor saw the real ones.

    Raises
    ------
    ConfigError
        If `max_rows` < 10, or `target` is no column.
    DataError, NonFiniteError
        If the tables cannot be compared.
    """
    if max_rows < 10:
        raise ConfigError(f"max_rows: expected at least 10, got {max_rows}. Fewer rows measure nothing.")
    given = {"real": real, "fake": fake} | ({} if test is None else {"test": test})
    tables = coded_tables(given, least=10)
    if target is not None and target not in tables[0].names:
        known = ", ".join(map(str, tables[0].names))
        raise ConfigError(f"target: expected one of the columns {known}, got {target!r}.")
    seen, made, unseen = tables[0], tables[1], tables[2] if len(tables) == 3 else None
    if unseen is None:
        order = np.random.default_rng(seed).permutation(len(seen))
        floor = (seen.take(order[: len(seen) // 2]), seen.take(order[len(seen) // 2 :]))
    else:
        floor = (seen, unseen)
    columns, pairs = _shapes(seen, made), _trends(seen, made)
    scores = _marginals(seen, made, floor, columns, pairs)
    scores["c2st"] = _told_apart(seen, made, floor, seed)
    scores |= _in_space(made, floor, seen, max_rows, seed, unseen is not None)
    if unseen is not None:
        scores |= _memory(seen, made, unseen, max_rows, seed)
    scores["copies"] = _copies(seen, made, unseen)
    if unseen is not None and target is not None:
        scores["utility"] = _utility(seen, made, unseen, target, seed)
    return TableReport(scores, columns, pairs, len(seen), len(made), 0 if unseen is None else len(unseen))


def _marginals(
    seen: Coded, made: Coded, floor: tuple[Coded, Coded], columns: dict[Hashable, float], pairs: dict[Pair, float]
) -> dict[str, Score]:
    scale = math.sqrt((1 / len(made) + 1 / len(seen)) / (1 / len(floor[0]) + 1 / len(floor[1])))
    told = f"{len(made)} made rows against {len(seen)} real ones; floor scaled to as many."
    scores = {}
    if columns:
        value, least = _mean(columns), scale * _mean(_shapes(*floor))
        scores["shape"] = Score(value, least, f"Mean error of the columns' shapes, in percent ({told})")
    if pairs:
        value, least = _mean(pairs), scale * _mean(_trends(*floor))
        scores["trend"] = Score(value, least, f"Mean error of the trends of pairs of columns, in percent ({told})")
    if any(table.missing(name).any() for table in (seen, made) for name in seen.names):
        value, least = _holes(seen, made), scale * _holes(*floor)
        scores["missing"] = Score(value, least, f"Mean difference of shares of missing values, in percent ({told})")
    return scores


def _mean(errors: dict[Any, float]) -> float:
    return float(np.mean(list(errors.values()))) if errors else math.nan


def _holes(x: Coded, y: Coded) -> float:
    return float(np.mean([100 * abs(x.missing(name).mean() - y.missing(name).mean()) for name in x.names]))


def _shapes(real: Coded, fake: Coded) -> dict[Hashable, float]:
    errors: dict[Hashable, float] = {}
    for name in real.names:
        here, there = ~real.missing(name), ~fake.missing(name)
        if not here.any() or not there.any():
            continue
        if name in real.numbers:
            errors[name] = 100 * _greatest_gap(real.numbers[name][here], fake.numbers[name][there])
        else:
            errors[name] = 100 * _variation(real.codes[name][here], fake.codes[name][there], real.levels[name])
    return errors


def _greatest_gap(x: Array, y: Array) -> float:
    """Kolmogorov-Smirnov distance."""
    first, second = np.sort(np.round(x, _DECIMALS)), np.sort(np.round(y, _DECIMALS))
    places = np.concatenate([first, second])
    below = np.searchsorted(first, places, "right") / len(x), np.searchsorted(second, places, "right") / len(y)
    return float(np.max(np.abs(below[0] - below[1])))


def _variation(x: NDArray[np.int64], y: NDArray[np.int64], cells: int) -> float:
    """Total variation of two sets of whole numbers in 0 .. cells - 1."""
    if cells > _CELLS:
        _, together = np.unique(np.concatenate([x, y]), return_inverse=True)
        x, y, cells = together[: len(x)], together[len(x) :], int(together.max()) + 1
    shares = np.bincount(x, minlength=cells) / len(x) - np.bincount(y, minlength=cells) / len(y)
    return float(np.abs(shares).sum() / 2)


def _trends(real: Coded, fake: Coded) -> dict[Pair, float]:
    words = {name: count + 1 for name, count in real.levels.items()}  # a missing value is one more
    cells = dict.fromkeys(real.numbers, _BINS + 2) | words
    ours, theirs = (
        {name: _bins(column) for name, column in table.numbers.items()}
        | {name: codes + 1 for name, codes in table.codes.items()}
        for table in (real, fake)
    )
    errors: dict[Pair, float] = {}
    for a, b in combinations(real.names, 2):
        if a in real.numbers and b in real.numbers:
            r, s = (_correlation(table.numbers[a], table.numbers[b]) for table in (real, fake))
            if not math.isnan(r) and not math.isnan(s):
                errors[a, b] = 100 * abs(r - s) / 2
        else:
            x, y = (side[a] * cells[b] + side[b] for side in (ours, theirs))
            errors[a, b] = 100 * _variation(x, y, cells[a] * cells[b])
    return errors


def _bins(column: Array) -> NDArray[np.int64]:
    """Bins 1 .. 10 of equal width; the largest value and NaN are in bin 11."""
    edges = np.histogram_bin_edges(column[~np.isnan(column)], bins=_BINS)
    return np.digitize(column, edges).astype(np.int64)


def _correlation(x: Array, y: Array) -> float:
    known = ~(np.isnan(x) | np.isnan(y))
    x, y = x[known], y[known]
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip((x / np.linalg.norm(x)) @ (y / np.linalg.norm(y)), -1.0, 1.0))


def _told_apart(seen: Coded, made: Coded, floor: tuple[Coded, Coded], seed: int) -> Score:
    count = min(len(seen), len(made), _JUDGED)
    value = _area(_some(seen, count, seed), _some(made, count, seed + 1), seed)
    fewest = min(len(floor[0]), len(floor[1]), _JUDGED)
    least = _area(_some(floor[0], fewest, seed), _some(floor[1], fewest, seed + 1), seed)
    return Score(
        value,
        least,
        f"How well gradient-boosted trees tell made rows from real ones, as area under the curve; 0.5 is a coin "
        f"({count} rows of each, five folds; floor from {fewest}).",
    )


def _area(x: Coded, y: Coded, seed: int) -> float:
    """Mean area under the curve over five folds."""
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    matrix, words = _features([x, y], x.names)
    side = np.repeat([0, 1], [len(x), len(y)])
    areas = []
    for shown, asked in StratifiedKFold(5, shuffle=True, random_state=seed).split(matrix, side):
        judge = _trees("classes", words, seed).fit(matrix[shown], side[shown])
        areas.append(roc_auc_score(side[asked], judge.predict_proba(matrix[asked])[:, 1]))
    return float(np.mean(areas))


def _features(tables: list[Coded], names: tuple[Hashable, ...]) -> tuple[Array, NDArray[np.bool_]]:
    """Columns as trees take them, the tables one below the other; and which columns are categories."""
    columns, words = [], []
    for name in names:
        if name in tables[0].numbers:
            columns.append(np.concatenate([table.numbers[name] for table in tables]))
            words.append(False)
            continue
        codes = np.concatenate([table.codes[name] for table in tables])
        words.append(tables[0].levels[name] <= _CATEGORIES)
        if not words[-1]:
            counts = np.bincount(codes[codes >= 0], minlength=tables[0].levels[name])
            rank = np.empty(len(counts), dtype=np.int64)
            rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
            codes = np.where(codes >= 0, rank[codes], -1)
        columns.append(np.where(codes >= 0, codes, np.nan))
    return np.column_stack(columns), np.array(words)


def _trees(task: Literal["classes", "numbers"], words: NDArray[np.bool_], seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if task == "classes" else HistGradientBoostingRegressor
    return kind(categorical_features=words, random_state=seed)


def _in_space(
    made: Coded, floor: tuple[Coded, Coded], scale: Coded, max_rows: int, seed: int, unseen: bool
) -> dict[str, Score]:
    from scipy.optimize import linear_sum_assignment

    count = min(max_rows, len(made), len(floor[0]), len(floor[1]))
    parts = (_some(table, count, seed + 7919 * place) for place, table in enumerate((made, *floor)))
    sides = _Sides(*parts)
    told = f"{count} rows of each{'' if unseen else ', real ones that the model has seen'}"
    to_fake, to_stand_in = (_matrix(sides.reference, side, scale) for side in (sides.fake, sides.stand_in))

    def moved(cost: Array) -> float:
        return float(cost[linear_sum_assignment(cost)].mean())

    reach = _reach(sides.reference, scale)
    return {
        "wasserstein": Score(
            moved(to_fake),
            moved(to_stand_in),
            f"How far rows must move to become real ones, in ranges of a column and changed categories ({told}).",
        ),
        "coverage": Score(
            float(np.mean(to_fake.min(axis=1) < reach)),
            float(np.mean(to_stand_in.min(axis=1) < reach)),
            f"Share of real rows with a made one nearer than their real neighbours are ({told}).",
            "higher",
        ),
    }


def _matrix(x: Coded, y: Coded, scale: Coded) -> Array:
    return np.concatenate([block for _, block in distances(x, y, scale)])


def _reach(rows: Coded, scale: Coded) -> Array:
    """Distance to the k-th neighbour; k is one more than the least for which 95 % of the rows have room around them."""
    ordered = np.sort(_matrix(rows, rows, scale), axis=1)
    for k in range(1, len(rows) - 1):
        if np.mean(ordered[:, k] > 0) >= 0.95:
            return ordered[:, k + 1]
    return ordered[:, -1]


def _memory(seen: Coded, made: Coded, unseen: Coded, max_rows: int, seed: int) -> dict[str, Score]:
    searched = _some(seen, min(len(seen), _SEARCHED), seed)
    asked, fresh = (_some(table, min(max_rows, len(table)), seed + place) for place, table in ((1, made), (2, unseen)))
    ours, theirs = (float(np.median(nearest(table, searched, seen))) for table in (asked, fresh))
    ratio = ours / theirs if theirs > 0 else 1.0 if ours == 0 else math.inf
    count = min(len(seen), len(unseen), _SEARCHED)
    known, other = _some(seen, count, seed + 3), _some(unseen, count, seed + 4)
    to_known, to_other = nearest(asked, known, seen), nearest(asked, other, seen)
    share = float(np.mean(to_known < to_other) + np.mean(to_known == to_other) / 2)
    return {
        "dcr_ratio": Score(
            ratio,
            1.0,
            f"Median distance of a made row to its nearest real row, over that of a row the model has not seen; near 0 "
            f"means copies ({len(asked)} made and {len(fresh)} unseen rows, nearest of {len(searched)}).",
            "higher",
        ),
        "dcr_share": Score(
            share,
            0.5,
            f"Share of made rows nearer to rows the model has seen than to rows it has not ({len(asked)} made rows, "
            f"nearest of {count} and of {count}).",
        ),
    }


def _copies(seen: Coded, made: Coded, unseen: Coded | None) -> Score:
    numbers = row_numbers([seen, made] if unseen is None else [seen, made, unseen])
    value = float(np.isin(numbers[1], numbers[0]).mean())
    if unseen is not None:
        least, told = float(np.isin(numbers[2], numbers[0]).mean()), "floor: rows the model has not seen"
    else:
        _, place, count = np.unique(numbers[0], return_inverse=True, return_counts=True)
        least, told = float(np.mean(count[place] > 1)), "floor: real rows that have a twin among the real ones"
    return Score(value, least, f"Share of made rows that are real ones in every column ({told}).")


def _utility(seen: Coded, made: Coded, unseen: Coded, target: Hashable, seed: int) -> Score:
    classes = np.unique(_known(seen, target)[1])
    numbers = target in seen.numbers and len(classes) > 2
    name, judged = ("R2", _explained) if numbers else _of_classes(len(classes))
    names = tuple(label for label in seen.names if label != target)
    asked, answer = _known(unseen, target)
    values = []
    for table, place in ((made, 1), (seen, 0)):
        shown, taught = _known(_some(table, min(len(table), _JUDGED), seed + place), target)
        if not numbers:
            known = np.isin(taught, classes)
            shown, taught = shown.take(known), taught[known]
        if len(taught) < 2 or not len(answer):
            raise DataError(f"target {target!r}: expected values that are not missing in every table, got none or one.")
        matrix, words = _features([shown, asked], names)
        trees = _trees("numbers" if numbers else "classes", words, seed)
        values.append(judged(trees, matrix[: len(taught)], taught, matrix[len(taught) :], answer))
    return Score(
        values[0],
        values[1],
        f"{name} of {target} in rows the model has not seen, predicted by trees that saw made rows only; floor: real "
        "rows only.",
        "higher",
    )


def _known(table: Coded, target: Hashable) -> tuple[Coded, NDArray[Any]]:
    table = table.take(~table.missing(target))
    return table, table.numbers[target] if target in table.numbers else table.codes[target]


_Judged = Callable[[Any, Array, NDArray[Any], Array, NDArray[Any]], float]


def _of_classes(count: int) -> tuple[str, _Judged]:
    return ("Area under the curve", _two_classes) if count <= 2 else ("Macro F1", _many_classes)


def _explained(trees: Any, x: Array, taught: NDArray[Any], asked: Array, answer: NDArray[Any]) -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(answer, trees.fit(x, taught).predict(asked)))


def _two_classes(trees: Any, x: Array, taught: NDArray[Any], asked: Array, answer: NDArray[Any]) -> float:
    from sklearn.metrics import roc_auc_score

    if len(np.unique(taught)) < 2 or len(np.unique(answer)) < 2:
        return 0.5
    trees.fit(x, taught)
    return float(roc_auc_score(answer == trees.classes_[1], trees.predict_proba(asked)[:, 1]))


def _many_classes(trees: Any, x: Array, taught: NDArray[Any], asked: Array, answer: NDArray[Any]) -> float:
    from sklearn.metrics import f1_score

    one = len(np.unique(taught)) < 2
    guess = np.full(len(answer), taught[0]) if one else trees.fit(x, taught).predict(asked)
    return float(f1_score(answer, guess, average="macro"))


def _some(table: Coded, count: int, seed: int) -> Coded:
    if len(table) == count:
        return table
    return table.take(np.sort(np.random.default_rng(seed).choice(len(table), count, replace=False)))
