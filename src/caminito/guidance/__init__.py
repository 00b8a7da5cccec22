"""Guidance: from a denoiser to a denoiser that is led elsewhere.

By a condition (`cfg`), by a classifier, by a worse model, by several experts at once, or kept where the data can be.
Every solver takes the result, and so does any other of these functions.
"""

from caminito.guidance.classifier import LogProb, classifier_guide
from caminito.guidance.compose import compose
from caminito.guidance.constrain import (
    Constrained,
    Projection,
    clip,
    constrain,
    dynamic_threshold,
    match_std,
    renormalise,
)
from caminito.guidance.guided import Guided, Scale, autoguide, cfg, renoised_weakly
from caminito.guidance.rules import Rule, linear, projected, rescaled

__all__ = [
    "Constrained",
    "Guided",
    "LogProb",
    "Projection",
    "Rule",
    "Scale",
    "autoguide",
    "cfg",
    "classifier_guide",
    "clip",
    "compose",
    "constrain",
    "dynamic_threshold",
    "linear",
    "match_std",
    "projected",
    "renoised_weakly",
    "renormalise",
    "rescaled",
]
