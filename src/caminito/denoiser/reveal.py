"""The reverse jumps of an absorbing process: each reveals one column of a table, given those revealed before.

The way to noise masks columns, one after the other, until a row says nothing. The way back is a product of
conditionals,

    q(x) = q(x_o1) q(x_o2 | x_o1) ... q(x_op | x_o1 ... x_o(p-1)),

each a tree whose leaves are donors, in an order o that puts first what is given. Nothing is rejected: what is asked of
a column is met by drawing from the donors that meet it, and how rare that was is the weight of the row.
Source: Austin et al. 2021 (absorbing diffusion); Hoogeboom et al. 2022 (any order); in one order, synthpop's CART.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from caminito.denoiser.leaves import Codes, LeafTree

__all__ = ["RevealChain", "Revealed"]


class Revealed(NamedTuple):
    """Rows of codes, where their values come from, and how likely they were to be as they had to be."""

    codes: Codes
    rows: Codes  # (B, p): training row whose value each entry has, -1 for what was given
    log_share: NDArray[np.float64]  # (B,): of the values allowed, given what was revealed before


class RevealChain:
    """Trees, one for each jump, over the codes of a table.

    Parameters
    ----------
    order : sequence of int
        Columns in the order in which they are revealed.
    trees : mapping of int to LeafTree
        For each column but those whose values are always given: says it from the columns before it.
    codes : int32 array, shape (rows, p)
        What donors give.
    """

    def __init__(self, order: Sequence[int], trees: Mapping[int, LeafTree], codes: Codes) -> None:
        self.order, self.trees, self.codes = list(order), dict(trees), codes

    def reveal(
        self,
        u: NDArray[np.float64],
        given: Codes | None = None,
        allowed: Mapping[int, NDArray[np.bool_]] | None = None,
    ) -> Revealed:
        """Rows, revealed jump by jump.

        Parameters
        ----------
        u : array in [0, 1), shape (B, p)
            Which donor each entry takes; the column decides, not the order.
        given : int32 array, shape (B, p), optional
            Codes of the columns without a tree.
        allowed : mapping of a column to a bool array, shape (rows,), optional
            Donors that may be drawn. A jump to such a column looks ahead: its donors meet what is asked of it and of
            all that are still to come, so that none of those finds itself without. The weight is that of the first.
        """
        rows, columns = u.shape
        codes = np.zeros((rows, columns), np.int32, order="F") if given is None else np.array(given, order="F")
        source = np.full((rows, columns), -1, np.int32, order="F")
        log_share = np.zeros(rows)
        jumps = [column for column in self.order if column in self.trees]
        ahead = _ahead([column for column in jumps if column in (allowed or {})], allowed or {})
        for column in jumps:
            tree = self.trees[column]
            drawn = tree.donors(tree.leaf(codes), u[:, column], ahead.get(column))
            codes[:, column], source[:, column] = self.codes[drawn.rows, column], drawn.rows
            if column == next(iter(ahead), None):
                log_share += np.log(drawn.share)
        return Revealed(codes, source, log_share)


def _ahead(columns: Sequence[int], allowed: Mapping[int, NDArray[np.bool_]]) -> dict[int, NDArray[np.bool_]]:
    """For each of the columns, in their order: donors that meet what is asked of it and of all after it."""
    return {column: np.logical_and.reduce([allowed[each] for each in columns[k:]]) for k, column in enumerate(columns)}
