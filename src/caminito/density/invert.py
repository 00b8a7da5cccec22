"""Undoing noise: from o = x + noise eps back to x, where nothing is known but log p(x) up to a constant.

    map       x = argmax log p(x) - |o - x|^2 / (2 noise^2)       a proximal step: high-probability points
    mean      E[x | o]                                            the denoiser
    sample    x ~ q(x | o), proportional to p(x) N(o; x, noise^2)  samples

They are not the same. For p = N(0, s^2) and o = x + noise eps every one is a multiple of o, but for the last:

    map, mean   s^2 / (s^2 + noise^2) o     of law  N(0, s^4 / (s^2 + noise^2))
    sample                                  of law  N(0, s^2)

so argmax finds points that are more probable than what it was given, and samples of p only in the limit of no noise.
What argmax leaves out is the variance s^2 noise^2 / (s^2 + noise^2) of x given o.

`diffuse_and_invert` draws o and inverts it, in one jump or many. In many jumps each undoes a little of the noise,

    x_s = x_t + (1 - s^2 / t^2) (E[x_0 | x_t] - x_t)                       map and mean, which agree on small jumps
    x_s = x_t + (1 - s^2 / t^2) (x_0 - x_t) + s sqrt(1 - s^2 / t^2) eps    sample, with x_0 ~ q(x_0 | x_t)

Noise is a standard deviation everywhere.
Sources: Moreau 1965 (proximal maps); Robbins 1956 (means); Karczewski et al. 2025 (the limit of many jumps without
noise).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from caminito._errors import ConfigError, NonFiniteError, ShapeError
from caminito._random import seed_from
from caminito.density import denoising
from caminito.density.climb import ascend, precision, proximal
from caminito.density.target import LogProb, Target

__all__ = ["How", "Inverted", "checked_noise", "diffuse_and_invert", "invert"]

How = Literal["map", "mean", "sample"]
RandomState = int | np.random.RandomState | np.random.Generator | None

_NEWTON = 2**23  # numbers that second derivatives may take in all
_SHARED = 256  # ends that rows offer to each other
_ROUNDS = 3
_LONG = 300  # gradient steps where Newton's method is too dear


@dataclass(frozen=True, eq=False)
class Inverted:
    """What was there before the noise.

    Attributes
    ----------
    x : tensor (n, dim)
        float64.
    log_prob : tensor (n,)
        There.
    std_error : tensor (n, dim) or None
        Of each entry of `x`, for means.
    diagnostics : dict of float
        calls, evaluations: batches and points that log_prob was asked for. For a maximum, gain: nats that a row could
        still gain, at most. Else barrier: how far the normal around o is from the law of x; rungs; sweeps.
    """

    x: Tensor
    log_prob: Tensor
    std_error: Tensor | None = None
    diagnostics: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        n, dim = self.x.shape
        return f"Inverted({n} points of dim {dim}, {self.diagnostics.get('calls', 0):.0f} calls)"


def invert(
    log_prob: LogProb,
    o: ArrayLike | Tensor,
    noise: float,
    how: How = "map",
    *,
    gradient: LogProb | None = None,
    starts: int = 2,
    chains: int = 4,
    sweeps: int | None = None,
    random_state: RandomState = None,
) -> Inverted:
    """Undo noise that was added to points of a density.

    Parameters
    ----------
    log_prob : (n, dim) -> (n,)
        Up to a constant. In torch, or in numpy with `gradient`.
    o : array (n, dim)
        Points with noise.
    noise : float
        Standard deviation of the noise.
    how : {"map", "mean", "sample"}
        "map" finds high-probability points, "sample" gives samples: where o is a point of the density with noise, the
        law of its samples is the density. "mean" is what a perfect denoiser says.
    gradient : (n, dim) -> (n, dim), optional
        Of log_prob.
    starts : int
        For "map": climbs from o, and from so many less one draws around it; rows offer each other their ends too.
    chains : int
        For "mean": independent chains for each row, which give its standard error.
    sweeps : int, optional
        For "mean" and "sample": steps of a chain; by default as many as the barrier between the normal around o and
        the law of x asks for.
    random_state : int, numpy generator or None

    Returns
    -------
    Inverted

    Raises
    ------
    ConfigError
        If noise is not above 0, or `how` is none of the three.
    ShapeError, NonFiniteError
        If o or what log_prob gives are not what they should be, or log_prob is -inf wherever a row looks.

    Warns
    -----
    CrowdedLadder
        For "mean" and "sample", if the law of x is too far from the normal around o.

    Notes
    -----
    A maximum is found by Barzilai-Borwein and L-BFGS steps that never lose, then Newton's method up to a few hundred
    dimensions. Where log p has several hills it is the best of those met: more `starts` meet more.
    Means and samples are exact in the limit of many sweeps: see `caminito.density.denoising`. A standard error knows of
    the hills that some row met, and of no others.

    Examples
    --------
    >>> import torch
    >>> o = torch.tensor([[1.0], [2.0]])
    >>> invert(lambda x: -(x**2).sum(-1) / 2, o, noise=1.0).x
    tensor([[0.5000],
            [1.0000]], dtype=torch.float64)
    """
    points = _points(o)
    target = Target(log_prob, points.shape[1], gradient=gradient)
    noise = checked_noise(noise)
    if how not in ("map", "mean", "sample"):
        raise ConfigError(f"how: expected 'map', 'mean' or 'sample', got {how!r}.")
    for name, count, least in (
        ("starts", starts, 1),
        ("chains", chains, 2),
        ("sweeps", 1 if sweeps is None else sweeps, 1),
    ):
        if not (isinstance(count, int | np.integer) and count >= least):
            raise ConfigError(f"{name}: expected a whole number >= {least}, got {count!r}.")
    generator = torch.Generator().manual_seed(seed_from(random_state))
    if how == "map":
        x, value, gain = maxima(target, points, noise, generator, starts=starts)
        return Inverted(x, value, None, _counted(target, gain=gain))
    start = _inside(target, points, noise, generator)
    held = None if torch.equal(start, points) else start
    ladder = denoising.tuned(target, points, noise, generator, start=held)
    told = {"barrier": ladder.barrier, "rungs": len(ladder.beta), "sweeps": sweeps or ladder.sweeps}
    if how == "sample":
        x = denoising.draws(target, points, ladder, generator, sweeps=sweeps, start=held)
        return Inverted(x, target.value(x), None, _counted(target, **told))
    many = None if held is None else held[:, None].expand(-1, chains, -1)
    found = denoising.means(target, points, ladder, generator, chains=chains, sweeps=sweeps, start=many)
    return Inverted(found.mean, target.value(found.mean), found.std_error, _counted(target, **told))


def diffuse_and_invert(
    log_prob: LogProb,
    dim: int,
    n: int,
    noise: float,
    steps: int = 1,
    *,
    how: How = "map",
    std: float = 0.0,
    gradient: LogProb | None = None,
    random_state: RandomState = None,
) -> Tensor:
    """Draw from the normal that a density with much noise is, and undo the noise.

    Parameters
    ----------
    log_prob : (n, dim) -> (n,)
        Up to a constant. In torch, or in numpy with `gradient`.
    dim, n : int
        Numbers in a point; points.
    noise : float
        Standard deviation of the noise. The more, the better a normal is what starts; it should be several times as
        wide as the density.
    steps : int
        1 undoes all of it at once; more undo it little by little, at levels that fall evenly in their logarithm.
    how : {"map", "mean", "sample"}
        "map" and "mean" lead to high-probability points, "sample" to samples.
    std : float
        Standard deviation of the density where it is known, so that what starts is N(0, std^2 + noise^2).
    gradient : (n, dim) -> (n, dim), optional
        Of log_prob.
    random_state : int, numpy generator or None

    Returns
    -------
    tensor (n, dim)
        float64.

    Raises
    ------
    ConfigError, ShapeError, NonFiniteError
        As `invert`; if n or steps is below 1, or std is negative.

    Notes
    -----
    In many steps "map" needs the densities of all levels of noise, which are not known: each jump follows the mean of
    what its posterior draws say, and in the limit of many jumps maximum and mean are the same step. It is
    `flow(log_prob, n, kappa=1)`.
    """
    noise = checked_noise(noise)
    target = Target(log_prob, dim, gradient=gradient)
    for name, count in (("n", n), ("steps", steps)):
        if not (isinstance(count, int | np.integer) and count >= 1):
            raise ConfigError(f"{name}: expected a whole number >= 1, got {count!r}.")
    if not (isinstance(std, int | float) and 0 <= std < math.inf):
        raise ConfigError(f"std: expected a standard deviation >= 0, got {std!r}.")
    if how not in ("map", "mean", "sample"):
        raise ConfigError(f"how: expected 'map', 'mean' or 'sample', got {how!r}.")
    generator = torch.Generator().manual_seed(seed_from(random_state))
    o = math.hypot(noise, std) * _randn(n, dim, generator)
    if steps == 1:
        return invert(log_prob, o, noise, how, gradient=gradient, random_state=_seed(generator)).x
    levels = torch.cat([noise * torch.logspace(0, -3, steps, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
    if how != "sample":
        from caminito.density.flow import walk

        return walk(target, o, levels, 1.0, generator)
    ladder, x, start = None, o, None
    for t, s in zip(levels[:-1].tolist(), levels[1:].tolist(), strict=True):
        if ladder is None:
            inside = _inside(target, x, t, generator)
            start = None if torch.equal(inside, x) else inside
            ladder = denoising.tuned(target, x, t, generator, start=start)
        else:
            ladder = denoising.tuned(target, x, t, generator, start=start, before=ladder, rounds=1, sweeps=6)
        start = denoising.draws(target, x, ladder, generator, start=start)
        share = 1 - (s / t) ** 2
        x = x + share * (start - x) + s * math.sqrt(share) * _randn(n, dim, generator)
    return x


def maxima(
    target: Target, o: Tensor, noise: float, generator: torch.Generator, *, starts: int = 2
) -> tuple[Tensor, Tensor, float]:
    """argmax log p(x) - |o - x|^2 / (2 noise^2) for each row: x, log p(x), and the nats that are still to be gained."""
    best, value = _climbed(target, o, noise, _inside(target, o, noise, generator))
    for _ in range(starts - 1):
        again = o + noise * _randn(len(o), target.dim, generator)
        value, best = _better(value, best, *_climbed(target, o, noise, _inside(target, again, noise, generator))[::-1])
    for _ in range(_ROUNDS):  # what one row found may be better for another, too
        offered = best[torch.randperm(len(best), generator=generator)[:_SHARED]]
        height = target.value(offered) - 0.5 * torch.cdist(o, offered) ** 2 / noise**2
        top, which = height.max(1)
        rows = torch.nonzero(top > value + 1e-6 * (1 + value.abs()))[:, 0]
        if not len(rows):
            break
        x, gained = _climbed(target, o[rows], noise, offered[which[rows]])
        value[rows], best[rows] = _better(value[rows], best[rows], gained, x)
    best, gain = _polished(target, o, noise, best)
    return best, target.value(best), gain


def checked_noise(noise: float) -> float:
    """A standard deviation above 0, as a float.

    Raises
    ------
    ConfigError
    """
    if not (isinstance(noise, int | float | np.floating | np.integer) and 0 < noise < math.inf):
        raise ConfigError(f"noise: expected a standard deviation > 0, got {noise!r}.")
    return float(noise)


def _climbed(target: Target, o: Tensor, noise: float, x: Tensor) -> tuple[Tensor, Tensor]:
    """Where climbs from x end, and the height there, without the constant of the normal."""
    std = torch.full((len(x),), noise, dtype=torch.float64)
    x, curvature = proximal(target, x, o, std, torch.zeros(len(x), dtype=torch.float64), steps=12)
    ends = ascend(_Beside(target, noise), torch.cat([x, o], 1), curvature + noise**-2, steps=200)
    return ends.x[:, : target.dim], ends.value


class _Beside(Target):
    """log p(x) - |x - o|^2 / (2 noise^2) of points (x, o): rows carry their o along, and it never moves."""

    def __init__(self, target: Target, noise: float) -> None:
        self.target, self.noise, self.dim = target, noise, 2 * target.dim

    def value(self, x: Tensor) -> Tensor:
        return self.value_and_grad(x)[0]

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        here, o = x.split(self.target.dim, 1)
        value, slope = self.target.value_and_grad(here)
        away = (here - o) / self.noise**2
        return value - 0.5 * ((here - o) * away).sum(-1), torch.cat([slope - away, torch.zeros_like(o)], 1)


def _polished(target: Target, o: Tensor, noise: float, x: Tensor) -> tuple[Tensor, float]:
    """Newton's method, in rows that have arrived but for rounding; and the nats that the worst could still gain."""
    n, dim = x.shape
    flat = torch.full((n,), noise**-2, dtype=torch.float64)
    if n * dim * dim > _NEWTON:
        std = torch.full((n,), noise, dtype=torch.float64)
        x, _ = proximal(target, x, o, std, torch.zeros(n, dtype=torch.float64), steps=_LONG)
        slope = target.value_and_grad(x)[1] - (x - o) / noise**2
        return x, float(0.5 * noise**2 * (slope**2).sum(-1).max())
    eye = torch.eye(dim, dtype=torch.float64) / noise**2
    gain = torch.zeros(n, dtype=torch.float64)
    for _ in range(3):
        value, slope = target.value_and_grad(x)
        up = slope - (x - o) / noise**2
        values, vectors = torch.linalg.eigh(precision(target, x, flat) + eye)
        values = values.abs().clamp(min=1e-12 * float(values.abs().max()))
        move = torch.einsum("nde,ne,nfe,nf->nd", vectors, 1 / values, vectors, up)
        gain = 0.5 * (move * up).sum(-1)
        tried = target.value(x + move)
        height, other = (v - 0.5 * ((y - o) ** 2).sum(-1) / noise**2 for v, y in ((value, x), (tried, x + move)))
        taken = other >= height - 1e-12 * (1 + height.abs())
        x = torch.where(taken[:, None], x + move, x)
        if float(gain.max()) < 1e-18:
            break
    return x, float(gain.max())


