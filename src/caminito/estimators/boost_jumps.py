"""Normal jumps by boosted trees on what the normal law of the table leaves over.

For x_t = x0 + sigma eps, E[x0 | x_t] is close to m + S (S + sigma^2)^-1 (x_t - m), which is exact for normal data of
mean m and covariance S: the line that trees would have to build of steps. Boosted trees learn the rest, output by
output, at each of a few noise levels, from fresh noise. A walk begins at a row of `reveal` with so much noise that what
a tree could not say of it is lost in it.
Source: Wiener 1949 (the line); Friedman 2001 (boosting); Jolicoeur-Martineau et al. 2024 (boosted trees as jumps).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.utils.parallel import Parallel, delayed
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn
from torch import Tensor

from caminito._random import Stream, normal
from caminito.denoiser import Boosted, Condition, Denoiser, GaussianDenoiser
from caminito.estimators.coded import CodedTable
from caminito.estimators.ranked import FIRST_STEP, Ranked
from caminito.estimators.reveal_jumps import Reveal
from caminito.process import EDM
from caminito.process.base import Time
from caminito.sampling import DPMpp2M, trajectory

__all__ = ["Boost"]

Floats = NDArray[np.float64]

_START, _END, _LEVELS = 3.0, 0.05, 12  # noise of the first and of the last level, in standard deviations; how many
_ROUNDS, _RATE = 40, 0.15  # trees of an output, and their weight
_LEAVES, _DEPTH, _ROWS = 31, 6, 20  # leaves of a tree, questions that lead to one, rows in one
_SEEN = 4000  # noisy rows that small tables are repeated to
_FITTED = 200_000  # rows of large ones that are fitted to


class Boost(Ranked):
    """Boosted trees for all levels of a normal noise, given what a chain has revealed.

    Parameters
    ----------
    table : CodedTable
    reveal : Reveal
    min_rows : int
        Different rows that a leaf stands for.
    seed : int
    n_jobs : int, optional
        Outputs that are fitted at once, in threads.
    """

    name = "boost"

    def __init__(
        self, table: CodedTable, reveal: Reveal, *, min_rows: int = 1, seed: int = 0, n_jobs: int | None = None
    ) -> None:
        super().__init__(table, reveal, seed=seed, most=_FITTED)
        self.n_jobs = n_jobs
        often = np.sort(np.bincount(self.rows))[::-1]
        self._leaf = max(_ROWS, 1 + int(often[: min_rows - 1].sum()))  # so many rows are never fewer different ones
        self._process = EDM(_START)
        sigmas = torch.from_numpy(np.geomspace(_START, _END, _LEVELS))
        self._grid = torch.cat([self._process.time(-2 * torch.log(sigmas)), torch.zeros(1, dtype=torch.float64)])

    def fit(self) -> Boost:
        """Fit every level to all rows, or to 200 000 of more."""
        matrix = self.table.matrix[self.rows]
        z = self._normals(matrix)
        mean, cov = z.mean(axis=0), np.atleast_2d(np.cov(z.T, bias=True))
        base = GaussianDenoiser(torch.from_numpy(mean), torch.from_numpy(cov), self._process)
        copies = max(1, math.ceil(_SEEN / len(z)))
        z, beside = (np.repeat(each, copies, axis=0) for each in (z, self._beside(matrix)))
        levels = []
        for number, t in enumerate(self._grid[:-1]):
            eps = normal(self.seed, Stream.NOISE, number, z.shape, dtype=torch.float64)
            x = self._process.noise(torch.from_numpy(z), t, eps)
            seen, rest = np.column_stack([beside, x.numpy()]), z - base.mean(x, t).numpy()
            jobs = (delayed(self._fitted)(seen, each, copies) for each in rest.T)
            levels.append(Boosted.of(Parallel(n_jobs=self.n_jobs, prefer="threads")(jobs)))
        self.denoiser = self.of(levels, mean, cov)
        self._measure_ends()
        return self

    def of(self, levels: Sequence[Boosted], mean: Floats, cov: Floats) -> _Corrected:
        """The denoiser of such trees, on the normal law of such moments."""
        return _Corrected(mean, cov, levels, self._grid[:-1], self._process)

    def _fitted(self, seen: Floats, said: Floats, copies: int) -> Any:
        model = HistGradientBoostingRegressor(
            max_iter=_ROUNDS,
            learning_rate=_RATE,
            max_leaf_nodes=_LEAVES,
            max_depth=_DEPTH,
            min_samples_leaf=self._leaf * copies,
            categorical_features=list(range(len(self._words))) or None,
            early_stopping=False,
            random_state=self.seed,
        )
        with threadpool_limits(1, "openmp"):  # sums do not depend on how many threads there are
            return model.fit(seen, said)

    def _beside(self, matrix: Floats) -> Floats:
        """What the trees see beside the numbers that walk; categories come first."""
        return np.column_stack([self._categories(matrix), self._measured(matrix)])

    def _walk(self, matrix: Floats, places: NDArray[np.intp], seed: int, attempt: int) -> Floats:
        low, shape = int(places[0]), (int(places[-1] - places[0]) + 1, len(self.moved))
        eps = normal(seed, Stream.TABLE, FIRST_STEP + 1 + attempt, shape, start=low, dtype=torch.float64)
        x = torch.from_numpy(self._ranks.encode(matrix[:, self.moved])) + _START * eps[places - low]
        cond = {"beside": self._beside(matrix)}
        for frame in trajectory(self.denoiser, x, self._grid, DPMpp2M(), cond=cond):
            x = frame.x
        return np.asarray(x.numpy())


class _Corrected(Denoiser):
    """The exact denoiser of a normal law, and trees for what it leaves over at each level."""

    def __init__(self, mean: Floats, cov: Floats, levels: Sequence[Boosted], at: Tensor, process: EDM) -> None:
        self.line, self.levels, self.at, self.process = (mean, cov), list(levels), at, process
        self._base = GaussianDenoiser(torch.from_numpy(mean), torch.from_numpy(cov), process)
        self.event_shape, self.data_moments = self._base.event_shape, self._base.data_moments

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """The line and the correction of the nearest level."""
        level = self.levels[int((self.at - t).abs().argmin())]
        seen = np.column_stack([(cond or {})["beside"], x_t.numpy()])
        return self._base.mean(x_t, t) + torch.from_numpy(level.predict(seen))
