"""Residual perceptron for points and the rows of tables.

Each block is

    h + W2 silu(W1 (scale(label) * norm(h) + shift(label))),

with W2 zero at birth, as is the output layer. With `fourier` > 0 the network also sees cosines and sines of each
coordinate, which lets it draw sharp edges in few dimensions (Tancik et al. 2020).
Source: Gorishniy et al. 2021, section 3.2 (residual block); Perez et al. 2018 (scale and shift).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from caminito._errors import ConfigError, ShapeError
from caminito.nn.condition import Cond, Conditioning, Entry, Field, Known, Noised, entry_to_dict
from caminito.nn.embed import Fourier, LabelEmbedding

__all__ = ["ResidualMLP"]


class ResidualMLP(nn.Module):
    """Residual perceptron: (x, label, cond) -> output shaped like x.

    Parameters
    ----------
    event_size : int
        Numbers per row.
    out_size : int, optional
        Numbers per row of the output; those of x by default.
    width : int
        Hidden features.
    depth : int
        Residual blocks.
    conditions : mapping of str to Entry, optional
        What `cond` may hold: labels, vectors, and tokens or words, of which the mean is seen.
    fourier : int
        Cosines and sines per coordinate, even; 0 for none.
    embedding : int, optional
        Size of the label's embedding; width // 2 by default.
    dropout : float
        Share of the hidden features dropped while training.

    Attributes
    ----------
    options : dict
        The arguments, plain JSON with `kind`; `caminito.nn.build` rebuilds the network from them.

    Raises
    ------
    ConfigError
        If an option has an impossible value, or a condition needs a grid.
    """

    def __init__(
        self,
        event_size: int,
        out_size: int | None = None,
        *,
        width: int = 256,
        depth: int = 4,
        conditions: Mapping[str, Entry] | None = None,
        fourier: int = 0,
        embedding: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        entries = dict(conditions or {})
        for name, entry in entries.items():
            if isinstance(entry, Field | Noised | Known):
                what = type(entry).__name__
                raise ConfigError(f"condition {name!r}: {what} needs a grid, and rows have none. Use Vector.")
        size = max(1, width // 2) if embedding is None else embedding
        out_size = event_size if out_size is None else out_size
        numbers = {"event_size": event_size, "out_size": out_size, "width": width, "depth": depth, "embedding": size}
        for name, number in numbers.items():
            if number < 1:
                raise ConfigError(f"{name}: expected a positive integer, got {number}.")
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout: expected a share in [0, 1), got {dropout!r}.")
        self.options: dict[str, Any] = {
            "kind": "mlp",
            **numbers,
            "conditions": {name: entry_to_dict(entry) for name, entry in entries.items()},
            "fourier": fourier,
            "dropout": dropout,
        }
        self.event_size = event_size
        self.label = LabelEmbedding(64, size)
        self.conditioning = Conditioning(entries, size, None)
        self.fourier = Fourier(fourier, low=1.0, high=16.0) if fourier else None
        self.stem = nn.Linear(event_size * (1 + fourier), width)
        self.blocks = nn.ModuleList([_Block(width, dropout) for _ in range(depth)])
        self.head = nn.Linear(width, out_size)
        self.modulation = nn.Linear(size, (depth + 1) * 2 * width)
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.bias.zero_()
            self.modulation.bias.zero_().view(depth + 1, 2, width)[:, 0] = 1.0

    def forward(self, x: Tensor, label: Tensor, cond: Cond = None) -> Tensor:
        """Map x and its label to an output shaped like x.

        Parameters
        ----------
        x : float Tensor (B, event_size)
        label : float Tensor (B,)
        cond : mapping of str to Tensor or Given, optional
            Values of the declared conditions; absent names take their null.

        Returns
        -------
        Tensor (B, out_size)
            In the dtype of x.

        Raises
        ------
        ShapeError
            If x or the label has another shape than declared.
        ConditionError
            If `cond` does not fit the declared conditions.
        """
        if x.ndim != 2 or x.shape[1] != self.event_size:
            raise ShapeError(f"x: expected shape (rows, {self.event_size}), got {tuple(x.shape)}.")
        if label.shape != x.shape[:1]:
            raise ShapeError(f"label: expected shape ({x.shape[0]},), got {tuple(label.shape)}. One number per row.")
        given = self.conditioning(x, cond)
        embedding = self.label(label)
        if given.embedding is not None:
            embedding = embedding + given.embedding
        pieces = self.modulation(functional.silu(embedding)).chunk(2 * (len(self.blocks) + 1), dim=1)
        seen = x if self.fourier is None else torch.cat([x, self.fourier(x).flatten(1).to(x.dtype)], dim=1)
        with torch.autocast(x.device.type, enabled=False):  # coordinates keep their digits at any precision
            hidden = self.stem(seen)
        for number, block in enumerate(self.blocks):
            hidden = block(hidden, *pieces[2 * number : 2 * number + 2])
        hidden = _modulated_norm(hidden, *pieces[-2:])
        with torch.autocast(x.device.type, enabled=False):  # and so do the numbers given back
            out: Tensor = self.head(functional.silu(hidden.to(self.head.weight.dtype)))
        return out.to(x.dtype)


class _Block(nn.Module):
    """One residual block."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)
        self.dropout = dropout
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, hidden: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        inner = functional.silu(self.inner(_modulated_norm(hidden, scale, shift)))
        if self.dropout:
            inner = functional.dropout(inner, self.dropout, self.training)
        return hidden + self.outer(inner)


def _modulated_norm(hidden: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Layer norm whose affine map comes from the label."""
    return torch.addcmul(shift, functional.layer_norm(hidden, hidden.shape[-1:]), scale)
