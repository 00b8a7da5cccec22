"""Loss on held-out data at each noise level, with noise that stays the same along the run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from caminito._random import Stream, normal
from caminito.denoiser import Condition, Denoiser, rows_of
from caminito.process import Process, times
from caminito.training.config import TrainingConfig
from caminito.training.objective import draw_times, weight_of

__all__ = ["Validation", "validate", "validation_times"]

_LEVELS = 8
_ROWS = 256


@dataclass(frozen=True)
class Validation:
    """Weighted loss at each level, and its mean.

    Attributes
    ----------
    logsnr, loss : lists, one entry per noise level, from little noise to much
    mean : float
    """

    logsnr: list[float]
    loss: list[float]
    mean: float


def validation_times(process: Process, config: TrainingConfig, spread: float | None = None) -> Tensor:
    """Levels at the middles of equal shares of the training times of data of such a spread, increasing."""
    even = config.model_copy(update={"draws": "low-discrepancy", "batch_size": 4096})
    spreads = None if spread is None else torch.full((4096,), spread, dtype=torch.float64)
    drawn = draw_times(process, even, 0, 0, 4096, spread=spreads).sort().values
    return torch.unique(drawn[4096 // (2 * _LEVELS) :: 4096 // _LEVELS])


@torch.no_grad()
def validate(
    denoiser: Denoiser,
    x0: Tensor,
    config: TrainingConfig,
    seed: int,
    cond: Condition = None,
    spreads: Tensor | None = None,
) -> Validation:
    """Losses of a denoiser on held-out data (B, *event), B rows of conditions, and of spreads about a centre."""
    process = denoiser.process
    levels = validation_times(process, config, None if spreads is None else float(spreads.mean()))
    losses = []
    for number, t in enumerate(levels):
        total = 0.0
        for low in range(0, len(x0), _ROWS):
            part = x0[low : low + _ROWS]
            eps = normal(
                seed, Stream.VALIDATION, number, tuple(part.shape), start=low, dtype=x0.dtype, device=x0.device
            )
            rows = rows_of(cond, slice(low, low + _ROWS))
            error = denoiser.mean(process.noise(part, t, eps), t, rows) - part
            spread = None if spreads is None else spreads[low : low + _ROWS]
            weights = weight_of(config.weight, process, t, spread)
            total += float(times(weights, error.double().square().flatten(1).mean(1)).sum())
        losses.append(total / len(x0))
    return Validation([float(v) for v in process.logsnr(levels)], losses, sum(losses) / len(losses))
