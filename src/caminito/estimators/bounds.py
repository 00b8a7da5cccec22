"""Predictions kept between the limits of the data: those that a codec declares, in the units of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from caminito._errors import ConfigError
from caminito.data import Codec
from caminito.guidance import Projection, clip, dynamic_threshold, renormalise

__all__ = ["InRange", "encoded", "projection"]

InRange = Literal["clip", "dynamic", "renormalise"]
_MADE: Mapping[str, Callable[[Tensor, Tensor], Projection]] = {
    "clip": clip,
    "dynamic": dynamic_threshold,
    "renormalise": renormalise,
}


def projection(how: InRange | str, codec: Codec) -> Projection:
    """The projection called `how`, between the limits that samples end at.

    Raises
    ------
    ConfigError
        If there is no such projection, or the data have no limits.
    """
    if how not in _MADE:
        raise ConfigError(f"in_range: expected one of {', '.join(get_args(InRange))}, got {how!r}.")
    if codec.limits is None:
        raise ConfigError(
            f"in_range={how!r}: expected data with limits, but these are floats without any declared. Leave it out, or "
            "wrap denoiser_ yourself: caminito.guidance.constrain(denoiser, clip(low, high))."
        )
    return _MADE[how](*encoded(codec, codec.limits))


def encoded(codec: Codec, limits: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """The items that have the one and the other limit everywhere, in the units of the network, float64."""
    item = codec.decode(torch.zeros(1, *codec.event_shape))
    low, high = (codec.encode(np.full_like(item, limit))[0].double() for limit in limits)
    return low, high
