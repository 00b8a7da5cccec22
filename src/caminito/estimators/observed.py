"""Observations in the units of data, told to a denoiser in its own.

A codec that is affine, X = mean + std x with one pair for each entry, keeps linear operators linear:

    y = A(X) + n      is      (y - A(mean)) / u = (A std x) / u + n / u,

where u is A's own scale of each entry seen if there is one, A (std x) = u A x: then A is left as it is, and what it
knows of A A^T with it. That is so where all entries have one std, and for operators that do not mix channels. Other
operators are told the product, with u the geometric mean of std. Densities come back by a factor 1 / u for each entry.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caminito._errors import ConfigError, DataError, DegenerateWeights, ShapeError
from caminito.data import Codec, ImageCodec
from caminito.denoiser import Condition, Denoiser, Wrapped, for_rows, mapped, rows_of
from caminito.estimators.layout import Layout
from caminito.posterior import (
    Blur,
    Compose,
    Downsample,
    Identity,
    Linear,
    Nonlinear,
    Operator,
    PosteriorResult,
    Select,
    observe,
    posterior,
)
from caminito.posterior.sample import LEAST, method_for
from caminito.process.base import Time, as_time
from caminito.sampling import sample
from caminito.training import augmented_at

if TYPE_CHECKING:
    from caminito.estimators.model import DiffusionModel

__all__ = [
    "TRAINED",
    "Drawn",
    "Told",
    "Walk",
    "drawn",
    "encoded_condition",
    "filled",
    "level_of",
    "refuse_beyond",
    "told",
]

Floats = NDArray[np.float64]

TRAINED = "trained"  # the method of a model that has learnt to fill holes

_AT_ONCE = 2**24  # entries of all draws that are held together
_GRID = 2**16  # entries of grids that a derivative is taken of at once
_BEYOND = 0.1  # share of the range of the data
_NOISES = 6.0


@dataclass(frozen=True, eq=False)
class Told:
    """An observation as a denoiser is told it.

    Attributes
    ----------
    y : float32 tensor (P, *seen)
        NaN where nothing was seen.
    operator : Operator
    noise : float or tensor
    nats : float64 tensor (P,)
        What log p(y) in the units of data has more.
    """

    y: Tensor
    operator: Operator
    noise: float | Tensor
    nats: Tensor


def told(layout: Layout, y: Tensor, operator: Operator, noise: float | Tensor) -> Told:
    """Observations (P, *seen) of data through the codec.

    Parameters
    ----------
    layout : Layout
    y : float64 tensor (P, *seen)
    operator : Operator
        Of data, channels first; no mask, which NaN in y stand for.
    noise : number, tensor (*seen) or (m, m)
        In the units of y.
    """
    if not operator.is_linear:
        mean, std = layout.mean, layout.std
        bent = Nonlinear(lambda x: operator(x * std.to(x) + mean.to(x)))
        return Told(y.float(), bent, noise, torch.zeros(len(y), dtype=torch.float64))
    shift, units = _applied(operator, layout.mean), _units(operator, layout.std)
    if units is None:
        scale = layout.std.log().mean().exp()
        ratio = layout.std / scale
        units = torch.full(tuple(y.shape[1:]), float(scale), dtype=torch.float64)
        if bool((ratio - 1).abs().max() > 1e-12):
            operator = Compose(operator, Linear(lambda x: x * ratio.to(x), lambda x: x * ratio.to(x)))
    seen = ~torch.isnan(y)
    nats = -(seen * units.log()).flatten(1).sum(1)
    return Told(((y - shift) / units).float(), operator, _scaled(noise, units), nats)


def _units(operator: Operator, std: Tensor) -> Tensor | None:
    """u with A (std x) = u A x, shape (*seen); None where there is none, or it is one for all entries."""
    if bool((std == std.flatten()[0]).all()):
        return None
    if isinstance(operator, Identity | Blur):
        return std
    if isinstance(operator, Compose):
        inner = _units(operator.inner, std)
        return None if inner is None else _units(operator.outer, inner)
    return operator(std[None])[0] if isinstance(operator, Select | Downsample) else None


def _applied(operator: Operator, event: Tensor) -> Tensor:
    """What is seen of one event, in double precision where the operator takes it."""
    try:
        return operator(event[None])[0]
    except RuntimeError:
        return operator(event[None].float())[0].double()


def _scaled(noise: float | Tensor, units: Tensor) -> float | Tensor:
    value = torch.as_tensor(noise, dtype=torch.float64)
    if value.ndim == 0:
        same = bool((units == units.flatten()[0]).all())
        return float(value / units.flatten()[0]) if same else value / units
    if value.shape == units.shape:
        return value / units
    flat = units.flatten()
    if tuple(value.shape) == (len(flat), len(flat)):
        return value / (flat[:, None] * flat)
    raise ShapeError(
        f"noise: expected a number, standard deviations of shape {tuple(units.shape)}, or a covariance "
        f"{(len(flat), len(flat))}, got shape {tuple(value.shape)}."
    )


def level_of(codec: Codec, layout: Layout) -> Tensor:
    """Noise that is taken unless another is given, shape (*event), data units.

    A grey level of images, 1 / 255 of the range of their data, and 1 at least of whole numbers; of other arrays a
    hundredth of each entry's spread.
    """
    if isinstance(codec, ImageCodec) and codec.limits is not None:
        low, high = codec.limits
        return torch.full_like(layout.std, max((high - low) / 255, codec.quantum or 0.0))
    return 0.01 * layout.std


def refuse_beyond(y: Tensor, limits: tuple[float, float] | None, noise: float | Tensor, name: str) -> None:
    """Refuse what lies farther from the range of the data than noise takes it.

    Raises
    ------
    DataError
    """
    if limits is None:
        return
    low, high = limits
    room = _BEYOND * (high - low) + _NOISES * float(torch.as_tensor(noise).max())
    found = y[~torch.isnan(y)]
    if len(found) and (float(found.min()) < low - room or float(found.max()) > high + room):
        raise DataError(
            f"{name}: expected values in the units of the training data, {low:g} to {high:g}, got "
            f"{float(found.min()):g} to {float(found.max()):g}. Give them in the units that fit() was given."
        )


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was drawn for P observations.

    Attributes
    ----------
    x : tensor (P, n, *event)
        Encoded.
    log_evidence, ess, ancestors : float64 tensor (P,), or None
    diagnostics : dict of float
    warnings : list of str
    method : str
    """

    x: Tensor
    log_evidence: Tensor | None
    ess: Tensor | None
    ancestors: Tensor | None
    diagnostics: dict[str, float]
    warnings: list[str]
    method: str


