"""The walk back, from noise to data, for any denoiser and any solver.

The policy of a walk lives here once: the grid is validated, coefficients are float64 and the state keeps the dtype it
came with, every step is checked for finite values, and noise is a function of (seed, sample number, step).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from caminito._errors import ConditionError, ConfigError, NonFiniteError, ShapeError
from caminito.denoiser import Condition, Denoiser, given
from caminito.process import grid as grids
from caminito.process.base import Time
from caminito.sampling.noise import PART, Brownian, NoiseSource, PerSample
from caminito.sampling.solvers import DPMpp2M, Draw, Solver, solver_named
from caminito.sampling.solvers.base import require_variance

__all__ = ["Frame", "draw_of", "sample", "start", "trajectory"]

Report = Callable[[int, int], None]


class Frame(NamedTuple):
    """Number i of the visited times: x at time t, and the x0 predicted on the step that led here."""

    i: int
    t: float
    x: Tensor
    x0: Tensor


def trajectory(
    denoiser: Denoiser,
    x: Tensor,
    grid: Tensor,
    solver: Solver | str = "dpmpp2m",
    *,
    cond: Condition = None,
    noise: NoiseSource | None = None,
) -> Iterator[Frame]:
    """Walk from x at time grid[0] to grid[-1], yielding every visited point.

    Parameters
    ----------
    denoiser : Denoiser
    x : tensor, shape (B, *event), at time grid[0]
    grid : float64 tensor, falling times; it may end before 0
    solver : Solver or its name
    cond : mapping of named conditions, rows as in x
    noise : NoiseSource
        For stochastic solvers; `PerSample(0)` unless given.

    Yields
    ------
    Frame
        The first repeats the start (its x0 is x).

    Raises
    ------
    GridError
        If `grid` does not fall within [0, t_max].
    ConfigError
        If the solver needs Var[x0 | x_t] and the denoiser does not know it.
    NonFiniteError
        If a step gives NaN or infinity: the message names the step, its time and how many values.
    """
    process, rule = denoiser.process, solver_named(solver)
    times = grids.validate(process, grid)
    if rule.needs_variance:
        require_variance(denoiser)
    source: NoiseSource = PerSample() if noise is None else noise
    bound = given(denoiser, cond)
    state: Any = rule.init(process, times)
    yield Frame(0, float(times[0]), x, x)
    for i, (t, s) in enumerate(itertools.pairwise(times), start=1):
        with torch.no_grad():
            step = rule.step(bound, process, x, t, s, state, draw_of(source, i, x))
            x, state = step.x, step.state
            if not math.isfinite(float(x.sum())) and not bool(torch.isfinite(x).all()):
                bad = int((~torch.isfinite(x)).sum())
                raise NonFiniteError(
                    f"step {i} of {len(times) - 1} (t = {float(t):g} to {float(s):g}) gave {bad} of {x.numel()} values "
                    f"that are not finite, with {rule}. Check the denoiser there, or use more steps."
                )
        yield Frame(i, float(s), x, step.x0)


def draw_of(source: NoiseSource, step: int, like: Tensor) -> Draw:
    """The draws of one step, by part."""
    return lambda part=0: source.normal(step + part * PART, like)


def start(denoiser: Denoiser, like: Tensor, t: Time, noise: NoiseSource) -> Tensor:
    """Points to start a walk from at time t: normal, with the mean and variance that noisy data have there."""
    mean, std = (m.to(dtype=like.dtype, device=like.device) for m in denoiser.prior(t))
    return mean + std * noise.normal(0, like)


def sample(
    denoiser: Denoiser,
    shape: tuple[int, ...] | int,
    *,
    steps: int = 32,
    solver: Solver | str | None = None,
    grid: Tensor | str | None = None,
    cond: Condition = None,
    seed: int = 0,
    first: int = 0,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    noise: Literal["per-sample", "brownian"] = "per-sample",
    progress: Report | None = None,
) -> Tensor:
    """Draw samples.

    Parameters
    ----------
    denoiser : Denoiser
    shape : (n, *event), or n where the denoiser knows its event
    steps : int >= 1
    solver : Solver or name; `DPMpp2M()` unless given
    grid : times, or the name of a grid; Karras for continuous processes, trailing for chains
    cond : mapping of named conditions with n rows, or 1 row for all
    seed, first : int
        Sample number `first + i` depends on (seed, first + i) alone, not on `batch_size`.
    batch_size : int, optional
        Rows walked at once; all unless given.
    noise : {"per-sample", "brownian"}
        Fresh values at each step, or a path that a finer grid shares; either way by (seed, sample number).
    progress : (done, total) -> None, optional
        Called after each step, counted over all chunks.

    Returns
    -------
    tensor, shape (n, *event)

    Raises
    ------
    ShapeError, ConfigError, GridError, ConditionError, NonFiniteError
    """
    shape = (shape, *(denoiser.event_shape or ())) if isinstance(shape, int) else tuple(shape)
    if len(shape) < 2 or shape[0] < 1:
        raise ShapeError(f"shape: expected (n, *event) with n >= 1, got {shape}. Ask for at least one sample.")
    if denoiser.event_shape is not None and shape[1:] != denoiser.event_shape:
        raise ShapeError(f"shape: this denoiser makes events of shape {denoiser.event_shape}, got {shape[1:]}.")
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"batch_size: expected a whole number >= 1, got {batch_size}.")
    if isinstance(grid, Tensor):
        times = grids.validate(denoiser.process, grid)
    else:
        times = grids.grid(denoiser.process, steps, grid)
    if noise not in ("per-sample", "brownian"):
        raise ConfigError(f"noise: expected 'per-sample' or 'brownian', got {noise!r}.")
    rule = DPMpp2M() if solver is None else solver_named(solver)
    chunk = min(batch_size or shape[0], shape[0])
    total = (len(times) - 1) * -(-shape[0] // chunk)
    out = torch.empty(shape, dtype=dtype, device=device)
    done = 0
    for low in range(0, shape[0], chunk):
        high = min(low + chunk, shape[0])
        source: NoiseSource = (
            Brownian(times, seed, first + low) if noise == "brownian" else PerSample(seed, first + low)
        )
        x = start(denoiser, out[low:high], times[0], source)
        rows = _rows(cond, low, high, shape[0])
        for frame in trajectory(denoiser, x, times, rule, cond=rows, noise=source):
            x = frame.x
            if frame.i:
                done += 1
                if progress is not None:
                    progress(done, total)
        out[low:high] = x
    return out


def _rows(cond: Condition, low: int, high: int, n: int) -> Mapping[str, Any] | None:
    """Rows low..high of every entry; an entry of one row serves all."""
    if cond is None:
        return None

    def cut(name: str, value: Any) -> Any:
        if isinstance(value, tuple):  # a value with its presence or mask
            parts: list[Any] = [None if part is None else cut(name, part) for part in value]
            return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
        if len(value) not in (1, n):
            raise ConditionError(
                f"condition {name!r}: expected {n} rows (one per sample) or 1, got {len(value)}. "
                "Pass one row per sample, or a single row for all."
            )
        return value[low:high] if len(value) == n else value.expand(high - low, *value.shape[1:])

    return {name: cut(name, value) for name, value in cond.items()}
