"""Pictures of the way back of numbers: its conditionals, its jumps, and where those draw points.

A chain goes to noise by x_i = (1 - mu_i) x_{i-1} + sigma_i eps. Back goes q(x_{i-1} | x_i), proportional to
q(x_i | x_{i-1}) q(x_{i-1}), or a map m_i of x_i. Undoing the drift alone is the dilation x / (1 - mu_i); what a map
does beyond it, m_i(x) - x / (1 - mu_i), is its departure, and leads to the data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from caminito._errors import ConfigError, DataError, ShapeError
from caminito.plot import style
from caminito.plot.arrays import Values, checked, densities, rising
from caminito.plot.points import alpha_of, shape_of, size_of

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

__all__ = ["departures", "jumps", "reverse_conditionals"]

_ACROSS = 4  # panels in a row
_LINES = 8  # departures that are told apart as lines
_DASHED = (0, (4, 2.5))
_MASS = 0.05  # what the mass of a density may miss of 1
_TAIL = 0.005  # share of points beyond each end of where points are


def reverse_conditionals(
    grid: ArrayLike,
    exact: ArrayLike,
    normal: ArrayLike,
    labels: Sequence[str],
    *,
    known: ArrayLike | None = None,
    starts: ArrayLike | None = None,
    title: str = "The reverse conditional $q(x_{t-1}\\mid{}x_t)$ and a normal",
    caption: str | None = None,
) -> Figure:
    """The exact q(x_{t-1} | x_t) beside the normal of its mean and variance, one panel per size of step.

    Parameters
    ----------
    grid : array, shape (points,) or (panels, points)
        Increasing; where the densities are known, for all panels or for each, since they become narrow with the step.
    exact, normal : array, shape (panels, points)
        q(x_{t-1} | x_t), and the density of the normal.
    labels : sequence of str, shape (panels,)
        A name for each, such as "beta = 0.5".
    known : array, shape (panels, starts, points), optional
        q(x_{t-1} | x_t, x_0) for a few x_0.
    starts : array, shape (starts,), optional
        Those x_0.
    title : str
        What is seen.
    caption : str, optional
        What to look at; by default a sentence for this picture, and none without a title.

    Returns
    -------
    Figure
        Each panel has a scale of its own and tells the total variation, half the integral of |exact - normal|: 0 if
        they are one, 1 if they share nothing.

    Raises
    ------
    ShapeError, DataError
        If the arrays do not fit together, are empty or not finite, a grid does not increase, a density is negative, or
        one of the first two misses more than 5 % of its mass.
    ConfigError
        If only one of `known` and `starts` is given.
    """
    if (known is None) != (starts is None):
        raise ConfigError(
            "expected known and starts both or neither. starts says which x_0 each row of known is given."
        )
    heights, fitted, places = checked(
        exact=(exact, "panels points"),
        normal=(normal, "panels points"),
        grid=(grid, "points" if len(shape_of("grid", grid)) == 1 else "panels points"),
    )
    rising("grid", places)
    places = np.broadcast_to(places, heights.shape)
    _whole("exact", places, heights)
    _whole("normal", places, fitted)
    if len(labels) != len(heights):
        raise ShapeError(f"labels: expected {len(heights)}, one per row of exact, got {len(labels)}.")
    informed, origins = np.empty((len(heights), 0, heights.shape[1])), np.empty(0)
    if known is not None and starts is not None:
        origins, informed = checked(
            starts=(starts, "starts"), known=(known, f"{len(heights)} starts {heights.shape[1]}")
        )
        densities("known", informed)
    across = min(_ACROSS, len(heights))
    down = math.ceil(len(heights) / across)
    fig, panels = style.figure(max(4.6, 0.4 + 2.3 * across), 0.5 + 2.35 * down, (down, across), squeeze=False)
    for axes in panels.flat[len(heights) :]:
        axes.set_axis_off()
    for row, axes in enumerate(panels.flat[: len(heights)]):
        points, height = places[row], heights[row]
        for x0, curve, colour in zip(origins, informed[row], _others(len(origins))):
            axes.plot(points, curve, color=colour, linewidth=1.1, label=f"$x_0$ = {x0:g} known".replace("-", "−"))
        axes.fill_between(points, 0, height, color=style.REAL, alpha=0.2, linewidth=0)
        axes.plot(points, height, color=style.REAL, linewidth=1.8, label="exact")
        axes.plot(
            points,
            fitted[row],
            color=style.INK,
            linewidth=1.3,
            linestyle=_DASHED,
            label="normal of its mean and variance",
        )
        style.dress(axes, "", "$x_{t-1}$", grid="")
        axes.set_title(labels[row], loc="left", fontsize=9.5, color=style.INK, pad=20)
        apart = _area(points, np.abs(height - fitted[row])) / 2
        told = f"total variation {_small(apart)}"
        axes.annotate(told, (0, 1), (0, 6), "axes fraction", "offset points", fontsize=8, color=style.MUTED)
        axes.spines["left"].set_visible(False)
        axes.set_yticks([])
        axes.set_ylim(bottom=0)
        axes.set_xlim(points[0], points[-1])
        axes.locator_params(axis="x", nbins=4)
    _below(fig, panels.flat[0])
    style.caption(fig, title, caption, _conditionals_caption(bool(len(origins))))
    return fig


def jumps(
    before: ArrayLike,
    after: ArrayLike,
    *,
    maps: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    dilation: float | None = None,
    names: tuple[str, str] = ("$x_{i-1}$", "$x_i$"),
    title: str = "One jump and its inverse",
    caption: str | None = None,
) -> Figure:
    """The pairs of one jump twice: from where to where, and the other way round.

    Parameters
    ----------
    before, after : array, shape (n,)
        x_{i-1} and x_i of n paths.
    maps : mapping of str to (grid, values), optional
        Reverse maps, x_{i-1} as a function of x_i, each under its name; two arrays of one length, the grid increasing.
        They are drawn at the right as the lines through these points: steps of trees need many.
    dilation : float, optional
        1 / (1 - mu_i): the slope of the map that only undoes the drift, dashed at the right, its inverse at the left.
    names : (str, str)
        What x_{i-1} and x_i are called.
    title, caption : str
        What is seen, and what to look at, as for `reverse_conditionals`.

    Returns
    -------
    Figure
        All four axes have one range, that of the pairs.

    Raises
    ------
    ShapeError, DataError
        If the arrays do not fit together, are empty or not finite, or the grid of a map does not increase.
    ConfigError
        If `dilation` is 0 or not finite.
    """
    if dilation is not None and not (math.isfinite(dilation) and dilation):
        raise ConfigError(f"dilation: expected a finite slope 1 / (1 - mu), not 0, got {dilation}.")
    source, target = checked(before=(before, "n"), after=(after, "n"))
    lines = {name: _map(name, *given) for name, given in (maps or {}).items()}
    low, high = min(source.min(), target.min()), max(source.max(), target.max())
    room = 0.04 * max(float(high - low), 1e-12)
    edges = np.array([low - room, high + room])
    fig, (left, right) = style.figure(7.6, 3.95, 2)
    dots: dict[str, Any] = {"s": size_of(len(source)), "alpha": alpha_of(len(source)), "linewidths": 0}
    for axes, across, up in ((left, source, target), (right, target, source)):
        axes.scatter(across, up, color=style.REAL, rasterized=True, **dots)
    if dilation is not None:
        dashed: dict[str, Any] = {"color": style.INK, "linewidth": 1.2, "linestyle": _DASHED, "zorder": 3}
        left.plot(edges, edges / dilation, **dashed)
        right.plot(edges, edges * dilation, label="dilation only", **dashed)
    for (name, (grid, values)), colour in zip(lines.items(), _others(len(lines))):
        right.plot(grid, values, color=colour, linewidth=1.6, label=name, zorder=4, solid_joinstyle="miter")
    style.dress(left, "The jump: from, to", f"from {names[0]}", f"to {names[1]}", grid="both")
    style.dress(right, "Its inverse: at, came from", f"at {names[1]}", f"came from {names[0]}", grid="both")
    for axes in (left, right):
        axes.set(xlim=edges, ylim=edges)
        axes.set_aspect("equal")
    if lines or dilation is not None:
        _below(fig, right)
    style.caption(fig, title, caption, _jumps_caption(bool(lines), dilation is not None))
    return fig


def departures(
    grid: ArrayLike,
    departure: ArrayLike,
    labels: Sequence[str],
    *,
    density: ArrayLike | None = None,
    title: str = "Where the reverse jumps draw points",
    caption: str | None = None,
) -> Figure:
    """How far each reverse jump departs from the map that only dilates: lines, or for many jumps a heat map.

    Parameters
    ----------
    grid : array, shape (points,)
        Increasing; where the jumps are known, in data units.
    departure : array, shape (jumps, points)
        m_i(x) - x / (1 - mu_i) of each jump.
    labels : sequence of str, shape (jumps,)
        A name for each, such as "i = 10".
    density : array, shape (jumps, points), optional
        q(x_i). Where it leaves out 99 % of the points is made faint or, on a heat map, lies beyond thin lines; the
        scale is that of the rest.
    title, caption : str
        What is seen, and what to look at, as for `reverse_conditionals`.

    Returns
    -------
    Figure
        Up to eight jumps are lines, the last the strongest; more are columns of a heat map whose colours are blue
        below 0, that of the paper at 0 and orange above.

    Raises
    ------
    ShapeError, DataError
        If the arrays do not fit together, are empty or not finite, the grid does not increase, or a density is negative
        or 0 everywhere.
    """
    points, shifts = checked(grid=(grid, "points"), departure=(departure, "jumps points"))
    rising("grid", points)
    if len(labels) != len(shifts):
        raise ShapeError(f"labels: expected {len(shifts)}, one per row of departure, got {len(labels)}.")
    bounds: Values | None = None
    if density is not None:
        (heights,) = checked(density=(density, f"{len(shifts)} {len(points)}"))
        bounds = np.array([_middle(points, row) for row in densities("density", heights)])
    inside = np.ones(shifts.shape, dtype=bool)
    if bounds is not None:
        inside = (bounds[:, :1] <= points) & (points <= bounds[:, 1:])
    largest = float(np.abs(shifts[inside]).max(initial=0.0)) or float(np.abs(shifts).max()) or 1.0
    if len(shifts) > _LINES:
        fig = _heat_map(points, shifts, labels, bounds, largest)
    else:
        fig = _lines(points, shifts, labels, inside, largest)
    style.caption(fig, title, caption, _departures_caption(len(shifts) > _LINES, bounds is not None))
    return fig


def _lines(points: Values, shifts: Values, labels: Sequence[str], inside: Any, largest: float) -> Figure:
    fig, axes = style.figure(7.4, 3.6)
    axes.axhline(0, color=style.MUTED, linewidth=0.9, zorder=1.5)
    for shift, label, seen, shade in zip(shifts, labels, inside, style.shades(len(shifts))):
        axes.plot(points, shift, color=shade, linewidth=1.8 if seen.all() else 0.7, label=label)
        if not seen.all():
            axes.plot(points, np.where(seen, shift, np.nan), color=shade, linewidth=1.8)
    style.dress(axes, "", "$x_i$", "departure  $m_i(x_i)-x_i/(1-\\mu_i)$")
    axes.set_xlim(points[0], points[-1])
    axes.set_ylim(-1.15 * largest, 1.15 * largest)
    fig.legend(loc="outside right center", frameon=False, fontsize=8, labelcolor=style.INK, handlelength=1.4)
    return fig


def _heat_map(points: Values, shifts: Values, labels: Sequence[str], bounds: Values | None, largest: float) -> Figure:
    count = len(shifts)
    fig, axes = style.figure(7.6, 3.7)
    mesh = axes.pcolormesh(
        np.arange(count),
        points,
        shifts.T,
        cmap=_diverging(),
        vmin=-largest,
        vmax=largest,
        shading="nearest",
        rasterized=True,
    )
    if bounds is not None:
        axes.plot(np.arange(count), bounds, color=style.INK, linewidth=0.8)
    style.dress(axes, "", "reverse jump", "$x_i$", grid="")
    shown = np.unique(np.linspace(0, count - 1, min(count, 7)).round().astype(int))
    axes.set_xticks(shown, [labels[i] for i in shown])
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(points[0], points[-1])
    bar = fig.colorbar(mesh, ax=axes, extend="both" if np.abs(shifts).max() > largest else "neither", pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=style.MUTED, labelsize=8, length=0)
    bar.set_label("departure  $m_i(x_i)-x_i/(1-\\mu_i)$", fontsize=8.5, color=style.MUTED)
    return fig


def _conditionals_caption(informed: bool) -> str:
    first = "Blue is exact, dashed the normal of the same mean and variance."
    then = "As the step shrinks they become one: this is why each learnt step back may be a normal."
    thin = (
        "The thin lines also know $x_0$: they are normal at any step, and blue is a mixture of such."
        if informed
        else ""
    )
    return f"{first} {then} {thin}"


def _jumps_caption(learnt: bool, dilated: bool) -> str:
    pairs = "The same pairs twice: a point at the right is the one at the left with its axes swapped."
    many = "A jump back starts at one place and could come from many"
    middle = "a map should run through the middle of the dots above each place" if learnt else "dots above it say which"
    drift = " Dashed, only the drift is undone: what dots do beyond it is due to the data." if dilated else ""
    return f"{pairs} {many}; {middle}.{drift}"


def _departures_caption(many: bool, dense: bool) -> str:
    if many:
        drawn = (
            "Where the colour is that of the paper a jump only dilates. Orange moves points up, blue down, so they are "
            "drawn to the borders that have orange below and blue above."
        )
        return drawn + (" Between the thin lines are 99 % of the points." if dense else "")
    drawn = "Where a line is 0 the jump only dilates; where it crosses zero downwards, points are drawn to that place."
    return drawn + (" Lines are strong where 99 % of the points are." if dense else "")


def _whole(name: str, points: Values, heights: Values) -> None:
    """Refuse densities that are negative or leave much of their mass out of the grid."""
    densities(name, heights)
    for row, (where, height) in enumerate(zip(points, heights)):
        mass = _area(where, height)
        if abs(mass - 1) > _MASS:
            raise DataError(
                f"{name}: expected densities that integrate to 1 over the grid, got {mass:.3g} in row {row}. "
                "Widen or refine the grid, or divide by the integral."
            )


def _map(name: str, grid: ArrayLike, values: ArrayLike) -> tuple[Values, Values]:
    at, image = checked(**{f"grid of {name}": (grid, "points"), f"values of {name}": (values, "points")})
    return rising(f"grid of {name}", at), image


def _middle(points: Values, height: Values) -> tuple[float, float]:
    """Ends of where points are, as many beyond one as beyond the other."""
    pieces = np.diff(points) * (height[1:] + height[:-1]) / 2
    mass = np.concatenate([[0.0], np.cumsum(pieces)])
    if not mass[-1] > 0:
        raise DataError("density: expected rows with some density > 0, got one with none. Widen or refine the grid.")
    low, high = np.interp([_TAIL, 1 - _TAIL], mass / mass[-1], points)
    return float(low), float(high)


def _area(points: Values, heights: Values) -> float:
    return float(np.trapezoid(heights, points))


def _small(share: float) -> str:
    return f"{share:.2g}" if share >= 1e-4 else "< 0.0001"


def _others(count: int) -> list[str]:
    """Colours without that of data."""
    known = [colour for colour in style.COLOURS if colour != style.REAL]
    return [known[i % len(known)] for i in range(count)]


def _diverging() -> Colormap:
    """Blue below, the paper in the middle, orange above: told apart by everyone, and of like weight."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("departure", [style.REAL, style.PAPER, style.GENERATED])


def _below(fig: Figure, axes: Any) -> None:
    """Legend under the whole figure."""
    handles, names = axes.get_legend_handles_labels()
    fig.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=min(4, len(names)),
        frameon=False,
        fontsize=8,
        labelcolor=style.INK,
    )
