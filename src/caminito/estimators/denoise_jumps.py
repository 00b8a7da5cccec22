"""Jumps of a normal noise, by forests, from rows of the table.

Above a level `start` the exact denoiser of the training rows takes every path to one of them, noised, so the walk
begins there: at a row with its noise. Below it forests have learnt E[x0 | x_t] and lead, not back to the row, but to
where rows like it are. What a row keeps of itself is up to `start`.

A row is a function of (seed, index) alone: row i is the same in a batch of any size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from caminito._random import Stream, normal, permutation
from caminito.denoiser import Forest, Precondition, RegressorDenoiser
from caminito.estimators.coded import CodedTable, moved_columns
from caminito.estimators.rank_normal import ENDS, PLACES, RankNormal, repeated, straightened
from caminito.estimators.reveal_jumps import draws, evenly
from caminito.process import EDM
from caminito.sampling import DDIM, trajectory
from caminito.training import fit_regressors, fit_residual_variance

__all__ = ["Denoise"]

Floats = NDArray[np.float64]

_LEAST = 0.05  # noise of the last level, in standard deviations
_ENDED = 1 << 31  # attempt of the walks whose ends are measured
_THIN = 1e-6  # least variance of a direction
_VALUES = 1_000_000  # of all leaves of a model together: 4 MB
_STRETCHES = 3  # times that the covariance of ends is mended
_FITTED = 200_000  # rows that forests of so few leaves are fitted to; of more, a sample


class Denoise:
    """Forests for the last levels of a normal noise, and rows to begin at.

    Parameters
    ----------
    table : CodedTable
    start : float
        Noise that rows begin with, in standard deviations of their columns.
    jitter : float
        Noise added at the end, in standard deviations of what the last forest does not know.
    along : bool
        Noise as the columns vary together, little where they hardly do, and forests that see them so: what is nearly a
        sum of other columns stays one. The axes are the nearest to the columns of all that are uncorrelated
        (Kessy et al. 2018, ZCA-cor).
    levels, trees, copies, min_rows : int
        Noise levels, trees of each, noisy copies of a row that they are fitted to, and rows that a leaf stands for.
    seed : int
    n_jobs : int, optional

    Attributes
    ----------
    moved : list of int
        Columns that are noised; the others keep the value of the row.
    ends : array (200, m), optional
        Quantiles of the ends of walks, in standard deviations. Where they are known a sample takes the value that
        training rows have at the same share: forests draw values to the middle of their column, and small tables alone
        are better for it.
    stretch : array (m, m), optional
        What ends are multiplied by before, so that columns vary together as those of the rows do: forests draw them to
        the middle by a share of its own along each axis, and then lines through the samples are not those through the
        rows.
    """

    name = "denoise"

    def __init__(
        self,
        table: CodedTable,
        *,
        start: float,
        jitter: float = 0.0,
        along: bool = False,
        levels: int = 4,
        trees: int = 10,
        copies: int = 10,
        min_rows: int = 3,
        seed: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.table, self.start, self.jitter, self.seed, self.n_jobs = table, start, jitter, seed, n_jobs
        self.levels, self.trees, self.copies, self.min_rows = levels, trees, copies, min_rows
        self.moved = moved_columns(table)
        part = table.matrix[:, self.moved]
        self.mean = np.average(part, axis=0, weights=table.weights)
        self.scale = np.sqrt(np.average((part - self.mean) ** 2, axis=0, weights=table.weights))
        self.along = along
        self._axes: Floats | None = None
        self._back: Floats | None = None
        if along:
            self._back, self._axes = _roots(_covariance(self._standard(part), table.weights))
        self.spread = np.zeros(len(self.moved))
        self.ends: Floats | None = None
        self.stretch: Floats | None = None
        self._kept = [j for j in range(table.matrix.shape[1]) if j not in self.moved]
        self._process = EDM(start)
        sigmas = torch.from_numpy(np.geomspace(start, min(_LEAST, start / 2), levels))
        self._grid = torch.cat([self._process.time(-2 * torch.log(sigmas)), torch.zeros(1, dtype=torch.float64)])
        self._mass = np.concatenate([[0.0], np.cumsum(table.weights)])

    def fit(self) -> Denoise:
        """Fit the forests to all rows, or to 200 000 of more: each leaf stands for a thousand then."""
        matrix = self.table.matrix
        if len(matrix) > _FITTED:
            matrix = matrix[np.sort(np.asarray(permutation(self.seed, Stream.TABLE, 13, len(matrix)))[:_FITTED])]
        x = torch.from_numpy(self._scaled(matrix))
        cond = {"kept": torch.from_numpy(self._others(matrix))} if self._kept else None
        copies = max(1, min(self.copies, math.ceil(60_000 / len(x))))
        leaves = _VALUES / (self.levels * self.trees * (len(self.moved) + 4))
        least = max(self.min_rows * copies / 2, 2 * copies * len(x) / leaves)
        forest = ExtraTreesRegressor(self.trees, min_samples_leaf=max(1, round(least)))
        found = fit_regressors(
            self._process, x, self._grid, forest, copies=copies, cond=cond, seed=self.seed, n_jobs=self.n_jobs
        )
        self.denoiser = self.of([Forest.of(each) for each in found.regressors], found.precondition.data_std)
        return self

    def of(self, forests: Sequence[Forest], data_std: float) -> RegressorDenoiser:
        """The denoiser of such forests."""
        precondition = Precondition("x0", data_std)
        return RegressorDenoiser(forests, precondition, self._process, (len(self.moved),), at=self._grid[:-1])

    def measure(self, matrix: Floats) -> Floats:
        """How far, of rows that the forests have not seen, the last one is off: deviation of each moved column."""
        x = torch.from_numpy(self._scaled(matrix))
        cond = {"kept": torch.from_numpy(self._others(matrix))} if self._kept else None
        found = fit_residual_variance(self.denoiser, x, self._grid[-2:-1], cond=cond, seed=self.seed)
        self.spread = np.sqrt(found.residuals[0].numpy())
        return self.spread

    def draw(
        self,
        rows: int,
        seed: int,
        *,
        first: int = 0,
        attempt: int = 0,
        jitter: float | None = None,
        where: NDArray[np.intp] | None = None,
    ) -> Floats:
        """Rows as numbers, shape (rows, p); or those of them at `where`, rising."""
        matrix, part = self._walked(rows, seed, first, attempt, jitter, where)
        matrix[:, self.moved] = self._seen(part)
        return matrix

    def straighten(self) -> Denoise:
        """Walk some rows, with the jitter that they have, and keep what gives their ends the quantiles of the rows and,
        where noise is along the columns, their covariance.

        Quantiles change the covariance a little, so what was left of it is mended again.
        """
        walks = min(ENDS, 4 * len(self.table.matrix))
        _, part = self._walked(walks, self.seed, 0, _ENDED, None, None)
        ends = self._standard(part)
        if not self.along:
            self.ends = np.quantile(ends, PLACES, axis=0)
            return self
        wanted = _covariance(self._standard(self.table.matrix[:, self.moved]), self.table.weights)
        seen, self.stretch = ends, np.eye(len(self.moved))
        for _ in range(_STRETCHES):
            self.stretch = self.stretch @ _carrying(_covariance(seen), wanted)
            self.ends = np.quantile(ends @ self.stretch, PLACES, axis=0)
            seen = self._standard(self._seen(part))
        return self

    def _walked(
        self,
        rows: int,
        seed: int,
        first: int,
        attempt: int,
        jitter: float | None,
        where: NDArray[np.intp] | None,
    ) -> tuple[Floats, Floats]:
        """The rows that walks begin at, and the moved columns at their ends."""
        kept = np.arange(rows) if where is None else where
        u = (evenly(seed, rows, first) if attempt == 0 else draws(seed, attempt, rows, 1, first)[:, 0])[kept]
        begin = np.searchsorted(self._mass, u * self._mass[-1], side="right") - 1
        matrix = self.table.matrix[begin]
        shape = (rows, len(self.moved))
        steps = (2 * attempt + 3, 2 * attempt + 4)
        eps = (normal(seed, Stream.TABLE, k, shape, start=first, dtype=torch.float64)[kept] for k in steps)
        x = torch.from_numpy(self._scaled(matrix)) + self.start * next(eps)
        cond = {"kept": torch.from_numpy(self._others(matrix))} if self._kept else None
        for frame in trajectory(self.denoiser, x, self._grid, DDIM(), cond=cond):
            x = frame.x
        end = x + (self.jitter if jitter is None else jitter) * torch.from_numpy(self.spread) * next(eps)
        scaled = end.numpy() if self._back is None else end.numpy() @ self._back
        return matrix, scaled * self.scale + self.mean

    def _seen(self, part: Floats) -> Floats:
        """Within the range of the data, and on its values where a column has steps or values it often takes."""
        if self.ends is not None:
            ends = self._standard(part)
            return self._ranks.decode(straightened(ends if self.stretch is None else ends @ self.stretch, self.ends))
        for place, j in enumerate(self.moved):
            values, column = self.table.values[j], self.table.columns[j]
            part[:, place] = np.clip(part[:, place], values[0], values[-1])
            if column.step is not None or column.atoms:
                after = np.clip(np.searchsorted(values, part[:, place]), 1, len(values) - 1)
                low, high = values[after - 1], values[after]
                part[:, place] = np.where(part[:, place] - low <= high - part[:, place], low, high)
        return part

    @cached_property
    def _ranks(self) -> RankNormal:
        columns = [self.table.columns[j] for j in self.moved]
        snapped = [column.step is not None or bool(column.atoms) for column in columns]
        return RankNormal(self.table.matrix[repeated(self.table.weights)][:, self.moved], snapped)

    def _standard(self, part: Floats) -> Floats:
        return np.asarray((part - self.mean) / self.scale)

    def _scaled(self, matrix: Floats) -> Floats:
        scaled = self._standard(matrix[:, self.moved])
        return np.asarray(scaled if self._axes is None else scaled @ self._axes)

    def _others(self, matrix: Floats) -> Floats:
        return np.nan_to_num(matrix[:, self._kept], nan=-1.0)


def _covariance(scaled: Floats, weights: Floats | None = None) -> Floats:
    return np.atleast_2d(np.cov(scaled.T, aweights=weights, bias=True))


def _roots(cov: Floats, least: float = _THIN) -> tuple[Floats, Floats]:
    """The symmetric root of a covariance whose variances are taken to be so large at least, and its inverse."""
    size, axes = np.linalg.eigh(cov)
    root = np.sqrt(np.maximum(size, least))
    return (axes * root) @ axes.T, (axes / root) @ axes.T


def _carrying(cov: Floats, wanted: Floats) -> Floats:
    """What takes rows of one covariance to another one and moves them least (Olkin and Pukelsheim 1982)."""
    root, inverse = _roots(cov)
    return inverse @ _roots(root @ wanted @ root, _THIN**2)[0] @ inverse
