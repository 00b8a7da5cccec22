"""A denoiser: E[x0 | x_t], however one came by it.

Closed forms, tree ensembles, networks and other libraries' models are all denoisers. It is not a torch module: what it
holds is its own affair. Coefficients come from its process, in float64; x_t keeps its own dtype.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from torch import Tensor

from caminito.process import Normal, Process
from caminito.process.base import Time

__all__ = ["Condition", "Denoiser", "for_rows", "mapped", "rows_of"]

Condition: TypeAlias = Mapping[str, Any] | None


def rows_of(cond: Condition, index: Tensor | slice) -> Condition:
    """The conditions of some rows."""
    return mapped(cond, lambda value: value[index])


def mapped(cond: Condition, change: Callable[[Any], Any]) -> Condition:
    """Conditions with each tensor changed; a value may be one, or a tuple of them and None (a value with its mask)."""

    def of(value: Any) -> Any:
        if isinstance(value, tuple):
            parts: list[Any] = [None if part is None else change(part) for part in value]
            return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
        return change(value)

    return None if cond is None else {name: of(value) for name, value in cond.items()}


def for_rows(cond: Condition, rows: int) -> Condition:
    """Conditions with so many rows: an entry of one row serves all."""
    return mapped(cond, lambda value: value.expand(rows, *value.shape[1:]) if len(value) == 1 != rows else value)


class Denoiser(ABC):
    """The mean, and where known the variance and density, of the data given a noisy observation.

    Attributes
    ----------
    process : Process
    event_shape : tuple of int, or None if any shape will do
    data_moments : (mean, var)
        Of the data, broadcastable to an event: what the start of sampling is matched to where the process leaves a
        trace of the data at its end. (0, 1) unless set.
    """

    process: Process
    event_shape: tuple[int, ...] | None = None
    data_moments: tuple[Tensor | float, Tensor | float] = (0.0, 1.0)

    @abstractmethod
    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """E[x0 | x_t]; x_t of shape (B, *event), t of shape () or (B,)."""

    @property
    def knows_variance(self) -> bool:
        """Whether `var` gives values: taken for granted where `var` or `moments` is not the one written here."""
        pairs = ((self.var, Denoiser.var), (self.moments, Denoiser.moments))
        return any(getattr(own, "__func__", own) is not plain for own, plain in pairs)

    @property
    def mixes_conditions(self) -> bool:
        """Whether one call may hold rows that are told a condition and rows that are not (`nn.Given.present`)."""
        return False

    def var(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor | None:
        """Diagonal of Cov[x0 | x_t], shape of x_t; None if unknown."""
        return None

    def moments(self, x_t: Tensor, t: Time, cond: Condition = None) -> tuple[Tensor, Tensor | None]:
        """`mean` and `var`, for denoisers that know both from one piece of work."""
        return self.mean(x_t, t, cond), self.var(x_t, t, cond)

    def log_marginal(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor | None:
        """log p_t(x_t) in nats, shape (B,); None if unknown."""
        return None

    def prior(self, t: Time | None = None) -> Normal:
        """Law that sampling starts from at time t (t_max unless given)."""
        mean, var = self.data_moments
        return self.process.prior(mean, var, t)

    def __call__(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """`mean`."""
        return self.mean(x_t, t, cond)
