"""Proofs that anyone can run: oracles in closed form, and checks that name the identity that a part breaks."""

from caminito.testing.checks import BrokenIdentity, check_denoiser, check_process, check_solver
from caminito.testing.oracles import (
    Moments,
    UnitNoise,
    conditional,
    ddim_factor,
    flow_map,
    joint,
    propagate,
)

__all__ = [
    "BrokenIdentity",
    "Moments",
    "UnitNoise",
    "check_denoiser",
    "check_process",
    "check_solver",
    "conditional",
    "ddim_factor",
    "flow_map",
    "joint",
    "propagate",
]
