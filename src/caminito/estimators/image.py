"""Diffusion model of images: arrays with channels last, as Pillow and numpy hold them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from caminito.data import Codec, ImageCodec, shrink
from caminito.estimators.frames import Container
from caminito.estimators.model import DiffusionModel
from caminito.estimators.verbs import ImageVerbs

__all__ = ["ImageDiffusion"]


class ImageDiffusion(ImageVerbs, DiffusionModel):
    """Diffusion model of images (n, H, W) or (n, H, W, C), grey to RGBA, uint8, uint16 or float, of any size.

    Samples have the dtype, range and layout of the training images. Parameters are those of `DiffusionModel`.

    Examples
    --------
    >>> from caminito.data import load_digits
    >>> X, y = load_digits()
    >>> model = ImageDiffusion(max_steps=2, random_state=0).fit(X, y)
    >>> model.sample(3, condition=[0, 1, 2], random_state=0).shape
    (3, 8, 8)
    """

    def _new_codec(self) -> Codec:
        return ImageCodec()

    def _shrunk(self, array: np.ndarray, factor: int) -> np.ndarray:
        return shrink(array, factor)

    def _validated(self, X: ArrayLike, *, reset: bool = True) -> np.ndarray:
        array: Any = np.asarray(X)
        if reset:
            self.container_ = Container()
            self.n_features_in_ = int(array.shape[1]) if array.ndim > 1 else 0
        return array
