"""U-Net for grids of one, two or three axes, any size and any number of channels.

    stem -> [blocks, halve] per level -> middle -> [double, blocks] per level -> head

Its blocks are those of `caminito.nn.blocks`. Their second convolutions are zero at birth, as is the head: a new network
returns exactly zero. The scales and shifts of all blocks come from the label's embedding by one matrix product. `patch`
folds p x p points into the channels before the first convolution and unfolds them after the last, which moves the work
to a grid p times coarser.
Source: Ho et al. 2020, appendix B; Dhariwal & Nichol 2021, section 3 (scale and shift).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from caminito._errors import ConfigError
from caminito.nn.blocks import (
    Borders,
    Down,
    Norm,
    Resample,
    Stage,
    Up,
    check_input,
    check_levels,
    modulation_of,
    spread,
)
from caminito.nn.condition import Cond, Conditioning, Entry, Tokens, Words, entry_to_dict
from caminito.nn.embed import LabelEmbedding
from caminito.nn.grid import (
    GridConv,
    borders,
    depth_to_space,
    pad_to_multiple,
    space_to_depth,
)

__all__ = ["DDPM_CIFAR10", "UNet"]

Decoder = Literal["mirror", "ddpm"]
Skips = Literal["concat", "none"]
TimeWay = Literal["every-level", "input", "none"]

DDPM_CIFAR10: dict[str, Any] = {
    "kind": "unet",
    "dims": 2,
    "channels": 3,
    "width": 128,
    "multipliers": [1, 2, 2, 2],
    "blocks": 2,
    "attention": [1],
    "head_size": 64,
    "embedding": 256,
    "decoder": "ddpm",
    "resample": "conv",
    "dropout": 0.1,
}
"""Options of the 35.7M-parameter U-Net for 32x32x3 (Ho et al. 2020, appendix B): attention at 16x16."""


class UNet(nn.Module):
    """U-Net: (x, label, cond) -> output on the same grid as x.

    Parameters
    ----------
    dims : {1, 2, 3}
        Axes of the grid.
    channels : int
        Channels of x.
    out_channels : int, optional
        Channels of the output; those of x by default.
    width : int
        Channels of the first level; multiples of 32 suit matrix units.
    multipliers : sequence of int
        Channels of each level in units of `width`; each further level halves the grid.
    blocks : int or sequence of int
        Residual blocks of each encoder level.
    attention : sequence of int
        Levels (0 is the first) whose blocks are followed by attention. If any is, the middle has attention too.
    head_size : int
        Channels of one attention head, at most: each level takes the largest divisor of its channels that is no larger.
    patch : {1, 2, 4}
        Points per axis folded into the channels.
    conditions : mapping of str to Entry, optional
        What `cond` may hold.
    padding : {"zero", "reflect", "circular"} or one per axis
        What lies beyond the border of the grid. A circular axis is exactly circular where its length is a multiple of
        `stride`; other lengths are first extended around the circle.
    dropout : float
        Share of a block's hidden features dropped while training.
    embedding : int, optional
        Size of the label's embedding; 4 * width by default.
    decoder : {"mirror", "ddpm"}
        `mirror`: as many blocks per level as the encoder, each taking the skip of one encoder block. `ddpm`: one more,
        which takes the output of the stem or of the halving.
    resample : {"pool", "conv"}
        Halve by averaging and double by repetition, or by a convolution with stride 2 and one after the repetition.
    skips : {"concat", "none"}
        Whether the decoder sees the encoder's features (`none` is for ablations).
    time : {"every-level", "input", "none"}
        Whether the label's embedding reaches every block or is added once, after the stem. `none`: every block is told
        the same label, 0, whatever is given, so that size and conditions stay (`input`, `none` are for ablations).

    Attributes
    ----------
    options : dict
        The arguments, plain JSON with `kind`; `caminito.nn.build` rebuilds the network from them.
    stride : int
        The grid is extended until this divides each axis, and cropped back.

    Raises
    ------
    ConfigError
        If an option has an impossible value.
    """

    def __init__(
        self,
        dims: int,
        channels: int,
        out_channels: int | None = None,
        *,
        width: int = 64,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int | Sequence[int] = 2,
        attention: Sequence[int] = (),
        head_size: int = 64,
        patch: int = 1,
        conditions: Mapping[str, Entry] | None = None,
        padding: str | Sequence[str] = "zero",
        dropout: float = 0.0,
        embedding: int | None = None,
        decoder: Decoder = "mirror",
        resample: Resample = "pool",
        skips: Skips = "concat",
        time: TimeWay = "every-level",
    ) -> None:
        super().__init__()
        entries = dict(conditions or {})
        depths = [blocks] * len(multipliers) if isinstance(blocks, int) else list(blocks)
        check_levels(dims, patch, dropout, multipliers, depths, attention)
        if not attention and any(isinstance(entry, Tokens | Words) for entry in entries.values()):
            raise ConfigError(
                "conditions: tokens and words come in through attention, but attention=(). Name at least one level, "
                f"for example attention=({len(multipliers) - 1},)."
            )
        for name, word, words in (
            ("decoder", decoder, Decoder),
            ("resample", resample, Resample),
            ("skips", skips, Skips),
            ("time", time, TimeWay),
        ):
            if word not in get_args(words):
                raise ConfigError(f"{name}: expected one of {', '.join(get_args(words))}, got {word!r}.")
        out_channels = channels if out_channels is None else out_channels
        numbers = {"channels": channels, "out_channels": out_channels, "width": width, "head_size": head_size}
        for name, number in numbers.items():
            if number < 1:
                raise ConfigError(f"{name}: expected a positive integer, got {number}.")
        self.options: dict[str, Any] = {
            "kind": "unet",
            "dims": dims,
            "channels": channels,
            "out_channels": out_channels,
            "width": width,
            "multipliers": list(multipliers),
            "blocks": depths,
            "attention": list(attention),
            "head_size": head_size,
            "patch": patch,
            "conditions": {name: entry_to_dict(entry) for name, entry in entries.items()},
            "padding": list(borders(padding, dims)),
            "dropout": dropout,
            "embedding": 4 * width if embedding is None else embedding,
            "decoder": decoder,
            "resample": resample,
            "skips": skips,
            "time": time,
        }
        self.channels = channels
        self.dims = dims
        self.stride = patch * 2 ** (len(multipliers) - 1)
        self.skips = skips
        self.time = time
        self.border: Borders = (None, *borders(padding, dims)) if dims == 1 else borders(padding, dims)
        self.patch = tuple(1 if b is None else patch for b in self.border)
        size: int = self.options["embedding"]

        self.label = LabelEmbedding(2 * math.ceil(width / 2), size)
        self.conditioning = Conditioning(entries, size, size)
        token_size = size if any(isinstance(e, Tokens | Words) for e in entries.values()) else None

        def stage(inputs: int, outputs: int, attends: bool) -> Stage:
            return Stage(inputs, outputs, self.border, dropout, head_size if attends else None, token_size)

        points = math.prod(self.patch)
        widths = [width * m for m in multipliers]
        self.stem = GridConv((channels + self.conditioning.field_channels) * points, widths[0], self.border)
        features = widths[0]
        taken = [[features]]  # channels of the skips, by level
        self.encoder = nn.ModuleList()
        self.down = nn.ModuleList()
        for level, (outputs, depth) in enumerate(zip(widths, depths)):
            if level > 0:
                self.down.append(Down(features, self.border, resample))
                taken.append([features])
            if decoder == "mirror":
                taken[level].clear()
            encoded = nn.ModuleList()
            for _ in range(depth):
                encoded.append(stage(features, outputs, level in attention))
                features = outputs
                taken[level].append(features)
            self.encoder.append(encoded)
        self.keep_resampled = decoder == "ddpm"
        self.middle = nn.ModuleList([stage(features, features, bool(attention)), stage(features, features, False)])
        self.decoder = nn.ModuleList()
        self.up = nn.ModuleList()
        for level in reversed(range(len(widths))):
            decoded = nn.ModuleList()
            for skip in reversed(taken[level]):
                inputs = features + (skip if skips == "concat" else 0)
                decoded.append(stage(inputs, widths[level], level in attention))
                features = widths[level]
            self.decoder.append(decoded)
            if level > 0:
                narrower = features if resample == "conv" else widths[level - 1]
                self.up.append(Up(features, narrower, self.border, resample))
                features = narrower
        self.norm = Norm(features)
        self.head = GridConv(features, out_channels * points, self.border, zero=True)

        self.modulated = [2 * module.outputs for module in self.modules() if isinstance(module, Stage)]
        self.modulation = nn.Linear(size, widths[0]) if time == "input" else modulation_of(size, self.modulated)
        last = torch.channels_last if len(self.border) == 2 else torch.channels_last_3d
        self.to(memory_format=last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, label: Tensor, cond: Cond = None) -> Tensor:
        """Map x and its label to an output on the same grid.

        Parameters
        ----------
        x : float Tensor (B, channels, *grid)
        label : float Tensor (B,)
        cond : mapping of str to Tensor or Given, optional
            Values of the declared conditions; absent names take their null.

        Returns
        -------
        Tensor (B, out_channels, *grid)
            Contiguous, in the dtype of x.

        Raises
        ------
        ShapeError
            If x or the label has another shape than declared.
        ConditionError
            If `cond` does not fit the declared conditions.
        """
        check_input(x, label, self.dims, self.channels)
        given = self.conditioning(x, cond)
        embedding = self.label(torch.zeros_like(label) if self.time == "none" else label)
        if given.embedding is not None:
            embedding = embedding + given.embedding
        hidden = x if given.fields is None else torch.cat([x, given.fields], dim=1)
        if self.dims == 1:
            hidden = hidden.unsqueeze(2)
        grid = hidden.shape[2:]
        hidden, begins = pad_to_multiple(hidden, self.border, self.stride)
        hidden = self.stem(space_to_depth(hidden, self.patch))
        out = self._body(hidden, self.modulation(functional.silu(embedding)), given.tokens, given.mask)
        out = depth_to_space(self.head(functional.silu(self.norm(out))).to(x.dtype), self.patch)
        for axis, (begin, length) in enumerate(zip(begins, grid), start=2):
            out = out.narrow(axis, begin, length)
        return (out.squeeze(2) if self.dims == 1 else out).contiguous()

    def _body(self, x: Tensor, modulation: Tensor, tokens: Tensor | None, mask: Tensor | None) -> Tensor:
        """Everything between the stem and the head."""
        if self.time != "input":
            pieces = iter(modulation.split(self.modulated, dim=1))
        else:
            x = x + spread(modulation, x)
            pieces = iter(())
        kept: list[Tensor] = [x] if self.keep_resampled else []
        for level, encoded in enumerate(self.encoder):
            if level > 0:
                x = self.down[level - 1](x)
                if self.keep_resampled:
                    kept.append(x)
            for block in cast(nn.ModuleList, encoded):
                x = block(x, next(pieces, None), tokens, mask)
                kept.append(x)
        for block in self.middle:
            x = block(x, next(pieces, None), tokens, mask)
        for level, decoded in enumerate(self.decoder):
            if level > 0:
                x = self.up[level - 1](x)
            for block in cast(nn.ModuleList, decoded):
                skip = kept.pop()
                if self.skips == "concat":
                    x = torch.cat([x, skip], dim=1)
                x = block(x, next(pieces, None), tokens, mask)
        return x
