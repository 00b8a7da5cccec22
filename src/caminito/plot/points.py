"""Pictures of numbers and points: clouds side by side, paths from noise to data, and histograms on their density."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import ShapeError
from caminito.plot import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["histogram1d", "scatter", "trajectories"]


def scatter(
    real: ArrayLike,
    generated: ArrayLike | None = None,
    *,
    names: tuple[str, str] = ("real", "generated"),
    title: str = "",
) -> Figure:
    """Points in the plane: real data on the left, generated on the right, on the same axes.

    Parameters
    ----------
    real, generated : array, shape (n, 2)
        One or two sets of points.
    names : (str, str)
        What the two panels are called.
    title : str
        What is seen.

    Returns
    -------
    Figure
        Axes cover all real points and 99 % of the generated ones; no point is moved.

    Raises
    ------
    ShapeError
        If a set is not of shape (n, 2).
    """
    sets = [_points(each, name) for each, name in zip((real, generated), names) if each is not None]
    inner = np.concatenate([sets[0], *(np.quantile(more, [0.005, 0.995], axis=0) for more in sets[1:])])
    low, high = inner.min(axis=0), inner.max(axis=0)
    room = 0.04 * max(float(np.max(high - low)), 1e-12)
    fig, panels = style.figure(3.7 * len(sets) + 0.2, 3.9, len(sets), sharex=True, sharey=True)
    for axes, points, name, colour in zip(np.atleast_1d(panels), sets, names, (style.REAL, style.GENERATED)):
        axes.scatter(
            *points.T, s=_size(len(points)), color=colour, alpha=_alpha(len(points)), linewidths=0, rasterized=True
        )
        style.dress(axes, f"{name}   n = {_thousands(len(points))}", grid="both")
        axes.set_xlim(low[0] - room, high[0] + room)
        axes.set_ylim(low[1] - room, high[1] + room)
        axes.set_aspect("equal")
    style.caption(fig, title)
    return fig


def trajectories(paths: ArrayLike, times: ArrayLike | None = None, *, title: str = "From noise to data") -> Figure:
    """Paths of samples: against time when they are numbers, in the plane when they are points.

    Parameters
    ----------
    paths : array, shape (steps, n) or (steps, n, 1) or (steps, n, 2)
        Where each of n samples is at each step, noise first.
    times : array, shape (steps,), optional
        Process times of numbers; by default the index of the step. Noise (large t) is drawn on the left.
    title : str
        What is seen.

    Returns
    -------
    Figure

    Raises
    ------
    ShapeError
        If `paths` are neither numbers nor points, or `times` do not fit.
    """
    tracks = np.asarray(paths, dtype=np.float64)
    tracks = tracks[..., None] if tracks.ndim == 2 else tracks
    if (
        tracks.ndim != 3
        or tracks.shape[2] not in (1, 2)
        or (times is not None and len(np.asarray(times)) != len(tracks))
    ):
        raise ShapeError(
            f"paths: expected shape (steps, n), (steps, n, 1) or (steps, n, 2) and one time per step, "
            f"got {tracks.shape}" + ("." if times is None else f" and {len(np.asarray(times))} times.")
        )
    if tracks.shape[2] == 2:
        return _plane(tracks, title)
    clock = np.arange(len(tracks), dtype=np.float64) if times is None else np.asarray(times, dtype=np.float64)
    return _against_time(tracks[..., 0], clock, "step" if times is None else "time t", title)


def histogram1d(
    samples: ArrayLike,
    density: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    bins: int | None = None,
    names: tuple[str, str] = ("samples", "density"),
    x: str = "",
    title: str = "",
) -> Figure:
    """Histogram of numbers, with the density they should have.

    Parameters
    ----------
    samples : array, shape (n,)
        Numbers.
    density : (x, p), optional
        Where the density is known, and its values there: two arrays of one length.
    bins : int, optional
        Number of bins; by default the rule of Freedman and Diaconis, at most 120.
    names : (str, str)
        What the two are called.
    x, title : str
        What the axis measures, and what is seen.

    Returns
    -------
    Figure

    Raises
    ------
    ShapeError
        If `samples` or `density` are not numbers in a row.
    """
    numbers = np.asarray(samples, dtype=np.float64)
    numbers = numbers[:, 0] if numbers.ndim == 2 and numbers.shape[1] == 1 else numbers
    if numbers.ndim != 1 or numbers.size == 0:
        raise ShapeError(f"samples: expected shape (n,) or (n, 1), got {np.shape(samples)}.")
    fig, axes = style.figure(7.2, 3.4)
    edges = np.histogram_bin_edges(numbers, bins=bins_of(numbers) if bins is None else bins)
    axes.hist(numbers, bins=edges, density=True, color=style.GENERATED, alpha=0.35, linewidth=0, label=names[0])
    if density is not None:
        where, height = (np.asarray(values, dtype=np.float64) for values in density)
        if where.shape != height.shape or where.ndim != 1:
            raise ShapeError(f"density: expected (x, p) of one length, got shapes {where.shape} and {height.shape}.")
        axes.plot(where, height, color=style.REAL, linewidth=2, label=names[1])
        style.legend(axes, loc="upper right")
    style.dress(axes, title, x, "density")
    axes.margins(x=0.01)
    return fig


def _against_time(tracks: NDArray[np.float64], clock: NDArray[np.float64], x: str, title: str) -> Figure:
    fig, (axes, side) = style.figure(7.6, 3.8, 2, sharey=True, width_ratios=(6, 1))
    axes.plot(clock, tracks, color=style.MUTED, linewidth=0.8, alpha=_alpha(12 * tracks.shape[1]))
    axes.plot(
        np.full(tracks.shape[1], clock[-1]),
        tracks[-1],
        "o",
        color=style.GENERATED,
        markersize=2.8,
        alpha=0.7,
        mew=0,
        clip_on=False,
    )
    if clock[0] > clock[-1]:
        axes.invert_xaxis()
    axes.margins(x=0.01)
    side.hist(tracks[-1], bins=bins_of(tracks[-1]), orientation="horizontal", color=style.GENERATED, alpha=0.45)
    style.dress(axes, title, x, "x", grid="")
    style.dress(side, "", "where they end", grid="")
    side.spines["bottom"].set_visible(False)
    side.set_xticks([])
    side.tick_params(labelleft=False)
    return fig


def _plane(tracks: NDArray[np.float64], title: str) -> Figure:
    fig, axes = style.figure(4.6, 4.6)
    axes.plot(tracks[..., 0], tracks[..., 1], color=style.MUTED, linewidth=0.7, alpha=_alpha(12 * tracks.shape[1]))
    axes.scatter(
        *tracks[0].T, s=9, facecolors="none", edgecolors=style.MUTED, linewidths=0.7, label="start: noise", zorder=3
    )
    axes.scatter(*tracks[-1].T, s=11, color=style.GENERATED, linewidths=0, label="end: data", zorder=4)
    style.dress(axes, title, grid="")
    axes.set_aspect("equal")
    axes.legend(
        frameon=False,
        fontsize=8,
        labelcolor=style.INK,
        loc="upper left",
        bbox_to_anchor=(0, -0.06),
        ncols=2,
        borderaxespad=0,
        handletextpad=0.2,
        columnspacing=1.2,
    )
    return fig


def _points(values: ArrayLike, name: str) -> NDArray[np.float64]:
    points = np.asarray(values, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise ShapeError(f"{name}: expected points of shape (n, 2), got {points.shape}. Choose two columns.")
    return points


def bins_of(numbers: NDArray[np.float64]) -> int:
    return int(np.clip(len(np.histogram_bin_edges(numbers, bins="fd")) - 1, 12, 120))


def _size(count: int) -> float:
    return float(np.clip(4000 / count, 1.5, 9))


def _alpha(count: int) -> float:
    return float(np.clip(40 / np.sqrt(count) / 2, 0.12, 0.85))


def _thousands(count: int) -> str:
    return f"{count:,}".replace(",", " ")
