"""PNDM: Adams-Bashforth on the sphere-like manifold of DDIM, with a warm-up of three Runge-Kutta steps.

The transfer of DDIM takes x_t and any e to x_s; PNDM gives it a better e than the prediction at t alone:

    warm-up:  (e_1 + 2 e_2 + 2 e_3 + e_4) / 6, the looks of the classical Runge-Kutta rule with the transfer for a step
    after:    (55 e_n - 59 e_{n-1} + 37 e_{n-2} - 9 e_{n-3}) / 24

Source: Liu et al. 2022 (PNDM), eq. 11-13.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from caminito._errors import ConfigError
from caminito.denoiser import Denoiser
from caminito.process import Process
from caminito.sampling.solvers.base import Draw, Leg, Solver, Step, Walk, combine, legs

__all__ = ["PNDM"]

_EVEN = {2: (3 / 2, -1 / 2), 3: (23 / 12, -16 / 12, 5 / 12), 4: (55 / 24, -59 / 24, 37 / 24, -9 / 24)}


class _Row(NamedTuple):
    leg: Leg
    warm: tuple[Tensor, Leg] | None  # in the warm-up, where to look again


@dataclass(frozen=True)
class PNDM(Solver):
    """PNDM with fixed coefficients; of second order on grids that are not even in sigma / alpha.

    Parameters
    ----------
    warmup : {"runge-kutta", "heun"}
        Three steps of four calls each (F-PNDM), or one of two calls and then Adams-Bashforth of rising order (S-PNDM,
        the usual choice for latent diffusion).
    """

    warmup: Literal["runge-kutta", "heun"] = "runge-kutta"
    order = 2

    def __post_init__(self) -> None:
        if self.warmup not in ("runge-kutta", "heun"):
            raise ConfigError(f"warmup: expected 'runge-kutta' or 'heun', got {self.warmup!r}.")

    def init(self, process: Process, grid: Tensor) -> Walk:
        """Legs of the grid; the first ones with the times of their warm-up."""
        warm = 3 if self.warmup == "runge-kutta" else 1
        return Walk(
            tuple(
                _Row(leg, self._middle(process, leg, grid[i], grid[i + 1]) if i < warm else None)
                for i, leg in enumerate(legs(process, grid))
            )
        )

    def calls(self, process: Process, grid: Tensor) -> int:
        """Four in each of the first three steps, or two in the first; then one a step."""
        more = 3 if self.warmup == "runge-kutta" else 1
        return len(grid) - 1 + more * sum(row.warm is not None for row in self.init(process, grid).rows)

    def _middle(self, process: Process, leg: Leg, t: Tensor, s: Tensor) -> tuple[Tensor, Leg] | None:
        """The time of the inner looks and the leg that leads there; None if there is no such time."""
        if not (math.isfinite(leg.lam) and math.isfinite(leg.lam_s)):
            return None
        if self.warmup == "heun":
            return s, leg
        time = (t + s) / 2
        time = time.ceil() if process.is_discrete else time
        return (time, legs(process, torch.stack([t, time]))[0]) if float(s) < float(time) < float(t) else None

    def step(
        self, denoise: Denoiser, process: Process, x: Tensor, t: Tensor, s: Tensor, state: Walk, eps: Draw
    ) -> Step:
        """As above."""
        row: _Row = state.row
        leg = row.leg
        x0 = denoise(x, t)
        if not (leg.alpha and leg.sigma):  # no e in terms of which to remember
            return Step(combine(x, leg.carry, (leg.gain, x0)), x0, state.on(state.memory))
        now = combine(x, leg.sign / leg.sigma, (-abs(leg.alpha) / leg.sigma, x0))
        if row.warm is None:
            known = (now, *state.memory)[:4]
            mean = now if len(known) == 1 else combine(now, 0.0, *zip(_EVEN[len(known)], known))
        else:
            mean = self._warm(denoise, x, now, leg, s, *row.warm)
        return Step(_transfer(x, mean, leg), x0, state.on((now, *state.memory)[:3]))

    def _warm(self, denoise: Denoiser, x: Tensor, first: Tensor, leg: Leg, s: Tensor, time: Tensor, way: Leg) -> Tensor:
        """The mean slope over a step of the warm-up."""

        def look(e: Tensor, leg: Leg, time: Tensor) -> Tensor:
            there = _transfer(x, e, leg)
            return combine(there, leg.sign_s / leg.sigma_s, (-abs(leg.alpha_s) / leg.sigma_s, denoise(there, time)))

        if self.warmup == "heun":
            return (first + look(first, leg, s)) / 2
        second = look(first, way, time)
        third = look(second, way, time)
        return (first + 2 * second + 2 * third + look(third, leg, s)) / 6


def _transfer(x: Tensor, e: Tensor, leg: Leg) -> Tensor:
    """x_s / alpha_s = x_t / alpha_t + e (sigma_s / |alpha_s| - sigma_t / |alpha_t|)."""
    ratio = leg.alpha_s / leg.alpha
    return combine(x, ratio, (leg.sign_s * leg.sigma_s - ratio * leg.sign * leg.sigma, e))
