"""Which network for which events: a rule, stated once.

Rows of numbers (one axis) take the residual perceptron: 192 features up to 16 numbers, 256 up to 64, 512 beyond;
half of that below 500 rows.

Grids (channels first, then one to three axes) take the U-Net, by these steps, L being the longest axis:

1. Fold patches of 2 points where L > 32 and of 4 where L > 128: the work then happens on a coarser grid.
2. Halve until the longest axis has at most 8 points, once at least where L allows it, four times at most.
3. Give the first level 32 channels, and each further one 32 more, up to 128. One block per level, two on the coarsest
   of three or more: by the clock, many cheap steps beat few dear ones.
4. Let the coarsest level attend where it has at most 1024 points.

A classifier of rows takes the same perceptron; one of grids takes the way down alone, on a coarser grid still: patches
of 2 points where L > 16 and of 4 where L > 64, then halved until at most 4 points are left, four times at most, with
one block per level and no attention. To tell classes apart asks less of a network than to say every entry.
"""

from __future__ import annotations

import math
from typing import Any

from caminito._errors import ShapeError

__all__ = ["classifier_options", "suggest"]


def suggest(event_shape: tuple[int, ...], n_items: int) -> dict[str, Any]:
    """Options of a network that suits the events, without their conditions.

    Parameters
    ----------
    event_shape : tuple of int
        (d,) for rows of numbers, (channels, *grid) with one to three axes for grids.
    n_items : int
        Number of training items; rows of numbers take half the width below 500.

    Returns
    -------
    dict
        Options for `caminito.nn.build`, plain JSON.

    Raises
    ------
    ShapeError
        If the events are neither rows nor grids of one to three axes.
    """
    _check_events(event_shape)
    if len(event_shape) == 1:
        (size,) = event_shape
        width = 192 if size <= 16 else 256 if size <= 64 else 512
        width = width if n_items >= 500 else width // 2
        return {"kind": "mlp", "event_size": size, "width": width, "depth": 4, "embedding": width // 4}
    channels, *grid = event_shape
    longest = max(grid)
    patch = 1 if longest <= 32 else 2 if longest <= 128 else 4
    halvings = min(4, max(1 if longest > 3 else 0, math.ceil(math.log2(longest / patch / 8))))
    coarsest = math.prod(math.ceil(length / (patch * 2**halvings)) for length in grid)
    return {
        "kind": "unet",
        "dims": len(grid),
        "channels": channels,
        "width": 32,
        "multipliers": [min(level + 1, 4) for level in range(halvings + 1)],
        "blocks": [1] * halvings + [2 if halvings > 1 else 1],
        "attention": [halvings] if coarsest <= 1024 else [],
        "head_size": 32,
        "patch": patch,
    }


def classifier_options(event_shape: tuple[int, ...], n_items: int, classes: int) -> dict[str, Any]:
    """Options of a small classifier that suits the events: it gives one logit per class.

    Parameters
    ----------
    event_shape : tuple of int
        (d,) for rows of numbers, (channels, *grid) with one to three axes for grids.
    n_items : int
        Number of training items; rows of numbers take half the width below 500.
    classes : int

    Returns
    -------
    dict
        Options for `caminito.nn.build`, plain JSON.

    Raises
    ------
    ShapeError
        If the events are neither rows nor grids of one to three axes.
    """
    _check_events(event_shape)
    if len(event_shape) == 1:
        return suggest(event_shape, n_items) | {"out_size": classes}
    channels, *grid = event_shape
    longest = max(grid)
    patch = 1 if longest <= 16 else 2 if longest <= 64 else 4
    halvings = min(4, max(1 if longest > 3 else 0, math.ceil(math.log2(longest / patch / 4))))
    return {
        "kind": "grid-classifier",
        "dims": len(grid),
        "channels": channels,
        "classes": classes,
        "width": 32,
        "multipliers": [min(level + 1, 4) for level in range(halvings + 1)],
        "blocks": [1] * (halvings + 1),
        "patch": patch,
    }


def _check_events(event_shape: tuple[int, ...]) -> None:
    """Refuse what has no network."""
    if not 1 <= len(event_shape) <= 4 or min(event_shape) < 1:
        raise ShapeError(
            "events: expected shape (numbers,) or (channels, *grid) with one to three axes, all at least 1, got "
            f"{tuple(event_shape)}."
        )
