"""From a density alone: high-probability points, samples, and the constant that was left out."""

from caminito.density.reference import Normal, Reference
from caminito.density.target import LogProb, Target

__all__ = ["LogProb", "Normal", "Reference", "Target"]
