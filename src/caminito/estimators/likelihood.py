"""Log-densities and code lengths of items, in the units of the data.

The density of an encoded item, plus the log-determinant of the codec, is the density of the item. Whole numbers have
probabilities instead: the bound counts those of their cells, the ODE is given cells filled with uniform noise.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from caminito._errors import ApproximateLikelihood, ConfigError
from caminito.data import Codec
from caminito.denoiser import Condition, Denoiser, rows_of
from caminito.estimators.bounds import encoded
from caminito.process import Process
from caminito.sampling import Levels, log_prob, variational_bound

__all__ = ["LikelihoodMethod", "cells", "chosen", "log_density"]

LikelihoodMethod = Literal["auto", "heun", "dopri5", "bound"]


def chosen(method: str, process: Process) -> str:
    """The method that 'auto' stands for: Heun's rule, or the bound for a chain, with a warning.

    Raises
    ------
    ConfigError
        For an unknown method, or an ODE asked of a chain.
    """
    if method not in get_args(LikelihoodMethod):
        raise ConfigError(f"method: expected one of {', '.join(get_args(LikelihoodMethod))}, got {method!r}.")
    if not process.is_discrete:
        return "heun" if method == "auto" else method
    if method in ("heun", "dopri5"):
        raise ConfigError(f"method={method!r}: a chain has no probability-flow ODE. Use 'bound'.")
    if method == "auto":
        warnings.warn(
            "a chain has no probability-flow ODE: what is returned is the variational bound, below the log-density. "
            "Pass method='bound' to say that this is meant.",
            ApproximateLikelihood,
            stacklevel=3,
        )
    return "bound"


def log_density(
    denoiser: Denoiser,
    x: Tensor,
    grid: Tensor,
    method: str,
    *,
    cond: Condition,
    rows: int,
    seed: int,
    device: torch.device,
    levels: Levels | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> np.ndarray:
    """Nats of encoded items, shape (n,), in encoded units, some rows at a time; of their cells where `levels` are."""
    parts = []
    for low in range(0, len(x), rows):
        part, given = x[low : low + rows].to(device), rows_of(cond, slice(low, low + rows))
        how: dict[str, Any] = {"cond": given, "seed": seed, "first": low}
        if method == "bound":
            bound = variational_bound(denoiser, part, grid, variance="posterior", levels=levels, **how)
            parts.append(-bound.total)
        else:
            parts.append(log_prob(denoiser, part, method=method, grid=grid, **how, **options))  # type: ignore[arg-type]
        if progress is not None:
            progress(min(low + rows, len(x)), len(x))
    return np.asarray(torch.cat(parts))


def cells(codec: Codec) -> Levels:
    """The values that whole-numbered data can take, in encoded units.

    Raises
    ------
    ConfigError
        If the data are a continuum, or have no limits.
    """
    if codec.quantum is None or codec.limits is None:
        raise ConfigError(
            "bits per dimension: expected a model of whole numbers, such as 8-bit images, got one of real numbers, "
            "whose density score_samples gives in nats."
        )
    low, high = codec.limits
    return Levels(*encoded(codec, (low, high)), math.floor((high - low) / codec.quantum) + 1)
