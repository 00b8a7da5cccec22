"""Pictures of numbers and points: clouds side by side, paths from noise to data, and histograms on their density."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import DataError, ShapeError
from caminito.plot import style
from caminito.plot.arrays import Values, checked, densities

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["histogram1d", "scatter", "trajectories"]

_NAMED = 6  # groups in a legend


def scatter(
    real: ArrayLike,
    generated: ArrayLike | None = None,
    *,
    names: tuple[str, str] = ("real", "generated"),
    title: str = "",
    caption: str | None = None,
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
    caption : str, optional
        What to look at; by default a sentence for this picture, and none without a title.

    Returns
    -------
    Figure
        Axes cover all real points and 99 % of the generated ones; no point is moved.

    Raises
    ------
    ShapeError
        If a set is not of shape (n, 2).
    DataError
        If a set is empty or not finite.
    """
    sets = [points_of(each, name) for each, name in zip((real, generated), names) if each is not None]
    inner = np.concatenate([sets[0], *(np.quantile(more, [0.005, 0.995], axis=0) for more in sets[1:])])
    low, high = inner.min(axis=0), inner.max(axis=0)
    room = 0.04 * max(float(np.max(high - low)), 1e-12)
    fig, panels = style.figure(3.7 * len(sets) + 0.2, 3.9, len(sets), sharex=True, sharey=True)
    for axes, points, name, colour in zip(np.atleast_1d(panels), sets, names, (style.REAL, style.GENERATED)):
        axes.scatter(
            *points.T, s=size_of(len(points)), color=colour, alpha=alpha_of(len(points)), linewidths=0, rasterized=True
        )
        style.dress(axes, f"{name}   n = {_thousands(len(points))}", grid="both")
        axes.set_xlim(low[0] - room, high[0] + room)
        axes.set_ylim(low[1] - room, high[1] + room)
        axes.set_aspect("equal")
    pair = "Both panels have the same axes. Look for places that only one of them fills."
    style.caption(fig, title, caption, pair if len(sets) == 2 else "Each dot is one point.")
    return fig


def trajectories(
    paths: ArrayLike,
    times: ArrayLike | None = None,
    *,
    groups: ArrayLike | None = None,
    title: str = "From noise to data",
    caption: str | None = None,
) -> Figure:
    """Paths of samples: against time when they are numbers, in the plane when they are points.

    Parameters
    ----------
    paths : array, shape (steps, n) or (steps, n, 1) or (steps, n, 2)
        Where each of n samples is at each step, noise first.
    times : array, shape (steps,), optional
        Process times of numbers; by default the index of the step. Noise (large t) is drawn on the left.
    groups : array, shape (n,), optional
        A number or a string per sample, such as the mode where it ends: each group has a colour, and its share of the
        samples is written. Of more than six groups the five largest are told apart, the others are grey.
    title : str
        What is seen.
    caption : str, optional
        What to look at; by default a sentence for this picture, and none without a title.

    Returns
    -------
    Figure

    Raises
    ------
    ShapeError
        If `paths` are neither numbers nor points, or `times` or `groups` do not fit.
    DataError
        If there are no paths, numbers are not finite, or `groups` are neither numbers nor strings.
    """
    shape = shape_of("paths", paths)
    moments = () if times is None else shape_of("times", times)
    if (
        len(shape) not in (2, 3)
        or (len(shape) == 3 and shape[2] not in (1, 2))
        or (times is not None and moments not in (shape[:1], (*shape[:1], 1)))
    ):
        came = f"{moments[0]} times" if len(moments) == 1 else f"times of shape {moments}"
        raise ShapeError(
            f"paths: expected shape (steps, n), (steps, n, 1) or (steps, n, 2) and one time per step, "
            f"got {shape}" + ("." if times is None else f" and {came}.")
        )
    plane = len(shape) == 3 and shape[2] == 2
    (tracks,) = checked(paths=(paths, "steps n 2" if plane else "steps n"))
    clock = np.arange(len(tracks), dtype=np.float64) if times is None else checked(times=(times, "steps"))[0]
    sets = [] if groups is None else _grouped(groups, tracks.shape[1])
    if plane:
        fig = _plane(tracks, sets)
    else:
        fig = _against_time(tracks, clock, "step" if times is None else "time t", sets)
    style.caption(fig, title, caption, _paths_caption(plane, bool(sets)))
    return fig


