"""A denoiser whose predictions stay where the data can be.

    D'(x_t) = project(D(x_t)).

Of data with bounds, E[x0 | x_t] lies within them; a network's does not always, and what is beyond is carried from step
to step. Solvers here step in D, so all that they derive from it, eps = (x_t - alpha D') / sigma among it, follows the
projected value: what diffusers does with `use_clipped_model_output=True`. An exact denoiser is not changed by `clip`.
A network that is, is no longer a smooth function of x_t: solvers keep their order only where nothing is projected.

With m and h the middle and the half width of the bounds and u = (x0 - m) / h, the bounds are u = -1 and u = 1:

    clip                 u' = min(max(u, -1), 1)
    dynamic_threshold    u' = min(max(u, -s), s) / s,   s = max(1, quantile of |u| over the item)
    renormalise          u' = u / s,                    s = max(1, largest |u| of the item)
    match_std            x' = x (share std / std(x) + 1 - share), about the mean of the item

Sources: Saharia et al. 2022 (Imagen), section 2.3 (static and dynamic thresholding; `renormalise` is the quantile 1);
Lin et al. 2024, section 3.4 (matching the standard deviation).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from caminito._errors import ConfigError, ShapeError
from caminito.denoiser import Condition, Denoiser, Wrapped
from caminito.process.base import Time

__all__ = ["Constrained", "Projection", "clip", "constrain", "dynamic_threshold", "match_std", "renormalise"]

Projection: TypeAlias = Callable[[Tensor], Tensor]


def constrain(denoiser: Denoiser, project: Projection) -> Denoiser:
    """The denoiser whose mean is project(E[x0 | x_t]).

    Parameters
    ----------
    denoiser : Denoiser
    project : (x0 of shape (B, *event)) -> tensor of that shape
        Item by item, or a sample would depend on its batch.

    Examples
    --------
    >>> import torch
    >>> from caminito.denoiser import GaussianDenoiser
    >>> from caminito.guidance import clip, constrain
    >>> from caminito.process import VP
    >>> denoiser = constrain(GaussianDenoiser(torch.zeros(1), 1.0, VP()), clip(-1.0, 1.0))
    >>> denoiser.mean(torch.tensor([[5.0]]), 0.1)
    tensor([[1.]])
    """
    return Constrained(denoiser, project)


class Constrained(Wrapped):
    """What `constrain` returns. The variance is that of the denoiser; a density is not known.

    Raises
    ------
    ShapeError
        From `mean`, if the projection does not keep the shape.
    """

    def __init__(self, denoiser: Denoiser, project: Projection) -> None:
        super().__init__(denoiser)
        self.project = project

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """project(E[x0 | x_t])."""
        return self._projected(self.denoiser.mean(x_t, t, cond))

    def moments(self, x_t: Tensor, t: Time, cond: Condition = None) -> tuple[Tensor, Tensor | None]:
        """Both."""
        mean, var = self.denoiser.moments(x_t, t, cond)
        return self._projected(mean), var

    def log_marginal(self, x_t: Tensor, t: Time, cond: Condition = None) -> None:
        """Unknown."""

    def _projected(self, x0: Tensor) -> Tensor:
        out = self.project(x0)
        if out.shape != x0.shape:
            raise ShapeError(
                f"project: expected the shape {tuple(x0.shape)} that it was given, got {tuple(out.shape)}."
            )
        return out


def clip(low: Tensor | float, high: Tensor | float) -> Projection:
    """Values beyond the bounds become the bounds.

    Parameters
    ----------
    low, high : number, or tensor that broadcasts over an event
        In the units of x0: for images under a codec, (0 - mean) / std and (255 - mean) / std of each channel.

    Raises
    ------
    ConfigError
        If low < high does not hold everywhere, or a bound is not finite.
    """
    floor, ceiling = _bounds(low, high)
    return lambda x0: torch.minimum(torch.maximum(x0, floor.to(x0)), ceiling.to(x0))


def dynamic_threshold(low: Tensor | float = -1.0, high: Tensor | float = 1.0, *, quantile: float = 0.995) -> Projection:
    """Values beyond a quantile of the item are cut there, and the item is scaled until the cut is at the bounds.

    An item of which no more than 1 - quantile lies beyond the bounds is only clipped: the threshold s is never below
    them. Nor is it held to them, which would be `clip` for all items.

    Parameters
    ----------
    low, high : as for `clip`
    quantile : float in (0, 1]
        Of |x0| over all entries of an item, in units of the bounds, by linear interpolation; in float32 or finer.
        .995 is the value in circulation.

    Raises
    ------
    ConfigError
    """
    if not 0 < quantile <= 1:
        raise ConfigError(f"quantile: expected a number in (0, 1], got {quantile}.")
    return _scaled(low, high, lambda size: _quantile(size, quantile))


def renormalise(low: Tensor | float = -1.0, high: Tensor | float = 1.0) -> Projection:
    """An item with values beyond the bounds is scaled about the middle until none are; none are cut.

    The same as `dynamic_threshold` with the quantile 1: contrast is lost, and no detail.

    Parameters
    ----------
    low, high : as for `clip`

    Raises
    ------
    ConfigError
    """
    return _scaled(low, high, lambda size: size.amax(1))


def match_std(std: float, *, share: float = 1.0) -> Projection:
    """Each item gets a standard deviation over its entries, about its own mean; needs no bounds.

    Parameters
    ----------
    std : float > 0
        In the units of x0. That of a posterior mean is below that of the data where there is noise.
    share : float in [0, 1]
        How much of the way; Lin et al. (2024) take .7.

    Raises
    ------
    ConfigError
    """
    if not (std > 0 and 0 <= share <= 1):
        raise ConfigError(f"std, share: expected std > 0 and a share in [0, 1], got {std} and {share}.")

    def project(x0: Tensor) -> Tensor:
        rows = _fine(x0.flatten(1))
        mean, own = rows.mean(1, keepdim=True), rows.std(1, keepdim=True, correction=0)
        factor = torch.where(own > 0, share * std / own + (1 - share), 1.0)  # a flat item has nothing to scale
        return (mean + factor * (rows - mean)).to(x0.dtype).reshape(x0.shape)

    return project


def _scaled(low: Tensor | float, high: Tensor | float, size_of: Callable[[Tensor], Tensor]) -> Projection:
    """u' = clip(u, s) / s with s = max(1, size_of(|u|)); `size_of` maps (B, entries) to (B,)."""
    floor, ceiling = _bounds(low, high)
    middle, half = (floor + ceiling) / 2, (ceiling - floor) / 2

    def project(x0: Tensor) -> Tensor:
        x = _fine(x0)
        m, h = middle.to(x), half.to(x)
        u = (x - m) / h
        s = size_of(u.abs().flatten(1)).clamp_min(1).reshape(-1, *([1] * (x0.ndim - 1)))
        moved = m + h * (torch.minimum(torch.maximum(u, -s), s) / s)
        return torch.where(u.abs().le(s) & (s == 1), x, moved).to(x0.dtype)  # what need not move keeps its bits

    return project


def _bounds(low: Tensor | float, high: Tensor | float) -> tuple[Tensor, Tensor]:
    floor, ceiling = (torch.as_tensor(v, dtype=torch.float64) for v in (low, high))
    sound = torch.isfinite(floor).all() and torch.isfinite(ceiling).all() and (floor < ceiling).all()
    if not bool(sound):
        raise ConfigError(f"low, high: expected finite bounds with low < high, got {low} and {high}.")
    return floor, ceiling


def _fine(x: Tensor) -> Tensor:
    """In float32, or float64 if it is."""
    return x if x.dtype == torch.float64 else x.float()


def _quantile(rows: Tensor, q: float) -> Tensor:
    """Quantile of each row by linear interpolation, shape (B,); torch.quantile takes 2^24 values at most.

    Only the values above it are sorted.
    """
    place = q * (rows.shape[1] - 1)
    below = min(int(place), rows.shape[1] - 1)
    top = torch.topk(rows, rows.shape[1] - below, dim=1).values  # falling: the last is number `below`
    return top[:, -1] if top.shape[1] == 1 else torch.lerp(top[:, -1], top[:, -2], place - below)
