"""Images as tensors: explicit and invertible, for any height, width and 1 to 4 channels.

    x[n, c, i, j] = (X[n, i, j, c] - mean_c) / std_c

with one mean and one standard deviation per channel, so that the geometry of an image is kept. Decode rounds where the
data were whole numbers and clips to the bounds that the codec records; nothing else happens to a pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from numpy.typing import ArrayLike

from caminito._errors import RunError, ShapeError
from caminito.data._affine import Affine, Bounds
from caminito.data._check import as_array, check_learnable
from caminito.data._codec import AffineCodec

__all__ = ["ImageCodec"]


class ImageCodec(AffineCodec):
    """Codec of images (n, H, W) or (n, H, W, C), C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA.

    Integer images come back exactly; float images to 1e-6 of their spread, and to whole numbers if every training
    value was one (`quantum` is then 1.0). A channel that never changes has std 1. The dtype of the training array is
    given back: float64 in, float64 out.

    Parameters
    ----------
    bounds : {"auto", "dtype", "observed"}, None or (low, high), default "auto"
        What decode clips to, in data units. "auto": the limits of an integer dtype, the observed least and greatest
        value of floats. None clips floats nowhere (integers still end at the limits of their dtype).

    Raises
    ------
    DataError
        From `fit`, for fewer than two, identical, non-finite, or non-numeric items.
    ShapeError
        For another rank, more than 4 channels, or items unlike those of `fit`.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
    >>> codec = ImageCodec().fit(X)
    >>> codec.event_shape
    (1, 3, 5)
    >>> bool((codec.decode(codec.encode(X)) == X).all())
    True
    """

    def __init__(self, bounds: Bounds = "auto") -> None:
        self.bounds = bounds

    def fit(self, X: ArrayLike) -> Self:
        """Learn layout, dtype, channel moments and bounds of X, shape (n, H, W) or (n, H, W, C)."""
        array = as_array(X)
        if array.ndim not in (3, 4):
            raise ShapeError(
                f"X: expected images (n, height, width) or (n, height, width, channels), got shape {array.shape}. "
                "Add the missing axis with reshape, or use ArrayCodec for other arrays."
            )
        if array.ndim == 4 and not 1 <= array.shape[-1] <= 4:
            second = array.shape[1] <= 4
            raise ShapeError(
                f"X: expected 1 to 4 channels on the last axis, got {array.shape[-1]} in shape {array.shape}. "
                + ("If channels come second, pass numpy.moveaxis(X, 1, -1)." if second else "Use ArrayCodec instead.")
            )
        check_learnable(array)
        axis: Literal[-1] | None = None if array.ndim == 3 else -1
        self._map = Affine.fit(array, channel_axis=axis, bounds=self.bounds, round_floats=True)
        return self

    def to_dict(self) -> dict[str, Any]:
        """All that `from_dict` needs, as plain JSON values."""
        return {"codec": "image", **self._fitted.to_dict()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The fitted codec that `to_dict` described; a `RunError` says what is wrong with an altered one."""
        if state.get("codec") != "image":
            raise RunError(f"expected the entry of an image codec, got codec {state.get('codec')!r}.")
        fitted = Affine.from_dict(state)
        codec = cls(bounds=fitted.bounds)
        codec._map = fitted
        return codec
