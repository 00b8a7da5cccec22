"""Pictures of images: grids, films of the way from noise to data, and samples beside their nearest training items.

Images are arrays as a user holds them: (n, height, width) or (n, height, width, channels) with 1, 3 or 4 channels. They
are enlarged by whole factors with square pixels, so an 8 x 8 digit is seen as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import ConfigError, DataError, NonFiniteError, ShapeError
from caminito.plot import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["corruption", "film_strip", "image_grid", "nearest", "tile"]

Limits = tuple[float, float]
Times = Sequence[float] | Sequence[str] | NDArray[np.floating[Any]]

_SEEN = 64  # pixels that the longer side of a small image is enlarged to, at least
_MARGIN, _LABEL = 14, 24  # pixels around a picture, and above it for column labels
_FILM = "Each row is one sample. What is large is decided first, at much noise, and the details last."
_CORRUPTION = "Each row is one image. Details go first and what is large goes last, as it will come back in reverse."
_NEAREST = "A model that has learnt makes items that resemble a neighbour as real ones do; one that copies repeats it."
_READ = 640  # pixels that a caption is given at least


def tile(
    images: ArrayLike,
    *,
    columns: int | None = None,
    scale: int | None = None,
    gap: int = 2,
    limits: Limits | None = None,
) -> NDArray[np.uint8]:
    """One picture of many, exact to the pixel, row by row on the paper of the theme.

    Parameters
    ----------
    images : array, shape (n, height, width) or (n, height, width, 1 | 3 | 4)
        Grey, RGB or RGBA.
    columns : int, optional
        Images per row; by default about as many as there are rows.
    scale : int, optional
        Each pixel becomes `scale` x `scale`; by default just enough for an image of at least 64 pixels.
    gap : int
        Pixels between images and around them.
    limits : (low, high), optional
        Values shown as black and as white; what lies outside is clipped. By default the range of an 8- or 16-bit
        integer type, else the smallest and the largest value of all images.

    Returns
    -------
    uint8 array, shape (rows (height scale + gap) + gap, columns (width scale + gap) + gap) or with 3 or 4 channels
        Image i has its upper left pixel at (gap + (i // columns) (height scale + gap), gap + (i % columns) (...)).

    Raises
    ------
    ConfigError
        If `columns`, `scale`, `gap` or `limits` make no picture.
    DataError, ShapeError, NonFiniteError
        If `images` are not images.
    """
    shown = _as_bytes(images, limits)
    count, height, width, channels = shown.shape
    columns = math.ceil(math.sqrt(count)) if columns is None else columns
    scale = max(1, math.ceil(_SEEN / max(height, width))) if scale is None else scale
    if columns < 1 or scale < 1 or gap < 0:
        raise ConfigError(f"expected columns >= 1, scale >= 1 and gap >= 0, got {columns}, {scale} and {gap}.")
    rows = math.ceil(count / columns)
    big = shown.repeat(scale, axis=1).repeat(scale, axis=2)
    down, across = height * scale + gap, width * scale + gap
    canvas = np.full((rows * down + gap, columns * across + gap, channels), style.paper_level(), dtype=np.uint8)
    canvas[..., 3:] = 255  # nothing shines through
    for i, image in enumerate(big):
        top, left = gap + (i // columns) * down, gap + (i % columns) * across
        canvas[top : top + down - gap, left : left + across - gap] = image
    return canvas[..., 0] if channels == 1 else canvas


def image_grid(
    images: ArrayLike,
    columns: int | None = None,
    *,
    title: str = "",
    caption: str = "",
    row_labels: Sequence[str] | None = None,
    limits: Limits | None = None,
) -> Figure:
    """Images in rows.

    Parameters
    ----------
    images, columns, limits
        As for `tile`.
    title, caption : str
        What is seen, and what to look at.
    row_labels : sequence of str, optional
        A word for each row, such as its class.

    Returns
    -------
    Figure
        Saved at its own resolution, every image pixel is a square of whole pixels.

    Raises
    ------
    ConfigError, DataError, ShapeError, NonFiniteError
        As for `tile`.
    """
    count = len(_as_images(images))
    columns = math.ceil(math.sqrt(count)) if columns is None else columns
    picture = tile(images, columns=columns, gap=3, limits=limits)
    fig, axes = _frame(picture, title, caption, left=_label_width(row_labels))
    _label_rows(axes, picture, row_labels, math.ceil(count / columns), gap=3)
    return fig


def film_strip(
    frames: ArrayLike,
    times: Times,
    *,
    columns: int = 10,
    title: str = "From noise to data",
    caption: str | None = None,
    limits: Limits | None = None,
) -> Figure:
    """The steps of denoising: a row for each sample, time running from left to right.

    Parameters
    ----------
    frames : array, shape (steps, n, height, width) or (steps, n, height, width, channels)
        The samples at each step, noise first.
    times : sequence of float or str, shape (steps,)
        Process time of each frame, or words for it.
    columns : int
        At most this many frames are shown: the first, the last, and evenly chosen ones between.
    title : str
        What is seen.
    caption : str, optional
        What to look at; by default a sentence for this picture, and none without a title.
    limits : (low, high), optional
        As for `tile`, but by default taken from the last frame, the data; noise outside is clipped.

    Returns
    -------
    Figure

    Raises
    ------
    ShapeError
        If `frames` and `times` do not fit.
    ConfigError, DataError, NonFiniteError
        As for `tile`.
    """
    films, words = np.asarray(frames), _words(times)
    if films.ndim < 4 or len(films) != len(words):
        raise ShapeError(
            f"frames: expected shape (steps, n, height, width[, channels]) with one time per step, got {films.shape} "
            f"and {len(words)} times. Stack the frames of a trajectory along the first axis."
        )
    if films.size == 0:
        raise DataError(f"frames: expected at least one image and one step, got none (shape {films.shape}).")
    if columns < 1:
        raise ConfigError(f"columns: expected at least 1, got {columns}.")
    chosen = np.unique(np.linspace(0, len(films) - 1, min(columns, len(films))).round().astype(int))
    limits = _limits(films[-1]) if limits is None else limits
    across = np.swapaxes(films[chosen], 0, 1).reshape(-1, *films.shape[2:])
    picture = tile(across, columns=len(chosen), gap=3, limits=limits)
    fig, axes = _frame(picture, title, _text(title, caption, _FILM), above=_LABEL)
    pitch = (picture.shape[1] - 3) / len(chosen)
    for place, step in enumerate(chosen):
        axes.text(
            3 + pitch * place + (pitch - 3) / 2,
            -7,
            f"t = {words[step]}" if place == 0 and not isinstance(times[0], str) else words[step],
            ha="center",
            fontsize=7,
            color=style.MUTED,
        )
    return fig


def corruption(
    frames: ArrayLike,
    times: Times,
    *,
    columns: int = 10,
    title: str = "Images become noise",
    caption: str | None = None,
    limits: Limits | None = None,
) -> Figure:
    """Images on their way to noise: a row for each, time running from left to right.

    Parameters
    ----------
    frames : array, shape (steps, n, height, width) or (steps, n, height, width, channels)
        The images at each time, data first.
    times : sequence of float or str, shape (steps,)
        Process time of each frame, or words for it.
    columns, title, caption, limits
        As for `film_strip`; by default the limits are those of the first frame, the data.

    Returns
    -------
    Figure

    Raises
    ------
    ConfigError, DataError, ShapeError, NonFiniteError
        As for `film_strip`.
    """
    films = np.asarray(frames)
    limits = _limits(films[0]) if limits is None and films.ndim >= 4 and films.size else limits
    caption = _text(title, caption, _CORRUPTION)
    return film_strip(films, times, columns=columns, title=title, caption=caption, limits=limits)


def nearest(
    samples: ArrayLike,
    neighbours: ArrayLike,
    *,
    distances: Sequence[float] | NDArray[np.floating[Any]] | None = None,
    columns: int = 10,
    title: str = "Samples, and below each its nearest training item",
    caption: str | None = None,
    limits: Limits | None = None,
) -> Figure:
    """Samples beside the training items they are nearest to: what the copy gauge measures, to see.

    Parameters
    ----------
    samples, neighbours : array, shape (n, height, width[, channels])
        Row i of `neighbours` is the training item nearest to row i of `samples`.
    distances : sequence of float, optional
        Distance of each pair, written below it.
    columns : int
        Pairs per band.
    title, caption : str
        What is seen, and what to look at, as for `film_strip`.
    limits : (low, high), optional
        As for `tile`, taken over both sets.

    Returns
    -------
    Figure

    Raises
    ------
    ShapeError
        If the two sets, or the distances, do not match one to one.
    ConfigError, DataError, NonFiniteError
        As for `tile`.
    """
    ours, theirs = _as_images(samples), _as_images(neighbours)
    if ours.shape != theirs.shape or (distances is not None and len(distances) != len(ours)):
        raise ShapeError(
            f"expected one neighbour (and one distance) per sample, got shapes {ours.shape} and {theirs.shape}"
            + ("" if distances is None else f" and {len(distances)} distances")
            + ". Index the training data with the indices of the nearest items."
        )
    if columns < 1:
        raise ConfigError(f"columns: expected at least 1, got {columns}.")
    limits = _limits(np.concatenate([ours, theirs])) if limits is None else limits
    columns = min(columns, len(ours))
    foot = 26 if distances is not None else 16
    bands = []
    for start in range(0, len(ours), columns):
        upper, lower = (
            tile(part[start : start + columns], columns=columns, gap=3, limits=limits) for part in (ours, theirs)
        )
        bands += [upper, lower[3:], np.full((foot, *upper.shape[1:]), style.paper_level(), dtype=np.uint8)]
    picture = np.concatenate(bands)
    fig, axes = _frame(picture, title, _text(title, caption, _NEAREST))
    pitch, band = (picture.shape[1] - 3) / columns, picture.shape[0] // math.ceil(len(ours) / columns)
    for i, distance in enumerate(() if distances is None else distances):
        axes.text(
            3 + pitch * (i % columns) + (pitch - 3) / 2,
            band * (i // columns + 1) - foot + 5,
            _short(float(distance)),
            ha="center",
            va="top",
            fontsize=7,
            color=style.MUTED,
        )
    return fig


def _words(times: Times) -> list[str]:
    return [time if isinstance(time, str) else f"{time:.2g}" if abs(time) < 100 else f"{time:.0f}" for time in times]


def _text(title: str, caption: str | None, usual: str) -> str:
    return (usual if title else "") if caption is None else caption


def _as_images(images: ArrayLike) -> NDArray[np.generic]:
    array = np.asarray(images)
    if array.dtype.kind not in "buif":
        raise DataError(f"images: expected numbers, got dtype {array.dtype}.")
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3, 4) or array.size == 0:
        raise ShapeError(
            "images: expected shape (n, height, width) or (n, height, width, channels) with 1, 3 or 4 channels, n > 0, "
            f"got {np.shape(images)}. Move channels to the end with np.moveaxis(images, 1, -1)."
        )
    return array


def _limits(images: NDArray[np.generic]) -> Limits:
    if images.dtype in (np.uint8, np.uint16):
        return 0.0, 255.0 if images.dtype == np.uint8 else 65535.0
    values = images.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    return low, high if high > low else low + 1.0


def _as_bytes(images: ArrayLike, limits: Limits | None) -> NDArray[np.uint8]:
    array = _as_images(images)
    if array.dtype == np.uint8 and limits is None:
        return array.astype(np.uint8, copy=False)
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        bad = int(np.sum(~np.isfinite(values)))
        raise NonFiniteError(f"images: expected finite values, got {bad} NaN or infinite. Leave those images out.")
    low, high = _limits(array) if limits is None else limits
    if not low < high:
        raise ConfigError(f"limits: expected (low, high) with low < high, got {limits}.")
    return np.round(255.0 * np.clip((values - low) / (high - low), 0.0, 1.0)).astype(np.uint8)


def _frame(picture: NDArray[np.uint8], title: str, text: str, *, above: int = 0, left: int = 0) -> tuple[Figure, Any]:
    """Figure that shows `picture` pixel for pixel, with axes in its pixels: x to the right, y down."""
    height, width = picture.shape[:2]
    across = max(width + 2 * _MARGIN + left, 12 * len(title), _READ if text else 0)
    lines = style.wrapped(text, (across - 2 * _MARGIN) / style.DPI)
    top = above + max(_MARGIN, round(style.DPI * style.heading(title, len(lines))))
    down = height + top + _MARGIN
    fig = style.pixels(across, down)
    axes: Any = fig.add_axes(
        (
            (left + _MARGIN) / across,
            _MARGIN / down,
            width / across,
            height / down,
        )
    )
    axes.set_axis_off()
    shown = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)  # no rounding by a colour map
    axes.imshow(shown, interpolation="nearest", aspect="auto", extent=(0, width, height, 0))
    style.write_heading(fig, title, lines, left=(_MARGIN + 3) / style.DPI)
    return fig, axes


def _label_width(labels: Sequence[str] | None) -> int:
    return 12 + 11 * max(map(len, labels)) if labels else 0


def _label_rows(axes: Any, picture: NDArray[np.uint8], labels: Sequence[str] | None, rows: int, *, gap: int) -> None:
    if not labels:
        return
    if len(labels) != rows:
        raise ShapeError(f"row_labels: expected {rows}, one per row, got {len(labels)}.")
    pitch = (picture.shape[0] - gap) / rows
    for row, label in enumerate(labels):
        axes.text(
            -10, gap + pitch * row + (pitch - gap) / 2, label, ha="right", va="center", fontsize=8, color=style.MUTED
        )


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
