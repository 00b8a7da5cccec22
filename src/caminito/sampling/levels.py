"""Noise levels to choose a grid from, and three ways to choose.

A level is u = log(sigma / |alpha|) of a time; levels fall as times do. Between the ends of a grid lie fine levels, at
which something has been measured:

- `best_path`: those of the smallest summed cost, by dynamic programming;
- `equal_parts`: those at equal parts of a length;
- `LeastSquares`: any falling levels, for the smallest sum of squares, by Gauss-Newton in a trust region.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from caminito._errors import DataError, GridError
from caminito.process import Process
from caminito.process import grid as grids

__all__ = ["FineLevels", "LeastSquares", "best_path", "equal_parts"]

_SHORTEST = 0.1  # of an equal step: none that least squares makes is shorter, or two times would merge


@dataclass(frozen=True)
class FineLevels:
    """The ends of a grid of `steps` steps, and fine times between them.

    Attributes
    ----------
    process : Process
    steps : int
    first, last : float
        Times of the ends; `last` is 0 for a grid that ends at the data.
    times : float64 tensor, shape (J,)
        Falling from `first` to `last`, or to a smallest positive time.
    values : float64 tensor, shape (J,)
        The levels there, strictly falling and finite: where `first` has no signal, its level is taken as log 80.
    """

    process: Process
    steps: int
    first: float
    last: float
    times: Tensor
    values: Tensor

    @classmethod
    def between(cls, process: Process, steps: int, like: Tensor | None, count: int) -> FineLevels:
        """Those between the ends of `like`, about `count` fine steps apart, evenly; every step of a short chain.

        Raises
        ------
        GridError
            If `like` is not a grid of the process, or its ends leave no room for so many steps.
        """
        end = grids.validate(process, like).tolist() if like is not None else [process.t_max, 0.0]
        first, last = end[0], end[-1]
        smallest = last or (end[-2] if len(end) > 2 else None)
        if process.is_discrete:
            times, values = _of_chain(process, first, smallest or 1.0, count)
        else:
            high, low = _level(process, first), math.log(grids.SIGMA_MIN)
            low = _level(process, smallest) if smallest else low
            high = high if math.isfinite(high) else math.log(grids.SIGMA_MAX)
            if not low < high:
                raise GridError(
                    f"like: expected to begin above sigma / alpha = {math.exp(low):g}, got {math.exp(high):g}. "
                    "Give a grid of three times, of which the second is the smallest before 0."
                )
            values = torch.linspace(high, low, count + 1, dtype=torch.float64)
            times = torch.cat([torch.tensor([first], dtype=torch.float64), process.time(-2 * values[1:])])
        most = len(times) - 1 + (last == 0)
        if steps > most:
            raise GridError(
                f"steps: from time {first:g} to {last:g} there are {most} steps of different noise, got {steps}. "
                f"Ask for at most {most}."
            )
        return cls(process, steps, first, last, times, values)

    @property
    def positive_steps(self) -> int:
        """Steps between positive times: all, or all but the one that ends at the data."""
        return self.steps if self.last else self.steps - 1

    @property
    def as_grid(self) -> Tensor:
        """The fine times, to the data where the grid ends there."""
        return self.times if self.last else torch.cat([self.times, torch.zeros(1, dtype=torch.float64)])

    def grid(self, levels: Tensor) -> Tensor:
        """The grid whose positive times have the given levels."""
        inner = levels[1:-1] if self.last else levels[1:]
        ends = torch.tensor([self.first, self.last], dtype=torch.float64)
        return torch.cat([ends[:1], self.process.time(-2 * inner), ends[1:]])

    def spaced(self, rho: float) -> Tensor:
        """Levels at equal steps of exp(u / rho), as Karras et al. 2022, eq. 5; of u itself where rho is infinite."""
        high, low = float(self.values[0]), float(self.values[-1])
        share = torch.linspace(0, 1, self.positive_steps + 1, dtype=torch.float64)
        if math.isinf(rho):
            return self.snapped(high + share * (low - high))
        root, end = math.exp(high / rho), math.exp(low / rho)
        return self.snapped(rho * torch.log(root + share * (end - root)))

    def snapped(self, levels: Tensor) -> Tensor:
        """Levels between the same ends that the process has: the given ones, or the nearest of a chain."""
        return self.values[_nearest(levels, self.values)] if self.process.is_discrete else levels


def _level(process: Process, t: float) -> float:
    return -float(process.logsnr(t)) / 2


def _of_chain(process: Process, first: float, smallest: float, count: int) -> tuple[Tensor, Tensor]:
    """Times and levels of a chain: `first`, then the steps with noise, signal, and less noise than the one before."""
    times = torch.arange(first, smallest - 1, -1, dtype=torch.float64)
    values = -process.logsnr(times) / 2
    usable = torch.isfinite(values) & torch.cat([torch.ones(1, dtype=torch.bool), ~(values.diff() >= 0)])
    usable[0] = True  # without signal at worst
    times, values = times[usable], values[usable]
    if not math.isfinite(float(values[0])):
        above = float(values[1]) + math.log(2) if len(values) > 1 else -math.inf
        values[0] = max(math.log(grids.SIGMA_MAX), above)
    if len(times) > count + 1:
        evenly = torch.linspace(float(values[0]), float(values[-1]), count + 1, dtype=torch.float64)
        index = _nearest(evenly, values)
        times, values = times[index], values[index]
    return times, values


def _nearest(levels: Tensor, among: Tensor) -> Tensor:
    """Indices of the nearest levels, both ends kept and no two the same."""
    index = (levels[:, None] - among[None]).abs().argmin(1).tolist()
    index[0], index[-1] = 0, len(among) - 1
    for i in range(1, len(index)):
        index[i] = max(index[i], index[i - 1] + 1)
    index[-1] = len(among) - 1
    for i in range(len(index) - 2, -1, -1):
        index[i] = min(index[i], index[i + 1] - 1)
    return torch.tensor(index)


def best_path(cost: Tensor, steps: int, *, later: float = 1.0) -> Tensor:
    """Indices 0 = i_0 < ... < i_steps = J - 1 of the smallest c_1 + later (c_2 + later (c_3 + ...)).

    Parameters
    ----------
    cost : float64 tensor, shape (J, J)
        Entry (i, j), i < j: the cost c of the step from i to j. The rest is not read.
    steps : int, 1 <= steps < J

    Returns
    -------
    int64 tensor, shape (steps + 1,)

    Notes
    -----
    Exact, by dynamic programming: O(steps J^2).
    """
    size = len(cost)
    step = cost.masked_fill(~torch.ones(size, size, dtype=torch.bool).triu(1), math.inf)
    value, choices = step[:, -1], []
    for _ in range(steps - 1):
        value, choice = (step + later * value[None]).min(1)
        choices.append(choice)
    path = [0]
    for choice in reversed(choices):
        path.append(int(choice[path[-1]]))
    return torch.tensor([*path, size - 1])


def equal_parts(levels: Tensor, length: Tensor, parts: int) -> Tensor:
    """The levels at which a length is i / parts of the whole, i = 0..parts.

    Parameters
    ----------
    levels, length : float64 tensor, shape (J,)
        The length from the first level to each; monotone cubics between.
    parts : int >= 1

    Returns
    -------
    float64 tensor, shape (parts + 1,)

    Raises
    ------
    DataError
        If the whole length is 0.
    """
    from scipy.interpolate import PchipInterpolator

    grows = torch.cat([torch.ones(1, dtype=torch.bool), length.diff() > 0])
    if int(grows.sum()) < 2:
        raise DataError("denoiser: expected one that depends on the noise, got no change between any two levels.")
    level_of = PchipInterpolator(length[grows].numpy(), levels[grows].numpy())
    inner = np.linspace(0, float(length[-1]), parts + 1)[1:-1]
    return torch.cat([levels[:1], torch.from_numpy(level_of(inner)), levels[-1:]])


@dataclass(frozen=True)
class LeastSquares:
    """Minimises |residuals(u)|^2 over levels u_0 > ... > u_m, by the logarithms of their steps.

    More than `knots` of them are changed by a broken line through so many: many steps want a smooth change, and each
    unknown costs a call for its derivative.

    Parameters
    ----------
    residuals : callable, float64 array (m + 1,) -> float64 array
    first, last : float
        u_0, and u_m or what lies below it.
    is_free : bool
        Whether u_m may be anywhere above `last`.
    h : float
        Change of a logarithm for one-sided derivatives.
    ftol : float
        Relative decrease of the sum below which the search ends.
    knots : int
        Unknowns, at most.
    """

    residuals: Callable[[np.ndarray], np.ndarray]
    first: float
    last: float
    is_free: bool = False
    h: float = 1e-5
    ftol: float = 1e-4
    knots: int = 8

    def run(self, levels: Tensor, iterations: int) -> Tensor:
        """Levels of a local minimum near the given ones; an iteration calls `residuals` 1 + min(m, knots) times."""
        from scipy.optimize import least_squares

        edges = [*levels.tolist(), *([self.last] if self.is_free else [])]
        share = np.diff(edges) / (self.last - self.first)
        least = _SHORTEST / len(share)
        start = np.log(np.maximum(share - least, 0.1 * least))
        count = min(len(start), self.knots)
        places = np.linspace(0, count - 1, len(start))
        spread = np.stack([np.interp(places, np.arange(count), unit) for unit in np.eye(count)], 1)
        known: dict[bytes, np.ndarray] = {}  # since the last derivatives: they are taken where a step was accepted

        def at(z: np.ndarray) -> np.ndarray:
            if z.tobytes() not in known:
                known[z.tobytes()] = self.residuals(self._levels(start + spread @ z))
            return known[z.tobytes()]

        def slopes(z: np.ndarray) -> np.ndarray:
            here = at(z)
            known.clear()
            moved = [self.residuals(self._levels(start + spread @ (z + self.h * unit))) for unit in np.eye(count)]
            return (np.stack(moved, 1) - here[:, None]) / self.h

        found = least_squares(at, np.zeros(count), jac=slopes, max_nfev=iterations, ftol=self.ftol)
        return torch.from_numpy(self._levels(start + spread @ found.x))

    def _levels(self, z: np.ndarray) -> np.ndarray:
        share = np.exp(z - z.max())
        share = (1 - _SHORTEST) * share / share.sum() + _SHORTEST / len(share)
        inner = self.first + (self.last - self.first) * np.cumsum(share)[:-1]
        return np.concatenate([[self.first], inner, [] if self.is_free else [self.last]])
