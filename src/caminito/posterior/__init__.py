"""Given an observation: draws of p(x0 | y), from a denoiser that was trained without it.

An operator says what is seen, a guide turns the denoiser of the data into one that knows y, and particles mend what the
guide gets wrong.
"""

from caminito.posterior.guides import ddnm, diffpir, jfps, mmps, pigdm
from caminito.posterior.observation import Noise, Observation, observe
from caminito.posterior.operators import (
    Blur,
    Compose,
    Downsample,
    Identity,
    Linear,
    Mask,
    Nonlinear,
    Operator,
    Select,
    check_adjoint,
)
from caminito.posterior.particles import Cloud, split_smc, tds
from caminito.posterior.result import PosteriorResult
from caminito.posterior.sample import Method, posterior
from caminito.posterior.walks import daps, dps, repaint, split_gibbs

__all__ = [
    "Blur",
    "Cloud",
    "Compose",
    "Downsample",
    "Identity",
    "Linear",
    "Mask",
    "Method",
    "Noise",
    "Nonlinear",
    "Observation",
    "Operator",
    "PosteriorResult",
    "Select",
    "check_adjoint",
    "daps",
    "ddnm",
    "diffpir",
    "dps",
    "jfps",
    "mmps",
    "observe",
    "pigdm",
    "posterior",
    "repaint",
    "split_gibbs",
    "split_smc",
    "tds",
]
