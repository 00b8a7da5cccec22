"""What the affine codecs share: everything after `fit`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from caminito._errors import ConfigError
from caminito.data._affine import Affine, Bounds

__all__ = ["AffineCodec"]


class AffineCodec(ABC):
    """A codec x = (X - mean_c) / std_c; a subclass says in `fit` what a channel c is, and how it is stored."""

    bounds: Bounds
    _map: Affine | None = None

    @abstractmethod
    def fit(self, X: ArrayLike) -> Self:
        """Learn layout, dtype, channel moments and bounds of X."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """All that `from_dict` needs, as plain JSON values."""

    @classmethod
    @abstractmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The fitted codec that `to_dict` described."""

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of an encoded item, channels first."""
        return self._fitted.event_shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the training array and of what decode returns."""
        return self._fitted.dtype

    @property
    def limits(self) -> tuple[float, float] | None:
        """What decode clips to, in data units; None where it does not clip."""
        return self._fitted.bounds

    @property
    def quantum(self) -> float | None:
        """Spacing of the values that decode returns: 1.0 for whole numbers, None for a continuum."""
        return self._fitted.quantum

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each channel, data units."""
        return self._fitted.mean

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation of each channel, data units; 1 where it is constant."""
        return self._fitted.std

    def encode(self, X: ArrayLike) -> Tensor:
        """Float32 tensor (n, *event_shape), standardised."""
        return self._fitted.encode(X)

    def decode(self, x: Tensor) -> NDArray[Any]:
        """Array in the layout and dtype of `fit`, rounded and clipped as recorded."""
        return self._fitted.decode(x)

    def log_det(self, X: ArrayLike) -> NDArray[np.float64]:
        """log |d encode / dX| of each item, shape (n,), nats. Exact."""
        return self._fitted.log_det(X)

    @property
    def _fitted(self) -> Affine:
        if self._map is None:
            raise ConfigError(
                f"this {type(self).__name__} is not fitted yet. Call fit(X) with the training data first."
            )
        return self._map
