"""Pictures of curves: losses over training, losses over noise levels, and what a process does to the data over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import DataError, ShapeError
from caminito.plot import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["loss_by_level", "loss_curves", "schedule"]

Values = NDArray[np.float64]


def loss_curves(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    x: str = "step",
    y: str = "loss",
    title: str = "Loss over training",
) -> Figure:
    """Losses against steps (or seconds, or images seen), each with its running mean when it has many.

    Parameters
    ----------
    curves : mapping of str to (steps, losses)
        Each curve under its name; two arrays of one length. NaN and infinite losses are left out.
    x, y : str
        What the axes measure.
    title : str
        What is seen.

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
    style.dress(axes, title, x, y)
    _log_if_wide(axes, everything, 5.0)
    axes.margins(x=0.01)
    style.legend(axes, loc="upper right")
    return fig


def loss_by_level(
    logsnr: ArrayLike,
    history: ArrayLike,
    *,
    labels: Sequence[str] | None = None,
    y: str = "loss on held-out data",
    title: str = "Loss at each noise level",
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
    title : str
        What is seen.

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
    style.dress(axes, title, "noise   <   log-SNR   >   data", y)
    _log_if_wide(axes, losses, 5.0)
    if labels is not None:
        style.legend(axes, loc="best")
    return fig


def schedule(
    processes: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]], *, title: str = "How data become noise"
) -> Figure:
    """Signal, noise and log-SNR of processes over their time.

    Parameters
    ----------
    processes : mapping of str to (t, alpha, sigma)
        Three arrays of one length per process, x_t = alpha x0 + sigma eps; t is divided by its largest value.
    title : str
        What is seen.

    Returns
    -------
    Figure
        Three panels: alpha, sigma (logarithmic when it exceeds 5), log-SNR = 2 log(|alpha| / sigma); the last one shows
        98 % of the times, for it goes to infinity at the ends.

    Raises
    ------
    ShapeError
        If the three arrays of a process differ in length.
    """
    fig, panels = style.figure(9.6, 3.2, 3)
    widest = 0.0
    seen: list[Values] = []
    for (name, arrays), colour in zip(processes.items(), _cycle(len(processes))):
        t, alpha, sigma = (np.asarray(values, dtype=np.float64) for values in arrays)
        if not t.shape == alpha.shape == sigma.shape or t.ndim != 1:
            raise ShapeError(
                f"{name}: expected t, alpha, sigma of one length, got {t.shape}, {alpha.shape}, {sigma.shape}."
            )
        share = t / t.max()
        widest = max(widest, float(sigma.max()))
        known = (sigma > 0) & (alpha != 0)
        logsnr = 2 * (np.log(np.abs(alpha[known])) - np.log(sigma[known]))
        seen.append(np.quantile(logsnr, [0.01, 0.99]))
        panels[0].plot(share, alpha, color=colour, linewidth=1.8, label=name)
        panels[1].plot(share[sigma > 0], sigma[sigma > 0], color=colour, linewidth=1.8)
        panels[2].plot(share[known], logsnr, color=colour, linewidth=1.8)
    low, high = min(map(np.min, seen)), max(map(np.max, seen))
    panels[2].set_ylim(low - 0.1 * (high - low) - 0.5, high + 0.1 * (high - low) + 0.5)
    if widest > 5:
        style.log_scale(panels[1], "y")
    for axes, name in zip(panels, ("signal  alpha", "noise  sigma", "log-SNR")):
        style.dress(axes, name, "t / t_max")
        axes.margins(x=0.02)
    style.caption(fig, title)
    handles, names = panels[0].get_legend_handles_labels()
    fig.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=max(1, len(names)),
        frameon=False,
        fontsize=8,
        labelcolor=style.INK,
    )
    return fig


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
