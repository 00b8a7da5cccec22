"""The picture of samples: a grid of images, a cloud of points, or a histogram; and the recipe it carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

import caminito
from caminito import plot
from caminito.data import ImageCodec
from caminito.estimators.model import DiffusionModel
from caminito.sampling import Solver, name_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["drawable", "film", "limits_of", "picture", "preview", "recipe"]


def limits_of(model: DiffusionModel) -> tuple[float, float] | None:
    """Values shown as black and as white; None: those of the integer type, or those found."""
    codec = model.codec_
    return codec.limits if isinstance(codec, ImageCodec) and codec.dtype != np.uint8 else None


def drawable(images: np.ndarray) -> np.ndarray:
    """Images with 1, 3 or 4 channels: grey with alpha becomes RGBA."""
    if images.ndim == 4 and images.shape[-1] == 2:
        return np.concatenate([images[..., :1]] * 3 + [images[..., 1:]], axis=-1)
    return images


def picture(model: DiffusionModel, samples: Any, columns: int | None = None) -> np.ndarray | Figure | None:
    """What samples look like; None for rows of more than two numbers and for volumes."""
    array = np.asarray(samples)
    if isinstance(model.codec_, ImageCodec):
        return plot.tile(drawable(array), columns=columns, limits=limits_of(model))
    if array.ndim == 2 and array.shape[1] == 1:
        return plot.histogram1d(array[:, 0])
    if array.ndim == 2 and array.shape[1] == 2:
        return plot.scatter(array, names=("samples", ""))
    if array.ndim == 4 and model.channel_axis == 1:
        array = np.moveaxis(array, 1, -1)
    if array.ndim == 4 and array.shape[-1] == 2:
        array = array[..., 0]
    if array.ndim == 3 or (array.ndim == 4 and array.shape[-1] in (1, 3, 4)):
        return plot.tile(array, columns=columns)
    return None


def preview(
    model: DiffusionModel, asked: Mapping[str, Any] | None = None
) -> tuple[np.ndarray | Figure | None, dict[str, Any]]:
    """A picture of samples from noise that is always the same, their seed and number.

    Parameters
    ----------
    model : DiffusionModel
    asked : mapping of values by name, optional
        Conditions of so many samples, of which as many are drawn as a picture shows. Without them few classes have a
        row each.
    """
    size = int(np.prod(model.event_shape_))
    classes = getattr(model, "classes_", None)
    condition: Any = None
    columns = None
    if len(model.event_shape_) == 1:
        count = 2000
    else:
        columns = 8 if size <= 4096 else 4
        count = columns * columns
        if classes is not None and len(classes) <= 10 and asked is None:
            count = columns * len(classes)
            condition = np.repeat(classes, columns)
    facts: dict[str, Any] = {"seed": 0, "samples": count}
    if asked is not None:
        count = facts["samples"] = min(count, *map(len, asked.values()))
        condition = {name: values[:count] for name, values in asked.items()}
        facts["condition"] = "those of items of the data, held out ones first"
    samples = model.sample(count, condition=condition, random_state=0)
    return picture(model, samples, columns), facts


def film(model: DiffusionModel, count: int, random_state: int = 0) -> tuple[np.ndarray, list[float]]:
    """The way of the first `count` samples from noise to data: items (steps + 1, count, ...), and the times."""
    times, frames = zip(*model.walk(count, random_state=random_state))
    return np.stack(frames), list(times)


def recipe(
    model: DiffusionModel, run: str, *, n_steps: int | None = None, solver: Solver | None = None, **rest: Any
) -> dict[str, str]:
    """What it takes to draw the samples again, as text for a PNG file."""
    rule, grid = model.solver_and_grid(n_steps, solver)
    facts = {
        "software": f"caminito {caminito.__version__}",
        "run": run,
        "trained_steps": model.n_steps_,
        "steps": len(grid) - 1,
        "solver": name_of(rule),
        **rest,
    }
    return {name: str(value) for name, value in facts.items() if value is not None}
