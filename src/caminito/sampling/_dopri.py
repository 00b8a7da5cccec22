"""Dormand-Prince 5(4): an explicit Runge-Kutta pair with step control, for a state of several tensors.

    k_i = f(t + c_i h, y + h sum_{j<i} a_ij k_j),    y' = y + h sum_j a_7j k_j,    error = h sum_i e_i k_i

y' is of order five, and its slope k_7 is the first of the next step. Lengths are measured per item, as the root mean
square over its entries in units of atol + rtol max(|y|, |y'|), and the longest item decides: a step is taken if its
error is at most 1, so the tolerance holds for every item, and the steps are those of the whole batch.

Sources: Dormand & Prince 1980; Hairer, Norsett & Wanner 1993, table II.5.2 and section II.4 (the first step); Hairer &
Wanner 1996, section IV.2 (proportional-integral control), with the constants of their program DOPRI5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from caminito._errors import ConfigError, NonFiniteError

__all__ = ["State", "integrate"]

State: TypeAlias = tuple[Tensor, ...]  # batch first in every tensor
Slope: TypeAlias = Callable[[float, State], State]
Length: TypeAlias = Callable[[State, State, State], float]

_C = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_A = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_E = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)

_SAFETY, _SHRINK, _GROW, _BETA = 0.9, 0.2, 10.0, 0.04
_POWER = 0.2 - 0.75 * _BETA
_CALM = 1e-4  # an error below this says no more of the next step


def integrate(
    f: Slope, y: State, start: float, end: float, *, rtol: float, atol: float, max_evals: int = 10_000
) -> State:
    """The solution at `end` of dy/dt = f(t, y) through `y` at `start` < `end`.

    Parameters
    ----------
    f : (t, y) -> dy/dt, tensors shaped as those of y
    rtol, atol : float
        Error allowed in one step, relative to the entries of y and absolute.
    max_evals : int
        Calls of f after which to give up.

    Raises
    ------
    NonFiniteError
        If a slope is not finite.
    ConfigError
        If the tolerance is not met within `max_evals` calls.
    """

    def length(change: State, one: State, other: State) -> float:
        lengths = [_length(c, a, b, rtol, atol) for c, a, b in zip(change, one, other)]
        return max(lengths) if all(map(math.isfinite, lengths)) else math.inf

    t, slope, evals = start, f(start, y), 2
    h = _first_step(f, y, start, end, slope, length)
    last_error, refused = _CALM, False
    while t < end:
        h = min(h, end - t)
        if evals + 6 > max_evals or t + h == t:
            raise ConfigError(
                f"rtol = {rtol:g}, atol = {atol:g}: not met within {max_evals} evaluations, from {start:g} to {end:g} "
                f"as far as {t:g}. Allow more error (float32 holds seven digits), or take a fixed grid."
            )
        slopes = [slope]
        for c, row in zip(_C, _A):
            reached = _moved(y, h, row, slopes)
            slopes.append(f(t + c * h, reached))
        evals += 6
        error = length(_combined(h, _E, slopes), y, reached)
        if not math.isfinite(error):
            raise NonFiniteError(
                f"the slope is not finite between {t:g} and {t + h:g} of {end:g}. Check the denoiser at those times."
            )
        wish = error**_POWER / _SAFETY
        if error > 1:
            h, refused = h / min(1 / _SHRINK, wish), True
            continue
        t, y, slope = (end if h == end - t else t + h), reached, slopes[-1]
        growth = 1 / max(1 / _GROW, min(1 / _SHRINK, wish / last_error**_BETA))
        h *= min(1.0, growth) if refused else growth
        last_error, refused = max(error, _CALM), False
    return y


def _first_step(f: Slope, y: State, start: float, end: float, slope: State, length: Length) -> float:
    """A step whose Euler error is about a hundredth of the tolerance; one call of f."""
    size, speed = length(y, y, y), _finite(length(slope, y, y), start)
    h = min(1e-6 if size < 1e-5 or speed < 1e-5 else 0.01 * size / speed, end - start)
    later = f(start + h, _moved(y, h, (1.0,), [slope]))
    bend = _finite(length(tuple(b - a for a, b in zip(slope, later)), y, y), start) / h
    steepest = max(speed, bend)
    return min(100 * h, max(1e-6, 1e-3 * h) if steepest <= 1e-15 else (0.01 / steepest) ** 0.2, end - start)


def _finite(value: float, t: float) -> float:
    if not math.isfinite(value):
        raise NonFiniteError(f"the slope is not finite at {t:g}. Check the denoiser there.")
    return value


def _length(change: Tensor, one: Tensor, other: Tensor, rtol: float, atol: float) -> float:
    if not change.numel():
        return 0.0
    units = change / (atol + rtol * torch.maximum(one.abs(), other.abs()))
    return float(units.flatten(1).square().mean(1).max().sqrt()) if units.ndim > 1 else float(units.abs().max())


def _combined(h: float, weights: Sequence[float], slopes: Sequence[State]) -> State:
    """h sum_j weights_j slopes_j, part by part."""
    kept = [(weight, slope) for weight, slope in zip(weights, slopes) if weight]
    (first, start), *rest = kept
    total = [h * first * part for part in start]
    for weight, slope in rest:
        total = [part + h * weight * change for part, change in zip(total, slope)]
    return tuple(total)


def _moved(y: State, h: float, weights: Sequence[float], slopes: Sequence[State]) -> State:
    return tuple(part + change for part, change in zip(y, _combined(h, weights, slopes)))
