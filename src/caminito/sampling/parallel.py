"""Parallel-in-time sampling: many steps of a walk at once, at the price of a few more denoiser calls.

A walk is the fixed point of x_{i+1} = step_i(x_i, D(x_i)). All D of a window of steps are asked for in one call, at the
points guessed so far; then the steps, which cost nothing beside, are taken again with those predictions. What the
window's first steps guessed right is done, and the window moves on. The result is that of the walk taken step by step,
to a tolerance, in fewer rounds one after the other.

Source: Shih et al. 2023 (ParaDiGMS), algorithm 1; the sweep here is the solver's own rule instead of a plain sum, so it
converges faster and serves every solver of one call per step, with memory or noise.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from caminito._errors import ConfigError, NonFiniteError
from caminito.denoiser import Condition, Denoiser, rows_of
from caminito.process import grid as grids
from caminito.process.base import Time
from caminito.sampling.noise import NoiseSource, PerSample
from caminito.sampling.solvers import Solver, solver_named
from caminito.sampling.solvers.base import require_variance
from caminito.sampling.trajectory import draw_of

__all__ = ["Swept", "picard"]


class Swept(NamedTuple):
    """x at the end of the grid; rounds of denoiser calls one after the other; denoiser calls counted in steps."""

    x: Tensor
    rounds: int
    calls: int


class _Told(Denoiser):
    """A denoiser whose mean has been computed already."""

    def __init__(self, denoiser: Denoiser, x0: Tensor, cond: Condition) -> None:
        self._denoiser, self._x0, self._cond = denoiser, x0, cond
        self.process, self.event_shape = denoiser.process, denoiser.event_shape

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        return self._x0

    def var(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor | None:
        return self._denoiser.var(x_t, t, self._cond)


@torch.no_grad()
def picard(
    denoiser: Denoiser,
    x: Tensor,
    grid: Tensor,
    solver: Solver | str = "ddim",
    *,
    window: int | None = None,
    tolerance: float = 1e-4,
    cond: Condition = None,
    noise: NoiseSource | None = None,
) -> Swept:
    """Walk from x at time grid[0] to grid[-1], a window of steps at a time.

    Parameters
    ----------
    denoiser : Denoiser
    x : tensor, shape (B, *event), at time grid[0]
    grid : float64 tensor, falling times
    solver : Solver or its name; one denoiser call per step
    window : int, optional
        Steps asked for at once, B rows each; all of them unless given.
    tolerance : float > 0
        A point counts as right when a round moves none of its rows by more than this, root mean square, in units of
        hypot(alpha, sigma).
    cond : mapping of named conditions, rows as in x
    noise : NoiseSource
        For stochastic solvers; `PerSample(0)` unless given.

    Returns
    -------
    Swept

    Raises
    ------
    ConfigError
        If the solver calls the denoiser more than once a step or needs a variance that it does not know, or an option
        is out of range.
    GridError, NonFiniteError
    """
    process, rule = denoiser.process, solver_named(solver)
    times = grids.validate(process, grid)
    steps = len(times) - 1
    if rule.needs_variance:
        require_variance(denoiser)
    if rule.calls(process, times) != steps:
        raise ConfigError(f"solver: expected one denoiser call per step, got {rule}. Use DDIM, DPMpp2M or another.")
    width = steps if window is None else window
    if width < 1 or not tolerance > 0:
        raise ConfigError(f"window, tolerance: expected >= 1 and > 0, got {window} and {tolerance}.")
    source: NoiseSource = PerSample() if noise is None else noise
    scale = torch.hypot(*process.kernel(times)).tolist()
    points: list[Tensor] = [x]
    states: list[Any] = [rule.init(process, times)]

    def sweep(first: int, predictions: list[Tensor]) -> None:
        """Take the steps first, first + 1, ... again with these predictions."""
        del points[first + 1 :], states[first + 1 :]
        for i, x0 in enumerate(predictions, start=first):
            told = _Told(denoiser, x0, cond)
            step = rule.step(told, process, points[i], times[i], times[i + 1], states[i], draw_of(source, i + 1, x))
            points.append(step.x)
            states.append(step.state)

    first, rounds, calls = 0, 1, 1
    sweep(0, [denoiser.mean(x, times[0], cond)] * min(width, steps))  # what the first prediction says of all
    while first < steps:
        last = min(first + width, steps)
        guessed = points[first : last + 1]
        rows = torch.cat(guessed[:-1])
        found = denoiser.mean(rows, times[first:last].repeat_interleave(len(x)), _repeated(cond, last - first, len(x)))
        predictions = list(found.split(len(x)))
        rounds, calls = rounds + 1, calls + last - first
        sweep(first, predictions)
        right = first + 1  # the first step started from the truth
        while right < last and _moved(points[right], guessed[right - first]) <= tolerance * scale[right]:
            right += 1
        if not math.isfinite(float(points[right].sum())):
            raise NonFiniteError(
                f"step {right} of {steps} (t = {float(times[right]):g}) gave values that are not finite, with {rule}. "
                "Check the denoiser there, or use more steps."
            )
        first, ahead = right, min(right + width, steps) - last
        if ahead > 0:
            sweep(last, [predictions[-1]] * ahead)
    return Swept(points[steps], rounds, calls)


def _moved(new: Tensor, old: Tensor) -> float:
    """Largest root mean square change of a row."""
    return float((new - old).flatten(1).square().mean(1).max().sqrt())


def _repeated(cond: Condition, times: int, n: int) -> Condition:
    """The rows of every condition, once per step."""
    return None if cond is None else rows_of(cond, torch.arange(n).repeat(times))
