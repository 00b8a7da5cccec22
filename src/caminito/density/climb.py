"""Uphill, many points at once: proximal steps, L-BFGS and Newton's method, every row with a step of its own.

    proximal   argmax log p(x) - |x - o|^2 / (2 std^2)     gradient steps of Barzilai-Borwein length
    ascend     argmax log p(x)                             L-BFGS, until a row can gain no more, or is no longer wanted
    newton     argmax log p(x)                             to rounding, from nearby, with the Hessian

A step is taken only if the value does not fall, so no row ever ends lower than it began. All rows share the calls: what
counts is how often the density is asked for a batch, not how many points are in it. Lengths are in units of the density
itself: how far is enough is measured in nats that a step could still gain.

Sources: Barzilai & Borwein 1988; Nocedal & Wright 2006, algorithm 7.4 (two loops).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from caminito.density.target import Target

__all__ = ["Climbed", "ascend", "newton", "precision", "proximal"]

_PAIRS = 8  # remembered by L-BFGS
_GAIN = 1e-5  # nats: a row that can gain less has arrived, for L-BFGS
_EXACT = 1e-20  # the same for Newton's method: 1e-10 of a standard deviation
_BATCH = 2**24  # numbers in one batch of finite differences


class Climbed(NamedTuple):
    """Where rows ended: points (n, dim), log p (n,), gradient (n, dim), curvature seen (n,), arrived (n,)."""

    x: Tensor
    value: Tensor
    slope: Tensor
    curvature: Tensor
    arrived: Tensor


def proximal(
    target: Target, x: Tensor, centre: Tensor, std: Tensor, curvature: Tensor, *, steps: int
) -> tuple[Tensor, Tensor]:
    """argmax log p(x) - |x - centre|^2 / (2 std^2), roughly, from x.

    Parameters
    ----------
    x, centre : tensor (n, dim)
    std, curvature : tensor (n,)
        The second is a guess of how fast the gradient of log p turns, 0 if unknown.
    steps : int
        Calls of the target, beside the first.

    Returns
    -------
    x, curvature : tensor (n, dim), (n,)
    """
    pull = std**-2

    def asked(x: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = target.value_and_grad(x)
        return value - 0.5 * pull * ((x - centre) ** 2).sum(-1), slope - pull[:, None] * (x - centre)

    reach = 4 * std * x.shape[1] ** 0.5
    value, slope = asked(x)
    step = 1 / (curvature + pull)
    for _ in range(steps):
        move = _within(step[:, None] * slope, reach)
        tried_value, tried_slope = asked(x + move)
        rise = (move * slope).sum(-1)
        better = tried_value >= value
        turned = -(move * (tried_slope - slope)).sum(-1)
        length = (move**2).sum(-1)
        ratio = torch.where(turned > 0, length / turned.clamp(min=1e-300) / step, 4.0).clamp(0.1, 10.0)
        back = _parabola(value, tried_value, rise)
        curvature = torch.where(
            better & (turned > 0), (turned / length.clamp(min=1e-300) - pull).clamp(0.0, 1e100), curvature
        )
        x = torch.where(better[:, None], x + move, x)
        value, slope = torch.where(better, tried_value, value), torch.where(better[:, None], tried_slope, slope)
        step = step * torch.where(better, ratio, back)
    return x, curvature


def ascend(
    target: Target,
    x: Tensor,
    curvature: Tensor,
    *,
    steps: int = 150,
    reach: Tensor | float = torch.inf,
    known: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
) -> Climbed:
    """L-BFGS from every row, until no row gains.

    Parameters
    ----------
    x : tensor (n, dim)
    curvature : tensor (n,)
        A guess of the largest; 0 if unknown.
    steps : int
        At most.
    reach : tensor (n,) or float
        Longest step.
    known : (x, value, slope) -> (n,) bool, optional
        Rows that need not go on, asked now and then.
    """
    n, dim = x.shape
    value, slope = target.value_and_grad(x)
    x, arrived = x.clone(), torch.zeros(n, dtype=torch.bool)
    curvature = curvature.clone()
    rows = torch.nonzero(torch.isfinite(value))[:, 0]
    memory = _Memory(len(rows), dim)
    first = slope.norm(dim=1)[rows].clamp(min=1e-300)
    gamma = torch.where(curvature[rows] > 0, 1 / curvature[rows].clamp(min=1e-300), 1 / first)
    reach = torch.as_tensor(reach, dtype=x.dtype).expand(n)[rows]
    share = torch.ones(len(rows), dtype=x.dtype)
    for step in range(steps):
        if not len(rows):
            break
        here, up = x[rows], slope[rows]
        move = _within(memory.direction(up, gamma), reach)
        rise = (move * up).sum(-1)
        lost = ~(rise > 0)
        move, rise = (
            torch.where(lost[:, None], gamma[:, None] * up, move),
            torch.where(lost, gamma * (up**2).sum(-1), rise),
        )
        done = (rise < _GAIN) & ((step >= 3) | (rise == 0))
        if known is not None and step % 5 == 0:
            done = done | known(here, value[rows], up)
        done = done | (share < 1e-12)
        arrived[rows] = done
        tried = here + share[:, None] * move
        tried_value, tried_slope = target.value_and_grad(tried)
        better = tried_value >= value[rows] + 1e-4 * share * rise * (rise > 1e-10)
        moved, turned = tried - here, up - tried_slope
        product = (moved * turned).sum(-1)
        sound = better & (product > 1e-12 * moved.norm(dim=1) * turned.norm(dim=1)) & (product > 0)
        memory.add(moved, turned, product, sound)
        gamma = torch.where(
            sound,
            product / (turned**2).sum(-1).clamp(min=1e-300),
            torch.where(better, 4 * gamma, gamma),
        )
        bend = (turned**2).sum(-1) / product.clamp(min=1e-300)
        curvature[rows] = torch.where(sound, torch.maximum(bend, 0.5 * curvature[rows]), curvature[rows])
        back = _parabola(value[rows], tried_value, share * rise)
        share = torch.where(better, 1.0, share * back)
        x[rows] = torch.where(better[:, None], tried, here)
        slope[rows] = torch.where(better[:, None], tried_slope, up)
        value[rows] = torch.where(better, tried_value, value[rows])
        if bool(done.any()):
            left = ~done
            rows, gamma, share, reach = rows[left], gamma[left], share[left], reach[left]
            memory.keep(left)
    return Climbed(x, value, slope, curvature, arrived)


class _Memory:
    """The last good moves of each row, and how much the gradient turned on them."""

    def __init__(self, n: int, dim: int) -> None:
        self.moved, self.turned = (torch.zeros(0, n, dim, dtype=torch.float64) for _ in range(2))
        self.weight = torch.zeros(0, n, dtype=torch.float64)

    def add(self, moved: Tensor, turned: Tensor, product: Tensor, sound: Tensor) -> None:
        if not bool(sound.any()):
            return
        weight = 1 / torch.where(sound, product, 1.0)
        if len(self.weight) < _PAIRS:  # an empty slot first: weight 0
            self.moved, self.turned, self.weight = (
                torch.cat([torch.zeros_like(new)[None], old])
                for old, new in ((self.moved, moved), (self.turned, turned), (self.weight, weight))
            )
        self.moved, self.turned, self.weight = (
            torch.where(sound.reshape(-1, *[1] * (new.ndim - 1)), torch.cat([old[1:], new[None]]), old)
            for old, new in ((self.moved, moved), (self.turned, turned), (self.weight, weight))
        )

    def keep(self, left: Tensor) -> None:
        self.moved, self.turned, self.weight = self.moved[:, left], self.turned[:, left], self.weight[:, left]

    def direction(self, up: Tensor, gamma: Tensor) -> Tensor:
        """The two loops; `gamma` (n,) is the inverse curvature that they begin with."""
        q, shares = up.clone(), []
        for s, y, weight in zip(self.moved.flip(0), self.turned.flip(0), self.weight.flip(0)):
            share = weight * (s * q).sum(-1)
            q -= share[:, None] * y
            shares.append(share)
        q *= gamma[:, None]
        for s, y, weight, share in zip(self.moved, self.turned, self.weight, reversed(shares)):
            q += (share - weight * (y * q).sum(-1))[:, None] * s
        return q


def newton(target: Target, x: Tensor, curvature: Tensor, *, rounds: int = 4, steps: int = 6) -> tuple[Climbed, Tensor]:
    """Newton's method from points near a stationary one, and -Hessian of log p there, shape (n, dim, dim).

    Directions of no or of wrong curvature are climbed as if they curved the right way. A Hessian serves several steps;
    a row that has not arrived after them gets a new one.
    """
    value, slope = target.value_and_grad(x)
    arrived = torch.zeros(len(x), dtype=torch.bool)
    bent = precision(target, x, curvature)
    for turn in range(rounds):
        inverse, most = _upward(bent)
        for _ in range(steps):
            move = torch.einsum("kde,ke->kd", inverse, slope)
            gain = (move * slope).sum(-1)
            arrived = gain < _EXACT
            move = move * (9 * x.shape[1] / gain.clamp(min=1e-300)).sqrt().clamp(max=1.0)[:, None]
            if bool(arrived.all()):
                break
            tried_value, tried_slope = target.value_and_grad(x + move)
            closer = torch.einsum("kd,kde,ke->k", tried_slope, inverse, tried_slope) < gain
            better = (tried_value > value) | ((tried_value >= value - 1e-9 * (1 + value.abs())) & closer)
            x = torch.where(better[:, None], x + move, x)
            value = torch.where(better, tried_value, value)
            slope = torch.where(better[:, None], tried_slope, slope)
            if not bool((better & ~arrived).any()):
                break
        gain = torch.einsum("kd,kde,ke->k", slope, inverse, slope)
        arrived = gain < _GAIN
        bent = precision(target, x, most)
        if bool(arrived.all()) or turn == rounds - 1:
            break
    return Climbed(x, value, slope, most, arrived), bent


def precision(target: Target, x: Tensor, curvature: Tensor) -> Tensor:
    """-Hessian of log p at points (k, dim), by central differences of the gradient over 1e-4 of the local scale."""
    k, dim = x.shape
    local = torch.where(curvature > 0, curvature.clamp(min=1e-300) ** -0.5, 1.0)
    step = torch.maximum(1e-4 * local[:, None], 1e-9 * x.abs())
    eye = torch.eye(dim, dtype=x.dtype)
    found = torch.empty(k, dim, dim, dtype=x.dtype)
    rows = max(1, _BATCH // (2 * dim * dim))
    for i in range(0, k, rows):
        part, move = x[i : i + rows, None], step[i : i + rows, :, None] * eye
        both = torch.stack([part + move, part - move])
        slopes = target.value_and_grad(both.reshape(-1, dim))[1].reshape(both.shape)
        found[i : i + rows] = (slopes[1] - slopes[0]) / (2 * step[i : i + rows, :, None])
    return (found + found.mT) / 2


def _upward(bent: Tensor) -> tuple[Tensor, Tensor]:
    """|H|^-1, with the flattest directions no flatter than 1e-10 of the steepest, and the largest |eigenvalue|."""
    values, vectors = torch.linalg.eigh(bent)
    most = values.abs().amax(-1).clamp(min=1e-300)
    values = torch.maximum(values.abs(), 1e-10 * most[:, None])
    return (vectors / values[:, None, :]) @ vectors.mT, most


def _within(move: Tensor, reach: Tensor | float) -> Tensor:
    """Moves no longer than `reach`, also where squares of them would overflow."""
    move = torch.nan_to_num(move, posinf=1e300, neginf=-1e300)
    most = move.abs().amax(1).clamp(min=1e-300)
    unit = move / most[:, None]
    length = unit.norm(dim=1).clamp(min=1e-300)
    return torch.where((most * length <= reach)[:, None], move, unit * (reach / length)[:, None])


def _parabola(value: Tensor, tried: Tensor, rise: Tensor) -> Tensor:
    """Share of a step at which the parabola through both values, with this slope, is highest; within [0.1, 0.5]."""
    fall = 2 * (rise + value - tried)
    return torch.nan_to_num(rise / fall, nan=0.1, posinf=0.1, neginf=0.1).clamp(0.1, 0.5)