def _better(value: Tensor, x: Tensor, other: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return torch.maximum(value, other), torch.where((other > value)[:, None], y, x)


def _inside(target: Target, x: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """x, and where the density is 0 a draw around it where it is not."""
    start = x
    for attempt in range(20):
        outside = ~torch.isfinite(target.value(start))
        if not bool(outside.any()):
            return start
        wide = noise * 2 ** (attempt // 4)
        start = torch.where(outside[:, None], x + wide * _randn(len(x), target.dim, generator), start)
    _somewhere(target.value(start))
    return start


def _somewhere(value: Tensor) -> None:
    lost = int((~torch.isfinite(value)).sum())
    if lost:
        raise NonFiniteError(
            f"log_prob: expected a density that is not 0 around o, got -inf wherever {lost} of {len(value)} rows "
            "looked. Take more noise, or map the support to all of space with a constraint."
        )


def _points(o: Any) -> Tensor:
    try:
        points = (o.detach() if isinstance(o, Tensor) else torch.as_tensor(np.asarray(o))).to(torch.float64)
    except TypeError as error:
        raise ShapeError(f"o: expected numbers of shape (n, dim), got {type(o).__name__}.") from error
    if points.ndim != 2 or not points.numel():
        raise ShapeError(
            f"o: expected points of shape (n, dim), n and dim >= 1, got {tuple(points.shape)}. Numbers are points of "
            "one dimension: o[:, None]."
        )
    if not bool(torch.isfinite(points).all()):
        raise NonFiniteError(f"o: expected finite points, got NaN or infinity in {_bad_rows(points)} of {len(points)}.")
    return points


def _bad_rows(points: Tensor) -> int:
    return int((~torch.isfinite(points).all(1)).sum())


def _randn(n: int, dim: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, dim, generator=generator, dtype=torch.float64)


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**31, (1,), generator=generator))


def _counted(target: Target, **others: float) -> dict[str, float]:
    return {"calls": float(target.calls), "evaluations": float(target.evaluations), **others}
