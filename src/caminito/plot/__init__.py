"""Plots: every picture the project shows, each a function of arrays that returns a figure.

No picture needs a display or leaves state behind; `png_bytes` turns one into a file that carries its recipe.
"""

from __future__ import annotations

from caminito.plot.bars import scores, time_spent
from caminito.plot.curves import loss_by_level, loss_curves, schedule
from caminito.plot.images import film_strip, image_grid, nearest, tile
from caminito.plot.png import png_bytes, read_recipe
from caminito.plot.points import histogram1d, scatter, trajectories

__all__ = [
    "film_strip",
    "histogram1d",
    "image_grid",
    "loss_by_level",
    "loss_curves",
    "nearest",
    "png_bytes",
    "read_recipe",
    "scatter",
    "schedule",
    "scores",
    "tile",
    "time_spent",
    "trajectories",
]
