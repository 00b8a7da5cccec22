"""Which network for which events: a rule, stated once.

Rows of numbers (one axis) take the residual perceptron. Grids (channels first, then one to three axes) take the U-Net.
"""

from __future__ import annotations

from typing import Any

__all__ = ["suggest"]


def suggest(event_shape: tuple[int, ...], n_items: int) -> dict[str, Any]:
    """Options of a network that suits the events.

    Parameters
    ----------
    event_shape : tuple of int
        (d,) for rows of numbers, (channels, *grid) for grids.
    n_items : int
        Number of training items.

    Returns
    -------
    dict
        Options for `build`.
    """
    if len(event_shape) == 1:
        return {"kind": "mlp", "event_size": event_shape[0]}
    return {"kind": "unet", "dims": len(event_shape) - 1, "channels": event_shape[0]}
