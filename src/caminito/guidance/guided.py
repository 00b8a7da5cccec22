"""Guidance by the difference of two denoisers: with a condition and without, or good and bad.

    D(x_t) = D_weak(x_t) + w (D_strong(x_t) - D_weak(x_t))

=================  =========================  ==============================  =======================================
name               strong                     weak                            source
=================  =========================  ==============================  =======================================
`cfg`              D(x_t, condition)          D(x_t), the same network        Ho & Salimans 2022
`autoguide`        D(x_t, condition)          a worse D'(x_t, condition)      Karras et al. 2024
=================  =========================  ==============================  =======================================

One convention holds everywhere, and others are turned into it:

====================================  ===================  ==================
who writes it                         formula              w here
====================================  ===================  ==================
here; Imagen, diffusers, EDM2         D_w + w (D_s - D_w)  w
Ho & Salimans 2022, eq. 6             (1 + u) D_s - u D_w  1 + u
Dhariwal & Nichol 2021 (classifier)   D + s sigma^2 / alpha grad log p(y | x_t): w = 1 + s where D is already
                                      conditional, w = s where it is not and the classifier is exact
====================================  ===================  ==================

w = 1 is the strong denoiser and w = 0 the weak one, bit for bit, and each costs one call. Beyond 1 the result is the
denoiser of no density: the noisy marginals of p_s^w p_w^(1 - w) have other scores (`docs/guidance.md` shows how far).
A variance, where it is known, stays that of the strong denoiser: only means are guided.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from caminito._errors import ConfigError
from caminito.denoiser import Condition, Denoiser, Wrapped, for_rows
from caminito.guidance.rules import Rule, linear
from caminito.nn import Given
from caminito.process import Process, same_process
from caminito.process.base import Time, as_time

__all__ = ["Guided", "Scale", "autoguide", "cfg", "renoised_weakly"]

Scale: TypeAlias = float | Callable[[Tensor], Tensor]
"""A number, or a function of the time (float64, shape () or (B,)) to a tensor of that shape."""


def cfg(
    denoiser: Denoiser,
    scale: Scale = 1.0,
    *,
    null: Condition | Callable[[Condition], Condition] = None,
    interval: tuple[float, float | None] | None = None,
    rule: Rule = linear,
) -> Denoiser:
    """Classifier-free guidance: away from the prediction without conditions, through the one with them.

    Parameters
    ----------
    denoiser : Denoiser
        Trained with its conditions dropped at random, or exact.
    scale : float, or function of the time
        w: 0 without the conditions, 1 with them, more: beyond.
    null : mapping of named conditions, or function from the conditions to those, optional
        What the weak prediction is told; nothing unless given. A function can keep some of them (an image to be
        enlarged); another caption is what samples are led away from.
    interval : (low, high), noise levels sigma / alpha, optional
        Guide where low < sigma / alpha <= high; elsewhere the denoiser stays as it is, for one call. None for high: no
        upper end.
    rule : Rule
        What is made of the two predictions; see `caminito.guidance.rules`.

    Raises
    ------
    ConfigError
        If the scale is not finite, or the interval is none.

    Notes
    -----
    Both predictions come from one call on twice the rows where the denoiser can (`Denoiser.mixes_conditions`).
    Sources: Ho & Salimans 2022; the interval, Kynkaanniemi et al. 2024.

    Examples
    --------
    >>> import torch
    >>> from caminito.denoiser import ClassDenoiser, GaussianDenoiser
    >>> from caminito.guidance import cfg
    >>> from caminito.process import VP
    >>> vp = VP()
    >>> sides = [GaussianDenoiser(torch.tensor([side]), 0.25, vp) for side in (-1.0, 1.0)]
    >>> denoiser = ClassDenoiser(sides, torch.tensor([0.5, 0.5]))
    >>> x_t, right = torch.zeros(1, 1), {"y": torch.tensor([1])}
    >>> [round(float(cfg(denoiser, w).mean(x_t, 0.5, right)), 3) for w in (0, 1, 3)]
    [0.0, 0.979, 2.937]
    """
    weak_cond = null if callable(null) else lambda cond: null
    return Guided(denoiser, denoiser, scale, weak_cond=weak_cond, interval=interval, rule=rule)


def autoguide(
    denoiser: Denoiser,
    worse: Denoiser,
    scale: Scale = 1.0,
    *,
    interval: tuple[float, float | None] | None = None,
    rule: Rule = linear,
) -> Denoiser:
    """Autoguidance: away from the prediction of a worse denoiser of the same data, under the same conditions.

    Parameters
    ----------
    denoiser : Denoiser
    worse : Denoiser
        Of the same process and events, with the same faults and more of them: less trained, smaller, or both.
    scale, interval, rule : as for `cfg`

    Raises
    ------
    ConfigError
        If the scale is not finite, the interval is none, or the two do not fit.

    Notes
    -----
    It needs no condition, and leaves the balance of what is drawn as it is. Source: Karras et al. 2024, eq. 3.
    """
    if not same_process(worse.process, denoiser.process) or worse.event_shape != denoiser.event_shape:
        raise ConfigError(
            f"worse: expected a denoiser of the same process and events of shape {denoiser.event_shape}, got one of "
            f"{type(worse.process).__name__} and {worse.event_shape}. Take an earlier or smaller version of it."
        )
    return Guided(denoiser, worse, scale, weak_cond=lambda cond: cond, interval=interval, rule=rule)


class Guided(Wrapped):
    """What `cfg` and `autoguide` return; attributes of the strong denoiser, whose variance it keeps."""

    def __init__(
        self,
        strong: Denoiser,
        weak: Denoiser,
        scale: Scale,
        *,
        weak_cond: Callable[[Condition], Condition],
        interval: tuple[float, float | None] | None = None,
        rule: Rule = linear,
    ) -> None:
        super().__init__(strong)
        self.weak, self.scale, self.rule = weak, checked(scale), rule
        self._weak_cond, self._interval = weak_cond, checked_interval(interval)

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """D_weak + w (D_strong - D_weak), or what the rule makes of them."""
        return self.moments(x_t, t, cond)[0]

    def moments(self, x_t: Tensor, t: Time, cond: Condition = None) -> tuple[Tensor, Tensor | None]:
        """Both; the variance is that of the strong denoiser."""
        w = effective(self.scale, self._interval, self.process, t)
        if bool((w == 1).all()):
            return self._strong(x_t, t, cond)
        other = for_rows(self._weak_cond(cond), len(x_t))
        if self.weak is self.denoiser and bool((w == 0).all()) and not self.denoiser.knows_variance:
            return self.denoiser.mean(x_t, t, other), None
        if self.weak is self.denoiser and not cond and not other:  # nothing is asked that could lead
            return self._strong(x_t, t, cond)
        joined = _joined(cond, other, len(x_t)) if self.weak is self.denoiser and self.mixes_conditions else None
        if joined is None:
            (strong, var), weak = self._strong(x_t, t, cond), self.weak.mean(x_t, t, other)
        else:
            t = as_time(t)
            mean, var = self._strong(torch.cat([x_t, x_t]), torch.cat([t, t]) if t.ndim else t, joined)
            strong, weak = mean.chunk(2)
            var = None if var is None else var[: len(x_t)]
        guided = self.rule(strong, weak, w)
        if w.ndim:  # times of their own: some rows may be outside the interval
            row = w.reshape(-1, *([1] * (x_t.ndim - 1))).to(x_t.device)
            guided = torch.where(row == 1, strong, torch.where(row == 0, weak, guided))
        elif float(w) == 0:
            guided = weak
        return guided, var

    def log_marginal(self, x_t: Tensor, t: Time, cond: Condition = None) -> None:
        """Unknown: there is no such density."""

    def _strong(self, x_t: Tensor, t: Time, cond: Condition) -> tuple[Tensor, Tensor | None]:
        if self.denoiser.knows_variance:
            return self.denoiser.moments(x_t, t, cond)
        return self.denoiser.mean(x_t, t, cond), None


def renoised_weakly(scale: float, process: Process, grid: Tensor) -> Scale:
    """The scale with which `cfg` under DDIM is CFG++: predictions are guided, and the noise put back is the weak one's.

    CFG++ steps from t to s by x_s = alpha_s D + sigma_s eps_weak, D = D_weak + w (D_strong - D_weak). That is the DDIM
    step of a guided denoiser with the scale

        w' = w / (1 - r_s / r_t),    r = sigma / alpha,

    which is w in the last step and large in short ones.

    Parameters
    ----------
    scale : float
        w, between 0 and 1 in the paper.
    process : Process
    grid : float64 tensor of falling times
        Those that are walked; elsewhere s is the next one below t.

    Raises
    ------
    ConfigError
        If the scale is not finite.

    Notes
    -----
    Exact for DDIM without noise, the rule of the paper; other solvers take it as a scale that falls with the noise.
    Source: Chung et al. 2024, algorithm 2.
    """
    w, visited = checked(scale), grid.to(torch.float64).flip(0)  # rising
    if callable(w):
        raise ConfigError("scale: expected a number for CFG++, got a function.")

    def at(t: Tensor) -> Tensor:
        below = visited[(torch.searchsorted(visited, t.to(visited), side="left") - 1).clamp_min(0)]
        ratio = torch.exp(process.logsnr(t) / 2 - process.logsnr(below) / 2)  # r_s / r_t
        return w / (1 - ratio).clamp_min(torch.finfo(torch.float64).eps)

    return at


def checked(scale: Scale) -> Scale:
    """A scale that is a function or finite."""
    if callable(scale):
        return scale
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not math.isfinite(scale):
        raise ConfigError(f"scale: expected a finite number (1 is no guidance), got {scale!r}.")
    return float(scale)


def checked_interval(interval: tuple[float, float | None] | None) -> tuple[float, float] | None:
    """An interval of noise levels that holds something; one that is open above ends at infinity."""
    if interval is None:
        return None
    low, high = (math.inf if end is None else float(end) for end in interval)
    if not 0 <= low < high:
        raise ConfigError(
            f"interval: expected noise levels 0 <= low < high (None for high: no upper end), got {low:g} and {high:g}."
        )
    return low, high


def effective(
    scale: Scale, interval: tuple[float, float] | None, process: Process, t: Time, outside: float = 1.0
) -> Tensor:
    """The scale at a time, float64, shape of t: `outside` where the noise level is not in the interval."""
    t = as_time(t)
    w = scale(t) if callable(scale) else torch.full_like(t, scale, dtype=torch.float64)
    if not bool(torch.isfinite(w).all()):
        raise ConfigError(f"scale: expected a function that gives finite numbers, got {w.flatten()[:3].tolist()}.")
    if interval is None:
        return w
    alpha, sigma = process.kernel(t)
    level = sigma / alpha.abs()
    return torch.where((level > interval[0]) & (level <= interval[1]), w, outside)


def _joined(strong: Condition, weak: Condition, rows: int) -> Condition:
    """Conditions of twice the rows, absent where one side lacks them; None where a value cannot be joined."""
    sides = [{k: Given.of(v) for k, v in (side or {}).items()} for side in (strong, weak)]
    if any(not isinstance(entry.value, Tensor) for side in sides for entry in side.values()):
        return None
    out: dict[str, Any] = {}
    for name in {**sides[0], **sides[1]}:
        entries = [side.get(name) for side in sides]
        if not all(len(e.value) == rows for e in entries if e is not None):
            return None
        filler = next(e for e in entries if e is not None)
        present = [
            filler.value.new_full((rows,), e is not None, dtype=torch.bool)
            if e is None or e.present is None
            else e.present
            for e in entries
        ]
        values = [(filler if e is None else e) for e in entries]
        if values[0].value.shape != values[1].value.shape:  # sequences of different lengths
            return None
        masks = [_all(v) if v.mask is None else v.mask for v in values if any(each.mask is not None for each in values)]
        mask = torch.cat(masks) if masks else None
        levels = [v.value.new_zeros(rows) if v.level is None else v.level for v in values]
        level = None if all(v.level is None for v in values) else torch.cat(levels)
        out[name] = Given(torch.cat([v.value for v in values]), torch.cat(present), mask, level)
    return out


def _all(entry: Given) -> Tensor:
    """The mask of a sequence of which every token is real."""
    return torch.ones(entry.value.shape[:2], dtype=torch.bool, device=entry.value.device)
