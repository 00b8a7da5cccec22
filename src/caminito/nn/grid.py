"""Convolutions and resampling on a grid of one, two or three axes, each axis with its own border.

Channels stay last in memory from the first layer to the last. A grid of one axis is treated as one of two whose first
axis has length one, so that it runs on the same fast kernels.

Borders of an axis: `zero` (nothing beyond), `reflect` (a mirror on the last point) and `circular` (the axis is a
circle: longitudes, phases).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from caminito._errors import ConfigError

__all__ = ["Border", "GridConv", "borders", "depth_to_space", "pad_to_multiple", "space_to_depth", "upsample"]

Border = Literal["zero", "reflect", "circular"]


def borders(padding: str | Sequence[str], dims: int) -> tuple[Border, ...]:
    """Border of each axis, from one word for all or one word for each.

    Raises
    ------
    ConfigError
        If a word is unknown or their number is not `dims`.
    """
    words = (padding,) * dims if isinstance(padding, str) else tuple(padding)
    if len(words) != dims or not set(words) <= set(get_args(Border)):
        raise ConfigError(
            f"padding: expected one of {', '.join(get_args(Border))}, or {dims} of them (one per axis), "
            f"got {padding!r}."
        )
    return cast(tuple[Border, ...], words)


class GridConv(nn.Module):
    """Convolution with an odd kernel that keeps the grid's size (or halves it), with a border for each axis.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    border : sequence of Border
        One word per axis of the grid; two or three axes. An axis marked None is not convolved.
    kernel : {1, 3}
        Points of the kernel along each axis.
    stride : {1, 2}
        2 halves each axis.
    zero : bool
        Start at zero, so that a residual branch is born silent.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        border: Sequence[Border | None],
        *,
        kernel: int = 3,
        stride: int = 1,
        zero: bool = False,
    ) -> None:
        super().__init__()
        kernels = tuple(1 if b is None else kernel for b in border)
        conv = nn.Conv2d if len(border) == 2 else nn.Conv3d
        self.conv = conv(
            inputs,
            outputs,
            kernels,  # type: ignore[arg-type]
            stride=tuple(1 if b is None else stride for b in border),  # type: ignore[arg-type]
            padding=tuple(k // 2 if b == "zero" else 0 for b, k in zip(border, kernels)),  # type: ignore[arg-type]
        )
        self.wrapped = tuple(
            (axis + 2, b) for axis, (b, k) in enumerate(zip(border, kernels)) if k > 1 and b in ("reflect", "circular")
        )
        if zero:
            nn.init.zeros_(self.conv.weight)
            nn.init.zeros_(cast(Tensor, self.conv.bias))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, *grid) to (B, outputs, *grid)."""
        for axis, border in self.wrapped:
            x = _extend(x, axis, border)
        out: Tensor = self.conv(x)
        return out


def _extend(x: Tensor, axis: int, border: Border) -> Tensor:
    """Add one point at each end of an axis; unlike `pad`, this keeps channels last in memory."""
    last = x.shape[axis] - 1
    if border == "circular":
        before, after = last, 0
    else:
        before, after = min(1, last), max(0, last - 1)
    return torch.cat([x.narrow(axis, before, 1), x, x.narrow(axis, after, 1)], dim=axis)


def pad_to_multiple(x: Tensor, border: Sequence[Border | None], multiple: int) -> tuple[Tensor, tuple[int, ...]]:
    """Extend each axis by its border until `multiple` divides its length.

    Returns
    -------
    Tensor, tuple of int
        The extended grid and, per axis, where the original begins in it. An axis marked None is left alone.
    """
    begins = [0] * len(border)
    for number, word in enumerate(border):
        axis = number + 2
        length = x.shape[axis]
        missing = -length % multiple
        if word is None or missing == 0:
            continue
        begins[number] = missing // 2
        if word == "zero":
            sides = [0, 0] * (len(border) - 1 - number) + [begins[number], missing - begins[number]]
            x = functional.pad(x, sides)
            continue
        place = torch.arange(-begins[number], length + missing - begins[number], device=x.device)
        if word == "circular":
            place = place % length
        else:
            period = max(1, 2 * (length - 1))
            place = place % period
            place = torch.minimum(place, period - place) if length > 1 else torch.zeros_like(place)
        x = x.index_select(axis, place)
    return x, tuple(begins)


def space_to_depth(x: Tensor, patch: Sequence[int]) -> Tensor:
    """Move each patch of points into the channels: (B, C, *grid) to (B, C * prod(patch), *grid / patch).

    One copy; the result has its channels last in memory.
    """
    rows, channels, *grid = x.shape
    split = [n for length, p in zip(grid, patch) for n in (length // p, p)]
    axes = range(len(grid))
    order = [0, *(2 + 2 * a for a in axes), 1, *(3 + 2 * a for a in axes)]
    x = x.reshape(rows, channels, *split).permute(order)
    return x.flatten(len(grid) + 1).movedim(-1, 1)


def depth_to_space(x: Tensor, patch: Sequence[int]) -> Tensor:
    """Undo `space_to_depth`. One copy; the result is contiguous."""
    grid = x.shape[2:]
    axes = range(len(grid))
    x = x.unflatten(1, (-1, *patch))
    order = [0, 1, *(n for a in axes for n in (2 + len(grid) + a, 2 + a))]
    x = x.permute(order).contiguous()
    return x.reshape(*x.shape[:2], *(length * p for length, p in zip(grid, patch)))


def upsample(x: Tensor, factor: Sequence[int]) -> Tensor:
    """Repeat each point `factor` times along each axis."""
    return functional.interpolate(x, scale_factor=[float(f) for f in factor], mode="nearest")
