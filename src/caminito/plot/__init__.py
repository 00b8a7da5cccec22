"""Plots: every picture the project shows, each a function of arrays that returns a figure.

No picture needs a display or leaves state behind; `png_bytes` turns one into a file that carries its recipe.
"""

from __future__ import annotations

from caminito.plot.bars import scores, time_spent
from caminito.plot.calibration import calibration
from caminito.plot.chain import diffusion_paths, kernels, marginals, terminal
from caminito.plot.clouds import clouds
from caminito.plot.curves import errors_by_evaluations, loss_by_level, loss_curves, noise_tables, schedule
from caminito.plot.field import vector_field
from caminito.plot.images import corruption, film_strip, image_grid, nearest, tile
from caminito.plot.jumps import departures, jumps, reverse_conditionals
from caminito.plot.moving import gif_bytes, moving_images, moving_paths
from caminito.plot.png import png_bytes, read_recipe
from caminito.plot.points import histogram1d, scatter, trajectories
from caminito.plot.spread import spread
from caminito.plot.style import theme
from caminito.plot.tree import jump_tree

__all__ = [
    "calibration",
    "clouds",
    "corruption",
    "departures",
    "diffusion_paths",
    "errors_by_evaluations",
    "film_strip",
    "gif_bytes",
    "histogram1d",
    "image_grid",
    "jump_tree",
    "jumps",
    "kernels",
    "loss_by_level",
    "loss_curves",
    "marginals",
    "moving_images",
    "moving_paths",
    "nearest",
    "noise_tables",
    "png_bytes",
    "read_recipe",
    "reverse_conditionals",
    "scatter",
    "schedule",
    "scores",
    "spread",
    "terminal",
    "theme",
    "tile",
    "time_spent",
    "trajectories",
    "vector_field",
]
