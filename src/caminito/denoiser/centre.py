"""What a condition says of the data by itself: the line through it, which a network is left to correct.

An item and its own low resolution differ little. A network that is told `low` and has to say all of x0 learns first to
repeat what it was told; one that is asked for x0 less the best line through low has only the rest to learn, at the
noise levels where that rest is decided. With L the condition, noised to a share s (`caminito.training.augment`),

    low_s = sqrt(1 - s^2) L + s eps,    b = E[x0 L],    v = E[L^2],    E[x0] = 0, E[x0^2] = 1,
    centre = sqrt(1 - s^2) b / ((1 - s^2) v + s^2) low_s,
    spread^2 = E (x0 - centre)^2 = 1 - (1 - s^2) b^2 / ((1 - s^2) v + s^2).

An absent condition is one of noise alone, s = 1: the centre is 0 and the spread 1. It is exact algebra: with x_t -
alpha centre in the place of x_t, and spread in that of the standard deviation of the data, a denoiser is what it was.
Source: Mardani et al. 2025 (CorrDiff), for residuals; Karras et al. 2022, appendix B.6, for the scales.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from caminito.denoiser.base import Condition
from caminito.nn import Given
from caminito.process import times

__all__ = ["Centre"]

_LEAST = 1e-2  # of a spread: what a line says exactly is still given some room


@dataclass(frozen=True)
class Centre:
    """The line through a condition.

    Parameters
    ----------
    condition : str
        Name of a field with the shape of the data.
    product, square : float
        E[x0 L] and E[L^2], entry by entry.
    """

    condition: str
    product: float
    square: float

    @classmethod
    def measured(cls, condition: str, x0: Tensor, field: Tensor) -> Self:
        """The line of standardised data (N, *event) and a field of the same shape."""
        x, low = x0.double(), field.double()
        return cls(condition, float((x * low).mean()), float(low.square().mean()))

    @property
    def explained(self) -> float:
        """Share of the variance of the data, entry by entry, that the line says where the condition has no noise."""
        return self.product**2 / self.square if self.square > 0 else 0.0

    def of(self, cond: Condition, like: Tensor) -> tuple[Tensor, Tensor]:
        """Centre, shape of `like`, and spread (float64, shape (B,)) of the rows of a condition."""
        given = (cond or {}).get(self.condition)
        if given is None:
            return torch.zeros_like(like), torch.ones(len(like), dtype=torch.float64)
        given = Given.of(given)
        slope, spread = self._line(given)
        value = given.value.to(like)
        if given.present is not None:
            shown = given.present.reshape(-1, *(1,) * (value.ndim - 1))
            value = torch.where(shown, value, torch.zeros_like(value))  # whatever an absent row holds, NaN included
        return times(slope, value), spread

    def spread(self, cond: Condition, rows: int) -> Tensor:
        """That of so many rows alone."""
        given = (cond or {}).get(self.condition)
        if given is None:
            return torch.ones(rows, dtype=torch.float64)
        return self._line(Given.of(given))[1]

    def _line(self, given: Given) -> tuple[Tensor, Tensor]:
        """Slope and spread of each row, float64 and on the CPU, as all coefficients are."""
        rows = len(given.value)
        share = torch.zeros(rows, dtype=torch.float64)
        if given.level is not None:
            share = given.level.to("cpu", torch.float64)
        kept = 1 - share.square()
        if given.present is not None:
            kept = torch.where(given.present.cpu(), kept, torch.zeros_like(kept))
        total = kept * self.square + 1 - kept
        slope = kept.sqrt() * self.product / total
        return slope, (1 - kept * self.product**2 / total).clamp_min(_LEAST**2).sqrt()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The line that `to_dict` described."""
        return cls(**state)
