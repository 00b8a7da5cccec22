"""How far to go from a weak prediction through a strong one: what guidance makes of two means.

With D_s the strong and D_w the weak prediction of x0, d = D_s - D_w, and the scale w:

    linear      D = D_w + w d                                        (Ho & Salimans 2022, in the convention of `cfg`)
    rescaled    D' = D (share std(D_s) / std(D) + 1 - share)         (Lin et al. 2024, eq. 15-16), about D's own mean
    projected   D = D_s + (w - 1) (d_across + along d_along)         (Sadat et al. 2024, APG, eq. 6-9)

In `projected`, d is first shortened to `norm` where it is longer, and d_along is its part in the direction of D_s. The
momentum of that paper is left out: it depends on the steps before, and a denoiser on x_t and t alone. Standard
deviations, norms and directions are those of one item over all its entries, so that no item depends on its batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from caminito._errors import ConfigError
from caminito.process import times

__all__ = ["Rule", "linear", "projected", "rescaled"]

Rule: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(strong, weak, scale) -> mean: two predictions of shape (B, *event), a scale of shape () or (B,)."""


def linear(strong: Tensor, weak: Tensor, scale: Tensor) -> Tensor:
    """D_w + w (D_s - D_w)."""
    return weak + times(scale, strong - weak)


def rescaled(share: float = 0.7, rule: Rule = linear) -> Rule:
    """The result of a rule with the standard deviation of the strong prediction, or part of the way to it.

    Parameters
    ----------
    share : float in [0, 1]
        How much of the way; Lin et al. (2024) take .7.
    rule : Rule

    Raises
    ------
    ConfigError
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"rescale: expected a share in [0, 1], got {share!r}.")

    def apply(strong: Tensor, weak: Tensor, scale: Tensor) -> Tensor:
        guided = rule(strong, weak, scale)
        rows, like = _rows(guided), _rows(strong)
        mean, own = rows.mean(1, keepdim=True), rows.std(1, keepdim=True, correction=0)
        asked = like.std(1, keepdim=True, correction=0)
        factor = torch.where(own > 0, share * asked / own + (1 - share), 1.0)
        return (mean + factor * (rows - mean)).to(guided).view_as(guided)

    return apply


def projected(along: float = 0.0, norm: float | None = None) -> Rule:
    """Adaptive projected guidance, without its momentum.

    Parameters
    ----------
    along : float in [0, 1]
        What is kept of the part along the strong prediction, which is held to oversaturate images. 1, with no `norm`,
        is `linear`.
    norm : float > 0, optional
        Longest D_s - D_w of an item, in encoded units; any length unless given.

    Raises
    ------
    ConfigError
    """
    if not 0 <= along <= 1 or not (norm is None or norm > 0):
        raise ConfigError(f"along, norm: expected a share in [0, 1] and a length > 0 or None, got {along!r}, {norm!r}.")

    def apply(strong: Tensor, weak: Tensor, scale: Tensor) -> Tensor:
        rows, like = _rows(strong - weak), _rows(strong)
        if norm is not None:
            rows = rows * (norm / rows.norm(dim=1, keepdim=True).clamp_min(1e-30)).clamp_max(1)
        square = (like**2).sum(1, keepdim=True)
        part = (rows * like).sum(1, keepdim=True) / torch.where(square > 0, square, 1.0) * like
        kept = (rows - part + along * part).to(strong).view_as(strong)
        return strong + times(scale - 1, kept)

    return apply


def _rows(x: Tensor) -> Tensor:
    """Items as rows, in float64: sums of squares of small differences."""
    return x.flatten(1).double()
