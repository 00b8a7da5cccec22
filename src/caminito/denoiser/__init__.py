"""Denoisers: E[x0 | x_t], exact, learnt or adapted, and the same knowledge in other words."""

from caminito.denoiser.base import Condition, Denoiser, for_rows, mapped, rows_of
from caminito.denoiser.boosted import Boosted
from caminito.denoiser.centre import Centre
from caminito.denoiser.conditional import ClassDenoiser, Wrapped, given, without
from caminito.denoiser.diffusers import (
    DiffusersDenoiser,
    DiffusersModel,
    DiffusersUNet,
    from_diffusers,
    to_diffusers,
)
from caminito.denoiser.empirical import EmpiricalDenoiser
from caminito.denoiser.forest import Forest
from caminito.denoiser.gaussian import GaussianDenoiser
from caminito.denoiser.k_diffusion import KDiffusionModel, to_k_diffusion
from caminito.denoiser.learned_variance import VarianceRange
from caminito.denoiser.leaves import Codes, Donors, LeafTree
from caminito.denoiser.mixture import MixtureDenoiser
from caminito.denoiser.network import NetworkDenoiser
from caminito.denoiser.precondition import Precondition, Prediction
from caminito.denoiser.regressor import Regressor, RegressorDenoiser, regressor_columns
from caminito.denoiser.residual import ResidualVariance
from caminito.denoiser.reveal import RevealChain, Revealed
from caminito.denoiser.views import eps, flow, from_eps, from_flow, from_score, from_v, from_x0, score, v

__all__ = [
    "Boosted",
    "Centre",
    "ClassDenoiser",
    "Codes",
    "Condition",
    "Denoiser",
    "DiffusersDenoiser",
    "DiffusersModel",
    "DiffusersUNet",
    "Donors",
    "EmpiricalDenoiser",
    "Forest",
    "GaussianDenoiser",
    "KDiffusionModel",
    "LeafTree",
    "MixtureDenoiser",
    "NetworkDenoiser",
    "Precondition",
    "Prediction",
    "Regressor",
    "RegressorDenoiser",
    "ResidualVariance",
    "RevealChain",
    "Revealed",
    "VarianceRange",
    "Wrapped",
    "eps",
    "flow",
    "for_rows",
    "from_diffusers",
    "from_eps",
    "from_flow",
    "from_score",
    "from_v",
    "from_x0",
    "given",
    "mapped",
    "regressor_columns",
    "rows_of",
    "score",
    "to_diffusers",
    "to_k_diffusion",
    "v",
    "without",
]
