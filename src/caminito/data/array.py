"""Numbers, points, series, maps and volumes as tensors, standardised per column or per channel.

    x = (X - mean_c) / std_c

A channel is a column of (n, d), the whole item of a grid without channels, or one channel of a grid with them. Nothing
is clipped unless asked: the tails belong to the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from numpy.typing import ArrayLike

from caminito._errors import ConfigError, RunError
from caminito.data._affine import Affine, Bounds
from caminito.data._check import as_array, check_learnable
from caminito.data._codec import AffineCodec

__all__ = ["ArrayCodec"]


class ArrayCodec(AffineCodec):
    """Codec of arrays of any event shape.

    ============================  ==============  =======================
    array                         channel_axis    event_shape
    ============================  ==============  =======================
    numbers (n,)                  any             (1,)
    points (n, d)                 any             (d,)
    grid (n, L), (n, H, W), ...   None            (1, H, W); (n, L) is points
    grid (n, C, H, W), ...        1               (C, H, W)
    grid (n, H, W, C), ...        -1              (C, H, W)
    ============================  ==============  =======================

    The dtype is restored. Integers come back exactly while they lie within 2^22 of their channel's mean, and end at the
    limits of their dtype; floats come back to 1e-6 of their channel's spread. A column that never changes has std 1.

    Parameters
    ----------
    channel_axis : {None, 1, -1}, default None
        Where the channels of a grid are; None for a grid without.
    bounds : {"auto", "dtype", "observed"}, None or (low, high), default None
        What decode clips to, in data units; the words mean what they mean in `ImageCodec`.

    Raises
    ------
    DataError
        From `fit`, for fewer than two, identical, non-finite, or non-numeric items.
    ShapeError
        For items unlike those of `fit`.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 10.0], [2.0, 30.0]])
    >>> ArrayCodec().fit(X).encode(X)
    tensor([[-1., -1.],
            [ 1.,  1.]])
    """

    def __init__(self, channel_axis: Literal[1, -1] | None = None, *, bounds: Bounds = None) -> None:
        if channel_axis not in (None, 1, -1):
            raise ConfigError(f"channel_axis: expected None, 1 or -1, got {channel_axis!r}. Move the axis first.")
        self.channel_axis = channel_axis
        self.bounds = bounds

    def fit(self, X: ArrayLike) -> Self:
        """Learn dtype, shape and channel moments of X, shape (n, ...)."""
        array = as_array(X)
        check_learnable(array)
        axis: Literal[1, -1] | None = self.channel_axis
        if array.ndim <= 2:
            axis = None if array.ndim == 1 else 1
        self._map = Affine.fit(array, channel_axis=axis, bounds=self.bounds, round_floats=False)
        return self

    def to_dict(self) -> dict[str, Any]:
        """All that `from_dict` needs, as plain JSON values."""
        return {"codec": "array", "layout": self.channel_axis, **self._fitted.to_dict()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The fitted codec that `to_dict` described; a `RunError` says what is wrong with an altered one."""
        if state.get("codec") != "array" or state.get("layout") not in (None, 1, -1):
            raise RunError(f"expected the entry of an array codec, got codec {state.get('codec')!r}.")
        fitted = Affine.from_dict(state)
        codec = cls(state.get("layout"), bounds=fitted.bounds)
        codec._map = fitted
        return codec
