"""Solvers: one reverse rule each, from x_t to x_s with s < t."""

from caminito.sampling.solvers.adams import (
    DEIS,
    IPNDM,
    LMS,
    Adams,
    DPMpp2M,
    DPMpp2MSDE,
    DPMpp3M,
    DPMpp3MSDE,
    SASolver,
    UniPC,
)
from caminito.sampling.solvers.base import Draw, Leg, Solver, Step, Walk, combine, legs
from caminito.sampling.solvers.names import name_of, solver_named, solver_to_dict
from caminito.sampling.solvers.onestep import DPMpp2S, DPMSolver2, Euler, Heun
from caminito.sampling.solvers.pndm import PNDM
from caminito.sampling.solvers.stochastic import DDIM, Ancestral, Churn, EulerAncestral, Restart

__all__ = [
    "DDIM",
    "DEIS",
    "IPNDM",
    "LMS",
    "PNDM",
    "Adams",
    "Ancestral",
    "Churn",
    "DPMSolver2",
    "DPMpp2M",
    "DPMpp2MSDE",
    "DPMpp2S",
    "DPMpp3M",
    "DPMpp3MSDE",
    "Draw",
    "Euler",
    "EulerAncestral",
    "Heun",
    "Leg",
    "Restart",
    "SASolver",
    "Solver",
    "Step",
    "UniPC",
    "Walk",
    "combine",
    "legs",
    "name_of",
    "solver_named",
    "solver_to_dict",
]
