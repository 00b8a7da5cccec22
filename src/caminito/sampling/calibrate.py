"""Calibrated grids: the times at which a solver with few steps does best, found from a denoiser and some data.

Four methods make four different things small; none is best for everything.

- ``search``: sqrt(E |x - x*|^2), how far the solver ends from where a fine teacher ends, from the same starts. The only
  one that knows the solver, and by far the best for a deterministic one with few steps. Least squares from several
  starts; over whole steps for a chain.
- ``klub``: the sum of KLUB(t_i -> t_i+1), for stochastic solvers of first order (Sabour et al. 2024, "Align Your
  Steps"). The exact minimum over fine levels, then least squares between them.
- ``trajectory``: c_1 + g (c_2 + g (c_3 + ...)), g = 1.15, with c_i the deviation of one Euler step from a fine
  teacher's trajectory (Chen et al. 2024, "GITS"). The exact minimum over the teacher's times.
- ``score``: equal increments of the length Lambda, equal work for a corrector (Williams et al. 2024, algorithm 1). It
  spends most steps at much noise, and is not a good grid for solvers of the flow.

On Gaussian data N(m, c^2) ``search`` with DDIM gives equal steps of atan(sigma / c), ``klub`` equal ratios of
1/sigma^2 + 1/c^2, ``score`` equal steps of asinh(sigma / c) - sigma / sqrt(sigma^2 + c^2), sigma standing for
sigma / alpha. What is measured, and how, is in `caminito.sampling.costs`; how levels are chosen, in
`caminito.sampling.levels`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from caminito._errors import ConditionError, ConfigError, DataError, GridError, ShapeError
from caminito.denoiser import Condition, Denoiser
from caminito.process import grid as grids
from caminito.sampling import costs
from caminito.sampling.costs import Draws
from caminito.sampling.levels import FineLevels, LeastSquares, best_path, equal_parts
from caminito.sampling.solvers import DPMpp2M, Solver, solver_named

__all__ = ["CalibrationMethod", "calibrate"]

CalibrationMethod = Literal["search", "klub", "score", "trajectory"]
Report = Callable[[int, int], None]

_FEWEST = 16  # rows of data: a mean over fewer says little
_LATER = 1.15  # weight of a step against the one before it (Chen et al. 2024, section 5)
_LOOKS = (10, 50)  # iterations of a search from a start, and from the best
_ROUGH_LOOKS = (5, 15)  # the same below double precision, where rounding hides small gains


def calibrate(
    denoiser: Denoiser,
    x0: Tensor,
    solver: Solver | str,
    steps: int,
    *,
    method: CalibrationMethod | str = "search",
    like: Tensor | None = None,
    seed: int = 0,
    cond: Condition = None,
    draws: int = 256,
    teacher_steps: int = 128,
    batch_size: int | None = None,
    progress: Report | None = None,
) -> Tensor:
    """A grid of `steps` steps fitted to a denoiser, its data and a solver.

    Parameters
    ----------
    denoiser : Denoiser
    x0 : tensor, shape (n, *event), n >= 16
        Data, in the units and dtype that the denoiser works in.
    solver : Solver or name
        What the grid is for. Only ``search`` depends on it.
    steps : int >= 1
        Steps, not evaluations: a solver of two evaluations a step makes about twice as many.
    method : 'search', 'klub', 'score' or 'trajectory'
        What is made small: see the module.
    like : float64 tensor, falling times, optional
        A grid whose ends are kept: the first time, the last, and where that is 0 the one before, at which ``klub`` and
        ``score`` end before they go to 0 (the others end at or above it). Without it: t_max, then sigma / alpha = .002
        or the first noisy step of a chain, then 0.
    seed : int
        The result depends on it and on the arguments alone.
    cond : mapping of conditions, one row for each of x0
    draws : int
        Rows that costs are means over; each row of x0 is used as often as any other, give or take one.
    teacher_steps : int > steps
        Steps of the fine grid: of the teacher, and between the levels at which costs are measured.
    batch_size : int, optional
        Rows given to the denoiser at once.
    progress : (done, total) -> None, optional
        Called after each evaluation or walk. The total grows as a stage begins; a search that ends early jumps to it.

    Returns
    -------
    float64 tensor, shape (steps + 1,)
        Strictly falling times, as `trajectory` and `sample` take them; whole steps for a chain.

    Raises
    ------
    GridError
        If steps < 1, `like` is not a grid, or its ends leave no room for so many steps.
    ConfigError
        For an unknown method, too few draws or teacher_steps, or ``search`` with a solver that draws noise.
    DataError, ShapeError, ConditionError
        If x0 has fewer than 16 rows, is not of floating point or not made of events, or does not match `cond`.

    Notes
    -----
    Evaluations of the denoiser, of `draws` rows each: teacher_steps for ``klub`` and for ``trajectory``, twice that for
    ``score``; for ``search`` both of the former and some hundreds of walks along the grid. On its draws, what
    ``search`` returns is never worse than where it starts: the grids of ``klub`` and ``trajectory``, Karras' (rho = 7)
    and equal steps of log-SNR between the same ends. `Chain.discretise(process, grid.flip(0))` is the chain of a grid.

    Sources: Sabour et al. 2024 (arXiv 2404.14507), Williams et al. 2024 (2412.07877), Chen et al. 2024 (2405.11326).
    """
    rule = solver_named(solver)
    _check(denoiser, x0, steps, method, cond, draws, teacher_steps)
    fine = FineLevels.between(denoiser.process, steps, like, teacher_steps)
    if method == "search":
        _check_deterministic(Draws.choose(denoiser, x0, 2, cond, seed), fine, rule)
    if steps == 1:
        return torch.tensor([fine.first, fine.last], dtype=torch.float64)
    chosen, tally = Draws.choose(denoiser, x0, draws, cond, seed, batch_size), _Tally(progress)
    if method == "klub":
        grid = fine.grid(_klub(fine, chosen, tally))
    elif method == "score":
        grid = fine.grid(_score(fine, chosen, tally))
    elif method == "trajectory":
        grid = fine.grid(_trajectory(fine, chosen, tally)[0])
    else:
        grid = _search(fine, chosen, rule, tally)
    tally.finish()
    return grids.validate(denoiser.process, grid)


def _klub(fine: FineLevels, draws: Draws, tally: _Tally) -> Tensor:
    """Levels of the smallest summed KLUB."""
    from scipy.interpolate import RectBivariateSpline

    tally.expect(draws.count_chunks(len(fine.times)) * len(fine.times))
    cost = costs.klub(draws, fine.times, tally.tick)
    path = fine.values[best_path(cost, fine.positive_steps)]
    if fine.process.is_discrete:
        return path
    rising, root = -fine.values.numpy(), torch.sqrt(cost)
    spline = RectBivariateSpline(rising, rising, (root - root.T).numpy())  # odd: smooth through the diagonal

    def terms(levels: np.ndarray) -> np.ndarray:
        return np.asarray(spline(-levels[:-1], -levels[1:], grid=False))

    fit = LeastSquares(terms, -rising[0], -rising[-1], knots=len(path))  # a call costs nothing here
    return fit.run(path, _LOOKS[1])


def _score(fine: FineLevels, draws: Draws, tally: _Tally) -> Tensor:
    """Levels at equal increments of Lambda."""
    tally.expect(draws.count_chunks() * 2 * (len(fine.times) - 1))
    length = costs.score_length(draws, fine.times, fine.values, tally.tick)
    return fine.snapped(equal_parts(fine.values, length, fine.positive_steps))


def _trajectory(fine: FineLevels, draws: Draws, tally: _Tally) -> tuple[Tensor, Tensor]:
    """Levels of the smallest summed deviation, and where the teacher ends."""
    times = fine.as_grid
    tally.expect(draws.count_chunks(2 * len(times)) * (len(times) - 1))
    cost, ends = costs.deviations(draws, times, DPMpp2M(), tally.tick)
    path = best_path(cost, fine.steps, later=_LATER)
    return fine.values[path if fine.last else path[:-1]], ends


def _search(fine: FineLevels, draws: Draws, rule: Solver, tally: _Tally) -> Tensor:
    """The grid whose ends are nearest to the teacher's."""
    levels, ends = _trajectory(fine, draws, tally)
    starts = [levels, _klub(fine, draws, tally), fine.spaced(7.0), fine.spaced(math.inf)]
    x = draws.noisy(fine.times[0])

    def missed(grid: Tensor) -> np.ndarray:
        tally.tick()
        end = draws.walk(x, grid, rule, _Silence(rule))
        return (end - ends).double().cpu().flatten().numpy() / math.sqrt(len(x))

    if fine.process.is_discrete:
        return _search_steps([fine.grid(u) for u in starts], missed, tally)

    def known(levels: Tensor) -> tuple[float, Tensor]:
        return float(np.square(missed(fine.grid(levels))).sum()), levels

    is_double = x.dtype == torch.float64
    h, ftol = (1e-4, 1e-4) if is_double else (1e-1, 1e-2)  # above the rounding
    first_look, last_look = _LOOKS if is_double else _ROUGH_LOOKS
    ends_of = float(fine.values[0]), float(fine.values[-1])
    fit = LeastSquares(
        lambda u: missed(fine.grid(torch.from_numpy(u))), *ends_of, is_free=fine.last == 0, h=h, ftol=ftol
    )
    tally.expect(10 + (min(fine.steps, 8) + 2) * 3 * (first_look + last_look))
    tried = sorted(map(known, starts), key=_miss)
    tried += [known(fit.run(u, first_look)) for _, u in tried[:3]]
    last = [known(fit.run(u, last_look)) for _, u in sorted(tried, key=_miss)[:2]]
    between = fit.run((last[0][1] + last[1][1]) / 2, last_look)  # two minima often flank a lower one
    return fine.grid(min([*tried, *last, known(between)], key=_miss)[1])


