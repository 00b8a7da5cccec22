"""Normal jumps by a network: `DiffusionModel` on the numbers of a table by rank, given its other columns.

Everything that a network needs (its noise, its size, its budget, the loop that trains it) is what `DiffusionModel`
chooses for rows of numbers. Categories reach it as labels, numbers with holes with a sign that says where they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from caminito.data import holdout
from caminito.estimators.coded import CodedTable
from caminito.estimators.model import DiffusionModel
from caminito.estimators.ranked import FIRST_STEP, Ranked
from caminito.estimators.reveal_jumps import Reveal

__all__ = ["ASIDE", "Network"]

Floats = NDArray[np.float64]

ASIDE = 0.2
"""Share of the rows that the network is not shown: those that it is judged on."""

_STEPS = 24  # of its walks
_BLOCK = 256  # rows walked at once, always as many: sums of a processor depend on how many there are


class Network(Ranked):
    """A network for all levels of a normal noise, given what a chain has revealed.

    Parameters
    ----------
    table : CodedTable
    reveal : Reveal
    max_steps, minutes : int, float, optional
        Budget, as for `DiffusionModel`.
    seed : int

    Attributes
    ----------
    model : DiffusionModel
    """

    name = "network"

    def __init__(
        self,
        table: CodedTable,
        reveal: Reveal,
        *,
        max_steps: int | None = None,
        minutes: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(table, reveal, seed=seed)
        self.model = DiffusionModel(
            max_steps=max_steps, minutes=minutes, n_steps=_STEPS, validation_fraction=ASIDE, random_state=seed
        )

    def fit(self) -> Network:
        """Train on the rows that are not aside."""
        matrix = self.table.matrix[self.rows]
        self.model.fit(self._normals(matrix).astype(np.float32), condition=self._given(matrix) or None)
        self._measure_ends()
        return self

    def parts(self) -> tuple[Floats, Floats]:
        """Rows that the network is shown, and rows that it is not, which are all if there are too few to split."""
        matrix = self.table.matrix[self.rows]
        if len(matrix) < 10:
            return matrix, matrix
        shown, aside = holdout(len(matrix), ASIDE, self.seed)
        return matrix[shown], matrix[aside]

    def _given(self, matrix: Floats) -> dict[str, NDArray[np.generic]]:
        """What the network is told of rows, by name."""
        words = self._categories(matrix)
        told: dict[str, NDArray[np.generic]] = {str(place): column for place, column in enumerate(words.T)}
        if self._numbers:
            numbers = self._measured(matrix)
            told["numbers"] = np.column_stack([np.nan_to_num(numbers), np.isnan(numbers)])
        return told

    def _walk(self, matrix: Floats, places: NDArray[np.intp], seed: int, attempt: int) -> Floats:
        given, z = self._given(matrix), np.empty((len(matrix), len(self.moved)))
        blocks = places // _BLOCK
        for block in np.unique(blocks):
            rows = np.flatnonzero(blocks == block)
            at = places[rows] - block * _BLOCK
            filled = np.full(_BLOCK, rows[0])
            filled[at] = rows
            drawn = self.model.sample(
                _BLOCK,
                condition={name: values[filled] for name, values in given.items()} or None,
                random_state=(seed + FIRST_STEP * attempt) % 2**64,
                first=int(block) * _BLOCK,
                batch_size=_BLOCK,
            )
            z[rows] = np.asarray(drawn, dtype=np.float64)[at]
        return z
