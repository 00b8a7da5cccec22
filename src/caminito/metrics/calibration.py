"""Calibration: is the truth just another draw?

If a sampler draws from the law that the truth is of, the truth and its m draws can be exchanged, so the rank r of the
truth among the draws is uniform on 0 .. m, for every m. That is all that is used here:

    u = (r + V) / (m + 1),   V uniform on [0, 1],   is uniform on [0, 1],

whether r counts the draws below an entry of the truth (`coverage`, `rank_histogram`) or those nearer to a point at
random than the truth is (`tarp`). Among draws that tie with it the truth has a place at random. Averages over place
and V are in closed form: with a draws below and b ties, u is uniform on [a, a + b + 1] / (m + 1).

Source: Talts et al. 2018, "Validating Bayesian inference algorithms with simulation-based calibration"; Lemos et al.
2023, "Sampling-based accuracy testing of posterior estimators for general inference".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import ConfigError, NonFiniteError, ShapeError
from caminito.metrics._draws import Cases, as_cases, as_numbers, ranks
from caminito.metrics._rows import Array

__all__ = ["Coverage", "RankHistogram", "Tarp", "coverage", "rank_histogram", "tarp"]

_BINS = 25  # of a rank histogram, at most, where none are asked for
_EXPECTED = 20  # entries in each of them, at least
_INSIDE = 0.95  # share of counts within the band


@dataclass(frozen=True)
class Coverage:
    """How often intervals of the draws hold the truth.

    Attributes
    ----------
    levels : float64 array, shape (levels,)
        What an exact sampler has on average.
    share : float64 array, shape (levels,)
        What was found. Less than the level: the draws are too narrow or beside the truth; more: too wide.
    std_error : float64 array, shape (levels,)
        Of `share`, from the scatter between cases, so the entries of a case may depend on each other; NaN for one case.
    """

    levels: Array
    share: Array
    std_error: Array


@dataclass(frozen=True)
class RankHistogram:
    """Ranks of the truth among the draws.

    Attributes
    ----------
    counts : int64 array, shape (bins,)
        Entries by the rank of their truth, low ranks (truth below the draws) first. High ends: the draws are too
        narrow; a high middle: too wide; a slope: shifted.
    expected : float
        Mean of each count for an exact sampler.
    band : (float, float)
        Where 95 % of the counts of an exact sampler lie.
    p_value : float
        Chance that an exact sampler departs as far from even counts.
    n_draws : int
        Draws of each case that were used.
    """

    counts: NDArray[np.int64]
    expected: float
    band: tuple[float, float]
    p_value: float
    n_draws: int


@dataclass(frozen=True)
class Tarp:
    """Coverage of the regions nearest to points at random.

    Attributes
    ----------
    levels : float64 array, shape (m + 2,)
        Credibility levels 0, 1 / (m + 1), ..., 1; between them the curve is a straight line.
    coverage : float64 array, shape (m + 2,)
        Share of cases whose truth lies in the region; `levels` for an exact sampler, on average.
    departure : float
        Largest |coverage - level|.
    atc : float
        Area between curve and diagonal over levels above 1/2, in [-3/8, 1/8]. Below 0: the draws are too narrow or
        beside the truth; above 0: too wide.
    p_value : float
        Chance that an exact sampler departs as far.
    """

    levels: Array
    coverage: Array
    departure: float
    atc: float
    p_value: float


def coverage(draws: ArrayLike, truth: ArrayLike, *, levels: ArrayLike = (0.5, 0.8, 0.9, 0.95)) -> Coverage:
    """Share of entries whose truth lies in the central interval of its draws.

    Parameters
    ----------
    draws : array, shape (m, n, ...)
        m draws for each of n cases, at least two.
    truth : array, shape (n, ...)
        What was so; NaN where an entry is not to be scored.
    levels : float or array of float
        Probabilities of the intervals, inside (0, 1).

    Returns
    -------
    Coverage

    Raises
    ------
    ConfigError
        If a level is not inside (0, 1).
    DataError, NonFiniteError, ShapeError
        If draws and truth do not fit together, or hold no numbers.

    Notes
    -----
    The interval of level c is |u - 1/2| <= c / 2, with u as above: an exact sampler has coverage c on average for any
    m, where the empirical quantiles of few draws are too narrow. An end of it between two draws counts a truth in that
    gap by the share of the gap that is inside. Levels above (m - 1) / (m + 1) reach beyond the outermost draws; there
    the figure says little of how far beyond, so take more draws for them.

    Examples
    --------
    >>> found = coverage([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [0.5, 9.0], levels=0.5)  # ranks 1 and 3 of 0 .. 3
    >>> found.share.tolist()
    [0.5]
    """
    cases, wanted = as_cases(draws, truth), _levels(levels)
    below, ties = ranks(cases)
    known, several = cases.known, len(cases.draws) + 1
    shares, errors = [], []
    for level in wanted:
        low, high = ((1 - level) / 2 * several, (1 + level) / 2 * several)
        inside = np.where(known, _cdf(high, below, ties) - _cdf(low, below, ties), 0.0)
        share, error = _mean_of_cases(inside.sum(axis=1), known.sum(axis=1))
        shares.append(share)
        errors.append(error)
    return Coverage(wanted, np.array(shares), np.array(errors))


def rank_histogram(draws: ArrayLike, truth: ArrayLike, *, bins: int | None = None, seed: int = 0) -> RankHistogram:
    """Simulation-based calibration: where the truth ranks among its draws, and whether that is uniform.

    Parameters
    ----------
    draws : array, shape (m, n, ...)
        m draws for each of n cases, at least two.
    truth : array, shape (n, ...)
        What was so; NaN where an entry is not to be scored. The entries of a case are counted together; give one
        of them, `draws[..., j]` and `truth[..., j]`, to see it alone.
    bins : int, optional
        A divisor of m + 1, so that as many ranks fall into each bin. By default at most 25, with 20 entries or more in
        each on average; where m + 1 has no such divisor, the last few draws are left out.
    seed : int
        Of the places among ties.

    Returns
    -------
    RankHistogram
        `band` and `p_value` are those of independent cases. Entries of one case may depend on each other, and so both
        are NaN for one case of several entries.

    Raises
    ------
    ConfigError
        If `bins` is less than 2 or does not divide m + 1.
    DataError, NonFiniteError, ShapeError
        If draws and truth do not fit together, or hold no numbers.

    Notes
    -----
    With one entry in each case the p-value is that of Pearson's chi-square test. With several, the statistic is held
    against the sum of chi-squares that it is for dependent entries, through its first two moments, which are estimated
    without bias from the counts of each case. Draws of a Markov chain must be thinned until they are independent.
    Source: Talts et al. 2018, algorithm 1; Rao & Scott 1981 (dependent entries).
    """
    cases = as_cases(draws, truth)
    known = cases.known
    used, number = _binning(len(cases.draws), int(known.sum()), bins)
    below, ties = ranks(Cases(cases.draws[:used], cases.truth))
    rank = np.floor(below + np.random.default_rng(seed).random(below.shape) * (ties + 1))
    cell = (np.minimum(rank, used) * number).astype(np.int64) // (used + 1)
    case = np.broadcast_to(np.arange(len(cell))[:, None], cell.shape)
    by_case = np.bincount((case * number + cell)[known], minlength=len(cell) * number).reshape(-1, number)
    band, p_value = _evenness(by_case[known.any(axis=1)])
    counts = by_case.sum(axis=0).astype(np.int64)
    return RankHistogram(counts, float(counts.mean()), band, p_value, used)


def tarp(draws: ArrayLike, truth: ArrayLike, *, references: ArrayLike | None = None, seed: int = 0) -> Tarp:
    """Tests of accuracy with random points: coverage of whole events, in any dimension.

    Each case has a reference point. The region of credibility c is the ball around it that holds the share c of the
    draws; an exact sampler has its truth inside in the share c of the cases.

    Parameters
    ----------
    draws : array, shape (m, n, ...)
        m draws for each of n cases, at least two.
    truth : array, shape (n, ...)
        What was so; NaN where an entry is not to be scored, it then adds nothing to a distance.
    references : array, shape (n, ...), optional
        The points. They may depend on the observation of their case, but not on its truth. By default they are uniform
        in the box that holds all draws and truths.
    seed : int
        Of the reference points, and of the uniform numbers of the p-value.

    Returns
    -------
    Tarp

    Raises
    ------
    DataError, NonFiniteError, ShapeError
        If draws and truth do not fit together, or hold no numbers; if the references have another shape than the truth
        or are not finite.

    Notes
    -----
    Distances are Euclidean, each entry in units of the side of that box. The curve is unbiased for any m; the p-value
    is that of the Kolmogorov-Smirnov test of u above, exact for independent cases. Points that do not depend on the
    observation cannot tell an exact sampler from one that ignores the observation and draws from the prior.
    Source: Lemos et al. 2023, section 3; `atc` as in the package sbi, but an integral and not a sum.
    """
    from scipy.stats import kstest

    cases = as_cases(draws, truth)
    several, rng = len(cases.draws) + 1, np.random.default_rng(seed)
    low, width = _box(cases)
    points = low + width * rng.random(low.shape) if references is None else _references(references, truth)
    below, ties = _nearer(cases, points, width)
    levels = np.arange(several + 1) / several
    curve = np.array([np.mean(_cdf(edge, below, ties)) for edge in range(several + 1)])
    gap = curve - levels
    upper = np.union1d(levels[levels > 0.5], 0.5)
    heights = np.interp(upper, levels, gap)
    area = float(np.sum(np.diff(upper) * (heights[1:] + heights[:-1]) / 2))
    u = (below + rng.random(below.shape) * (ties + 1)) / several
    return Tarp(levels, curve, float(np.abs(gap).max()), area, float(kstest(u, "uniform").pvalue))


def _cdf(edge: float, below: Array, ties: Array) -> Array:
    """Chance that (m + 1) u is less than `edge`."""
    return np.clip((edge - below) / (ties + 1), 0.0, 1.0)


def _levels(levels: ArrayLike) -> Array:
    wanted = np.atleast_1d(np.asarray(levels, dtype=np.float64))
    if wanted.ndim != 1 or wanted.size == 0 or not ((wanted > 0) & (wanted < 1)).all():
        raise ConfigError(f"levels: expected probabilities between 0 and 1, such as (0.5, 0.9), got {levels!r}.")
    return wanted


def _mean_of_cases(sums: Array, sizes: NDArray[np.int64]) -> tuple[float, float]:
    """Mean over entries, and its standard error where the cases are independent and the entries of a case are not."""
    count, total = int(np.sum(sizes > 0)), int(sizes.sum())
    mean = float(sums.sum()) / total
    if count < 2:
        return mean, math.nan
    scatter = float(np.sum((sums - mean * sizes) ** 2))
    return mean, math.sqrt(scatter * count / (count - 1)) / total


def _binning(m: int, entries: int, bins: int | None) -> tuple[int, int]:
    """How many draws to use, and how many bins divide their ranks."""
    if bins is None:
        most = min(max(entries // _EXPECTED, 2), _BINS)
        if m + 1 <= most:
            return m, m + 1
        return next(
            (several - 1, number)
            for several in range(m + 1, 1, -1)
            for number in range(most, most // 2, -1)
            if several % number == 0
        )
    if bins < 2:
        raise ConfigError(f"bins: expected at least 2, got {bins}.")
    if (m + 1) % bins:
        fit = [k for k in range(2, m + 2) if (m + 1) % k == 0]
        near = sorted(sorted(fit, key=lambda k: abs(k - bins))[:4])
        fewer = (m + 1) // bins * bins - 1
        shorter = f", or use the first {fewer} draws" if fewer > 1 else ""
        raise ConfigError(
            f"bins: expected a divisor of {m + 1}, one more than the draws, got {bins}: some bins would have more "
            f"ranks than others. Take {' or '.join(map(str, near))}{shorter}."
        )
    return m, bins


def _evenness(by_case: NDArray[np.int64]) -> tuple[tuple[float, float], float]:
    """Band of a count and p-value of all of them, from the counts of each case, shape (cases, bins).

    With r_i = c_i - n_i / bins the departures of case i, Pearson's statistic is (bins / N) |sum_i r_i|^2. Where cases
    are independent it is a sum of chi-squares with weights d_j, the eigenvalues of bins / N times sum_i r_i r_i^T, so

        sum_j d_j = (bins / N) sum_i |r_i|^2,   sum_j d_j^2 = (bins / N)^2 k / (k - 1) sum_{i != j} (r_i . r_j)^2,

    and with scale s = sum d^2 / sum d it is about s times a chi-square of sum d / s degrees of freedom.
    """
    from scipy.stats import binom, chi2, chisquare, norm

    count, number = by_case.shape
    sizes = by_case.sum(axis=1)
    total = int(sizes.sum())
    if (sizes == 1).all():
        low, high = binom.interval(_INSIDE, total, 1 / number)
        return (float(low), float(high)), float(chisquare(by_case.sum(axis=0)).pvalue)
    if count < 2:
        return (math.nan, math.nan), math.nan
    parts = by_case - sizes[:, None] / number
    squares = np.sum(parts**2, axis=1)
    reach = float(norm.ppf((1 + _INSIDE) / 2) * math.sqrt(squares.sum() / number))
    band = max(0.0, total / number - reach), total / number + reach
    first = number / total * float(squares.sum())
    between = float(np.sum((parts.T @ parts) ** 2) - np.sum(squares**2))
    second = (number / total) ** 2 * count / (count - 1) * between
    second = max(second, first**2 / (number - 1))  # of number - 1 weights with that sum, the least
    statistic = number / total * float(np.sum(parts.sum(axis=0) ** 2))
    scale = second / first if first > 0 else 1.0
    return band, float(chi2.sf(statistic / scale, first / scale)) if first > 0 else 1.0


def _box(cases: Cases) -> tuple[Array, Array]:
    """Lower corner and sides of the box of all draws and truths, shape (n, size); it does not tell which is which."""
    low, high = np.full(cases.truth.shape, np.inf), np.full(cases.truth.shape, -np.inf)
    for place, error in cases.errors():
        low[place] = cases.truth[place] + np.minimum(error.min(axis=0), 0.0)
        high[place] = cases.truth[place] + np.maximum(error.max(axis=0), 0.0)
    known = cases.known
    least = np.min(np.where(known, low, np.inf), axis=0)
    most = np.max(np.where(known, high, -np.inf), axis=0)
    seen = known.any(axis=0)
    least, width = np.where(seen, least, 0.0), np.where(seen & (most > least), most - least, 1.0)
    return np.broadcast_to(least, low.shape), np.broadcast_to(width, low.shape)


def _references(references: ArrayLike, truth: ArrayLike) -> Array:
    given, shape = as_numbers("references", references), np.asarray(truth).shape
    if given.shape != shape:
        raise ShapeError(
            f"references: expected the shape of the truth, {shape}, got {given.shape}. Give each case its own point."
        )
    points = given.astype(np.float64).reshape(len(given), -1)
    if not np.isfinite(points).all():
        raise NonFiniteError(
            f"references: expected finite points, got {int(np.sum(~np.isfinite(points)))} NaN or infinite."
        )
    return points


def _nearer(cases: Cases, points: Array, width: Array) -> tuple[Array, Array]:
    """Draws that are nearer to the reference than the truth is, and as near, of each case that is scored."""
    known = cases.known
    offset = np.where(known, cases.truth - points, 0.0) / width
    squared = np.zeros(cases.draws.shape[:2])
    true = np.zeros(len(cases.truth))
    for (rows, columns), error in cases.errors():
        error /= width[rows, columns]
        error += offset[rows, columns]
        squared[:, rows] += np.sum(error**2, axis=-1)
        true[rows] += np.sum(offset[rows, columns] ** 2, axis=-1)
    scored = known.any(axis=1)
    nearer, ties = (squared < true).sum(axis=0), (squared == true).sum(axis=0)
    return nearer[scored].astype(np.float64), ties[scored].astype(np.float64)
