"""Holes in fields that a network is given, so that it learns to fill any.

A field that is known in part (`caminito.nn.Known`) is in training the item itself, and at each step another part of it
is hidden: half the time all within a box, or all without one, whose sides may be those of the grid, which makes bands
and halves; half the time cells of 1, 2, 4, ... entries, each known with a probability that is itself uniform. All
channels of an entry are hidden together.
Source: Saharia et al. 2022 (Palette), section 4.3, for learning from masks of many kinds at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from caminito._random import Stream, uniform
from caminito.denoiser import Condition

__all__ = ["known_at_random", "with_holes"]

_BOXES = 0.5  # share of rows with a box
_INSIDE = 2 / 3  # share of boxes that are hidden; of the others all else is
_WHOLE = 0.25  # probability of a side as long as the grid


def with_holes(cond: Condition, seed: int, step: int) -> Condition:
    """Conditions of a batch with holes in the fields that are known in part; what was not known stays so.

    The holes of a row are a function of (seed, step, row).
    """
    if cond is None:
        return None
    out = dict(cond)
    for name, given in cond.items():
        if not isinstance(given, Tensor) and given.is_partial:
            mask = known_at_random(len(given.value), given.value.shape[2:], seed, step).to(given.value.device)
            out[name] = given._replace(mask=given.mask & mask[:, None])
    return out


def known_at_random(rows: int, grid: Sequence[int], seed: int, step: int) -> Tensor:
    """Where each of so many fields is known, bool (rows, *grid); row i is a function of (seed, step, i)."""
    per_row = 4 + 3 * len(grid)
    dials = uniform(seed, Stream.HOLES, 2 * step, rows * per_row).reshape(rows, per_row)
    is_box, is_inside, share, size = (dials[:, i] for i in range(4))
    inside = torch.ones((rows, *grid), dtype=torch.bool)
    places, most = [], min(grid).bit_length() - 1  # cells of at most half the shortest side
    cell = 2 ** (size * max(1, most)).floor().long()
    for axis, length in enumerate(grid):
        whole, *ends = dials[:, 4 + 3 * axis : 7 + 3 * axis].unbind(1)
        shape = (rows, *(length if other == axis else 1 for other in range(len(grid))))
        low, high = (torch.stack(ends).sort(0).values * length).unbind(0)
        i = torch.arange(length)
        between = (i >= low.floor()[:, None]) & (i < high.floor()[:, None] + 1)
        inside = inside & (between | (whole < _WHOLE)[:, None]).reshape(shape)
        places.append((i // cell[:, None] * cell[:, None]).reshape(shape))
    row = torch.arange(rows).reshape(-1, *(1,) * len(grid))
    chance = uniform(seed, Stream.HOLES, 2 * step + 1, rows * inside[0].numel()).reshape(inside.shape)
    cells = chance[(row, *places)] < share.reshape(row.shape)
    box = inside ^ (is_inside < _INSIDE).reshape(row.shape)
    return torch.where((is_box < _BOXES).reshape(row.shape), box, cells)
