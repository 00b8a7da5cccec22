"""What was there before the noise: the law of x given o = x + noise eps, for a density known up to a constant.

    q(x | o) is proportional to p(x) N(o; x, noise^2 I)

is walked for many o at once, each by a ladder of its own between the normal around o and q,

    q_beta(x | o) is proportional to p(x)^beta N(x; o, noise^2 I),    beta = 0 < ... < 1.

Rung 0 is drawn afresh each time, the others move by Hamiltonian dynamics with a Metropolis test, and neighbours swap,
even pairs and odd pairs in turn. So what stands on the last rung was independent of its past not long ago, also where q
has several modes. The rungs are spaced for equal rejection, the steps tuned, on a few of the rows, beforehand: what is
kept afterwards comes from a kernel that leaves q unchanged, exactly.

All rows share one metric: with F = E[grad log p grad log p^T], which is the inverse covariance where p is normal, that
of rung beta is beta F + I / noise^2.

A mean is taken of two things with one expectation: of x (Tweedie's formula, good at large noise) and of
o + noise^2 grad log p(x) (the target score identity, good at small noise), mixed along each axis of the metric so that
the variance is least: none at all where p is normal. The mix is one for all rows: with one of its own, a row that met a
single hill would take p for normal and its error for none. Of a hill that no row met nothing tells.

Sources: Syed et al. 2022 (ladder); Neal 2011 (moves); De Bortoli et al. 2024 (target score matching); Mira, Solgi &
Imparato 2013 (zero variance).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from caminito._errors import CrowdedLadder
from caminito.density.climb import precision, proximal
from caminito.density.target import Target

__all__ = ["Ladder", "Means", "draws", "means", "tuned"]

_ROWS = 256  # that a ladder is tuned on
_LEAST = 64  # points at work meanwhile
_PROBES = 16  # rows at which second derivatives are taken
_RUNGS = 48  # at most
_LEAPS = 4
_ACCEPTANCE = 0.75
_NUMBERS = 2**22  # of one batch
_WHOLE = 400  # dimensions up to which the metric is a matrix


@dataclass(frozen=True)
class Ladder:
    """How the laws of x given o are walked.

    Attributes
    ----------
    noise : float
    beta : tensor (rungs,)
        From 0 to 1.
    step : tensor (rungs - 1,)
        Of all rungs but the first, in units of the metric.
    axes : tensor (dim, dim) or None
        Eigenvectors of F; None where it is diagonal.
    curve : tensor (dim,)
        Eigenvalues of F.
    barrier : float
        Sum of the rejections of neighbours: about 1 + 2 barrier rungs are worth having.
    """

    noise: float
    beta: Tensor
    step: Tensor
    axes: Tensor | None
    curve: Tensor
    barrier: float

    @property
    def sweeps(self) -> int:
        """After so many a row has most likely been drawn afresh."""
        return math.ceil(8 * (1 + self.barrier)) + 4

    @property
    def scale(self) -> Tensor:
        """Lengths of the metric, (rungs - 1, 1, dim), along the axes."""
        return (self.beta[1:, None, None] * self.curve + self.noise**-2) ** -0.5

    @property
    def metric(self) -> Tensor:
        """F, (dim, dim), or its diagonal (dim,)."""
        return self.curve if self.axes is None else (self.axes * self.curve) @ self.axes.mT

    def along(self, v: Tensor) -> Tensor:
        """Vectors (..., dim) in the axes of F."""
        return v if self.axes is None else v @ self.axes

    def back(self, v: Tensor) -> Tensor:
        """The inverse of `along`."""
        return v if self.axes is None else v @ self.axes.mT


class _State(NamedTuple):
    """Points (rungs, rows, dim), log p (rungs, rows) and its gradient."""

    x: Tensor
    value: Tensor
    slope: Tensor


class Means(NamedTuple):
    """E[x | o] (n, dim), its standard errors (n, dim), and a draw for each chain (n, chains, dim)."""

    mean: Tensor
    std_error: Tensor
    last: Tensor


def tuned(
    target: Target,
    o: Tensor,
    noise: float,
    generator: torch.Generator,
    *,
    start: Tensor | None = None,
    before: Ladder | None = None,
    rounds: int = 8,
    sweeps: int = 12,
) -> Ladder:
    """A ladder for points such as `o` (n, dim), from some of them; from `before` where one for like noise is known."""
    chosen = torch.randperm(len(o), generator=generator)[:_ROWS]
    chosen = chosen.repeat(-(-_LEAST // len(chosen)))
    o = o[chosen]
    dim = o.shape[1]
    if before is None:
        bent = _bent(target, o[:_PROBES], noise)
        beta = torch.linspace(0, 1, 8, dtype=torch.float64) ** 3
        step = torch.full((7,), 0.5 * dim**-0.25, dtype=torch.float64)
        ladder = _in_metric(Ladder(noise, beta, step, None, torch.zeros(dim, dtype=torch.float64), 0.0), bent)
    else:
        bent = before.metric
        ladder = replace(before, noise=noise)
    state = _begun(target, o, ladder, generator, None if start is None else start[chosen])
    for turn in range(rounds):
        step, refused = ladder.step, torch.zeros(len(ladder.beta) - 1, dtype=torch.float64)
        slopes = []
        for sweep in range(sweeps):
            state, accepted = _moved(target, o, state, ladder, generator)
            state, rejection = _swapped(state, ladder, sweep, generator)
            step = (step * torch.exp(0.6 * (accepted - _ACCEPTANCE))).clamp(1e-6, 2.0)
            ladder = replace(ladder, step=step)
            if sweep >= sweeps // 3:
                refused += rejection / (sweeps - sweeps // 3)
                slopes.append(state.slope[-1])
        former = ladder.barrier
        ladder, state = _respaced(ladder, state, refused)
        ladder = _in_metric(ladder, _mixed(bent, torch.cat(slopes)))
        if turn >= 2 and abs(ladder.barrier - former) < 0.1 * (1 + former):
            break
    if _wanted(ladder.barrier) > _RUNGS:
        warnings.warn(_CROWDED.format(_wanted(ladder.barrier), _RUNGS), CrowdedLadder, stacklevel=3)
    return ladder


_CROWDED = (
    "the law of x given o is far from the normal around o: between them {} rungs are worth having, and there are {}, "
    "so neighbours swap seldom and draws may stay on the hills where they began. Take less noise, or more sweeps."
)


def draws(
    target: Target,
    o: Tensor,
    ladder: Ladder,
    generator: torch.Generator,
    *,
    sweeps: int | None = None,
    start: Tensor | None = None,
) -> Tensor:
    """One x for each row of `o`, (n, dim)."""
    parts = []
    for rows in _chunks(o, ladder):
        state = _begun(target, o[rows], ladder, generator, None if start is None else start[rows])
        for turn in range(sweeps or ladder.sweeps):
            state, _ = _moved(target, o[rows], state, ladder, generator)
            state, _ = _swapped(state, ladder, turn, generator)
        parts.append(state.x[-1])
    return torch.cat(parts)


def means(
    target: Target,
    o: Tensor,
    ladder: Ladder,
    generator: torch.Generator,
    *,
    chains: int = 4,
    sweeps: int | None = None,
    warm: int | None = None,
    start: Tensor | None = None,
) -> Means:
    """E[x | o] for each row of `o`, from `chains` independent chains.

    Chains begin at `start` (n, chains, dim), or at fresh draws around o, and their first `warm` sweeps are left out.
    The standard error is that of groups of sweeps so long that they hardly know of each other.
    """
    warm = ladder.sweeps if warm is None else warm
    count = sweeps or 2 * ladder.sweeps
    groups = max(1, count // ladder.sweeps)
    found = []
    for rows in _chunks(o, ladder, chains):
        given = o[rows].repeat_interleave(chains, 0)
        state = _begun(target, given, ladder, generator, None if start is None else start[rows].flatten(0, 1))
        sums, edge = torch.zeros(groups, 5, 2, *given.shape, dtype=torch.float64), False
        for turn in range(warm + count):
            state, _ = _moved(target, given, state, ladder, generator)
            state, _ = _swapped(state, ladder, turn, generator)
            if turn >= warm:
                x = ladder.along(state.x[-2:] - given)
                slack = ladder.noise**2 * ladder.along(state.slope[-2:]) - x  # on the last rung of expectation 0
                sums[(turn - warm) * groups // count] += torch.stack([x, slack, x**2, x * slack, slack**2])
                edge = edge or bool(torch.isinf(state.value).any())
        sizes = torch.bincount(torch.arange(count) * groups // count)
        mean, error = _summed(sums.unflatten(3, (-1, chains)), sizes, ladder, edge=edge)
        found.append(Means(o[rows] + mean, error, state.x[-1].unflatten(0, (-1, chains))))
    return Means(*(torch.cat(part) for part in zip(*found, strict=True)))


def _summed(sums: Tensor, sizes: Tensor, ladder: Ladder, *, edge: bool) -> tuple[Tensor, Tensor]:
    """Mean (rows, dim) of x - o and its standard error, from sums of x, slack and their products on the last two rungs.

    Of shape (groups, 5, 2, rows, chains, dim), over groups of `sizes` sweeps. Beside the spread of groups the error has
    a part for what no draw met: one draw more might have been where those of the rung before are.
    """
    groups, chains = len(sizes), sums.shape[4]
    count = chains * int(sizes.sum())
    (near, x), (near_slack, slack), (near_square, _), (near_product, product), (near_squared, squared) = (
        sums.sum((0, 4)) / count
    )
    shared = (squared - slack**2).sum(0)
    share = torch.where(shared > 0, (x * slack - product).sum(0) / shared.clamp(min=1e-300), 0.0)
    if edge:  # by parts there is a term of the edge of the support, and the expectation is not 0
        share = torch.zeros_like(share)
    mean = x + share * slack
    each = (sums[:, 0, 1] + share * sums[:, 1, 1]) / sizes[:, None, None, None]
    spread = ladder.back(each).transpose(1, 2).flatten(0, 1).var(0)
    apart = near_square + share * (2 * near_product + share * near_squared)
    apart = (apart - 2 * mean * (near + share * near_slack) + mean**2).clamp(min=0)
    unseen = apart if ladder.axes is None else apart @ (ladder.axes**2).mT
    fresh = 1 + 2 * count / ladder.sweeps
    return ladder.back(mean), (spread / (groups * chains) + unseen / fresh**2).sqrt()


def _chunks(o: Tensor, ladder: Ladder, chains: int = 1) -> Iterator[slice]:
    rows = max(1, _NUMBERS // (chains * len(ladder.beta) * o.shape[1]))
    return (slice(low, low + rows) for low in range(0, len(o), rows))


def _begun(target: Target, o: Tensor, ladder: Ladder, generator: torch.Generator, start: Tensor | None) -> _State:
    """Rung 0 at draws around o, the others at `start`, or at what such draws climb to."""
    shape = (len(ladder.beta), *o.shape)
    x = o + ladder.noise * torch.randn(shape, generator=generator, dtype=torch.float64)
    if start is None:
        std = (ladder.noise * ladder.beta[1:].sqrt()).repeat_interleave(len(o))
        centre = o.expand(len(std) // len(o), *o.shape).flatten(0, 1)
        x[1:] = proximal(target, x[1:].flatten(0, 1), centre, std, torch.zeros_like(std), steps=8)[0].reshape(
            x[1:].shape
        )
    else:
        x[1:] = start
    value, slope = target.value_and_grad(x.reshape(-1, o.shape[1]))
    return _State(x, value.reshape(shape[:2]), slope.reshape(shape))


def _moved(
    target: Target, o: Tensor, state: _State, ladder: Ladder, generator: torch.Generator
) -> tuple[_State, Tensor]:
    """Rung 0 afresh, the others along one trajectory each; and the rate at which those were accepted (rungs - 1,)."""
    scale, beta = ladder.scale, ladder.beta[1:, None]
    dim = o.shape[1]
    fresh = o + ladder.noise * torch.randn(o.shape, generator=generator, dtype=torch.float64)
    x, value, slope = (part[1:] for part in state)
    step = ladder.step[:, None, None] * (
        0.7 + 0.6 * torch.rand(*value.shape, 1, generator=generator, dtype=torch.float64)
    )
    momentum = torch.randn(x.shape, generator=generator, dtype=torch.float64)

    def level(x: Tensor, value: Tensor) -> Tensor:
        return beta * value - 0.5 * ((x - o) ** 2).sum(-1) / ladder.noise**2

    def force(x: Tensor, slope: Tensor) -> Tensor:
        return scale * ladder.along(beta[..., None] * slope - (x - o) / ladder.noise**2)

    energy = level(x, value) - 0.5 * (momentum**2).sum(-1)
    here, now, push = x, value, force(x, slope)
    first_value = first_slope = torch.empty(0)
    for leap in range(_LEAPS):
        momentum = momentum + step / 2 * push
        ahead = here + step * ladder.back(scale * momentum)
        here = torch.where(torch.isfinite(ahead), ahead, here)
        batch = here.reshape(-1, dim)
        if leap == 0:
            found, turned = target.value_and_grad(torch.cat([fresh, batch]))
            first_value, first_slope = found[: len(o)], turned[: len(o)]
            found, turned = found[len(o) :], turned[len(o) :]
        else:
            found, turned = target.value_and_grad(batch)
        now, slope = found.reshape(value.shape), turned.reshape(x.shape)
        push = force(here, slope)
        momentum = momentum + step / 2 * push
    ratio = torch.nan_to_num(level(here, now) - 0.5 * (momentum**2).sum(-1) - energy, nan=-torch.inf)
    chance = ratio.clamp(max=0).exp()
    taken = torch.rand(chance.shape, generator=generator, dtype=torch.float64) < chance
    moved = _State(
        torch.cat([fresh[None], torch.where(taken[..., None], here, x)]),
        torch.cat([first_value[None], torch.where(taken, now, value)]),
        torch.cat([first_slope[None], torch.where(taken[..., None], slope, state.slope[1:])]),
    )
    return moved, chance.mean(1)


def _swapped(state: _State, ladder: Ladder, turn: int, generator: torch.Generator) -> tuple[_State, Tensor]:
    """Neighbours that swap, even or odd pairs by turn; and the rejection of every pair (rungs - 1,)."""
    low, high = state.value[:-1], state.value[1:]
    ratio = torch.nan_to_num(ladder.beta.diff()[:, None] * (low - high), nan=-torch.inf, posinf=torch.inf)
    chance = ratio.clamp(max=0).exp()
    wanted = (torch.arange(len(low)) % 2 == turn % 2)[:, None]
    taken = wanted & (torch.rand(chance.shape, generator=generator, dtype=torch.float64) < chance)
    index = torch.arange(len(state.value))[:, None].expand(state.value.shape).clone()
    index[:-1] += taken.long()
    index[1:] -= taken.long()
    each = index[..., None].expand(state.x.shape)
    swapped = _State(state.x.gather(0, each), state.value.gather(0, index), state.slope.gather(0, each))
    return swapped, 1 - chance.mean(1)


def _respaced(ladder: Ladder, state: _State, refused: Tensor) -> tuple[Ladder, _State]:
    """As many rungs as the barrier asks for, at equal rejection."""
    total = torch.cat([torch.zeros(1, dtype=torch.float64), refused.clamp(min=1e-9).cumsum(0)])
    barrier = float(total[-1])
    count = min(_RUNGS, _wanted(barrier))
    wanted = torch.linspace(0, barrier, count, dtype=torch.float64)
    place = torch.searchsorted(total, wanted[1:-1]).clamp(1, len(total) - 1)
    share = (wanted[1:-1] - total[place - 1]) / (total[place] - total[place - 1])
    inner = ladder.beta[place - 1] + share * (ladder.beta[place] - ladder.beta[place - 1])
    beta = torch.cat([ladder.beta[:1], inner, ladder.beta[-1:]])
    nearest = (beta[:, None] - ladder.beta[None]).abs().argmin(1)
    step = ladder.step[(nearest[1:] - 1).clamp(min=0)]
    fresh = replace(ladder, beta=beta, step=step, barrier=barrier)
    return fresh, _State(*(part[nearest] for part in state))


def _wanted(barrier: float) -> int:
    return max(2, math.ceil(2 * barrier) + 1)


def _bent(target: Target, o: Tensor, noise: float) -> Tensor:
    """A first guess of F: mean of |-Hessian| of log p at the maxima of q, a matrix, or (dim,) in many dimensions."""
    dim = o.shape[1]
    std = torch.full((len(o),), noise, dtype=torch.float64)
    x, curvature = proximal(target, o, o, std, torch.zeros(len(o), dtype=torch.float64), steps=20)
    if dim > _WHOLE:
        return curvature.mean().expand(dim)
    values, vectors = torch.linalg.eigh(precision(target, x, curvature + noise**-2))
    return ((vectors * values.abs()[:, None]) @ vectors.mT).mean(0)


def _mixed(bent: Tensor, slope: Tensor) -> Tensor:
    """F from gradients (n, dim) on the last rung, the few largest held back, with `bent` as worth of 2 dim of them."""
    size = slope.norm(dim=1)
    slope = slope * (10 * size.median() / size.clamp(min=1e-300)).clamp(max=1.0)[:, None]
    n, dim = slope.shape
    found = (slope**2).sum(0) if bent.ndim == 1 else slope.mT @ slope
    return (found + 2 * dim * bent) / (n + 2 * dim)


def _in_metric(ladder: Ladder, metric: Tensor) -> Ladder:
    if metric.ndim == 1:
        return replace(ladder, axes=None, curve=metric.clamp(min=0))
    curve, axes = torch.linalg.eigh(metric)
    return replace(ladder, axes=axes, curve=curve.clamp(min=0))
