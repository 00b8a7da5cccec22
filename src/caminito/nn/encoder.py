"""Classifier of grids of one, two or three axes: the way down of the U-Net, then one logit per class.

    stem -> [blocks, halve] per level -> norm -> mean over the grid -> linear head

Its blocks are those of `UNet`. The head is zero at birth: to a new network all classes are equally likely. Around a
grid whose axes are circular, items rolled by `stride` points have the same logits.
Source: Dhariwal & Nichol 2021, section 4: the downsampling trunk of the U-Net as a classifier, told the noise level;
the mean over the grid in place of their attention pool.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from caminito._errors import ConfigError
from caminito.nn.blocks import Borders, Down, Norm, Resample, Stage, check_input, check_levels, modulation_of
from caminito.nn.embed import LabelEmbedding
from caminito.nn.grid import GridConv, borders, pad_to_multiple, space_to_depth

__all__ = ["GridClassifier"]


class GridClassifier(nn.Module):
    """Classifier of grids: (x, label) -> logits.

    Parameters
    ----------
    dims : {1, 2, 3}
        Axes of the grid.
    channels : int
        Channels of x.
    classes : int
        Logits.
    width : int
        Channels of the first level; multiples of 32 suit matrix units.
    multipliers : sequence of int
        Channels of each level in units of `width`; each further level halves the grid.
    blocks : int or sequence of int
        Residual blocks of each level.
    attention : sequence of int
        Levels (0 is the first) whose blocks are followed by attention.
    head_size : int
        Channels of one attention head, at most.
    patch : {1, 2, 4}
        Points per axis folded into the channels.
    padding : {"zero", "reflect", "circular"} or one per axis
        What lies beyond the border of the grid.
    dropout : float
        Share of a block's hidden features dropped while training.
    embedding : int, optional
        Size of the label's embedding; 4 * width by default.
    resample : {"pool", "conv"}
        Halve by averaging, or by a convolution with stride 2.

    Attributes
    ----------
    options : dict
        The arguments, plain JSON with `kind`; `caminito.nn.build` rebuilds the network from them.
    stride : int
        The grid is extended until this divides each axis.

    Raises
    ------
    ConfigError
        If an option has an impossible value.

    Examples
    --------
    >>> import torch
    >>> from caminito.nn import GridClassifier
    >>> GridClassifier(2, 1, 10, width=8)(torch.zeros(3, 1, 9, 7), torch.zeros(3)).shape
    torch.Size([3, 10])
    """

    def __init__(
        self,
        dims: int,
        channels: int,
        classes: int,
        *,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int | Sequence[int] = 1,
        attention: Sequence[int] = (),
        head_size: int = 32,
        patch: int = 1,
        padding: str | Sequence[str] = "zero",
        dropout: float = 0.0,
        embedding: int | None = None,
        resample: Resample = "pool",
    ) -> None:
        super().__init__()
        depths = [blocks] * len(multipliers) if isinstance(blocks, int) else list(blocks)
        check_levels(dims, patch, dropout, multipliers, depths, attention)
        if resample not in get_args(Resample):
            raise ConfigError(f"resample: expected one of {', '.join(get_args(Resample))}, got {resample!r}.")
        numbers = {"channels": channels, "classes": classes, "width": width, "head_size": head_size}
        for name, number in numbers.items():
            if number < 1:
                raise ConfigError(f"{name}: expected a positive integer, got {number}.")
        size = 4 * width if embedding is None else embedding
        self.options: dict[str, Any] = {
            "kind": "grid-classifier",
            "dims": dims,
            **numbers,
            "multipliers": list(multipliers),
            "blocks": depths,
            "attention": list(attention),
            "patch": patch,
            "padding": list(borders(padding, dims)),
            "dropout": dropout,
            "embedding": size,
            "resample": resample,
        }
        self.channels = channels
        self.dims = dims
        self.stride = patch * 2 ** (len(multipliers) - 1)
        self.border: Borders = (None, *borders(padding, dims)) if dims == 1 else borders(padding, dims)
        self.patch = tuple(1 if b is None else patch for b in self.border)

        self.label = LabelEmbedding(2 * math.ceil(width / 2), size)
        features = width * multipliers[0]
        points = math.prod(self.patch)
        self.stem = GridConv(channels * points, features, self.border)
        self.encoder = nn.ModuleList()
        self.down = nn.ModuleList()
        for level, (multiplier, depth) in enumerate(zip(multipliers, depths)):
            if level > 0:
                self.down.append(Down(features, self.border, resample))
            encoded = nn.ModuleList()
            for _ in range(depth):
                attends = head_size if level in attention else None
                encoded.append(Stage(features, width * multiplier, self.border, dropout, attends, None))
                features = width * multiplier
            self.encoder.append(encoded)
        self.norm = Norm(features)
        self.head = nn.Linear(features, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

        self.modulated = [2 * module.outputs for module in self.modules() if isinstance(module, Stage)]
        self.modulation = modulation_of(size, self.modulated)
        last = torch.channels_last if len(self.border) == 2 else torch.channels_last_3d
        self.to(memory_format=last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Map x and its label to logits.

        Parameters
        ----------
        x : float Tensor (B, channels, *grid)
        label : float Tensor (B,)

        Returns
        -------
        Tensor (B, classes)
            In the dtype of x.

        Raises
        ------
        ShapeError
            If x or the label has another shape than declared.
        """
        check_input(x, label, self.dims, self.channels)
        hidden = x.unsqueeze(2) if self.dims == 1 else x
        hidden, _ = pad_to_multiple(hidden, self.border, self.stride)
        hidden = self.stem(space_to_depth(hidden, self.patch))
        pieces = iter(self.modulation(functional.silu(self.label(label))).split(self.modulated, dim=1))
        for level, encoded in enumerate(self.encoder):
            if level > 0:
                hidden = self.down[level - 1](hidden)
            for block in cast(nn.ModuleList, encoded):
                hidden = block(hidden, next(pieces), None, None)
        hidden = functional.silu(self.norm(hidden))
        with torch.autocast(x.device.type, enabled=False):  # sums over the grid, and logits, keep their digits
            out: Tensor = self.head(hidden.to(self.head.weight.dtype).flatten(2).mean(2))
        return out.to(x.dtype)
