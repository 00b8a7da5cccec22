"""Noise on fields that a network is given, so that it does not take every detail of them for true.

A network that enlarges is trained on shrunk data, and later given what another network drew: flaws and all. What it is
given is therefore noised, in training to every extent and when sampling a little, and it is told how much:

    field_s = sqrt(1 - s^2) field + s eps,    eps ~ N(0, 1),    s ~ U(0, largest) in training.

Fields are standardised, so their variance stays. At s = 0 a field is as it was. Which conditions are meant, they say
themselves: those that have a level (`caminito.nn.Given`).
Source: Ho et al. 2021 (Cascaded Diffusion Models), section 4; Saharia et al. 2022 (Imagen), section 2.4, for telling s.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caminito._random import Stream, normal, uniform
from caminito.denoiser import Condition
from caminito.nn import Given
from caminito.process import times

__all__ = ["augmented", "augmented_at"]


def augmented(cond: Condition, largest: float, seed: int, step: int) -> Condition:
    """Conditions of a batch with noise in their fields, each row to a level of its own.

    Level and noise are a function of (seed, step, row).

    Parameters
    ----------
    cond : mapping of conditions
    largest : float in [0, 1]
        Levels are uniform up to this one.
    seed, step : int
    """
    names = _names(cond) if largest > 0 else []
    out: dict[str, Any] = dict(cond or {})
    for number, name in enumerate(names, start=step * len(names)):
        given: Given = out[name]
        rows = len(given.value)
        level = largest * uniform(seed, Stream.AUGMENT_LEVEL, number, rows)
        out[name] = _noised(given, level, _noise(given, seed, Stream.AUGMENT, number))
    return cond if not names else out


def augmented_at(cond: Condition, level: float, seed: int, first: int = 0) -> Condition:
    """Conditions with noise of one level in their fields; that of row i is a function of (seed, first + i).

    Parameters
    ----------
    cond : mapping of conditions
    level : float in [0, 1]
    seed, first : int
    """
    names = _names(cond) if level > 0 else []
    out: dict[str, Any] = dict(cond or {})
    for number, name in enumerate(names):
        given: Given = out[name]
        levels = torch.full((len(given.value),), level, dtype=torch.float64)
        out[name] = _noised(given, levels, _noise(given, seed, Stream.AUGMENT_FIXED, number, first))
    return cond if not names else out


def _names(cond: Condition) -> list[str]:
    """Those that have a level."""
    return [name for name, given in (cond or {}).items() if isinstance(given, Given) and given.level is not None]


def _noise(given: Given, seed: int, stream: Stream, step: int, first: int = 0) -> Tensor:
    like = given.value
    return normal(seed, stream, step, tuple(like.shape), start=first, dtype=like.dtype, device=like.device)


def _noised(given: Given, level: Tensor, eps: Tensor) -> Given:
    """Further noise: shares s, then u of it, are 1 - (1 - s^2)(1 - u^2) of the variance together."""
    value = times((1 - level**2).sqrt(), given.value) + times(level, eps)
    added = level.to(value)
    before = torch.zeros_like(added) if given.level is None else given.level.to(value)
    return given._replace(value=value, level=(before**2 + added**2 - (before * added) ** 2).sqrt())
