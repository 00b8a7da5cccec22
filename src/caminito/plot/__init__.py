"""Plots: every picture the project shows, each a function of arrays that returns a figure.

No picture needs a display or leaves state behind; `png_bytes` turns one into a file that carries its recipe.
"""

from __future__ import annotations

from caminito.plot.bars import scores, time_spent
from caminito.plot.chain import diffusion_paths, kernels, marginals, terminal
from caminito.plot.curves import loss_by_level, loss_curves, schedule
from caminito.plot.images import film_strip, image_grid, nearest, tile
from caminito.plot.png import png_bytes, read_recipe
from caminito.plot.points import histogram1d, scatter, trajectories
from caminito.plot.style import theme

__all__ = [
    "diffusion_paths",
    "film_strip",
    "histogram1d",
    "image_grid",
    "kernels",
    "loss_by_level",
    "loss_curves",
    "marginals",
    "nearest",
    "png_bytes",
    "read_recipe",
    "scatter",
    "schedule",
    "scores",
    "terminal",
    "theme",
    "tile",
    "time_spent",
    "trajectories",
]
