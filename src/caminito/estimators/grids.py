"""Calibrated grids of a model: the times at which one solver with few steps does best, found once and kept.

`sample` takes them of itself when the same solver is asked for as many steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caminito.denoiser import Denoiser
from caminito.process import Process
from caminito.sampling import DPMpp2M, Solver, name_of, sample, solver_named, solver_to_dict

__all__ = ["CalibratedGrid", "draws_for", "missed"]

_VALUES = 2**12  # entries of all draws together: each is a residual of the search, and few steps have few unknowns


@dataclass(frozen=True, eq=False)
class CalibratedGrid:
    """The times of one solver, and what they are worth.

    Attributes
    ----------
    solver : Solver
    times : float64 tensor, shape (n_steps + 1,), falling
    method : str
        What was made small: 'search', 'klub', 'score' or 'trajectory'.
    before, after : float or None
        How far samples end from where 16 times as many steps end, with the usual times and with these: root mean square
        per entry, in units of the data's standard deviation, from starts that the calibration has not seen. None for
        solvers that draw noise, which do not end where others end.
    """

    solver: Solver
    times: Tensor
    method: str
    before: float | None = None
    after: float | None = None

    @property
    def n_steps(self) -> int:
        """Steps of the grid."""
        return len(self.times) - 1

    def levels(self, process: Process) -> list[float]:
        """sigma / |alpha| at each time."""
        return [float(level) for level in torch.exp(-process.logsnr(self.times) / 2)]

    def __str__(self) -> str:
        end = "" if self.after is None else f": from {self.before:.3g} to {self.after:.3g} away from many steps"
        return f"{self.n_steps} steps of {name_of(self.solver)}, by {self.method}{end}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values for `from_dict`."""
        return {
            "solver": solver_to_dict(self.solver),
            "times": self.times.tolist(),
            "method": self.method,
            "before": self.before,
            "after": self.after,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> CalibratedGrid:
        """The grid that `to_dict` described."""
        times = torch.tensor(state["times"], dtype=torch.float64)
        return cls(solver_named(state["solver"]), times, state["method"], state["before"], state["after"])


def draws_for(entries: int) -> int:
    """Rows of data to calibrate with."""
    return min(256, max(24, _VALUES // entries))


def missed(
    denoiser: Denoiser, shape: tuple[int, ...], fine: Tensor, grids: list[Tensor], solver: Solver, **how: Any
) -> list[float]:
    """Root mean square distance per entry between the ends of walks along `grids` and along `fine`, from one start.

    `how` goes to `caminito.sampling.sample`.
    """
    exact = sample(denoiser, shape, solver=DPMpp2M(), grid=fine, **how)
    ends = [sample(denoiser, shape, solver=solver, grid=grid, **how) for grid in grids]
    return [float((end - exact).double().square().mean().sqrt()) for end in ends]
