"""Grids: the times that a solver visits, from t_max down to 0.

A grid of n steps is a float64 tensor of n + 1 strictly falling times. The last is 0, the data, unless it is made by
hand to stop earlier. `karras` and `logsnr` space sigma / alpha and begin at t_max, also where a schedule never ends
(log-SNR of -inf); a `sigma_max` below the end of the process makes them begin at the time of that noise instead.

Sources: Karras et al. 2022, eq. 5; Lu et al. 2022 (uniform log-SNR); Lin et al. 2024, table 2 (leading, trailing,
linspace; their times are ours minus one).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from caminito._errors import ConfigError, GridError
from caminito.process.base import Process

__all__ = [
    "GridName",
    "explicit",
    "grid",
    "karras",
    "leading",
    "linspace",
    "logsnr",
    "trailing",
    "uniform",
    "validate",
]

GridName = Literal["uniform", "logsnr", "karras", "leading", "trailing", "linspace"]

SIGMA_MIN, SIGMA_MAX = 0.002, 80.0  # of sigma / alpha: the range of Karras et al. 2022
_JUST_AFTER_0 = 1e-12


def uniform(process: Process, steps: int) -> Tensor:
    """Equal steps in t (rounded to whole steps for a chain)."""
    _at_least_one(steps)
    return _finish(process, torch.linspace(process.t_max, 0, steps + 1, dtype=torch.float64)[:-1])


def logsnr(process: Process, steps: int, *, sigma_min: float = SIGMA_MIN, sigma_max: float | None = None) -> Tensor:
    """Equal steps in log-SNR between sigma_max and sigma_min (values of sigma / alpha), then 0.

    The first time is that of `sigma_max`, or t_max where the process ends before. Unless it is given, the levels begin
    at 80 and the first time is t_max all the same.
    """
    low, high, first = _range(process, steps, sigma_min, sigma_max)
    ratio = torch.exp(torch.linspace(math.log(high), math.log(low), steps, dtype=torch.float64))
    return _from_ratio(process, ratio, first)


def karras(
    process: Process,
    steps: int,
    *,
    rho: float = 7.0,
    sigma_min: float = SIGMA_MIN,
    sigma_max: float | None = None,
) -> Tensor:
    """Equal steps in (sigma / alpha)^(1 / rho) between sigma_max and sigma_min, then 0 (Karras et al. 2022, eq. 5).

    The first time is that of `sigma_max`, or t_max where the process ends before. Unless it is given, the levels begin
    at 80 and the first time is t_max all the same.
    """
    low, high, first = _range(process, steps, sigma_min, sigma_max)
    ratio = torch.linspace(high ** (1 / rho), low ** (1 / rho), steps, dtype=torch.float64) ** rho
    return _from_ratio(process, ratio, first)


def trailing(process: Process, steps: int) -> Tensor:
    """Chain times T, T - T/n, ..., rounded: the last is seen first (Lin et al. 2024)."""
    length = _chain_length(process, steps, "trailing")
    # numpy rounds half to even, as the tables in circulation do
    return _finish(process, torch.from_numpy(np.round(np.arange(length, 0, -length / steps)[:steps])))


def leading(process: Process, steps: int) -> Tensor:
    """Chain times 1 + i floor(T/n): starts *below* T, where training has seen less noise than the prior has."""
    length = _chain_length(process, steps, "leading")
    return _finish(process, torch.arange(steps - 1, -1, -1, dtype=torch.float64) * (length // steps) + 1)


def linspace(process: Process, steps: int) -> Tensor:
    """Chain times from T to 1, equally spaced and rounded."""
    length = _chain_length(process, steps, "linspace")
    rising = (
        np.linspace(0, length - 1, steps) if steps > 1 else np.array([length - 1.0])
    )  # ties round as in circulation
    return _finish(process, torch.from_numpy(np.round(rising)[::-1] + 1))


def explicit(process: Process, times: ArrayLike | Tensor) -> Tensor:
    """A grid made by hand, validated."""
    return validate(process, torch.as_tensor(np.asarray(times, dtype=np.float64)))


_NAMED: dict[str, Callable[..., Tensor]] = {
    "uniform": uniform,
    "logsnr": logsnr,
    "karras": karras,
    "leading": leading,
    "trailing": trailing,
    "linspace": linspace,
}


def grid(process: Process, steps: int, name: GridName | str | None = None, **options: float) -> Tensor:
    """The grid called `name`; without one, `karras` for a continuous process and `trailing` for a chain."""
    chosen = name or ("trailing" if process.is_discrete else "karras")
    if chosen not in _NAMED:
        raise ConfigError(f"grid: expected one of {', '.join(_NAMED)}, got {chosen!r}.")
    return _NAMED[chosen](process, steps, **options)


def validate(process: Process, times: Tensor) -> Tensor:
    """The grid itself, float64, if it is one.

    Raises
    ------
    GridError
        If there are fewer than two times, they do not fall strictly, or leave [0, t_max].
    TimeError
        If a chain is asked for a time that is not a step.
    """
    times = times.to(torch.float64)
    if times.ndim != 1 or times.numel() < 2:
        raise GridError(f"grid: expected at least two times, got shape {tuple(times.shape)}.")
    if not bool((times.diff() < 0).all()):
        raise GridError(
            f"grid: expected strictly falling times, got {_head(times)}. A reverse step goes from t to s < t."
        )
    if float(times[0]) > process.t_max or float(times[-1]) < 0:
        raise GridError(f"grid: expected times within [0, {process.t_max:g}], got {_head(times)}.")
    process.kernel(times)
    return times


def _head(times: Tensor) -> str:
    shown = ", ".join(f"{t:g}" for t in times[:6].tolist())
    return shown + (", ..." if len(times) > 6 else "")


def _at_least_one(steps: int) -> None:
    if steps < 1:
        raise GridError(f"steps: expected a whole number >= 1, got {steps}.")


def _chain_length(process: Process, steps: int, name: str) -> int:
    _at_least_one(steps)
    if not process.is_discrete:
        raise GridError(f"grid: {name!r} is for chains. Use 'uniform', 'logsnr' or 'karras' for a continuous process.")
    length = int(process.t_max)
    if steps > length:
        raise GridError(f"steps: a chain of {length} steps cannot be walked in {steps}. Ask for at most {length}.")
    return length


def _range(process: Process, steps: int, sigma_min: float, sigma_max: float | None) -> tuple[float, float, float]:
    """The asked range of sigma / alpha, cut at what the process reaches, and the time at which it begins."""
    _at_least_one(steps)
    end = math.exp(-float(process.logsnr(process.t_max)) / 2)
    # a log-SNR curve of one's own may stop short of sigma_min
    start = math.exp(-float(process.logsnr(1 if process.is_discrete else _JUST_AFTER_0)) / 2)
    most = SIGMA_MAX if sigma_max is None else sigma_max
    low, high = max(sigma_min, start), min(most, end)
    if not 0 < low < high:
        raise GridError(f"grid: expected 0 < sigma_min < sigma_max <= {end:g}, got {sigma_min:g} and {most:g}.")
    at_end = sigma_max is None or sigma_max > end * (1 - 1e-9)  # `end` is rounded
    return low, high, process.t_max if at_end else float(process.time(-2 * math.log(high)))


def _from_ratio(process: Process, ratio: Tensor, first: float) -> Tensor:
    times = process.time(-2 * torch.log(ratio))
    times[0] = first
    return _finish(process, times)


def _finish(process: Process, times: Tensor) -> Tensor:
    """Round for a chain, spread what rounding made equal below the first time, close with 0, validate."""
    if process.is_discrete:
        values = times.round().long().tolist()
        first = values[0]
        if len(values) > first:
            raise GridError(
                f"steps: a chain has {first} steps from t = {first} to the data and cannot be walked in {len(values)}. "
                f"Ask for at most {first}."
            )
        for i in range(len(values) - 1, -1, -1):  # from the data upwards: each at least one above the next
            above = values[i + 1] + 1 if i + 1 < len(values) else 1
            values[i] = max(values[i], above)
        for i in range(len(values)):  # and from the noise downwards: none above the first
            values[i] = min(values[i], first if i == 0 else values[i - 1] - 1)
        times = torch.tensor(values, dtype=torch.float64)
    return validate(process, torch.cat([times, torch.zeros(1, dtype=torch.float64)]))
