"""How items lie as users hold them and as denoisers do, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caminito._errors import ConfigError, DataError, ShapeError
from caminito.data import ArrayCodec, Codec, ImageCodec

__all__ = ["Layout", "known_values"]


@dataclass(frozen=True, eq=False)
class Layout:
    """How items lie as users hold them and as events, channels first.

    Attributes
    ----------
    item_shape, event_shape : tuple of int
    channel_axis : None, 1 or -1
        Of arrays of items; None where they have no channels.
    mean, std : float64 tensors, shape (*event)
        Of the affine map, data units.
    """

    item_shape: tuple[int, ...]
    event_shape: tuple[int, ...]
    channel_axis: int | None
    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, codec: Codec) -> Layout:
        """The layout of what a codec was fitted on.

        Raises
        ------
        ConfigError
            If the codec is not affine.
        """
        if not isinstance(codec, ArrayCodec | ImageCodec):
            raise ConfigError(
                "posterior: expected a model whose codec is affine (ArrayCodec, ImageCodec), got "
                f"{type(codec).__name__}: under a bent map noise in the units of data is no normal noise. Use "
                "caminito.posterior.posterior(model.denoiser_, ...) on encoded values."
            )
        state, event = codec.to_dict(), codec.event_shape
        mean, std = (torch.from_numpy(v).reshape(-1, *[1] * (len(event) - 1)) for v in (codec.mean, codec.std))
        item = tuple(int(size) for size in state["item_shape"])
        return cls(item, event, state["channel_axis"], mean.expand(event), std.expand(event))

    def events(self, items: NDArray[Any]) -> NDArray[Any]:
        """Arrays (n, ...) as users hold them with the channels on axis 1, values as they are."""
        if self.channel_axis is None:
            return items[:, None]
        return items if self.channel_axis == 1 else np.moveaxis(items, -1, 1)

    def items(self, events: NDArray[Any]) -> NDArray[Any]:
        """The way back."""
        if self.channel_axis is None:
            return events[:, 0]
        return events if self.channel_axis == 1 else np.moveaxis(events, 1, -1)

    def rows(self, values: NDArray[Any], name: str) -> tuple[NDArray[Any], bool]:
        """Items (P, *item), and whether `values` is one item alone.

        Raises
        ------
        ShapeError
        """
        if values.shape == self.item_shape:
            return values[None], True
        if values.shape[1:] != self.item_shape or not len(values):
            many = ", ".join(map(str, ("n", *self.item_shape)))
            raise ShapeError(
                f"{name}: expected shape {self.item_shape}, as an item of the training data has, or ({many}) for n of "
                f"them, got {values.shape}. Resize, crop or reshape first."
            )
        return values, False


def known_values(rows: NDArray[Any], known: NDArray[np.bool_], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """What is known in the dtype of the data, 0 elsewhere.

    Raises
    ------
    DataError
        If it is not finite, or no value of the dtype.
    """
    plain = np.where(known, rows, 0)
    if bad := int((~np.isfinite(plain)).sum()):
        raise DataError(f"{name}: expected finite numbers where they are known, got {bad} NaN or infinite.")
    with np.errstate(invalid="ignore", over="ignore"):
        kept = plain.astype(dtype)
    if dtype.kind in "biu" and bool((kept != plain).any()):
        wrong = plain[kept != plain]
        raise DataError(
            f"{name}: expected values of {dtype}, as the training data have, got {wrong[0]:g}. Give them in the units "
            "that fit() was given."
        )
    return np.asarray(kept)
