"""What families share whose normal jumps move the numbers of a table, coded by rank, given its other columns.

A chain of `reveal` draws rows; what cannot be moved in them (categories, truths, numbers with holes) is kept and says
where the numbers are to go. Numbers are standard normals, by rank; what a walk of few jumps still bends of that is
straightened at its end, column by column, by the quantiles of some walks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from caminito._random import Stream, permutation, uniform
from caminito.estimators.coded import CodedTable, moved_columns
from caminito.estimators.rank_normal import ENDS, PLACES, RankNormal, repeated, straightened
from caminito.estimators.reveal_jumps import Reveal

__all__ = ["Ranked"]

Floats = NDArray[np.float64]

FIRST_STEP = 1 << 32
"""Of the random draws of these families, apart from those of others; those of walks come after it."""

_CLASSES = 255  # of a category; the rarer ones count as one


class Ranked(ABC):
    """Rows whose numbers a walk makes, given what a chain has revealed.

    Parameters
    ----------
    table : CodedTable
        With at least one column that moves.
    reveal : Reveal
        Of the same columns; its rows are of the table.
    seed : int
    most : int, optional
        Rows that are learnt from; of more, a sample.

    Attributes
    ----------
    moved : list of int
        Columns that walk.
    rows : int array
        Rows of the table that are learnt from, each as often as its weight says where those are not all alike.
    ends : array (200, p), optional
        Quantiles of the ends of walks.
    """

    name: str

    def __init__(self, table: CodedTable, reveal: Reveal, *, seed: int = 0, most: int | None = None) -> None:
        self.table, self.reveal, self.seed = table, reveal, seed
        self.moved = moved_columns(table)
        self.ends: Floats | None = None
        self.rows = repeated(table.weights)
        if most is not None and len(self.rows) > most:
            kept = np.asarray(permutation(seed, Stream.TABLE, FIRST_STEP - 1, len(self.rows)))[:most]
            self.rows = self.rows[np.sort(kept)]
        matrix = table.matrix[self.rows]
        columns = [table.columns[j] for j in self.moved]
        snapped = [column.step is not None or bool(column.atoms) for column in columns]
        self._ranks = RankNormal(matrix[:, self.moved], snapped)
        beside = [j for j in range(matrix.shape[1]) if j not in self.moved and len(table.values[j])]
        self._words = {j: _codes(table.values[j], matrix[:, j]) for j in beside if not table.ordered[j]}
        self._numbers = [j for j in beside if table.ordered[j]]

    def draw(
        self,
        rows: int,
        seed: int,
        *,
        first: int = 0,
        attempt: int = 0,
        where: NDArray[np.intp] | None = None,
    ) -> Floats:
        """Rows as numbers, shape (rows, p); or those of them at `where`, rising."""
        matrix = self.reveal.draw(rows, seed, first=first, attempt=attempt, where=where)
        places = first + (np.arange(rows) if where is None else where)
        z = self._walk(matrix, places, seed, attempt)
        matrix[:, self.moved] = self._ranks.decode(z if self.ends is None else straightened(z, self.ends))
        return matrix

    @abstractmethod
    def _walk(self, matrix: Floats, places: NDArray[np.intp], seed: int, attempt: int) -> Floats:
        """Ends of walks, standard normals, given the other columns of rows; a row knows its place alone."""

    def _measure_ends(self) -> None:
        """Walk some rows, and keep their quantiles."""
        seed, walks = self.seed + FIRST_STEP, min(ENDS, 4 * len(self.rows))
        matrix = self.reveal.draw(walks, seed)
        self.ends = np.quantile(self._walk(matrix, np.arange(walks), seed, 0), PLACES, axis=0)

    def _normals(self, matrix: Floats) -> Floats:
        """The moved columns of rows to learn from."""
        shape = (len(matrix), len(self.moved))
        u = np.asarray(uniform(self.seed, Stream.TABLE, FIRST_STEP, shape[0] * shape[1])).reshape(shape)
        return self._ranks.encode(matrix[:, self.moved], u)

    def _categories(self, matrix: Floats) -> NDArray[np.int64]:
        """Kept categories, by frequency from 0, the rarest and those never seen as one; shape (B, a)."""
        found = np.empty((len(matrix), len(self._words)), dtype=np.int64)
        for place, (j, codes) in enumerate(self._words.items()):
            found[:, place] = codes[np.searchsorted(self.table.values[j], matrix[:, j])]  # NaN comes after all values
        return found

    def _measured(self, matrix: Floats) -> Floats:
        """Kept numbers, from 0 to 1 over their range, NaN where missing; shape (B, b)."""
        low, high = (np.array([self.table.values[j][end] for j in self._numbers]) for end in (0, -1))
        return np.asarray((matrix[:, self._numbers] - low) / np.where(high > low, high - low, 1.0))


def _codes(values: Floats, column: Floats) -> NDArray[np.int64]:
    """The code of each value of a category, missing last, without gaps among those of the column."""
    count = len(values) + 1
    often = np.bincount(np.searchsorted(values, column), minlength=count)
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(-often, kind="stable")] = np.arange(count)
    return np.minimum(rank, max(0, min(_CLASSES, int((often > 0).sum())) - 1))
