"""Guidance: from a denoiser to a denoiser that is led elsewhere. So far: kept where the data can be."""

from caminito.guidance.constrain import (
    Constrained,
    Projection,
    clip,
    constrain,
    dynamic_threshold,
    match_std,
    renormalise,
)

__all__ = ["Constrained", "Projection", "clip", "constrain", "dynamic_threshold", "match_std", "renormalise"]
