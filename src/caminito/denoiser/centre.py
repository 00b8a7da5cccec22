"""What a condition says of the data by itself: the line through it, which a network is left to correct.

An item and its own low resolution differ little. A network that is told `low` and has to say all of x0 learns first to
repeat what it was told; one that is asked for x0 less the best line through low has only the rest to learn, at the
noise levels where that rest is decided. With L a channel of the condition, noised to a share s
(`caminito.training.augment`), x0 the same channel of the data, both of mean 0,

    low_s = sqrt(1 - s^2) L + s eps,    b = E[x0 L],    v = E[L^2],    k = 1 - s^2,
    centre = sqrt(k) b / (k v + s^2) low_s,
    E (x0 - centre)^2 = E[x0^2] - k b^2 / (k v + s^2),    spread^2 = its mean over the channels.

Where the condition is absent the centre is 0 and the spread 1, as without it. It is exact algebra: with x_t - alpha
centre in the place of x_t, and spread in that of the standard deviation of the data, a denoiser is what it was.
Source: Mardani et al. 2025 (CorrDiff), for residuals; Karras et al. 2022, appendix B.6, for the scales.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from caminito._errors import ConditionError
from caminito.denoiser.base import Condition
from caminito.nn import Given

__all__ = ["Centre"]

_LEAST = 1e-2  # of a spread: what a line says exactly is still given some room
_ROWS = 64  # taken at once


@dataclass(frozen=True)
class Centre:
    """The line through a condition, channel by channel.

    Parameters
    ----------
    condition : str
        Name of a field with the shape of the data.
    product, square, variance : tuples of float, one per channel
        E[x0 L], E[L^2] and E[x0^2].
    """

    condition: str
    product: tuple[float, ...]
    square: tuple[float, ...]
    variance: tuple[float, ...]

    @classmethod
    def measured(cls, condition: str, x0: Tensor, field: Tensor) -> Self:
        """The line of standardised data (N, C, *grid) and a field of the same shape."""
        sums = torch.zeros(3, x0.shape[1], dtype=torch.float64)
        for x, low in zip(x0.split(_ROWS), field.split(_ROWS)):
            x, low = x.double(), low.double()
            moments = (x * low, low.square(), x.square())
            sums += torch.stack([each.reshape(*each.shape[:2], -1).mean(2).sum(0).cpu() for each in moments])
        product, square, variance = (tuple(row) for row in (sums / len(x0)).tolist())
        return cls(condition, product, square, variance)

    @property
    def explained(self) -> float:
        """Share of the variance of the data that the line says where the condition has no noise."""
        said = [b**2 / v for b, v in zip(self.product, self.square) if v > 0]
        return sum(said) / sum(self.variance) if sum(self.variance) > 0 else 0.0

    @property
    def least_spread(self) -> float:
        """The spread where the condition has no noise."""
        return float(self._line(torch.ones(1, dtype=torch.float64))[1])

    def of(self, cond: Condition, like: Tensor) -> tuple[Tensor, Tensor]:
        """Centre, shape of `like`, and spread (float64, shape (B,)) of the rows of a condition.

        Raises
        ------
        ConditionError
            If the condition has not the shape of `like`, nor one row that serves all.
        """
        given = self._given(cond)
        if given is None:
            return torch.zeros_like(like), torch.ones(len(like), dtype=torch.float64)
        if len(given.value) not in (1, len(like)) or given.value.shape[1:] != like.shape[1:]:
            raise ConditionError(
                f"condition {self.condition!r}: expected the shape of x, {tuple(like.shape)}, got "
                f"{tuple(given.value.shape)}."
            )
        value = given.value.to(like)
        if given.present is not None:
            shown = given.present.reshape(-1, *(1,) * (value.ndim - 1))
            value = torch.where(shown, value, torch.zeros_like(value))  # whatever an absent row holds, NaN included
        slope, spread = self._line(_kept(given))
        return slope.reshape(*slope.shape, *(1,) * (value.ndim - 2)).to(value) * value, spread

    def spread(self, cond: Condition, rows: int) -> Tensor:
        """That of so many rows alone."""
        given = self._given(cond)
        return torch.ones(rows, dtype=torch.float64) if given is None else self._line(_kept(given))[1]

    def _given(self, cond: Condition) -> Given | None:
        value = (cond or {}).get(self.condition)
        return None if value is None else Given.of(value)

    def _line(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes (B, C) and spread (B,) of rows that keep such shares 1 - s^2 of their variance, 0 where absent."""
        product, square, variance = (
            torch.tensor(each, dtype=torch.float64) for each in (self.product, self.square, self.variance)
        )
        k = kept[:, None]
        total = k * square + 1 - k
        total = torch.where(total > 0, total, torch.ones_like(total))  # a channel that says nothing
        spread = (variance - k * product**2 / total).mean(1).clamp_min(_LEAST**2).sqrt()
        return k.sqrt() * product / total, torch.where(kept > 0, spread, torch.ones_like(spread))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The line that `to_dict` described."""
        return cls(state["condition"], *(tuple(state[name]) for name in ("product", "square", "variance")))


def _kept(given: Given) -> Tensor:
    """1 - s^2 of each row, 0 where it is absent; float64 and on the CPU, as all coefficients are."""
    kept = torch.ones(len(given.value), dtype=torch.float64)
    if given.level is not None:
        kept = 1 - given.level.to("cpu", torch.float64).square()
    return kept if given.present is None else torch.where(given.present.cpu(), kept, torch.zeros_like(kept))
