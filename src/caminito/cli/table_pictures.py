"""A column of made rows over the same column of real ones, small enough for several to stand side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from caminito.plot import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["column_picture"]

_WIDTH, _HEIGHT = 3.9, 2.0
_BINS, _VALUES = 40, 6
_LONG = 18  # characters of a value


def column_picture(real: Any, made: Any, kind: str) -> Figure:
    """Histograms of numbers and times, shares of anything else; real values as a line, made ones filled.

    Parameters
    ----------
    real, made : pandas.Series
    kind : str
        Of the column, as `Column.kind`.
    """
    if kind in ("number", "integer", "datetime", "timedelta"):
        theirs, ours = (_numbers(values, kind) for values in (real, made))
        if len(ours) and len(theirs) and np.ptp(theirs) > 0:
            return _histograms(theirs, ours, kind)
    return _shares(real, made)


def _numbers(values: Any, kind: str) -> np.ndarray:
    """Values that are there: dates as days since 1970, durations in days."""
    known = values.dropna()
    if kind == "datetime":
        import pandas as pd

        since = pd.to_datetime(known, utc=True) - pd.Timestamp(0, tz="UTC")
        return np.asarray(since / pd.Timedelta(days=1), dtype=np.float64)
    if kind == "timedelta":
        return np.asarray(known.dt.total_seconds() / 86_400, dtype=np.float64)
    return np.asarray(known, dtype=np.float64)


def _histograms(real: np.ndarray, made: np.ndarray, kind: str) -> Figure:
    fig, axes = style.figure(_WIDTH, _HEIGHT)
    low, high = min(real.min(), made.min()), max(real.max(), made.max())
    whole = kind == "integer" and high - low < _BINS
    bins = int(high - low) + 1 if whole else int(np.clip(np.sqrt(len(real)), 8, _BINS))
    edges = np.linspace(low - 0.5, high + 0.5, bins + 1) if whole else np.linspace(low, high, bins + 1)
    axes.hist(made, bins=edges, density=True, color=style.GENERATED, alpha=0.35, linewidth=0)
    axes.hist(real, bins=edges, density=True, color=style.REAL, linewidth=1.6, histtype="step")
    style.dress(axes, x="days" if kind == "timedelta" else "")
    axes.set_yticks([])
    if kind == "datetime":
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        places = AutoDateLocator(minticks=3, maxticks=6)
        axes.xaxis.set_major_locator(places)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(places))
    return fig


def _shares(real: Any, made: Any) -> Figure:
    """The most common values; a bar for made rows, a tick where the real ones are."""
    theirs, ours = (
        values.astype(str).where(values.notna(), "missing").value_counts(normalize=True) for values in (real, made)
    )
    names = list(theirs.index[:_VALUES])
    there = np.array([theirs[name] for name in names])
    here = np.array([ours.get(name, 0.0) for name in names])
    fig, axes = style.figure(_WIDTH, _HEIGHT)
    rows = np.arange(len(names))
    axes.barh(rows, 100 * here, height=0.62, color=style.GENERATED, alpha=0.35, linewidth=0)
    axes.vlines(100 * there, rows - 0.38, rows + 0.38, color=style.REAL, linewidth=2.2)
    style.dress(axes, x="%", grid="x")
    axes.set_yticks(rows, [name if len(name) <= _LONG else name[: _LONG - 1] + "…" for name in names], fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1.08 * 100 * max(there.max(), here.max()))
    return fig
