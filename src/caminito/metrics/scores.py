"""Scores of draws against the truth: small when the draws are near it and no wider than they must be.

    CRPS(x, y) = E|X - y| - E|X - X'| / 2,     energy score: the same with Euclidean distances of whole events

Both are proper: on average over what may be so, no sampler does better than the one that draws from its law. With m
draws, E|X - X'| is a mean over pairs. Over all m^2 of them, itself with itself too, the score rewards narrow draws and
falls with m (`plain`, the score of these very draws); over the m (m - 1) of different draws its mean does not depend on
m (`fair`, the score of the law they are from).

Source: Gneiting & Raftery 2007, "Strictly proper scoring rules, prediction, and estimation"; Ferro 2014, "Fair scores
for ensemble forecasts".
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from caminito._errors import ConfigError
from caminito.metrics import _rows
from caminito.metrics._draws import as_cases
from caminito.metrics._rows import Array

__all__ = ["SpreadSkill", "crps", "energy_score", "spread_skill"]

Kind = Literal["fair", "plain"]


class SpreadSkill(NamedTuple):
    """`spread` of the draws and error of their mean (`skill`), in data units; `ratio` is 1 for an exact sampler."""

    spread: float
    skill: float
    ratio: float


def crps(draws: ArrayLike, truth: ArrayLike, *, kind: Kind = "fair") -> float:
    """Continuous ranked probability score, the mean over all entries.

    Parameters
    ----------
    draws : array, shape (m, n, ...)
        m draws for each of n cases, at least two.
    truth : array, shape (n, ...)
        What was so; NaN where an entry is not to be scored.
    kind : "fair" or "plain"
        Score of the law that the draws are from, to compare samplers, also with different m; or of the draws as they
        are.

    Returns
    -------
    float
        In data units; lower is better. The plain score is never negative, the fair one can be by chance.

    Raises
    ------
    ConfigError
        If `kind` is another word.
    DataError, NonFiniteError, ShapeError
        If draws and truth do not fit together, or hold no numbers.

    Notes
    -----
    Exact, from sorted draws. Source: Gneiting & Raftery 2007, eq. 21; Ferro 2014 (fair).

    Examples
    --------
    >>> crps([[0.0], [2.0]], [0.0], kind="plain")  # 1 - 2 / 4
    0.5
    """
    cases = as_cases(draws, truth)
    m, total = len(cases.draws), 0.0
    weights = (2.0 * np.arange(1, m + 1) - m - 1) / _pairs(m, kind)
    for _, error in cases.errors():
        near = np.sum(np.abs(error)) / m
        error.sort(axis=0)
        total += float(near - np.sum(weights @ error.reshape(m, -1)))
    return total / int(cases.known.sum())


def energy_score(draws: ArrayLike, truth: ArrayLike, *, kind: Kind = "fair") -> float:
    """Energy score, the mean over all cases: the CRPS of whole events, which sees how entries go together.

    Parameters
    ----------
    draws : array, shape (m, n, ...)
        m draws for each of n cases, at least two.
    truth : array, shape (n, ...)
        What was so; NaN where an entry is not to be scored, it then adds nothing to a distance.
    kind : "fair" or "plain"
        As in `crps`.

    Returns
    -------
    float
        In data units; lower is better. For events of one number it is the CRPS.

    Raises
    ------
    ConfigError
        If `kind` is another word.
    DataError, NonFiniteError, ShapeError
        If draws and truth do not fit together, or hold no numbers.

    Notes
    -----
    Exact; all pairs of draws are looked at, one case after the other. Entries of different units must be brought to one
    first. Source: Gneiting & Raftery 2007, eq. 22 with beta = 1.

    Examples
    --------
    >>> energy_score([[[0.0, 0.0]], [[3.0, 4.0]]], [[0.0, 0.0]], kind="plain")  # 5 / 2 - 2 * 5 / (2 * 4)
    1.25
    """
    cases = as_cases(draws, truth)
    pairs, scores = _pairs(len(cases.draws), kind), []
    for error in cases.events():
        near = float(np.sqrt(np.einsum("ij,ij->i", error, error)).mean())
        scores.append(near - _apart(error) / pairs)
    return math.fsum(scores) / len(scores)


def spread_skill(draws: ArrayLike, truth: ArrayLike) -> SpreadSkill:
    """Spread of the draws beside the error of their mean: the same, for an exact sampler.

    Parameters
    ----------
    draws : array, shape (m, n, ...)
        m draws for each of n cases, at least two.
    truth : array, shape (n, ...)
        What was so; NaN where an entry is not to be scored.

    Returns
    -------
    SpreadSkill
        `spread` is the root of the mean variance of the draws (m - 1 in the denominator), `skill` the root mean square
        error of their mean, and ratio = sqrt((m + 1) / m) spread / skill. Below 1 the draws are too narrow or beside
        the truth, above 1 too wide.

    Raises
    ------
    DataError, NonFiniteError, ShapeError
        If draws and truth do not fit together, or hold no numbers.

    Notes
    -----
    The squared error of the mean of m draws is by 1 / m of their variance larger than that of the mean of the law; the
    root corrects for it. Source: Fortin et al. 2014, "Why should ensemble spread match the RMSE of the ensemble mean?".

    Examples
    --------
    >>> found = spread_skill([[0.0], [2.0]], [3.0])  # variance 2, error 2
    >>> round(found.ratio, 12) == round((1.5 * 2) ** 0.5 / 2, 12)
    True
    """
    cases = as_cases(draws, truth)
    variance = square = 0.0
    for _, error in cases.errors():
        square += float(np.sum(error.mean(axis=0) ** 2))
        variance += float(np.sum(error.var(axis=0, ddof=1)))
    count, m = int(cases.known.sum()), len(cases.draws)
    spread, skill = math.sqrt(variance / count), math.sqrt(square / count)
    wide = math.sqrt((m + 1) / m) * spread
    return SpreadSkill(spread, skill, wide / skill if skill > 0 else 1.0 if wide == 0 else math.inf)


def _apart(rows: Array) -> float:
    """Sum of the distances of all pairs of rows, each pair once."""
    from scipy.spatial.distance import cdist, pdist

    step, total = max(1, _rows.BLOCK_VALUES // len(rows)), 0.0
    for start in range(0, len(rows), step):
        some, later = rows[start : start + step], rows[start + step :]
        total += float(pdist(some).sum()) + (float(cdist(some, later).sum()) if len(later) else 0.0)
    return total


def _pairs(m: int, kind: Kind) -> int:
    if kind not in ("fair", "plain"):
        raise ConfigError(f'kind: expected "fair" or "plain", got {kind!r}.')
    return m * (m - 1) if kind == "fair" else m * m
