"""What a sampler of a density hands back: points of equal weight, and what it saw on the way.

Every sampler of this room is a function

    name(target, reference, n, generator, *, ...) -> Draws

that asks the target for batches of points only, takes all its chance from the generator, and is therefore a function
of its arguments alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["Draws", "tail_index"]


@dataclass(frozen=True)
class Draws:
    """Points of a density, which weigh the same.

    Attributes
    ----------
    x : tensor (n, dim)
        float64.
    log_evidence : float or None
        Estimate of log of the integral of exp(log_prob); None from a sampler that has none.
    diagnostics : dict of float
        What the sampler's docstring lists; `calls` and `evaluations` are those of the target.
    """

    x: Tensor
    log_evidence: float | None
    diagnostics: dict[str, float] = field(default_factory=dict)


def tail_index(log_weights: Tensor) -> float:
    """Shape k of the generalised Pareto law of the largest weights.

    Below 0.7 a mean under these weights can be trusted; from 1 on even the mean weight is infinite: the reference does
    not reach the target. nan if fewer than 5 weights are in the tail.

    Notes
    -----
    Sources: Vehtari et al. 2024, "Pareto smoothed importance sampling"; Zhang & Stephens 2009, the estimate.
    """
    weights = torch.exp(log_weights - log_weights.max()).sort().values
    n = len(weights)
    tail = min(n // 5, math.ceil(3 * math.sqrt(n)))
    if tail < 5:
        return math.nan
    over = weights[n - tail :] - weights[n - tail - 1]
    if not float(over[-1]) > 0:
        return -math.inf
    over = over.clamp(min=1e-300)
    grid = 30 + int(math.sqrt(tail))
    rank = torch.arange(1, grid + 1, dtype=torch.float64)
    quartile = over[int(tail / 4 + 0.5) - 1]
    theta = 1 / over[-1] + (1 - torch.sqrt(grid / (rank - 0.5))) / (3 * quartile)
    shape = torch.log1p(-theta[:, None] * over).mean(1)
    fit = tail * (torch.log(-theta / shape) - shape - 1)
    best = (fit.softmax(0) * theta).sum()
    k = float(torch.log1p(-best * over).mean())
    return (tail * k + 5) / (tail + 10)  # weakly towards 1/2, as the first source does
