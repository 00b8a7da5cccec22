"""From a density alone: high-probability points, samples, and the constant that was left out."""

from caminito.density.classifier import ClassifierDensity, from_classifier
from caminito.density.flow import flow
from caminito.density.invert import Inverted, diffuse_and_invert, invert
from caminito.density.modes import Modes, find_modes
from caminito.density.reference import Normal, Reference, StudentMixture
from caminito.density.result import DensityResult
from caminito.density.sample import sample
from caminito.density.target import ConstrainedTarget, LogProb, Target

__all__ = [
    "ClassifierDensity",
    "ConstrainedTarget",
    "DensityResult",
    "Inverted",
    "LogProb",
    "Modes",
    "Normal",
    "Reference",
    "StudentMixture",
    "Target",
    "diffuse_and_invert",
    "find_modes",
    "flow",
    "from_classifier",
    "invert",
    "sample",
]
