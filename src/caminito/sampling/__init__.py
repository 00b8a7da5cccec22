"""The way back: solvers, the walk, and the likelihood along it."""

from caminito.sampling.likelihood import log_prob
from caminito.sampling.noise import NoiseSource, PerSample
from caminito.sampling.solvers import (
    DDIM,
    Ancestral,
    DPMpp2M,
    Heun,
    Solver,
    Step,
    name_of,
    solver_named,
    solver_to_dict,
)
from caminito.sampling.trajectory import Frame, sample, start, trajectory

__all__ = [
    "DDIM",
    "Ancestral",
    "DPMpp2M",
    "Frame",
    "Heun",
    "NoiseSource",
    "PerSample",
    "Solver",
    "Step",
    "log_prob",
    "name_of",
    "sample",
    "solver_named",
    "solver_to_dict",
    "start",
    "trajectory",
]
