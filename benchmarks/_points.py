"""Figures of a benchmark of many points: kept as they come, so that a run that was stopped goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Points", "brief", "told"]


class Points:
    """Figures by the name of a point; those of a run that was stopped are not measured again.

    Parameters
    ----------
    path : Path
        Where they are kept.
    resume : bool
        Go on from what is there.
    hidden : names of figures that are not printed
    """

    def __init__(self, path: Path, resume: bool, hidden: Sequence[str] = ()) -> None:
        self.path, self.hidden = path, hidden
        self.found: dict[str, Any] = json.loads(path.read_text()) if resume and path.exists() else {}

    def get(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is known of a point, measured unless it is."""
        if name not in self.found:
            self.found[name] = {key: brief(value) for key, value in measure().items()}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.found))
            print(name, {k: v for k, v in self.found[name].items() if k not in self.hidden}, flush=True)
        return self.found[name]

    def seeds(self, name: str, count: int, measure: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
        """The same for seeds 0, 1, ..."""
        return [self.get(f"{name}/{seed}", partial(measure, seed)) for seed in range(count)]


def brief(value: Any) -> Any:
    """Four digits."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def told(rows: Sequence[dict[str, Any]], name: str, limit: float | None = None, floor: float = 1.0) -> dict[str, Any]:
    """Median and worst over seeds of the size of a figure, over its floor; how many are within a limit."""
    values = [abs(row[name]) / floor for row in rows if row.get(name) is not None]
    if not values:
        return {}
    out: dict[str, Any] = {"median": brief(float(np.median(values))), "worst": brief(float(max(values)))}
    if limit is not None:
        out["asked"] = limit
        out["held"] = f"{sum(value <= limit for value in values)} of {len(values)}"
    return out
