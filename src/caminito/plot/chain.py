"""Pictures of the way to noise of numbers: its paths, its marginals, its kernel and its end.

x_t is the number at time t, q(x_t) its density, and q(x_t | x_0) its density when it started from x_0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from caminito._errors import ConfigError, DataError, ShapeError
from caminito.plot import style
from caminito.plot.arrays import Values, checked, densities, rising
from caminito.plot.points import bins_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["diffusion_paths", "kernels", "marginals", "terminal"]

_MANY = 30  # values from which on a histogram says something


def diffusion_paths(
    paths: ArrayLike,
    times: ArrayLike,
    density: ArrayLike | None = None,
    grid: ArrayLike | None = None,
    *,
    shown: int = 5,
    title: str = "Data become noise",
    caption: str | None = None,
) -> Figure:
    """Paths of numbers from data to noise over the density of q(x_t) as a heat map.

    Parameters
    ----------
    paths : array, shape (times, n)
        Where each of n numbers is at each time, data first; data units.
    times : array, shape (times,)
        Increasing; the steps of a chain or process times.
    density : array, shape (points, times), optional
        q(x_t) at each point of `grid` and each time.
    grid : array, shape (points,), optional
        Increasing; where `density` is known. It is the vertical range of the picture.
    shown : int
        At most so many paths are drawn as lines; all enter the histograms at both ends, which need 30.
    title : str
        What is seen.
    caption : str, optional
        What to look at; by default a sentence for this picture, and none without a title.

    Returns
    -------
    Figure
        The colour is the density divided by the largest of its time.

    Raises
    ------
    ShapeError, DataError
        If the arrays do not fit together, are empty or not finite, times or grid do not increase, or a density is
        negative.
    ConfigError
        If `shown` is less than 1, or only one of `density` and `grid` is given.
    """
    if shown < 1 or (density is None) != (grid is None):
        raise ConfigError("expected shown >= 1, and density and grid both or neither. grid says where density is.")
    tracks, clock = checked(paths=(paths, "times n"), times=(times, "times"))
    rising("times", clock)
    points: Values | None = None
    if density is not None and grid is not None:
        points, heights = checked(grid=(grid, "points"), density=(density, f"points {len(clock)}"))
        rising("grid", points)
        densities("density", heights)
    many = tracks.shape[1] >= _MANY
    if points is None and not many:
        fig, axes = style.figure(7.4, 3.6)
    else:
        fig, (start, axes, end) = style.figure(8.6, 3.7, 3, sharey=True, width_ratios=(1.1, 7, 1.1))
        for side, place, name in ((start, 0, "x_0"), (end, -1, "x_T")):
            known = None if points is None else (points, heights[:, place])
            _end(side, tracks[place] if many else None, known, f"$q({name})$")
        start.invert_xaxis()
        style.strip(start, "$q(x_0)$", side="right")
    if points is not None:
        shares = heights / np.maximum(heights.max(axis=0), np.finfo(np.float64).tiny)
        axes.pcolormesh(clock, points, shares, cmap=style.heat(), vmin=0, vmax=1, shading="nearest", rasterized=True)
        axes.set_ylim(points[0], points[-1])
    few = tracks[:, :shown]
    axes.plot(clock, few, color=style.INK, linewidth=0.9, alpha=0.85)
    axes.plot(np.full(few.shape[1], clock[0]), few[0], "o", color=style.REAL, markersize=5, clip_on=False, zorder=4)
    axes.plot(np.full(few.shape[1], clock[-1]), few[-1], "o", color=style.INK, markersize=4, clip_on=False, zorder=4)
    style.dress(axes, "", "time $t$", "$x_t$", grid="")
    axes.set_xlim(clock[0], clock[-1])
    axes.tick_params(labelleft=True)
    style.caption(fig, title, caption, _paths_caption(points is not None))
    return fig


def marginals(
    grid: ArrayLike,
    density: ArrayLike,
    labels: Sequence[str],
    *,
    title: str = "The marginals $q(x_t)$",
    caption: str | None = None,
) -> Figure:
    """Densities of q(x_t) at chosen times, one above the other, on one scale.

    Parameters
    ----------
    grid : array, shape (points,)
        Increasing; where the densities are known, in data units.
    density : array, shape (times, points)
        q(x_t) at each chosen time, data first.
    labels : sequence of str, shape (times,)
        A name for each, such as "t = 10".
    title, caption : str
        What is seen, and what to look at, as for `diffusion_paths`.

    Returns
    -------
    Figure
        Each ridge stands on a line of its own, blue for data and grey for noise.

    Raises
    ------
    ShapeError, DataError
        If the arrays do not fit together, are empty or not finite, the grid does not increase, or a density is
        negative.
    """
    points, heights = checked(grid=(grid, "points"), density=(density, "times points"))
    rising("grid", points)
    densities("density", heights)
    if len(labels) != len(heights):
        raise ShapeError(f"labels: expected {len(heights)}, one per row of density, got {len(labels)}.")
    count = len(heights)
    fig, axes = style.figure(7.2, 0.9 + 0.62 * count)
    tall = 1.5 / max(float(heights.max()), np.finfo(np.float64).tiny)  # ridges may reach into the row above
    for row, (height, label) in enumerate(zip(heights, labels)):
        colour = style.blend(style.REAL, style.MUTED, row / max(1, count - 1))
        base = count - 1 - row
        axes.fill_between(points, base, base + tall * height, color=colour, alpha=0.3, linewidth=0, zorder=2 * row + 2)
        axes.plot(points, base + tall * height, color=colour, linewidth=1.6, zorder=2 * row + 3, label=label)
        axes.axhline(base, color=style.HAIR, linewidth=0.7, zorder=1)
        axes.text(-0.02, base, label, transform=axes.get_yaxis_transform(), **_text("right", "bottom"))
    style.dress(axes, "", "$x_t$", grid="")
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_yticks([])
    axes.set_xlim(points[0], points[-1])
    axes.set_ylim(-0.08, count + 0.62)
    usual = "All ridges have one scale. The peaks of the data widen and merge, until only a normal is left of them."
    style.caption(fig, title, caption, usual)
    return fig


def kernels(
    starts: ArrayLike,
    times: ArrayLike,
    mean: ArrayLike,
    std: ArrayLike,
    *,
    at: Sequence[float] | None = None,
    title: str = "The diffusion kernel $q(x_t\\mid{}x_0)$",
    caption: str | None = None,
) -> Figure:
    """The normal q(x_t | x_0) of a few starts: its mean and spread over time, and its density at chosen times.

    Parameters
    ----------
    starts : array, shape (starts,)
        Each x_0, in data units.
    times : array, shape (times,)
        Increasing.
    mean : array, shape (starts, times)
        Of q(x_t | x_0); alpha_t x_0.
    std : array, shape (times,)
        Its standard deviation, sigma_t >= 0.
    at : sequence of float, optional
        Times whose densities are drawn beside; by default a tenth, a third and all of the way.
    title, caption : str
        What is seen, and what to look at, as for `diffusion_paths`.

    Returns
    -------
    Figure
        Bands reach two standard deviations from the mean; each density has a scale of its own.

    Raises
    ------
    ShapeError, DataError
        If the arrays do not fit together, are empty or not finite, times do not increase, or `std` is negative.
    ConfigError
        If `at` holds what is not one of `times`, or a time whose std is 0.
    """
    first, clock, centre, spread = checked(
        starts=(starts, "starts"), times=(times, "times"), mean=(mean, "starts times"), std=(std, "times")
    )
    rising("times", clock)
    densities("std", spread)
    chosen = _chosen(clock, spread, at)
    fig, (axes, *sides) = style.figure(
        6.4 + 0.95 * len(chosen), 3.7, 1 + len(chosen), sharey=True, width_ratios=(6, *[1] * len(chosen))
    )
    low, high = float((centre - 2.8 * spread).min()), float((centre + 2.8 * spread).max())
    points = np.linspace(low, high, 400)
    for x0, path, colour in zip(first, centre, style.colours(len(first))):
        edges = path - 2 * spread, path + 2 * spread
        axes.fill_between(clock, *edges, color=colour, alpha=0.13, linewidth=0)
        axes.plot(clock, np.stack(edges, axis=1), color=colour, linewidth=0.7, alpha=0.6)
        axes.plot(clock, path, color=colour, linewidth=1.8, label=f"$x_0 = {x0:g}$")
        axes.plot(clock[0], path[0], "o", color=colour, markersize=5, clip_on=False)
        for side, place in zip(sides, chosen):
            height = _normal(points, path[place], spread[place])
            side.fill_betweenx(points, 0, height, color=colour, alpha=0.2, linewidth=0)
            side.plot(height, points, color=colour, linewidth=1.4)
    for side, place in zip(sides, chosen):
        style.strip(side, f"$t$ = {clock[place]:g}")
        side.set_xlim(left=0)
        axes.axvline(clock[place], color=style.HAIR, linewidth=0.9, zorder=0.5)
    style.dress(axes, "", "time $t$", "$x_t$", grid="")
    axes.tick_params(labelleft=True)
    axes.set_xlim(clock[0], clock[-1])
    axes.set_ylim(low, high)
    style.legend(axes, loc="upper right", ncols=len(first))
    usual = (
        "Lines are means, bands reach two standard deviations to each side; beside them the densities at chosen times. "
        "Where those of several starts overlap, $x_t$ no longer tells where it came from."
    )
    style.caption(fig, title, caption, usual)
    return fig


def terminal(
    samples: ArrayLike,
    *,
    bins: int | None = None,
    title: str = "The end of the chain",
    caption: str | None = None,
) -> Figure:
    """Histogram of x_T with the normal that fits it, and N(0, 1), the noise that sampling starts from.

    Parameters
    ----------
    samples : array, shape (n,)
        x_T of n paths, n > 1.
    bins : int, optional
        By default the rule of Freedman and Diaconis, at most 120.
    title, caption : str
        What is seen, and what to look at, as for `diffusion_paths`.

    Returns
    -------
    Figure
        Mean and standard deviation are written with their standard errors, those of independent normal numbers.

    Raises
    ------
    ShapeError, DataError
        If `samples` are not finite numbers in a row, or all the same.
    """
    (numbers,) = checked(samples=(samples, "n"))
    count, mean, std = len(numbers), float(numbers.mean()), float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0
    if not std > 0:
        raise DataError("samples: expected at least two different numbers, got one value only. No normal fits that.")
    fig, axes = style.figure(7.2, 3.3)
    edges = np.histogram_bin_edges(numbers, bins=bins_of(numbers) if bins is None else bins)
    axes.hist(numbers, bins=edges, density=True, color=style.MUTED, alpha=0.3, linewidth=0, label="$x_T$")
    reach = 4 * max(1.0, std)
    points = np.linspace(min(-reach, mean - reach), max(reach, mean + reach), 400)
    fitted = _normal(points, mean, std)
    axes.plot(points, fitted, color=style.GENERATED, linewidth=2.2, label="fitted normal")
    axes.plot(points, _normal(points, 0, 1), color=style.INK, linewidth=1.4, linestyle=(0, (4, 2.5)), label="N(0, 1)")
    told = (
        f"mean {mean:.3f} ± {std / math.sqrt(count):.3f}\n"
        f"standard deviation {std:.3f} ± {std / math.sqrt(2 * (count - 1)):.3f}"
    ).replace("-", "−")
    axes.text(0.015, 0.97, told, transform=axes.transAxes, linespacing=1.6, **_text("left", "top"))
    style.dress(axes, "", "$x_T$", "density")
    axes.set_xlim(points[0], points[-1])
    style.legend(axes, loc="upper right")
    usual = (
        "Sampling starts from N(0, 1), dashed. Where the fitted normal leaves it, or the histogram leaves the fitted "
        "normal, the chain is too short: it still remembers the data."
    )
    style.caption(fig, title, caption, usual)
    return fig


def _end(axes: Any, numbers: Values | None, known: tuple[Values, Values] | None, name: str) -> None:
    """A histogram and a density, lying."""
    if numbers is not None:
        axes.hist(
            numbers,
            bins=max(40, bins_of(numbers)),
            density=True,
            orientation="horizontal",
            color=style.MUTED,
            alpha=0.35,
            linewidth=0,
        )
    if known is not None:
        axes.plot(known[1], known[0], color=style.REAL, linewidth=1.6)
    style.strip(axes, name)
    axes.set_xlim(left=0)


def _paths_caption(dense: bool) -> str:
    lines = "Each line is one number on its way"
    blue = "; blue is where numbers are likely at that time" if dense else ""
    return f"{lines}{blue}. At the left they lie where data lie; at the right nothing tells which was which."


def _chosen(clock: Values, spread: Values, at: Sequence[float] | None) -> list[int]:
    if at is None:
        return sorted({max(1, round(share * (len(clock) - 1))) for share in (0.1, 1 / 3, 1.0)} & set(range(len(clock))))
    found = []
    for moment in at:
        place = int(np.abs(clock - moment).argmin())
        if not math.isclose(clock[place], moment, rel_tol=1e-9, abs_tol=1e-12) or spread[place] == 0:
            raise ConfigError(f"at: expected some of times with std > 0, got {moment}.")
        found.append(place)
    return found


def _normal(points: Values, mean: float, std: float) -> Values:
    return np.asarray(np.exp(-0.5 * ((points - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi)))


def _text(across: str, down: str) -> dict[str, Any]:
    return {"ha": across, "va": down, "fontsize": 8.5, "color": style.INK}
