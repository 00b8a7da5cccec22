"""Random numbers that are a function of (seed, stream, step, index) and of nothing else.

A counter-based generator (Philox 4x64) is opened at the counter (step, block) instead of being carried along, so row i
of a draw has the same bits whatever the batch size, the chunking or the number of processes. Rows of a small event are
drawn in blocks of a size that depends on the event alone: one generator serves many rows, and a row is cut out of its
block. Values are drawn in float64 and cast, so the dtype asked for does not change the draw.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

__all__ = ["Stream", "normal", "permutation", "seed_from", "uniform"]

_BLOCK_VALUES = 4096  # values drawn per opened generator when events are smaller than this
_MASK = (1 << 64) - 1


class Stream(IntEnum):
    """What a draw is for; draws of two streams are independent under one seed."""

    SAMPLE = 0
    NOISE = 1
    TIME = 2
    ORDER = 3
    DROPOUT = 4
    VALIDATION = 5
    CHAIN = 6
    PROBE = 7
    LABEL = 8
    WEIGHTS = 9
    SPLIT = 10
    BOUND = 11
    DEQUANTISE = 12
    CALIBRATION = 13
    BROWNIAN = 14
    TABLE = 15
    AUGMENT = 16
    AUGMENT_LEVEL = 17
    AUGMENT_DROPOUT = 18
    AUGMENT_FIXED = 19
    CASCADE = 20
    POSTERIOR = 21
    RESAMPLE = 22
    HOLES = 23


def _generator(seed: int, stream: int, step: int, block: int) -> np.random.Generator:
    counter = np.array([0, block & _MASK, step & _MASK, 0], dtype=np.uint64)
    key = np.array([seed & _MASK, stream & _MASK], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key))


def _rows(
    draw: Callable[[np.random.Generator, tuple[int, int]], np.ndarray],
    seed: int,
    stream: int,
    step: int,
    start: int,
    shape: tuple[int, ...],
) -> np.ndarray:
    count, event = shape[0], shape[1:]
    size = math.prod(event)
    per_block = max(1, _BLOCK_VALUES // max(size, 1))
    first, last = start // per_block, (start + count - 1) // per_block if count else start // per_block - 1
    out = np.empty((count, size))
    for block in range(first, last + 1):
        lo, hi = max(start, block * per_block), min(start + count, (block + 1) * per_block)
        values = draw(_generator(seed, stream, step, block), (per_block, size))
        out[lo - start : hi - start] = values[lo - block * per_block : hi - block * per_block]
    return out.reshape(shape)


def normal(
    seed: int,
    stream: Stream,
    step: int,
    shape: tuple[int, ...],
    *,
    start: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Rows `start .. start + shape[0] - 1` of an endless table of standard normal events of shape `shape[1:]`."""
    rows = _rows(lambda g, s: g.standard_normal(s), seed, stream, step, start, tuple(shape))
    return torch.from_numpy(rows).to(device=device, dtype=dtype)


def uniform(seed: int, stream: Stream, step: int, count: int, *, start: int = 0) -> Tensor:
    """Values `start .. start + count - 1` of an endless row of uniforms on [0, 1), float64."""
    rows = _rows(lambda g, s: g.random(s), seed, stream, step, start, (count, 1))
    return torch.from_numpy(rows[:, 0])


def permutation(seed: int, stream: Stream, step: int, count: int) -> Tensor:
    """A permutation of 0..count-1, int64."""
    return torch.from_numpy(_generator(seed, stream, step, 0).permutation(count))


def seed_from(random_state: int | np.random.RandomState | np.random.Generator | None) -> int:
    """The integer seed meant by a scikit-learn `random_state`; None draws a fresh one."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    return int(random_state)
