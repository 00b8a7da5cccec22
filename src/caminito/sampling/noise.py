"""Where the random numbers of a reverse walk come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from caminito._random import Stream, normal

__all__ = ["NoiseSource", "PerSample"]


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
