"""Two families of reverse jumps for tables, each by trees.

reveal   the noise masks columns; a jump back reveals one, by a donor row of the leaf that fits what is known.
denoise  the noise is normal. Above a level `start` the exact denoiser of the training rows takes every path to one of
         them, noised, so the walk begins there: at a row with its noise. Below it forests have learnt E[x0 | x_t] and
         lead, not back to the row, but to where rows like it are. What a row keeps of itself is up to `start`.

Both are functions of (seed, index) alone: row i is the same in a batch of any size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.utils.parallel import Parallel, delayed

from caminito._random import Stream, normal, permutation, uniform
from caminito.denoiser import Forest, LeafTree, Precondition, RegressorDenoiser, RevealChain
from caminito.estimators.coded import CodedTable
from caminito.estimators.rank_normal import ENDS, PLACES, RankNormal, repeated
from caminito.process import EDM
from caminito.sampling import DDIM, trajectory
from caminito.training import fit_leaves, fit_regressors, fit_residual_variance

__all__ = ["Denoise", "Reveal", "draws", "moved_columns"]

Floats = NDArray[np.float64]
TreeKey = tuple[int, tuple[int, ...]]  # column, and the columns that it is said from

_GOLDEN = (math.sqrt(5) - 1) / 2
_LEAST = 0.05  # noise of the last level, in standard deviations
_ENDED = 1 << 31  # attempt of the walks whose ends are measured
_THIN = 1e-6  # least variance of a direction
_VALUES = 1_000_000  # of all leaves of a model together: 4 MB
_FITTED = 200_000  # rows that forests of so few leaves are fitted to; of more, a sample
_DONORS = 50_000_000  # that all trees grown for conditions keep: 200 MB


def draws(seed: int, attempt: int, rows: int, columns: int, first: int = 0) -> Floats:
    """Uniforms of rows first, first + 1, ..., shape (rows, columns)."""
    flat = uniform(seed, Stream.TABLE, 2 * attempt, rows * columns, start=first * columns)
    return np.asarray(flat).reshape(rows, columns)


def evenly(seed: int, rows: int, first: int = 0) -> Floats:
    """Numbers of rows first, first + 1, ... that fill [0, 1) evenly, however many: a golden-ratio sequence."""
    begin = float(uniform(seed, Stream.TABLE, 1, 1))
    return np.asarray((begin + _GOLDEN * (first + np.arange(rows))) % 1.0)


class Reveal:
    """Chains of trees, one for each order in which columns are asked for, grown when they are.

    Chains share their trees: what one column depends on is the same whatever came before in which order.

    Parameters
    ----------
    table : CodedTable
    order : sequence of int
        In which columns are revealed where nothing is given.
    min_rows : int
        Different rows in a leaf.
    seed : int
    trees : mapping of (column, columns known) to LeafTree, optional
        Those that are grown already.
    n_jobs : int, optional
        Trees that are grown at once, in threads, which share the table.
    """

    name = "reveal"

    def __init__(
        self,
        table: CodedTable,
        order: Sequence[int],
        *,
        min_rows: int,
        seed: int = 0,
        trees: Mapping[TreeKey, LeafTree] | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.table, self.order, self.min_rows, self.seed = table, list(order), min_rows, seed
        self.n_jobs = n_jobs
        self.trees = {} if trees is None else dict(trees)

    def fit(self) -> Reveal:
        """Grow the chain of the usual order."""
        self.chain(())
        return self

    def chain(self, given: tuple[int, ...], chosen: tuple[int, ...] = ()) -> RevealChain:
        """The chain that begins with `given`, which have no trees, and reveals `chosen` next."""
        rest = [column for column in self.order if column not in (*given, *chosen)]
        order = (*given, *chosen, *rest)
        keys = {order[k]: (order[k], tuple(sorted(order[:k]))) for k in range(len(given), len(order))}
        new = [key for key in keys.values() if key not in self.trees]
        grown = self.trees | dict(zip(new, Parallel(n_jobs=self.n_jobs, prefer="threads")(map(self._tree, new))))
        trees = {column: grown[key] for column, key in keys.items()}
        usual = {(column, tuple(sorted(self.order[:k]))) for k, column in enumerate(self.order)}
        if (len(self.trees) + len(trees)) * len(self.table.matrix) > _DONORS:
            self.trees = {key: tree for key, tree in self.trees.items() if key in usual}
        self.trees |= {keys[column]: tree for column, tree in trees.items()}
        return RevealChain(order, trees, self.table.codes)

    def _tree(self, key: TreeKey) -> Any:
        """The call that grows a tree."""
        table, (column, known) = self.table, key
        numbers = table.matrix[:, column] if table.ordered[column] else None
        return delayed(fit_leaves)(
            table.codes,
            column,
            known,
            numbers=numbers,
            ordered=table.ordered,
            min_rows=self.min_rows,
            weights=table.weights,
            seed=self.seed,
        )

    def draw(
        self, rows: int, seed: int, *, first: int = 0, attempt: int = 0, where: NDArray[np.intp] | None = None
    ) -> Floats:
        """Rows as numbers, shape (rows, p); or those of them at `where`, rising."""
        chain = self.chain(())
        u = draws(seed, attempt, rows, len(self.order), first)
        if attempt == 0:
            u[:, chain.order[0]] = evenly(seed, rows, first)
        return self.table.numbers(chain.reveal(u if where is None else u[where]).codes)


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
        Quantiles of the ends of walks. Where they are known a sample takes the value that training rows have at the
        same share: forests draw values to the middle of their column, and small tables alone are better for it.
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
        self._axes: Floats | None
        self._back: Floats | None
        self._axes, self._back = (
            _uncorrelated((part - self.mean) / self.scale, table.weights) if along else (None, None)
        )
        self.spread = np.zeros(len(self.moved))
        self.ends: Floats | None = None
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
        """Walk some rows, with the jitter that they have, and keep the quantiles of their ends."""
        walks = min(ENDS, 4 * len(self.table.matrix))
        _, part = self._walked(walks, self.seed, 0, _ENDED, None, None)
        self.ends = np.quantile(part, PLACES, axis=0)
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
            share = np.stack([np.interp(x, ends, PLACES) for x, ends in zip(part.T, self.ends.T)], axis=1)
            return self._ranks.decode(ndtri(share))
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

    def _scaled(self, matrix: Floats) -> Floats:
        scaled = (matrix[:, self.moved] - self.mean) / self.scale
        return np.asarray(scaled if self._axes is None else scaled @ self._axes)

    def _others(self, matrix: Floats) -> Floats:
        return np.nan_to_num(matrix[:, self._kept], nan=-1.0)


def _uncorrelated(scaled: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """What takes scaled columns to uncorrelated ones, and back."""
    size, axes = np.linalg.eigh(np.atleast_2d(np.cov(scaled.T, aweights=weights, bias=True)))
    root = np.sqrt(np.maximum(size, _THIN))
    return (axes / root) @ axes.T, (axes * root) @ axes.T


def moved_columns(table: CodedTable) -> list[int]:
    """Columns that `Denoise` noises: numbers of more than two values, without holes."""
    return [j for j, column in enumerate(table.columns) if _moves(column, table.matrix[:, j])]


def _moves(column: Any, numbers: Floats) -> bool:
    ordered = column.kind not in ("category", "boolean")
    return ordered and column.distinct > 2 and not np.isnan(numbers).any()
