"""Which family of jumps suits a table, found on rows kept aside, under a gate of privacy.

A candidate is fitted to four fifths of the rows and draws as many as the last fifth has, in small tables in turn. Its
score is the Wasserstein-1 distance of those to the rows kept aside over that of training rows to them: 1 would be as
good as real data. The gate asks two things of samples: that the median distance to the nearest training row is that of
the rows kept aside, within a fifth; and that no more of them are training rows than of the rows kept aside.
Distances are sums over columns: numbers by their range, categories 0 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from caminito._random import Stream, permutation
from caminito.data import Column
from caminito.estimators.coded import CodedTable
from caminito.estimators.jump_families import Denoise, Reveal

__all__ = ["GATE", "JITTERS", "STARTS", "Trial", "distances", "least_rows", "tried"]

Floats = NDArray[np.float64]

GATE = (0.8, 1.2)
_AIM = 0.85  # where jitter is set, if it can be
STARTS = (0.2, 0.3, 0.5)
JITTERS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7)
_ATTEMPTS, _LEFT = 100, 1e-6  # draws of a row that is a copy: so many, or until so few are left
_ASIDE, _ROWS, _DRAWS = 0.2, 400, 2
_SPLITS, _SMALL = 3, 1500  # parts that are kept aside in turn, in tables of so many rows


@dataclass(frozen=True)
class Trial:
    """What a candidate did on rows kept aside.

    Attributes
    ----------
    mode : 'reveal' or 'denoise'
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
    """Different rows in a leaf of `reveal`: 5, more in large tables, where that costs nothing, and fewer where most
    rows are repeated, down to 1: what many rows share is no row's own.
    """
    rows = len(table.matrix)
    usual = max(5, min(40, rows // 700))
    return max(1, min(usual, round(2 * usual * rows / float(table.weights.sum()))))


def tried(
    matrix: Floats,
    columns: Sequence[Column],
    weights: Floats | None,
    modes: Sequence[str],
    order: Sequence[int],
    *,
    min_rows: int,
    seed: int,
    n_jobs: int | None,
    starts: Sequence[float] = STARTS,
    jitters: Sequence[float] = JITTERS,
) -> list[Trial]:
    """Trials of all candidates, the best first: those inside the gate, by score; then the nearest to it."""
    parts = np.array_split(np.asarray(permutation(seed, Stream.TABLE, 9, len(matrix))), round(1 / _ASIDE))
    found: dict[tuple[str, float, float], list[Trial]] = {}
    spreads: dict[float, list[Floats]] = {}
    for part in parts[: _SPLITS if len(matrix) <= _SMALL else 1]:
        rest = np.setdiff1d(np.arange(len(matrix)), part)
        table = CodedTable(matrix[rest], columns, None if weights is None else weights[rest])
        judge = _Judge(table, matrix[part], seed)
        if "reveal" in modes:
            family = Reveal(table, order, min_rows=min_rows, seed=seed).fit()
            rows = [family.draw(judge.rows, seed + k) for k in range(_DRAWS)]
            found.setdefault(("reveal", 0.0, 0.0), []).append(judge.trial("reveal", {}, rows))
        for start in starts if "denoise" in modes else ():
            fitted = Denoise(table, start=start, seed=seed, n_jobs=n_jobs).fit()
            spreads.setdefault(start, []).append(fitted.measure(matrix[part]))
            for jitter in jitters:
                rows = [fitted.draw(judge.rows, seed + k, jitter=jitter) for k in range(_DRAWS)]
                trial = judge.trial("denoise", {"start": start, "jitter": jitter}, rows)
                found.setdefault(("denoise", start, jitter), []).append(trial)
    trials = [_mean(found["reveal", 0.0, 0.0])] if "reveal" in modes else []
    for start, measured in spreads.items():
        known = [_mean(found["denoise", start, jitter]) for jitter in jitters]
        enough = [trial for trial in known if trial.nearest >= _AIM]
        best = enough[0] if enough else known[-1]
        best.options["spread"] = np.sqrt(np.mean(np.square(measured), axis=0)).tolist()
        trials.append(best)
    return sorted(trials, key=lambda trial: (trial.off, trial.score))


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
        self._near = float(np.median(distances(self.aside, self._train, table, scale).min(1)))
        self._real = float(table.holds(self.aside).mean())

    def trial(self, mode: str, options: dict[str, Any], drawn: Sequence[Floats]) -> Trial:
        table, scale = self.table, self._scale
        scores = [_wasserstein(distances(rows, self.aside, table, scale)) for rows in drawn]
        rows = np.concatenate(drawn)
        near = float(np.median(distances(rows, self._train, table, scale).min(1)))
        return Trial(
            mode,
            options,
            float(np.mean(scores)) / max(self._floor, 1e-12),
            near / self._near if self._near > 0 else float("nan"),
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
        total += others.sum() * cdist(
            np.nan_to_num(a[:, others], nan=-1), np.nan_to_num(b[:, others], nan=-1), "hamming"
        )
    gone = np.isnan(a[:, ordered]).any() or np.isnan(b[:, ordered]).any()
    return total + (cdist(np.isnan(a[:, ordered]) * 1.0, np.isnan(b[:, ordered]) * 1.0, "cityblock") if gone else 0.0)


def _wasserstein(costs: Floats) -> float:
    return float(costs[linear_sum_assignment(costs)].mean())
