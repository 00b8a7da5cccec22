"""A codec carries data to the tensors a denoiser sees, and back: explicit, invertible, stored with the model.

Every codec here is affine per channel,

    x = (X - mean) / std,        log |dx/dX| = - sum log std,

so a log-density in data units is log p(X) = log p(x) + log_det(X), and what decode adds (rounding to whole numbers,
clipping to declared bounds) is recorded in its dictionary and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from caminito._errors import RunError
from caminito.data.array import ArrayCodec
from caminito.data.image import ImageCodec

__all__ = ["Codec", "codec_from_dict"]


@runtime_checkable
class Codec(Protocol):
    """What a model needs to know of the data it was given."""

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one encoded item, channels first; known after `fit` or `from_dict`."""

    @property
    def quantum(self) -> float | None:
        """Spacing of the values that decode returns: 1.0 for whole numbers, None for a continuum."""

    @property
    def limits(self) -> tuple[float, float] | None:
        """What decode clips to, in data units; None where it does not clip."""

    def fit(self, X: ArrayLike) -> Self:
        """Learn the layout, dtype, mean and spread of X; returns self."""

    def encode(self, X: ArrayLike) -> Tensor:
        """Float32 tensor (n, *event_shape), about zero mean and unit variance on the data of `fit`."""

    def decode(self, x: Tensor) -> NDArray[Any]:
        """Array like the one `fit` was given: the same layout, dtype and declared range."""

    def log_det(self, X: ArrayLike) -> NDArray[np.float64]:
        """log |d encode / dX| of each item, shape (n,), in nats."""

    def to_dict(self) -> dict[str, Any]:
        """All that `from_dict` needs, as plain JSON values."""

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The fitted codec that `to_dict` described."""


def codec_from_dict(state: Mapping[str, Any]) -> Codec:
    """The fitted codec that any `to_dict` described, chosen by its entry "codec".

    Raises
    ------
    RunError
        If the entry names no known codec or is damaged.
    """
    match state.get("codec"):
        case "image":
            return ImageCodec.from_dict(state)
        case "array":
            return ArrayCodec.from_dict(state)
        case kind:
            raise RunError(f"expected codec 'image' or 'array', got {kind!r}. Was this saved by a newer version?")
