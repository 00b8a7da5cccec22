"""Resizing that keeps proportions: scale until the target is just covered, crop the middle, no aliasing.

One resampling step does both: the centred box of the target's proportions is read from the source with Pillow's bicubic
filter, whose support grows with the reduction. Alpha is premultiplied while resampling, as Pillow does, so no fringe of
hidden colour appears. Values that the filter overshoots are clipped to the range of the integer type.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caminito._errors import ConfigError, DataError
from caminito.data._standardise import integer_limits

__all__ = ["fit_array", "fit_image", "target_size"]


def target_size(resize: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """(height, width) asked for by `resize`: an int means a square.

    Raises
    ------
    ConfigError
        If it is not a positive integer or a pair of them.
    """
    if resize is None:
        return None
    pair: object = (resize, resize) if isinstance(resize, int | np.integer) else resize
    match pair:
        case [int() | np.integer() as height, int() | np.integer() as width] if height >= 1 and width >= 1:
            return int(height), int(width)
    raise ConfigError(f"resize: expected a positive integer or a pair (height, width), got {resize!r}.")


def fit_image(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """`image` scaled to cover `size` = (height, width) and cropped around its centre."""
    height, width = size
    if (image.height, image.width) == size:
        return image
    scale = max(height / image.height, width / image.width)
    wide, high = width / scale, height / scale
    left, top = max((image.width - wide) / 2, 0.0), max((image.height - high) / 2, 0.0)
    box = (left, top, min(left + wide, image.width), min(top + high, image.height))
    return image.resize((width, height), Image.Resampling.BICUBIC, box=box)


def fit_array(items: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Images (n, H, W) or (n, H, W, C), C <= 4, of any real dtype, each passed through `fit_image`.

    Raises
    ------
    DataError
        If the items are not images.
    """
    if items.ndim not in (3, 4) or (items.ndim == 4 and items.shape[-1] > 4):
        raise DataError(
            f"resize: expected images (n, height, width) or (n, height, width, channels <= 4), got shape {items.shape}."
        )
    out = np.empty((len(items), *size, *items.shape[3:]), items.dtype)
    for item, target in zip(items, out):
        if items.dtype == np.uint8:
            plain = item[..., 0] if item.shape[2:] == (1,) else item
            target[...] = np.asarray(fit_image(Image.fromarray(plain), size)).reshape(target.shape)
            continue
        for c in np.ndindex(item.shape[2:]):
            plane = np.asarray(fit_image(Image.fromarray(item[(..., *c)].astype(np.float32)), size))
            if items.dtype.kind in "biu":
                plane = np.clip(np.rint(plane.astype(np.float64)), *integer_limits(items.dtype))
            target[(..., *c)] = plane
    return out
