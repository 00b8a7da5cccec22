"""The fitted state of an affine codec: how an array is looked at, its moments, and what decode adds.

`ImageCodec` and `ArrayCodec` decide the three choices (channel axis, bounds, rounding); the work is here, once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from caminito._errors import ConfigError, RunError, ShapeError
from caminito.data._check import as_array, check_finite
from caminito.data._standardise import Floats, integer_limits, restore, standardise, summarise

__all__ = ["Affine", "Bounds", "resolve_bounds"]

Bounds = Literal["auto", "dtype", "observed"] | tuple[float, float] | None


def resolve_bounds(bounds: Bounds, dtype: np.dtype[Any], observed: tuple[float, float]) -> tuple[float, float] | None:
    """The interval that decode clips to; None for no clipping.

    Integer types always end at the limits of their type, because a value beyond them has no representation.

    Raises
    ------
    ConfigError
        If `bounds` is neither a known word nor an increasing pair of numbers.
    """
    whole = dtype.kind in "biu"
    limits = integer_limits(dtype) if whole else (-math.inf, math.inf)
    if bounds is None or bounds == "dtype" or (bounds == "auto" and whole):
        return limits if whole else None
    if bounds == "auto" or bounds == "observed":
        return observed
    try:
        low, high = (float(v) for v in bounds)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"bounds: expected 'auto', 'dtype', 'observed', None or a pair (low, high), got {bounds!r}."
        ) from error
    if not low < high:
        raise ConfigError(f"bounds: expected low < high, got ({low:g}, {high:g}).")
    return max(low, limits[0]), min(high, limits[1])


@dataclass(frozen=True, eq=False)
class Affine:
    """An affine map per channel between arrays (n, *item_shape) and tensors (n, *event_shape)."""

    dtype: np.dtype[Any]
    item_shape: tuple[int, ...]
    channel_axis: Literal[1, -1] | None
    mean: Floats
    std: Floats
    bounds: tuple[float, float] | None
    quantum: float | None  # spacing that decode rounds to (1.0: whole numbers); None: no rounding

    @classmethod
    def fit(
        cls, array: NDArray[Any], *, channel_axis: Literal[1, -1] | None, bounds: Bounds, round_floats: bool
    ) -> Self:
        """Learn moments of a checked array; `round_floats` lets whole-numbered floats decode to whole numbers."""
        dtype = array.dtype.newbyteorder("=")
        summary = summarise(_view(array, channel_axis))
        whole = dtype.kind in "biu" or (round_floats and summary.whole)
        interval = resolve_bounds(bounds, dtype, (float(summary.low.min()), float(summary.high.max())))
        shape = tuple(int(n) for n in array.shape[1:])
        return cls(dtype, shape, channel_axis, summary.mean, summary.std, interval, 1.0 if whole else None)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of an encoded item, channels first."""
        if self.channel_axis is None:
            return (1, *self.item_shape)
        return self.item_shape if self.channel_axis == 1 else (self.item_shape[-1], *self.item_shape[:-1])

    def encode(self, X: ArrayLike) -> Tensor:
        """Float32 (n, *event_shape); see `standardise`."""
        array = self._known(X)
        check_finite(array)
        return standardise(_view(array, self.channel_axis), self.mean, self.std)

    def decode(self, x: Tensor) -> NDArray[Any]:
        """Array (n, *item_shape) of the fitted dtype; see `restore`."""
        if x.ndim == 0 or tuple(x.shape[1:]) != self.event_shape:
            raise ShapeError(
                f"decode: expected a tensor (n, {_numbers(self.event_shape)}), got {tuple(x.shape)}. "
                "Decode with the codec that was fitted on the data of this model."
            )
        out = np.empty((len(x), *self.item_shape), self.dtype)
        view = _view(out, self.channel_axis)
        restore(x, self.mean, self.std, into=view, bounds=self.bounds, whole=self.quantum is not None)
        return out

    def log_det(self, X: ArrayLike) -> NDArray[np.float64]:
        """- sum of log std over the values of an item, for each item."""
        places = math.prod(self.item_shape) // len(self.std)
        return np.full(len(self._known(X)), -places * float(np.log(self.std).sum()))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; floats keep all their bits."""
        return {
            "dtype": self.dtype.name,
            "item_shape": list(self.item_shape),
            "channel_axis": self.channel_axis,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "bounds": None if self.bounds is None else list(self.bounds),
            "quantum": self.quantum,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The map that `to_dict` described.

        Raises
        ------
        RunError
            If an entry is absent or has an impossible value.
        """
        try:
            bounds, axis = state["bounds"], state["channel_axis"]
            mean, std = (np.array(state[key], dtype=np.float64) for key in ("mean", "std"))
            codec = cls(
                dtype=np.dtype(state["dtype"]),
                item_shape=tuple(int(n) for n in state["item_shape"]),
                channel_axis=axis,
                mean=mean,
                std=std,
                bounds=None if bounds is None else (float(bounds[0]), float(bounds[1])),
                quantum=None if state["quantum"] is None else float(state["quantum"]),
            )
            sound = (
                codec.dtype.kind in "biuf"
                and axis in (None, 1, -1)
                and codec.quantum in (None, 1.0)
                and mean.shape == std.shape == codec.event_shape[:1]
                and bool(np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all())
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise RunError(
                f"the codec's entry is incomplete or altered ({error!r}). Restore it from a copy."
            ) from error
        if not sound:
            raise RunError("the codec's entry contradicts itself (dtype, shape, mean, std). Restore it from a copy.")
        return codec

    def _known(self, X: ArrayLike) -> NDArray[Any]:
        array = as_array(X)
        if array.shape[1:] != self.item_shape:
            raise ShapeError(
                f"X: expected an array (n, {_numbers(self.item_shape)}) like the training data, got {array.shape}. "
                "Resize or reshape the items."
            )
        return array


def _view(array: NDArray[Any], channel_axis: Literal[1, -1] | None) -> NDArray[Any]:
    if channel_axis is None:
        return array[:, None]
    return array if channel_axis == 1 else np.moveaxis(array, -1, 1)


def _numbers(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