@dataclass(frozen=True, eq=False)
class Walk:
    """How draws are made; see `DiffusionModel.posterior`.

    Raises
    ------
    ConfigError
        If a number is no whole one from 1 on.
    """

    method: str = "auto"
    n_draws: int = 64
    particles: int | None = None
    n_steps: int | None = None
    batch_size: int | None = None
    options: Mapping[str, Any] | None = None
    progress: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        for name in ("n_draws", "n_steps", "batch_size"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or int(value) != value or value < 1):
                raise ConfigError(f"{name}: expected a whole number >= 1, got {value!r}.")


def drawn(model: DiffusionModel, seen: Told, walk: Walk, cond: Condition, seed: int) -> Drawn:
    """Draws given observations, so many of which are walked together as memory holds.

    What is drawn depends on the seed, the number of an observation, n_draws and particles, not on `batch_size`.
    """
    size = math.prod(model.event_shape_)
    rows = walk.batch_size or min(model._rows_at_once(), max(1, _GRID // size) if len(model.event_shape_) > 1 else 4096)
    prior = _Pieces(model._walked(), rows, model._device())
    count, method, width = len(seen.y), walk.method, int(walk.n_draws)
    parts: list[PosteriorResult] = []
    with warnings.catch_warnings(), model._averaged():
        warnings.simplefilter("ignore", DegenerateWeights)
        if method == "auto":  # one for all, by the item of which most is seen
            fullest = int((~torch.isnan(seen.y)).flatten(1).sum(1).argmax())
            most = slice(fullest, fullest + 1)
            its = observe(seen.y[most], seen.operator, seen.noise, model.event_shape_, dtype=seen.y.dtype)
            method = method_for(prior, its, rows_of(cond, most))
        if method in ("tds", "split-smc"):
            width = walk.particles or max(width, LEAST)
        block = max(1, _AT_ONCE // (width * size))
        for number, low in enumerate(range(0, count, block)):
            part = slice(low, low + block)
            parts.append(
                posterior(
                    prior,
                    seen.y[part],
                    seen.operator,
                    seen.noise,
                    method=method,
                    n=int(walk.n_draws),
                    particles=walk.particles,
                    steps=walk.n_steps,
                    random_state=seed if not number else _seed_of(seed, number),
                    batch_size=rows,
                    cond=rows_of(cond, part),
                    progress=None if walk.progress is None else _counting(walk.progress, number, -(-count // block)),
                    options=dict(walk.options or {}),
                )
            )
    found = list(dict.fromkeys(text for part in parts for text in part.warnings))
    for text in found:
        warnings.warn(text, DegenerateWeights, stacklevel=5)

    def joined(name: str) -> Tensor | None:
        values = [getattr(part, name) for part in parts]
        return None if any(value is None for value in values) else torch.cat(values).to(torch.float64)

    evidence = joined("log_evidence")
    return Drawn(
        x=torch.cat([part.samples for part in parts]),
        log_evidence=None if evidence is None else evidence + seen.nats,
        ess=joined("ess"),
        ancestors=joined("ancestors"),
        diagnostics=dict(parts[0].diagnostics),
        warnings=found,
        method=parts[0].method,
    )


def filled(model: DiffusionModel, count: int, walk: Walk, cond: Condition, seed: int) -> Drawn:
    """Draws of so many items by a network that is told what is known of them: one of the conditions says it."""
    for name in ("particles", "options"):
        if getattr(walk, name):
            raise ConfigError(
                f"{name}: expected none with method {TRAINED!r}, which draws as sample() does. Leave it out."
            )
    n, parts = int(walk.n_draws), []
    rule, grid = model.solver_and_grid(walk.n_steps)
    block = max(1, _AT_ONCE // (n * math.prod(model.event_shape_)))
    for number, low in enumerate(range(0, count, block)):
        rows = slice(low, min(low + block, count))
        each = mapped(rows_of(cond, rows), lambda value: value.repeat_interleave(n, 0))
        with model._averaged():
            x = sample(
                model._walked(),
                ((rows.stop - low) * n, *model.event_shape_),
                solver=rule,
                grid=grid,
                cond=model._on_device(each),
                seed=seed,
                first=low * n,
                batch_size=walk.batch_size or model._rows_at_once(),
                device=model._device(),
                progress=None if walk.progress is None else _counting(walk.progress, number, -(-count // block)),
            )
        parts.append(x.cpu().reshape(-1, n, *model.event_shape_))
    return Drawn(torch.cat(parts), None, None, None, {}, [], TRAINED)


def encoded_condition(model: DiffusionModel, columns: Mapping[str, Any] | None, count: int, seed: int) -> Condition:
    """Conditions of so many observations as the denoiser takes them; None is that of no condition."""
    if columns is None:
        return None
    return augmented_at(model.conditions_.encode(columns, count), model._level(None), seed, 0) or None


def _seed_of(seed: int, block: int) -> int:
    return int(np.random.SeedSequence([seed, block]).generate_state(1)[0])


def _counting(progress: Callable[[int, int], None], number: int, blocks: int) -> Callable[[int, int], None]:
    return lambda done, total: progress(number * total + done, blocks * total)


class _Again(torch.autograd.Function):
    """A function of x that keeps no graph: it is worked again where a derivative is asked for."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """function(x)."""
        ctx.save_for_backward(x)
        ctx.function = function
        return function(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """The derivative of function(x), times grad."""
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            (back,) = torch.autograd.grad(ctx.function(point), point, grad)
        return back, None


class _Pieces(Wrapped):
    """A denoiser that works at most so many rows at once, where its device is.

    Where a derivative is taken of more, each piece is worked again for it, so that memory holds one piece.
    """

    def __init__(self, denoiser: Denoiser, rows: int, device: torch.device) -> None:
        super().__init__(denoiser)
        self.rows, self.device = rows, device

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """That of the other one."""
        time, cond = as_time(t), for_rows(cond, len(x_t))
        parts = []
        for low in range(0, len(x_t), self.rows):
            x, at, given = self._part(x_t, time, cond, slice(low, low + self.rows))
            if len(x_t) > self.rows and torch.is_grad_enabled() and x_t.requires_grad:
                mean: Tensor = _Again.apply(x, lambda x, at=at, given=given: self.denoiser.mean(x, at, given))
            else:
                mean = self.denoiser.mean(x, at, given)
            parts.append(mean.to(x_t.device))
        return torch.cat(parts)

    def var(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor | None:
        """That of the other one, without a graph."""
        if not self.knows_variance:
            return None
        time, cond = as_time(t), for_rows(cond, len(x_t))
        parts = []
        with torch.no_grad():
            for low in range(0, len(x_t), self.rows):
                var = self.denoiser.var(*self._part(x_t, time, cond, slice(low, low + self.rows)))
                if var is None:
                    return None
                parts.append(var.to(x_t.device))
        return torch.cat(parts)

    def moments(self, x_t: Tensor, t: Time, cond: Condition = None) -> tuple[Tensor, Tensor | None]:
        """Those of the other one."""
        return self.mean(x_t, t, cond), self.var(x_t, t, cond)

    def _part(self, x_t: Tensor, t: Tensor, cond: Condition, rows: slice) -> tuple[Tensor, Tensor, Condition]:
        given = mapped(rows_of(cond, rows), lambda value: value.to(self.device))
        return x_t[rows].to(self.device), t[rows] if t.ndim else t, given
