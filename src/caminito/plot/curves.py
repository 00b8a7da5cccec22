"""Pictures of curves: losses over training and over noise levels, processes over time, errors over evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import ConfigError, DataError, ShapeError
from caminito.plot import style
from caminito.plot.arrays import checked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["errors_by_evaluations", "loss_by_level", "loss_curves", "noise_tables", "schedule"]

Values = NDArray[np.float64]


def loss_curves(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    x: str = "step",
    y: str = "loss",
    title: str = "Loss over training",
    caption: str | None = None,
) -> Figure:
    """Losses against steps (or seconds, or images seen), each with its running mean when it has many.

    Parameters
    ----------
    curves : mapping of str to (steps, losses)
        Each curve under its name; two arrays of one length. NaN and infinite losses are left out.
    x, y : str
        What the axes measure.
    title, caption : str
        What is seen, and what to look at, as for `schedule`.

    Returns
    -------
    Figure
        Vertical axis logarithmic when all losses are positive and span more than a factor of 5.

    Raises
    ------
    ShapeError
        If a curve has not as many steps as losses.
    DataError
        If there is no finite loss to draw.
    """
    pairs = {name: _pair(name, *curve) for name, curve in curves.items()}
    everything = np.concatenate([losses for _, losses in pairs.values()]) if pairs else np.empty(0)
    if everything.size == 0:
        raise DataError("curves: expected at least one finite loss, got none. Draw this after the first steps.")
    fig, axes = style.figure(7.2, 3.6)
    for (name, (steps, losses)), colour in zip(pairs.items(), _cycle(len(pairs))):
        noisy = len(losses) >= 60
        line = _running_mean(losses) if noisy else losses
        if noisy:
            axes.plot(steps, losses, color=colour, linewidth=0.6, alpha=0.25)
        name = f"{name}   {line[-1]:.3g}" if len(line) else name
        axes.plot(steps, line, color=colour, linewidth=1.8, marker=None if noisy else "o", markersize=3, label=name)
    style.dress(axes, "", x, y)
    _log_if_wide(axes, everything, 5.0)
    axes.margins(x=0.01)
    style.legend(axes, loc="best")
    usual = (
        "Strong lines are running means. Training is done when held-out losses no longer fall; rising, they say stop."
    )
    style.caption(fig, title, caption, usual)
    return fig


def loss_by_level(
    logsnr: ArrayLike,
    history: ArrayLike,
    *,
    labels: Sequence[str] | None = None,
    y: str = "loss on held-out data",
    title: str = "Loss at each noise level",
    caption: str | None = None,
) -> Figure:
    """Held-out loss against the noise level, one line per evaluation, the latest darkest.

    Parameters
    ----------
    logsnr : array, shape (levels,)
        log-SNR of each level: little noise on the right.
    history : array, shape (evaluations, levels) or (levels,)
        Losses, oldest first. NaN leaves a hole.
    labels : sequence of str, optional
        A name per evaluation, such as "step 1000"; the first and the last are written.
    y : str
        What the vertical axis measures.
    title, caption : str
        What is seen, and what to look at, as for `schedule`.

    Returns
    -------
    Figure

    Raises
    ------
    ShapeError
        If levels and losses do not fit.
    """
    levels, losses = np.asarray(logsnr, dtype=np.float64), np.atleast_2d(np.asarray(history, dtype=np.float64))
    if levels.ndim != 1 or losses.shape[1:] != levels.shape or (labels is not None and len(labels) != len(losses)):
        raise ShapeError(
            "expected logsnr of shape (levels,), history of shape (evaluations, levels) and a label per evaluation, "
            f"got {levels.shape}, {losses.shape}" + ("." if labels is None else f" and {len(labels)} labels.")
        )
    order = np.argsort(levels)
    fig, axes = style.figure(7.2, 3.6)
    last = len(losses) - 1
    for i, (row, shade) in enumerate(zip(losses, style.shades(len(losses)))):
        name = labels[i] if labels is not None and i in (0, last) else None
        axes.plot(
            levels[order],
            row[order],
            color=style.GENERATED if i == last else shade,
            linewidth=2.0 if i == last else 1.0,
            marker="o" if i == last else None,
            markersize=3.5,
            label=name,
            zorder=3 if i == last else 2,
        )
    style.dress(axes, "", "noise   <   log-SNR   >   data", y)
    _log_if_wide(axes, losses, 5.0)
    if labels is not None:
        style.legend(axes, loc="best")
    usual = (
        "A line for each evaluation, the last in orange. Where lines still fall there is more to learn; where they lie "
        "on each other that noise level is learnt."
    )
    style.caption(fig, title, caption, usual)
    return fig


def schedule(
    processes: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]],
    *,
    title: str = "How data become noise",
    caption: str | None = None,
) -> Figure:
    """Signal, noise and log-SNR of processes over their time.

    Parameters
    ----------
    processes : mapping of str to (t, alpha, sigma)
        Three arrays of one length per process, x_t = alpha x0 + sigma eps; t is divided by its largest value.
    title : str
        What is seen.
    caption : str, optional
        What to look at; by default a sentence for this picture, and none without a title.

    Returns
    -------
    Figure
        Three panels: alpha, sigma (logarithmic when it exceeds 5), log-SNR = 2 log(|alpha| / sigma); the last one shows
        98 % of the times, for it goes to infinity at the ends.

    Raises
    ------
    ShapeError, DataError
        If there is no process, or the three arrays of one differ in length, are empty or not finite.
    """
    rows = {}
    for name, arrays in _some("processes", processes).items():
        t, alpha, sigma = _named(name, dict(zip(("t", "alpha", "sigma"), arrays)))
        rows[name] = (t / t.max() if t.max() > 0 else t, alpha, sigma, alpha, sigma)
    usual = (
        "Left, how much of the data is left; in the middle, how much noise has come; right, the logarithm of the ratio "
        "of both, squared: 0 where they are equal. A straight line there spends the same effort at every noise level."
    )
    return _three(rows, ("signal  alpha", "noise  sigma", "log-SNR"), "t / t_max", title, caption, usual)


def noise_tables(
    tables: Mapping[str, ArrayLike], *, title: str = "Tables of noise", caption: str | None = None
) -> Figure:
    """beta, alpha-bar and log-SNR of the tables of DDPM chains over their steps.

    Parameters
    ----------
    tables : mapping of str to array, shape (T,)
        beta of each step, in (0, 1); at least two steps, and tables may differ in length.
    title, caption : str
        What is seen, and what to look at, as for `schedule`.

    Returns
    -------
    Figure
        Three panels: beta, logarithmic; alpha-bar, the product of 1 - beta; log-SNR = log(alpha-bar / (1 - alpha-bar)).

    Raises
    ------
    ShapeError, DataError
        If there is no table, or one is no row of at least two numbers in (0, 1).
    """
    rows = {}
    for name, beta in _some("tables", tables).items():
        (values,) = _named(name, {"beta": beta})
        if len(values) < 2:
            raise ShapeError(f"{name}: expected a table of at least 2 steps, got {len(values)}. One step has no curve.")
        outside = values[(values <= 0) | (values >= 1)]
        if len(outside):
            raise DataError(f"{name}: expected beta in (0, 1), got {outside[0]:g}. beta is the share of new variance.")
        logs = np.cumsum(np.log1p(-values))
        share = np.arange(1, len(values) + 1) / len(values)
        rows[name] = (share, values, np.exp(logs), np.exp(logs / 2), np.sqrt(-np.expm1(logs)))
    usual = (
        "Left, the noise of each step; in the middle, the share of the variance that is still data; right, the "
        "logarithm of data over noise. Where that is flat, steps change little and are wasted."
    )
    return _three(rows, ("beta", "alpha-bar", "log-SNR"), "t / T", title, caption, usual, log=0)


def errors_by_evaluations(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    orders: Mapping[str, float] | None = None,
    y: str = "error",
    title: str = "Error against evaluations",
    caption: str | None = None,
) -> Figure:
    """Errors of solvers against the number of times they ask the denoiser, both logarithmic.

    Parameters
    ----------
    curves : mapping of str to (evaluations, errors)
        Each solver under its name; two arrays of one length of positive numbers.
    orders : mapping of str to float, optional
        Order of some of the solvers, written behind the name: error ~ evaluations^-order.
    y : str
        What the error is.
    title, caption : str
        What is seen, and what to look at, as for `schedule`.

    Returns
    -------
    Figure
        Each curve is named at its end.

    Raises
    ------
    ShapeError, DataError
        If there is no curve, or the arrays of one differ in length, are empty or not positive and finite.
    ConfigError
        If an order is given for what is not among the curves.
    """
    known = {}
    for name, pair in _some("curves", curves).items():
        calls, errors = _named(name, dict(zip(("evaluations", "errors"), pair)))
        if not (calls > 0).all() or not (errors > 0).all():
            raise DataError(f"{name}: expected evaluations and errors > 0, got {min(calls.min(), errors.min()):g}.")
        known[name] = (calls, errors)
    strange = set(orders or {}) - set(known)
    if strange:
        raise ConfigError(f"orders: expected names of curves ({', '.join(known)}), got {', '.join(sorted(strange))}.")
    fig, axes = style.figure(7.4, 4.2)
    lines = [
        axes.plot(calls, errors, color=colour, linewidth=1.8, marker="o", markersize=3.5)[0]
        for (calls, errors), colour in zip(known.values(), _cycle(len(known)))
    ]
    for which in ("x", "y"):
        style.log_scale(axes, which)
    style.dress(axes, "", "evaluations of the denoiser", y, grid="both")
    names = [f"{name}   {orders[name]:.3g}" if orders and name in orders else name for name in known]
    _name_ends(axes, names, lines)
    told = " The number behind a name is its order." if orders else ""
    usual = f"Lower is better, and a steeper line gains more from each further evaluation.{told}"
    style.caption(fig, title, caption, usual)
    return fig


def _three(
    rows: Mapping[str, tuple[Values, ...]],
    names: Sequence[str],
    x: str,
    title: str,
    caption: str | None,
    usual: str,
    *,
    log: int | None = None,
) -> Figure:
    """Panels of (share of the time, first, second, alpha, sigma), the third log-SNR."""
    fig, panels = style.figure(9.6, 3.2, 3)
    seen: list[Values] = []
    for (name, (share, first, second, alpha, sigma)), colour in zip(rows.items(), _cycle(len(rows))):
        known = (sigma > 0) & (alpha != 0)
        if not known.any():
            raise DataError(f"{name}: expected some time with both data and noise, got none.")
        logsnr = 2 * (np.log(np.abs(alpha[known])) - np.log(sigma[known]))
        seen.append(np.quantile(logsnr, [0.01, 0.99]))
        panels[0].plot(share, first, color=colour, linewidth=1.8, label=name)
        panels[1].plot(share[sigma > 0], second[sigma > 0], color=colour, linewidth=1.8)
        panels[2].plot(share[known], logsnr, color=colour, linewidth=1.8)
    low, high = min(map(np.min, seen)), max(map(np.max, seen))
    panels[2].set_ylim(low - 0.1 * (high - low) - 0.5, high + 0.1 * (high - low) + 0.5)
    if log is not None:
        style.log_scale(panels[log], "y")
    elif max(float(row[2].max()) for row in rows.values()) > 5:
        style.log_scale(panels[1], "y")
    if log is None:  # a signal that is kept is a line at the top
        least, most = panels[0].get_ylim()
        panels[0].set_ylim(min(least, -0.05), max(most, 1.05))
    for axes, name in zip(panels, names):
        style.dress(axes, name, x)
        axes.margins(x=0.02)
    style.caption(fig, title, caption, usual)
    handles, labels = panels[0].get_legend_handles_labels()
    fig.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(6, len(labels)),
        frameon=False,
        fontsize=8,
        labelcolor=style.INK,
    )
    return fig


def _name_ends(axes: Any, names: Sequence[str], lines: Sequence[Any], *, apart: float = 0.055) -> None:
    """Names right of the ends of curves, moved apart until none covers another."""
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = [line.get_xydata()[-1] for line in lines]
    wanted = [float(to_axes.transform(end)[1]) for end in ends]
    order = np.argsort(wanted, kind="stable")
    heights: list[float] = []
    for each in order:
        heights.append(max(wanted[each], heights[-1] + apart) if heights else wanted[each])
    over = max(0.0, heights[-1] - 1)
    for each, height in zip(order, heights):
        axes.annotate(
            names[each],
            ends[each],
            (1.03, height - over),
            textcoords="axes fraction",
            va="center",
            fontsize=8.5,
            color=lines[each].get_color(),
            arrowprops={"arrowstyle": "-", "color": style.HAIR, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 3},
        )


def _some(what: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    if not given:
        raise DataError(f"{what}: expected at least one, got none.")
    return given


def _named(name: str, arrays: Mapping[str, ArrayLike]) -> list[Values]:
    """Rows of one length under their names, which an error tells together with that of the whole."""
    try:
        return checked(**{each: (values, "n") for each, values in arrays.items()})
    except (ShapeError, DataError) as error:
        raise type(error)(f"{name}: {error}") from error


def _pair(name: str, steps: ArrayLike, losses: ArrayLike) -> tuple[Values, Values]:
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ShapeError(
            f"{name}: expected as many steps as losses, in one row each, got shapes {x.shape} and {y.shape}."
        )
    finite = np.isfinite(x) & np.isfinite(y)
    return x[finite], y[finite]


def _running_mean(values: Values) -> Values:
    """Mean over about a twentieth of the curve around each value: narrower at the start, one-sided at the end."""
    place, reach = np.arange(len(values)), len(values) // 40
    first = np.maximum(0, place - reach)
    last = np.minimum(len(values), place + np.minimum(place, reach) + 1)
    total = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray((total[last] - total[first]) / (last - first))


def _log_if_wide(axes: Any, values: Values, factor: float) -> None:
    finite = values[np.isfinite(values)]
    if finite.size and finite.min() > 0 and finite.max() > factor * finite.min():
        style.log_scale(axes, "y")


def _cycle(count: int) -> list[str]:
    return [style.COLOURS[i % len(style.COLOURS)] for i in range(count)]