def histogram1d(
    samples: ArrayLike,
    density: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    bins: int | None = None,
    names: tuple[str, str] = ("samples", "density"),
    x: str = "",
    title: str = "",
    caption: str | None = None,
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
    caption : str, optional
        What to look at; by default a sentence for this picture, and none without a title.

    Returns
    -------
    Figure

    Raises
    ------
    ShapeError
        If `samples` or `density` are not numbers in a row.
    DataError
        If they are empty or not finite, or a density is negative.
    """
    (numbers,) = checked(samples=(samples, "n"))
    known = None if density is None else _curve(*density)
    fig, axes = style.figure(7.2, 3.4)
    edges = np.histogram_bin_edges(numbers, bins=bins_of(numbers) if bins is None else bins)
    axes.hist(numbers, bins=edges, density=True, color=style.GENERATED, alpha=0.35, linewidth=0, label=names[0])
    if known is not None:
        axes.plot(*known, color=style.REAL, linewidth=2, label=names[1])
        style.legend(axes, loc="upper right")
    style.dress(axes, "", x, "density")
    axes.margins(x=0.01)
    usual = "Bars that rise over the line are too many samples there, bars that stay under it too few."
    style.caption(fig, title, caption, "" if known is None else usual)
    return fig


class _Group(NamedTuple):
    """Samples of one colour: which they are, and what the legend says of them."""

    members: NDArray[np.bool_]
    colour: str
    label: str


def _grouped(groups: ArrayLike, count: int) -> list[_Group]:
    """The groups in the order of their names; of more than `_NAMED` the largest, and the others as one."""
    shape = shape_of("groups", groups)
    marks = np.asarray(groups)
    marks = marks[:, 0] if shape == (count, 1) else marks
    if marks.dtype.kind == "O" and all(isinstance(mark, str) for mark in marks.flat):
        marks = marks.astype(str)
    if marks.shape != (count,):
        raise ShapeError(f"groups: expected shape ({count},), one per path, got {shape}.")
    if marks.dtype.kind not in "biufU":
        raise DataError(
            f"groups: expected numbers or strings, got dtype {marks.dtype}. Name each group by one of them."
        )
    if marks.dtype.kind == "f":
        (marks,) = checked(groups=(marks, "n"))
    names, sizes = np.unique(marks, return_counts=True)
    chosen = np.arange(len(names))
    if len(names) > _NAMED:
        chosen = np.sort(np.argsort(-sizes, kind="stable")[: _NAMED - 1])
    named = [marks == name for name in names[chosen]]
    found = [
        _Group(members, colour, f"{_written(name)}: {_share(members)}")
        for members, colour, name in zip(named, style.colours(len(named)), names[chosen].tolist())
    ]
    if len(names) > _NAMED:
        rest = ~np.any(named, axis=0)
        found.append(_Group(rest, style.MUTED, f"{len(names) - len(named)} others: {_share(rest)}"))
    return found


def _colours_of(sets: Sequence[_Group], count: int, usual: str) -> list[str]:
    """A colour per sample."""
    colours = [usual] * count
    for members, colour, _ in sets:
        for i in np.flatnonzero(members):
            colours[i] = colour
    return colours


def _against_time(tracks: Values, clock: Values, x: str, sets: Sequence[_Group]) -> Figure:
    count, ends = tracks.shape[1], tracks[-1]
    fig, (axes, side) = style.figure(7.6, 3.8, 2, sharey=True, width_ratios=(6, 1))
    drawn = axes.plot(clock, tracks, linewidth=0.8, alpha=alpha_of(12 * count))
    for line, colour in zip(drawn, _colours_of(sets, count, style.MUTED)):
        line.set_color(colour)
    parts = sets or [_Group(np.ones(count, dtype=bool), style.GENERATED, "")]
    for members, colour, label in parts:
        last = ends[members]
        dots: dict[str, Any] = {"color": colour, "label": label, "markersize": 2.8, "alpha": 0.7, "mew": 0}
        axes.plot(np.full(len(last), clock[-1]), last, "o", clip_on=False, **dots)
    if clock[0] > clock[-1]:
        axes.invert_xaxis()
    axes.margins(x=0.01)
    side.hist(
        [ends[members] for members, _, _ in parts],
        bins=np.histogram_bin_edges(ends, bins=bins_of(ends)),
        orientation="horizontal",
        stacked=True,
        color=[colour for _, colour, _ in parts],
        alpha=0.45,
    )
    style.dress(axes, "", x, "x", grid="")
    style.dress(side, "", "where they end", grid="")
    side.spines["bottom"].set_visible(False)
    side.set_xticks([])
    side.tick_params(labelleft=False)
    if sets:
        _below(fig, axes, columns=len(sets))
    return fig


def _plane(tracks: Values, sets: Sequence[_Group]) -> Figure:
    count = tracks.shape[1]
    fig, axes = style.figure(4.6, 4.6)
    drawn = axes.plot(tracks[..., 0], tracks[..., 1], linewidth=0.7, alpha=alpha_of(12 * count))
    for line, colour in zip(drawn, _colours_of(sets, count, style.MUTED)):
        line.set_color(colour)
    axes.scatter(
        *tracks[0].T, s=9, facecolors="none", edgecolors=style.MUTED, linewidths=0.7, label="start: noise", zorder=3
    )
    ends = _colours_of(sets, count, style.GENERATED)
    axes.scatter(*tracks[-1].T, s=11, color=ends, linewidths=0, label="" if sets else "end: data", zorder=4)
    for _, colour, label in sets:
        axes.plot([], [], "o", color=colour, markersize=4, mew=0, label=label)
    style.dress(axes, "", grid="")
    axes.set_aspect("equal")
    _below(fig, axes, columns=3)
    return fig


def _below(fig: Figure, axes: Any, *, columns: int) -> None:
    """Legend under the whole figure."""
    handles, names = axes.get_legend_handles_labels()
    fig.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=min(columns, len(names)),
        frameon=False,
        fontsize=8,
        labelcolor=style.INK,
        handletextpad=0.2,
        columnspacing=1.2,
    )


def _paths_caption(plane: bool, grouped: bool) -> str:
    from_to = "from its ring, noise, to its dot, data" if plane else "from noise, left, to data, right"
    colour = ", in the colour of its group" if grouped else ""
    look = "Where the colours part" if grouped else "Where the lines part"
    return f"Each line is one sample on its way {from_to}{colour}. {look}, it is settled where a sample ends."


def _curve(where: ArrayLike, height: ArrayLike) -> tuple[Values, Values]:
    shapes = shape_of("density", where), shape_of("density", height)
    if shapes[0] != shapes[1] or len(shapes[0]) != 1:
        raise ShapeError(f"density: expected (x, p) of one length, got shapes {shapes[0]} and {shapes[1]}.")
    at, values = checked(**{"x of density": (where, "points"), "density": (height, "points")})
    return at, densities("density", values)


def points_of(values: ArrayLike, name: str) -> Values:
    """Points of the plane, in float64."""
    shape = shape_of(name, values)
    if len(shape) != 2 or shape[1] != 2:
        raise ShapeError(f"{name}: expected points of shape (n, 2), got {shape}. Choose two columns.")
    return checked(**{name: (values, "n 2")})[0]


def shape_of(name: str, values: ArrayLike) -> tuple[int, ...]:
    """The shape, which lists of several lengths have not."""
    try:
        return tuple(np.shape(values))
    except ValueError as error:
        raise ShapeError(f"{name}: expected an array, got rows of several lengths.") from error


def bins_of(numbers: Values) -> int:
    """Bins after Freedman & Diaconis 1981, 12 to 120; far-off numbers cost no memory."""
    low, first, third, high = np.quantile(numbers, [0, 0.25, 0.75, 1])
    width = 2 * (third - first) / len(numbers) ** (1 / 3)
    return int(np.clip(np.ceil((high - low) / width), 12, 120)) if width > 0 else 12


def size_of(count: int) -> float:
    """Area of one of `count` dots."""
    return float(np.clip(4000 / count, 1.5, 9))


def alpha_of(count: int) -> float:
    """Opacity of one of `count` dots or lines."""
    return float(np.clip(40 / np.sqrt(count) / 2, 0.12, 0.85))


def _thousands(count: int) -> str:
    return f"{count:,}".replace(",", " ")


def _written(name: Any) -> str:
    return name if isinstance(name, str) else (f"{name:g}" if isinstance(name, float) else str(name)).replace("-", "−")


def _share(members: NDArray[np.bool_]) -> str:
    share = 100 * float(members.mean())
    return f"{share:.0f} %" if share >= 0.5 else "< 1 %"
