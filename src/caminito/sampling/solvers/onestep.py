"""Solvers that remember nothing: Euler, and the two-stage rules Heun, DPM-Solver-2 and DPM-Solver++ 2S.

A two-stage rule looks once more, at a time u between t and s or at s itself, with r = (lambda_u - lambda_t) / h, and
adds to the first-order step what the prediction p has changed:

    x_s = k x_t + (alpha_s - k alpha_t) D + g (p_u - p_t) / (2 r),

    p = e: g = alpha_s (sigma_s / alpha_s - sigma_t / alpha_t);    p = D: g = alpha_s - k alpha_t.

Where a stage is missing (no signal at t, no noise at s, no step of the chain between) it is of first order.
Sources: Karras et al. 2022, algorithm 1 (Heun); Lu et al. 2022 (DPM-Solver), algorithm 1; Lu et al. 2022
(DPM-Solver++), algorithm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from caminito.denoiser import Denoiser
from caminito.process import Process
from caminito.sampling.solvers.base import NO_GAP, Draw, Leg, Solver, Step, Walk, combine, legs

__all__ = ["DPMSolver2", "DPMpp2S", "Euler", "Heun"]


@dataclass(frozen=True)
class Euler(Solver):
    """k x_t + (alpha_s - k alpha_t) D: Euler's rule on the probability flow in sigma / alpha; the same as DDIM()."""

    order = 1

    def init(self, process: Process, grid: Tensor) -> Walk:
        """Legs of the grid."""
        return Walk(tuple(legs(process, grid)))

    def step(
        self, denoise: Denoiser, process: Process, x: Tensor, t: Tensor, s: Tensor, state: Walk, eps: Draw
    ) -> Step:
        """As above."""
        leg: Leg = state.row
        x0 = denoise(x, t)
        return Step(combine(x, leg.carry, (leg.gain, x0)), x0, state.on())


class _Stage(NamedTuple):
    """The second look, after `leg`: p = read[0] x + read[1] D now and then, and x_s gains factor (p_then - p_now)."""

    time: Tensor
    leg: Leg
    read_now: tuple[float, float]
    read_then: tuple[float, float]
    factor: float


@dataclass(frozen=True)
class _TwoStage(Solver):
    """The engine of the two-stage rules."""

    order = 2
    evals = 2
    _prediction: ClassVar[Literal["x0", "eps"]] = "eps"
    _within: ClassVar[bool] = True  # the second look is halfway in lambda; else at s

    def init(self, process: Process, grid: Tensor) -> Walk:
        """Legs of the grid, each with its second look where there is one."""
        whole = legs(process, grid)
        return Walk(tuple((leg, self._stage(process, leg, grid[i], grid[i + 1])) for i, leg in enumerate(whole)))

    def _stage(self, process: Process, leg: Leg, t: Tensor, s: Tensor) -> _Stage | None:
        if not (math.isfinite(leg.lam) and math.isfinite(leg.lam_s) and leg.h > NO_GAP):
            return None
        if self._within:
            time = process.time(torch.tensor(leg.lam + leg.lam_s, dtype=torch.float64))
            if not float(s) < float(time) < float(t):
                return None
            first = legs(process, torch.stack([t, time]))[0]
        else:
            time, first = s, leg
        share = (first.lam_s - leg.lam) / leg.h
        if self._prediction == "x0":
            return _Stage(time, first, (0.0, 1.0), (0.0, 1.0), leg.gain / (2 * share))
        now, then = (
            (sign / sigma, -abs(alpha) / sigma)
            for sign, alpha, sigma in ((leg.sign, leg.alpha, leg.sigma), (first.sign_s, first.alpha_s, first.sigma_s))
        )
        return _Stage(time, first, now, then, leg.gain / now[1] / (2 * share))

    def step(
        self, denoise: Denoiser, process: Process, x: Tensor, t: Tensor, s: Tensor, state: Walk, eps: Draw
    ) -> Step:
        """As above."""
        leg, stage = state.row
        x0 = denoise(x, t)
        if stage is None:
            return Step(combine(x, leg.carry, (leg.gain, x0)), x0, state.on())
        moved = combine(x, stage.leg.carry, (stage.leg.gain, x0))
        seen = denoise(moved, stage.time)
        (a, b), (c, d), f = stage.read_now, stage.read_then, stage.factor
        return Step(
            combine(x, leg.carry - f * a, (leg.gain - f * b, x0), (f * c, moved), (f * d, seen)), x0, state.on()
        )


@dataclass(frozen=True)
class Heun(_TwoStage):
    """Trapezoidal rule on d(x / alpha) = e d(sigma / alpha): the mean of the slopes at both ends of an Euler step."""

    _within: ClassVar[bool] = False


@dataclass(frozen=True)
class DPMSolver2(_TwoStage):
    """DPM-Solver-2: the midpoint in lambda, in eps."""


@dataclass(frozen=True)
class DPMpp2S(_TwoStage):
    """DPM-Solver++ 2S: the midpoint in lambda, in x0."""

    _prediction: ClassVar[Literal["x0", "eps"]] = "x0"
