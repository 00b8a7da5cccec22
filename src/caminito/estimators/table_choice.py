"""Which family of jumps suits a table, found on rows kept aside, under a gate of privacy.

A candidate is fitted to four fifths of the rows and draws as many as the last fifth has, at most 400, in small tables
in turn. Its score is the Wasserstein-1 distance of those to the rows kept aside over that of training rows to them: 1
would be as good as real data. Of a table of more than 40 000 rows so many are tried, drawn once. The gate asks two
things of samples: that the median distance to the nearest training row is that of the rows kept aside, within a fifth;
and that no more of them are training rows than of the rows kept aside.
Distances are sums over columns: numbers by their range, categories 0 or 1.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from caminito._errors import ConfigError
from caminito._random import Stream, permutation
from caminito.data import Column
from caminito.estimators.boost_jumps import Boost
from caminito.estimators.choices import Choice
from caminito.estimators.coded import CodedTable, moved_columns
from caminito.estimators.denoise_jumps import Denoise
from caminito.estimators.network_jumps import Network
from caminito.estimators.reveal_jumps import Reveal, least_of_categories
from caminito.estimators.table_constrained import revealing
from caminito.estimators.table_constraints import Rules
from caminito.estimators.table_progress import done, expect

__all__ = [
    "GATE",
    "JITTERS",
    "STARTS",
    "TRIED",
    "Trial",
    "candidates",
    "distances",
    "judged",
    "leaf_size",
    "least_rows",
    "smaller_leaf",
    "tried",
]

Floats = NDArray[np.float64]

GATE = (0.8, 1.2)
_AIM = 0.88  # where jitter is set, if it can be: above the gate by what distances of a few hundred rows may be off
_LEAF, _SMALLER = 5, 3  # rows of a leaf of `reveal`, and of those that are tried where samples are _FAR
_FAR = 0.95  # of the distance of real rows, from which smaller leaves are tried
_KEPT = 0.88  # of it, that samples of smaller leaves have to keep
STARTS = (0.1, 0.3)
JITTERS = (0.0, 0.4, 1.0)  # between which the distance to the nearest row is taken for a line, at first
_CLOSER = 2  # further ones, each where the lines so far reach the aim
_FEW, _SAY = 5000, 20  # rows up to which `denoise` is tried, and rows for each column from which they say how it goes
_STRAIGHT = 1000  # rows from which columns are straightened
_COPIES = 5  # noisy ones of a row that forests on trial are fitted to
_ATTEMPTS, _LEFT = 100, 1e-6  # draws of a row that is a copy: so many, or until so few are left
_ASIDE, _ROWS, _DRAWS = 0.2, 400, 2
_SPLITS, _SMALL = 3, 1500  # parts that are kept aside in turn, in tables of so many rows
TRIED = 40_000  # rows that candidates are tried on


@dataclass(frozen=True)
class Trial:
    """What a candidate did on rows kept aside.

    Attributes
    ----------
    mode : 'reveal', 'denoise', 'boost' or 'network'
    options : of the family
    score : float
        Wasserstein distance over that of training rows.
    nearest : float
        Median distance to the nearest training row over that of the rows kept aside; NaN if that is 0.
    copies, real_copies : float
        Share of samples, and of the rows kept aside, that are training rows.
    """

    mode: str
    options: dict[str, Any]
    score: float
    nearest: float
    copies: float
    real_copies: float

    @property
    def near(self) -> float:
        """How much too near to training rows, as a factor minus 1; 0 where it is not."""
        return max(0.0, GATE[0] / max(self.nearest, 1e-9) - 1) if np.isfinite(self.nearest) else 0.0

    @property
    def off(self) -> float:
        """How far outside the gate it is, as a factor minus 1; 0 inside."""
        if not np.isfinite(self.nearest):
            return 0.0
        low, high = GATE
        return max(0.0, low / max(self.nearest, 1e-9) - 1, self.nearest / high - 1)

    @property
    def kept_copies(self) -> float:
        """The share of copies to keep, so that as many samples are training rows as of the rows kept aside."""
        real, made = self.real_copies, self.copies
        if made <= real or real >= 1:
            return 1.0
        return real * (1 - made) / (made * (1 - real)) if made < 1 else real

    @property
    def attempts(self) -> int:
        """Draws after which hardly one of the copies that are not kept is left; none where all that comes is one."""
        return 0 if self.copies >= 1 else min(_ATTEMPTS, math.ceil(math.log(_LEFT) / math.log(max(self.copies, 0.3))))


def least_rows(table: CodedTable) -> int:
    """Different rows in a leaf of `reveal`: 5, more in tables of 60 000 rows and more, and fewer where most rows are
    repeated, down to 1: what many rows share is no row's own.
    """
    rows = len(table.matrix)
    usual = max(_LEAF, min(40, rows // 10_000))
    return max(1, min(usual, round(2 * usual * rows / float(table.weights.sum()))))


def leaf_size(table: CodedTable, asked: str | int, privacy_k: int, smaller: Trial | None = None) -> Choice:
    """Different rows in a leaf of `reveal`, at least, and why; if smaller ones were taken, those of their trial."""
    least = least_rows(table) if asked == "auto" else int(asked)
    why = "asked for" if asked != "auto" else "5, more from 60 000 rows on, fewer where rows repeat"
    if privacy_k > least:
        least, why = privacy_k, "privacy_k"
    if smaller is not None:
        why = (
            f"fewer than {least}: samples are still {smaller.nearest:.2f} times as far from training rows as real rows"
        )
        least = smaller.options["min_rows"]
    of_categories = least_of_categories(table, least)
    if of_categories > least and not all(table.ordered):
        why += f"; {of_categories} where a category is said"
    return Choice(least, why)


def smaller_leaf(table: CodedTable, asked: str | int, privacy_k: int) -> int | None:
    """Rows of the leaves that are tried where samples of the usual ones are far from training rows."""
    usual = asked == "auto" and len(table.matrix) // 10_000 <= _LEAF == least_rows(table)
    return max(_SMALLER, privacy_k) if usual and privacy_k < _LEAF else None


def candidates(mode: str, table: CodedTable) -> list[str]:
    """The families that a mode tries on a table.

    auto tries `reveal`, and `denoise` where at least half of the columns are numbers without holes, and at most 5000
    rows: in more, the leaves of `reveal` say what a row may be, and the noise of `denoise` blurs what they tell apart.
    `boost` and `network` are fitted where they are asked for: they take far longer, and where they were measured a
    classifier told their samples from real rows more easily than those of `reveal`.

    Raises
    ------
    ConfigError
        If the mode moves numbers and there are none.
    """
    moved, columns = len(moved_columns(table)), len(table.columns)
    if mode == "auto":
        numbers = moved >= 2 and columns - moved <= moved
        return ["reveal", "denoise"] if numbers and len(table.matrix) <= _FEW else ["reveal"]
    if mode != "reveal" and not moved:
        raise ConfigError(
            f"mode={mode!r}: expected numbers of more than two values without missing ones, got none. Use "
            "mode='reveal'."
        )
    return [mode]


def tried(
    matrix: Floats,
    columns: Sequence[Column],
    weights: Floats | None,
    modes: Sequence[str],
    order: Sequence[int],
    *,
    min_rows: int,
    smaller: int | None,
    seed: int,
    n_jobs: int | None,
    starts: Sequence[float] = STARTS,
    jitters: Sequence[float] = JITTERS,
    rules: Rules | None = None,
) -> list[Trial]:
    """Trials of all candidates, the best first: those that are not too near to training rows, by score, which is worse
    by as much as they are too far from them; then the others, the least near first.

    Where samples of `reveal` are far from training rows it is tried with `smaller` leaves too, which say more of what
    goes with what, and has those if samples keep their distance. The trial of the leaves that it has not comes last.
    """
    if len(matrix) > TRIED:
        some = np.sort(np.asarray(permutation(seed, Stream.TABLE, 8, len(matrix)))[:TRIED])
        matrix, weights = matrix[some], None if weights is None else weights[some]
    parts = np.array_split(np.asarray(permutation(seed, Stream.TABLE, 9, len(matrix))), round(1 / _ASIDE))
    parts = parts[: _SPLITS if len(matrix) <= _SMALL and "boost" not in modes else 1]
    count = len(modes) + (len(starts) - 1) * ("denoise" in modes) + ("reveal" in modes and smaller is not None)
    expect(len(parts) * len(columns) * count)
    trials, left = [], []
    shown: list[tuple[str, CodedTable, _Judge]] = []
    for number, part in enumerate(parts, 1):
        rest = np.setdiff1d(np.arange(len(matrix)), part)
        table = CodedTable(matrix[rest], columns, None if weights is None else weights[rest])
        shown.append((f"on rows kept aside, {number} of {len(parts)}", table, _Judge(table, matrix[part], seed)))
    how: dict[str, Any] = {"rules": rules, "seed": seed, "n_jobs": n_jobs}
    for mode in (mode for mode in modes if mode in ("reveal", "boost")):
        trials.append(_revealed(mode, min_rows, order, shown, **how))
        if mode == "reveal" and smaller is not None:
            if trials[-1].nearest >= _FAR:
                left.append(_revealed(mode, smaller, order, shown, whole=True, **how))
                if left[-1].nearest >= _KEPT:
                    trials[-1], left[-1] = left[-1], trials[-1]
            else:
                done("leaves as they are", len(parts) * len(columns))
    for start in starts if "denoise" in modes else ():
        trials.append(_denoised(start, jitters, shown, [matrix[part] for part in parts], seed, n_jobs))
    return sorted(trials, key=lambda trial: (trial.near, trial.score * (1 + trial.off))) + left


def _revealed(
    mode: str,
    least: int,
    order: Sequence[int],
    shown: Sequence[tuple[str, CodedTable, _Judge]],
    *,
    rules: Rules | None,
    seed: int,
    n_jobs: int | None,
    whole: bool = False,
) -> Trial:
    """The trial of `reveal` or `boost` with leaves of so many rows."""
    found = []
    for turn, table, judge in shown:
        chain = revealing(table, order, rules, min_rows=least, seed=seed, n_jobs=n_jobs)
        boost = Boost(table, chain, min_rows=least, seed=seed, n_jobs=n_jobs) if mode == "boost" else None
        family = (boost or chain).fit()
        drawn = [family.draw(judge.rows, seed + k) for k in range(_DRAWS)]
        found.append(judge.trial(mode, {"min_rows": least}, drawn, whole))
        done(f"{mode} {turn}, leaves of {least}", len(table.columns))
    return _mean(found)


def _denoised(
    start: float,
    jitters: Sequence[float],
    shown: Sequence[tuple[str, CodedTable, _Judge]],
    aside: Sequence[Floats],
    seed: int,
    n_jobs: int | None,
) -> Trial:
    """The trial of `denoise` from a start, with the jitter that takes samples as far from training rows as they should
    be.
    """
    rows = len(shown[0][1].matrix) + len(aside[0])
    along, straight = rows >= _SAY * len(moved_columns(shown[0][1])), rows >= _STRAIGHT
    families, spreads = [], []
    for (turn, table, _), unseen in zip(shown, aside):
        family = Denoise(table, start=start, along=along, copies=_COPIES, seed=seed, n_jobs=n_jobs).fit()
        spreads.append(family.measure(unseen))
        families.append(family)
        done(f"denoise from {start:g} {turn}", len(table.columns))
    judges = [judge for _, _, judge in shown]
    spread = np.sqrt(np.mean(np.square(spreads), axis=0))

    for family in families:
        family.spread = spread

    def drawn(family: Denoise, judge: _Judge, jitter: float) -> list[Floats]:
        return [family.draw(judge.rows, seed + k, jitter=jitter) for k in range(_DRAWS)]

    def near(jitter: float) -> float:
        each = [j.nearest(np.concatenate(drawn(f, j, jitter))) for f, j in zip(families, judges)]
        return float(np.median([value for value in each if np.isfinite(value)] or [math.nan]))

    known = {jitter: near(jitter) for jitter in jitters}
    for _ in range(_CLOSER if len(jitters) > 1 else 0):  # between such few a line is not yet the curve
        if (jitter := _reaching(known)) in known:
            break
        known[jitter] = near(jitter)
    jitter = _reaching(known)
    options = {"start": start, "jitter": jitter, "along": along, "straight": straight, "spread": spread.tolist()}
    for family in families:
        family.jitter = jitter
        if straight:
            family.straighten()
    return _mean([j.trial("denoise", options, drawn(f, j, jitter)) for f, j in zip(families, judges)])


def _reaching(known: Mapping[float, float]) -> float:
    """Where a broken line from jitters to distances first reaches the aim; else its end."""
    jitters = sorted(known)
    near = [known[jitter] for jitter in jitters]
    for number, value in enumerate(near):
        if value >= _AIM:
            if number == 0:
                break
            share = (_AIM - near[number - 1]) / (value - near[number - 1])
            return float(jitters[number - 1] + share * (jitters[number] - jitters[number - 1]))
    else:
        return float(jitters[-1])
    return float(jitters[0])


def judged(network: Network, order: Sequence[int], *, min_rows: int, seed: int, n_jobs: int | None) -> Trial:
    """The trial of a network on the rows that it was not shown: it is trained once, and judged as it is."""
    shown, aside = network.parts()
    if len(shown) > TRIED:
        shown = shown[np.sort(np.asarray(permutation(seed, Stream.TABLE, 8, len(shown)))[:TRIED])]
    table = CodedTable(shown, network.table.columns)
    view = copy.copy(network)
    view.reveal = Reveal(table, order, min_rows=min_rows, seed=seed, n_jobs=n_jobs)
    judge = _Judge(table, aside, seed)
    return judge.trial("network", {}, [view.draw(judge.rows, seed + k) for k in range(_DRAWS)])


def _mean(trials: Sequence[Trial]) -> Trial:
    """The trials of one candidate on several parts as one."""
    near = [trial.nearest for trial in trials if np.isfinite(trial.nearest)]
    return Trial(
        trials[0].mode,
        trials[0].options,
        float(np.mean([trial.score for trial in trials])),
        float(np.median(near)) if near else float("nan"),
        float(np.mean([trial.copies for trial in trials])),
        float(np.mean([trial.real_copies for trial in trials])),
    )


class _Judge:
    """Rows kept aside, and what training rows do beside them."""

    def __init__(self, table: CodedTable, aside: Floats, seed: int) -> None:
        self.table, self.aside = table, aside[:_ROWS]
        self.rows = len(self.aside)
        pick = np.asarray(permutation(seed, Stream.TABLE, 10, len(table.matrix)))[: self.rows]
        self._train = table.matrix[np.asarray(permutation(seed, Stream.TABLE, 11, len(table.matrix)))[: 10 * _ROWS]]
        scale = self._scale = _ranges(table)
        self._floor = _wasserstein(distances(table.matrix[pick], self.aside, table, scale))
        self._real = float(table.holds(self.aside).mean())
        self._near = self._distance(self.aside, self._train)

    def nearest(self, rows: Floats, whole: bool = False) -> float:
        """Median distance to the nearest training row over that of the rows kept aside; NaN if that is 0.

        Of many training rows some are searched, or the `whole` of them: rows that a sample is made from may be among
        the others, and it seems farther from them then than it is.
        """
        train = self.table.matrix if whole else self._train
        real = self._distance(self.aside, train) if whole else self._near
        return self._distance(rows, train) / real if real > 0 else float("nan")

    def _distance(self, rows: Floats, train: Floats) -> float:
        """Median distance to the nearest training row."""
        parts = np.array_split(train, math.ceil(len(train) / (10 * _ROWS)))
        each = [distances(rows, part, self.table, self._scale).min(1) for part in parts]
        return float(np.median(np.min(each, axis=0)))

    def trial(self, mode: str, options: dict[str, Any], drawn: Sequence[Floats], whole: bool = False) -> Trial:
        table, scale = self.table, self._scale
        scores = [_wasserstein(distances(rows, self.aside, table, scale)) for rows in drawn]
        rows = np.concatenate(drawn)
        return Trial(
            mode,
            options,
            float(np.mean(scores)) / max(self._floor, 1e-12),
            self.nearest(rows, whole),
            float(table.holds(rows).mean()),
            self._real,
        )


def _ranges(table: CodedTable) -> Floats:
    wide = np.array([values[-1] - values[0] if len(values) > 1 else 1.0 for values in table.values])
    return np.where(np.array(table.ordered), 1 / wide, 0.0)


def distances(a: Floats, b: Floats, table: CodedTable, scale: Floats) -> Floats:
    """Sums over columns: numbers by their range, categories and missing values 0 or 1; shape (len(a), len(b))."""
    ordered = np.array(table.ordered)
    total = cdist(
        np.nan_to_num(a[:, ordered] * scale[ordered]), np.nan_to_num(b[:, ordered] * scale[ordered]), "cityblock"
    )
    others = ~ordered
    if others.any():
        unlike = np.zeros(total.shape, dtype=np.int32)
        for one, other in zip(a.T[others], b.T[others]):
            unlike += np.nan_to_num(one, nan=-1)[:, None] != np.nan_to_num(other, nan=-1)
        total += unlike
    gone = np.isnan(a[:, ordered]).any() or np.isnan(b[:, ordered]).any()
    return total + (cdist(np.isnan(a[:, ordered]) * 1.0, np.isnan(b[:, ordered]) * 1.0, "cityblock") if gone else 0.0)


def _wasserstein(costs: Floats) -> float:
    return float(costs[linear_sum_assignment(costs)].mean())
