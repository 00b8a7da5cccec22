"""Where the random numbers of a reverse walk come from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from caminito._random import Stream, normal

__all__ = ["PART", "Brownian", "NoiseSource", "PerSample", "Shared"]


PART = 2**20  # step numbers between the parts of a step that draws more than once


class NoiseSource(Protocol):
    """Gives the normal draws of step 0 (the start) and of every later step; part k of step i is step i + k PART."""

    def normal(self, step: int, like: Tensor) -> Tensor:
        """Standard normal values of the shape, dtype and device of `like`."""
        ...


@dataclass(frozen=True)
class PerSample:
    """Sample number i has the same noise whatever the batch, chunk, shard or number of processes.

    Parameters
    ----------
    seed : int
    start : int
        Number of the first row.
    """

    seed: int = 0
    start: int = 0

    def normal(self, step: int, like: Tensor) -> Tensor:
        """Rows start .. start + B - 1 of the table of (seed, step)."""
        return normal(
            self.seed, Stream.SAMPLE, step, tuple(like.shape), start=self.start, dtype=like.dtype, device=like.device
        )


@dataclass(frozen=True)
class Shared:
    """One generator for all rows, as other libraries draw: values depend on the batch and on what was drawn before.

    Parameters
    ----------
    generator : torch.Generator
    """

    generator: torch.Generator

    def normal(self, step: int, like: Tensor) -> Tensor:
        """The next values of the generator."""
        device = self.generator.device
        return torch.randn(like.shape, generator=self.generator, dtype=like.dtype, device=device).to(like.device)


@dataclass
class Brownian:
    """One Brownian path per sample in process time: a finer grid sees the same path, in smaller pieces.

    The noise of the step from t to s is (W_t - W_s) / sqrt(t - s). W is refined by midpoints, each a function of (seed,
    sample number, place in the binary tree), so it can be asked for anywhere in any order.

    Parameters
    ----------
    grid : float64 tensor, falling times
    seed : int
    start : int
        Number of the first row.
    depth : int
        Halvings of the time axis after which a point is drawn between its two neighbours.

    Notes
    -----
    Exact in law for grids with at most one time in each of the 2^depth pieces of [0, grid[0]]; refinements of one walk
    share their path where they share grid[0]. Source: Levy's construction; Li et al. 2020, section 4 (virtual tree).
    """

    grid: Tensor
    seed: int = 0
    start: int = 0
    depth: int = 24
    _seen: dict[float, Tensor] = field(default_factory=dict, repr=False)

    def normal(self, step: int, like: Tensor) -> Tensor:
        """Step 0, and the later parts of a step, are drawn by themselves; the rest from the path."""
        if not 1 <= step < len(self.grid):
            return PerSample(self.seed, self.start).normal(step, like)
        t, s = float(self.grid[step - 1]), float(self.grid[step])
        at = {time: self._seen[time] if time in self._seen else self._path(time, like) for time in (t, s)}
        self._seen = {s: at[s]}
        return ((at[t] - at[s]) / math.sqrt(t - s)).to(like.dtype)

    def _path(self, time: float, like: Tensor) -> Tensor:
        """W at a time, float64, shape of `like`."""
        end = float(self.grid[0])
        low, high = 0.0, end
        below, above = torch.zeros_like(like, dtype=torch.float64), math.sqrt(end) * self._draw(1, like)
        node = 1
        for _ in range(self.depth):
            if time in (low, high):
                break
            middle = (low + high) / 2
            between = (below + above) / 2 + math.sqrt((high - low) / 4) * self._draw(2 * node, like)
            if time >= middle:
                low, below, node = middle, between, 2 * node + 1
            else:
                high, above, node = middle, between, 2 * node
        if time in (low, high):
            return below if time == low else above
        share = (time - low) / (high - low)
        spread = math.sqrt((time - low) * (high - time) / (high - low))
        return below + share * (above - below) + spread * self._draw(2 * node, like)

    def _draw(self, node: int, like: Tensor) -> Tensor:
        rows = tuple(like.shape)
        return normal(self.seed, Stream.BROWNIAN, node, rows, start=self.start, dtype=torch.float64, device=like.device)
