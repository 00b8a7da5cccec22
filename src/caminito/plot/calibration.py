"""Picture of a sampler's calibration: ranks of the truth among the draws, and how often their intervals hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from caminito._errors import DataError
from caminito.plot import style
from caminito.plot.arrays import Values, checked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["calibration"]

_INSIDE = 0.95  # share of counts within the band
_NORMAL = 1.96  # standard errors to each side that hold that share


def calibration(
    counts: ArrayLike,
    levels: ArrayLike,
    shares: ArrayLike,
    *,
    band: tuple[float, float] | None = None,
    std_errors: ArrayLike | None = None,
    title: str = "",
    caption: str | None = None,
) -> Figure:
    """Rank histogram with its 95 % band, and beside it the coverage against the diagonal.

    Parameters
    ----------
    counts : array, shape (bins,)
        Entries by the rank of their truth, low ranks first: what `metrics.rank_histogram` counts.
    levels, shares : array, shape (levels,)
        Levels, increasing, and how often the regions of each hold the truth: what `metrics.coverage` or `metrics.tarp`
        finds.
    band : (float, float), optional
        Where 95 % of the counts of an exact sampler lie; by default that of independent entries.
    std_errors : array, shape (levels,), optional
        Of `shares`; 1.96 of them to each side are shaded.
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
        If the arrays do not fit together.
    DataError
        If one is empty or not finite, counts are negative or all 0, levels or shares are not in [0, 1], or levels do
        not increase.
    """
    (heights,) = checked(counts=(counts, "bins"))
    at, found = checked(levels=(levels, "levels"), shares=(shares, "levels"))
    if (heights < 0).any() or heights.sum() == 0:
        raise DataError(f"counts: expected numbers >= 0 that are not all 0, got {heights.tolist()}.")
    for name, values in (("levels", at), ("shares", found)):
        if (values < 0).any() or (values > 1).any():
            raise DataError(
                f"{name}: expected numbers in [0, 1], got {float(values.min()):.3g} to {float(values.max()):.3g}. "
                "Divide percentages by 100."
            )
    if not (np.diff(at) > 0).all():
        raise DataError("levels: expected numbers that increase. Sort them, and the shares with them.")
    errors = None
    if std_errors is not None:
        (errors,) = checked(std_errors=(std_errors, str(len(at))))
    low, high = _band(heights) if band is None else checked(band=(band, "2"))[0]
    fig, (left, right) = style.figure(7.6, 3.1, 2, width_ratios=(1.35, 1))
    _ranks(left, heights, float(low), float(high))
    _coverage(right, at, found, errors)
    usual = (
        "Left: counts of an exact sampler lie in the band but for one in twenty; high ends say that the draws are too "
        "narrow, a high middle too wide, a slope shifted. Right: under the diagonal at high levels is too narrow or "
        "shifted, over it too wide."
    )
    style.caption(fig, title, caption, usual)
    return fig


def _band(heights: Values) -> tuple[float, float]:
    from scipy.stats import binom

    low, high = binom.interval(_INSIDE, round(float(heights.sum())), 1 / len(heights))
    return float(low), float(high)


def _ranks(axes: Any, heights: Values, low: float, high: float) -> None:
    edges = np.linspace(0, 1, len(heights) + 1)
    axes.axhspan(low, high, color=style.REAL, alpha=0.25, linewidth=0, label="95 % of an exact sampler's counts")
    axes.axhline(float(heights.mean()), color=style.REAL, linewidth=1.2)
    axes.stairs(heights, edges, fill=True, color=style.GENERATED, alpha=0.15, linewidth=0)
    axes.stairs(heights, edges, baseline=None, color=style.GENERATED, linewidth=1.8)
    style.dress(axes, "", "rank of the truth among the draws", "count", grid="")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.22 * max(float(heights.max()), high))
    axes.set_xticks([0, 0.5, 1], ["lowest", "middle", "highest"])
    style.legend(axes, loc="upper center")


def _coverage(axes: Any, levels: Values, shares: Values, errors: Values | None) -> None:
    axes.plot([0, 1], [0, 1], color=style.REAL, linewidth=1.2, label="exact")
    if errors is not None:
        reach = _NORMAL * errors
        axes.fill_between(levels, shares - reach, shares + reach, color=style.GENERATED, alpha=0.22, linewidth=0)
    marker = "o" if len(levels) <= 25 else None
    how: dict[str, Any] = {"marker": marker, "markersize": 3.5, "label": "found", "clip_on": False}
    axes.plot(levels, shares, color=style.GENERATED, linewidth=1.8, **how)
    style.dress(axes, "", "level", "share of truths inside", grid="both")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    style.legend(axes, loc="upper left")