def _miss(tried: tuple[float, Tensor]) -> float:
    return tried[0]


def _search_steps(starts: list[Tensor], missed: Callable[[Tensor], np.ndarray], tally: _Tally) -> Tensor:
    """The best start, every inner step of the chain moved by strides that halve, as long as that helps."""
    known: dict[tuple[float, ...], float] = {}

    def loss(times: tuple[float, ...]) -> float:
        if times not in known:
            known[times] = float(np.square(missed(torch.tensor(times, dtype=torch.float64))).sum())
        return known[times]

    size = len(starts[0])
    widest = max(1, int(starts[0][0]) // (2 * size))
    tally.expect(len(starts) + 4 * size * widest.bit_length())
    best = min((tuple(grid.tolist()) for grid in starts), key=loss)
    stride = 2 ** (widest.bit_length() - 1)
    while stride:
        before = best
        for i in range(1, size - 1):
            for moved in (best[i] + stride, best[i] - stride):
                if best[i - 1] > moved > best[i + 1]:
                    best = min(best, (*best[:i], moved, *best[i + 1 :]), key=loss)
        stride = stride if best != before else stride // 2
    return torch.tensor(best, dtype=torch.float64)


class _Tally:
    """Counts what is done against what is expected."""

    def __init__(self, report: Report | None) -> None:
        self.report, self.done, self.total = report, 0, 0

    def expect(self, count: int) -> None:
        """So much more is to come."""
        self.total = self.done + count

    def tick(self) -> None:
        """One more is done."""
        self.done = min(self.done + 1, self.total)
        if self.report is not None:
            self.report(self.done, self.total)

    def finish(self) -> None:
        """All is done."""
        if self.report is not None and self.done < self.total:
            self.report(self.total, self.total)


@dataclass(frozen=True)
class _Silence:
    """The noise source of walks that must not need one."""

    rule: Solver

    def normal(self, step: int, like: Tensor) -> Tensor:
        """Refuses."""
        raise ConfigError(
            f"solver: method 'search' compares the ends of walks from the same starts, and {self.rule} draws noise on "
            "the way. Use a deterministic solver such as DPMpp2M() or DDIM(), or method='klub', which is made for "
            "stochastic ones."
        )


def _check_deterministic(few: Draws, fine: FineLevels, rule: Solver) -> None:
    """Walk once, to meet a solver that draws noise before any long work."""
    grid = fine.as_grid[[0, -1]] if fine.steps == 1 else fine.grid(fine.spaced(math.inf))
    few.walk(few.noisy(grid[0]), grid, rule, _Silence(rule))


def _check(
    denoiser: Denoiser, x0: Tensor, steps: int, method: str, cond: Condition, draws: int, teacher_steps: int
) -> None:
    """All that can be wrong with the arguments alone."""
    if steps < 1:
        raise GridError(f"steps: expected a whole number >= 1, got {steps}.")
    names: tuple[str, ...] = CalibrationMethod.__args__  # type: ignore[attr-defined]
    if method not in names:
        raise ConfigError(f"method: expected one of {', '.join(names)}, got {method!r}.")
    if x0.ndim < 2 or (denoiser.event_shape is not None and tuple(x0.shape[1:]) != denoiser.event_shape):
        event = "*event" if denoiser.event_shape is None else ", ".join(map(str, denoiser.event_shape))
        raise ShapeError(f"x0: expected data of shape (n, {event}), got {tuple(x0.shape)}.")
    if len(x0) < _FEWEST or not x0.is_floating_point():
        raise DataError(
            f"x0: expected at least {_FEWEST} rows of floating point, got {len(x0)} of {x0.dtype}. "
            "Costs are means over the data; some hundreds of rows are enough."
        )
    if draws < _FEWEST:
        raise ConfigError(f"draws: expected at least {_FEWEST}, got {draws}. Costs are means over them.")
    if teacher_steps <= steps:
        raise ConfigError(f"teacher_steps: expected more than steps = {steps}, got {teacher_steps}.")
    for name, value in (cond or {}).items():
        rows: Any = value[0] if isinstance(value, tuple) else value
        if len(rows) != len(x0):
            raise ConditionError(f"condition {name!r}: expected {len(x0)} rows, one for each of x0, got {len(rows)}.")
