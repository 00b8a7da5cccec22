"""Proofs that anyone can run: oracles in closed form, and checks that name the identity that a part breaks."""

from caminito.testing.checks_denoiser import check_denoiser
from caminito.testing.checks_process import check_process
from caminito.testing.checks_solver import check_solver
from caminito.testing.conditioned import Mixture, StateSpace
from caminito.testing.oracles import (
    Moments,
    UnitNoise,
    conditional,
    ddim_factor,
    flow_map,
    joint,
    propagate,
)
from caminito.testing.report import BrokenIdentity, Report, Row
from caminito.testing.targets import (
    KnownTarget,
    bananas,
    funnel,
    logistic,
    mog40,
    phi4,
    phi4_laplace,
    rings,
    two_modes,
)

__all__ = [
    "BrokenIdentity",
    "KnownTarget",
    "Mixture",
    "Moments",
    "Report",
    "Row",
    "StateSpace",
    "UnitNoise",
    "bananas",
    "check_denoiser",
    "check_process",
    "check_solver",
    "conditional",
    "ddim_factor",
    "flow_map",
    "funnel",
    "joint",
    "logistic",
    "mog40",
    "phi4",
    "phi4_laplace",
    "propagate",
    "rings",
    "two_modes",
]
