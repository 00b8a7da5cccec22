"""Sequential Monte Carlo along q^(1-beta) p^beta, from a reference q to a target p.

The points start as draws of the reference at beta = 0. At each level beta is raised until the weights of the next
density would leave `ess` of the points; the points are resampled by those weights, whose mean is the ratio of the two
constants, and moved until they no longer remember where they were. At beta = 1 they are draws of the target, and the
product of the ratios is its constant.

What moves the points (their scales, charts and step) is learnt from them as they go: from the other half of them, so
that no point is proposed a place because it is there itself.

Cost: levels x (moves x leapfrogs + throws) calls of n points, ten to thirty levels as a rule. It fails where the
reference gives a mode no draws, and where modes part early on the path with the wrong weights and no throw is accepted
any more: then runs disagree.

Sources: Del Moral, Doucet & Jasra 2006; Jasra et al. 2011 (the levels); Buchholz, Chopin & Jacob 2021 (HMC moves).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from caminito._errors import ConfigError, NonFiniteError
from caminito._weights import effective_size, systematic
from caminito.density.draws import Draws, tail_index
from caminito.density.moves import Atlas, Path, Points, from_atlas, from_reference, hamiltonian, transport, tuned
from caminito.density.reference import Reference
from caminito.density.target import Target

__all__ = ["Level", "anneal", "next_beta", "smc"]

_USEFUL = 0.05  # acceptance from which on a throw is worth its call
_LEVELS = 500  # at most; a run that takes more goes nowhere


class Level(NamedTuple):
    """Where the points of a run are."""

    beta: float
    points: Points
    log_ratio: float  # of the constants, since the level before
    parents: Tensor  # (n,), rows of the level before
    acceptance: float  # of the trajectories
    thrown: float  # share of points that were thrown at least once, by the sum of chances
    sweeps: int
    step: float
    memory: float  # correlation, in the coordinates of the charts, that the moves left


def smc(
    target: Target,
    reference: Reference,
    n: int,
    generator: torch.Generator,
    *,
    ess: float = 0.8,
    charts: int | None = None,
    leaps: int = 8,
    sweeps: int = 10,
    memory: float = 0.3,
) -> Draws:
    """n equally weighted points of the target, and its constant.

    Parameters
    ----------
    target : Target
    reference : Reference
        Has to reach wherever the target has mass; too wide costs levels only.
    n : int >= 10
    generator : torch.Generator
    ess : float in (0, 1)
        Share of the points that a level may leave.
    charts : int, optional
        Normals in the mixture whose shapes precondition the moves; those of the reference, or as
        many as the points bear, up to 8, unless given.
    leaps, sweeps : int
        At most so many leapfrog steps in a trajectory, and trajectories in a level.
    memory : float
        A level is left when points correlate less than this with where they began it.

    Returns
    -------
    Draws
        diagnostics: `levels`, and `sweeps` of trajectories in all; `importance_ess`, the share of n that plain
        importance sampling from the reference would be worth, and `tail_index` of its weights (towards 0.7 and beyond:
        the reference is too narrow, or misses mass); `acceptance` of the last trajectories; `thrown`, the chance with
        which a point was thrown at the last level; `ancestors`, the share of the first points that have descendants;
        `memory`, the most that a level left; `calls`, `evaluations`.

    Raises
    ------
    ConfigError
        If n or an option is out of range, or the levels do not come to an end.
    NonFiniteError
        If no draw of the reference lies in the support of the target.
    """
    if not n >= 10:
        raise ConfigError(f"n: expected at least 10 points, got {n}. They have to show the scales of the target.")
    calls, evaluations = target.calls, target.evaluations
    path = Path(target, reference)
    run = anneal(path, n, generator, ess=ess, charts=charts, leaps=leaps, sweeps=sweeps, memory=memory)
    level = next(run)
    first, eve = level.points.log_ratio, torch.arange(len(level.parents))
    ratios, kept, moves = [], [], 0
    for level in run:
        eve = eve[level.parents]
        ratios.append(level.log_ratio)
        kept.append(level.memory)
        moves += level.sweeps
    return Draws(
        x=level.points.x[:n],
        log_evidence=math.fsum(ratios),
        diagnostics={
            "levels": float(len(ratios)),
            "sweeps": float(moves),
            "importance_ess": float(effective_size(first)) / len(first),
            "tail_index": tail_index(first),
            "acceptance": level.acceptance,
            "thrown": level.thrown,
            "ancestors": len(eve.unique()) / len(eve),
            "memory": max(kept),
            "calls": float(target.calls - calls),
            "evaluations": float(target.evaluations - evaluations),
        },
    )


def anneal(
    path: Path,
    n: int,
    generator: torch.Generator,
    *,
    ess: float = 0.8,
    charts: int | None = None,
    leaps: int = 8,
    sweeps: int = 10,
    memory: float = 0.3,
) -> Iterator[Level]:
    """The levels of a run one by one, from beta = 0, where the points are draws of the reference, to 1.

    n is rounded up to an even number: each half is moved with what was learnt from the other.
    """
    for name, value in (("ess", ess), ("memory", memory)):
        if not 0 < value < 1:
            raise ConfigError(f"{name}: expected a number between 0 and 1, got {value!r}.")
    if (charts is not None and charts < 1) or leaps < 1 or sweeps < 1:
        raise ConfigError(f"charts, leaps, sweeps: expected at least 1, got {charts}, {leaps} and {sweeps}.")
    half = (n + 1) // 2
    points = path.start(2 * half, generator)
    if not bool((points.log_p > -torch.inf).any()):
        raise NonFiniteError(
            "log_prob: expected some draws of the reference in the support of the target, got -inf at all of "
            f"{2 * half}. Give a reference that is wider, or nearer to the target."
        )
    beta, everyone = 0.0, torch.arange(2 * half)
    yield Level(0.0, points, 0.0, everyone, 1.0, 1.0, 0, 0.0, 0.0)
    atlas = _first_atlas(path, points, charts, generator)
    mover = _Mover(path, generator, leaps=leaps, sweeps=sweeps, step=path.target.dim**-0.25)
    for _ in range(_LEVELS):
        ahead = next_beta(points.log_ratio, beta, ess)
        log_weights = (ahead - beta) * points.log_ratio
        log_ratio = float(torch.logsumexp(log_weights, 0)) - math.log(2 * half)
        parents = systematic(log_weights, 2 * half, torch.rand((), generator=generator, dtype=torch.float64))
        points, beta = points.rows(parents), ahead
        halves = points.shaped(2, half)
        atlas = atlas.refit(halves.x)
        left = mover.move(halves, beta, atlas.flipped(), memory if beta < 1 else memory / 2)
        points = mover.points.shaped(2 * half)
        atlas = atlas.refit(points.shaped(2, half).x)
        yield Level(
            beta, points, log_ratio, parents, mover.acceptance, mover.thrown, mover.swept, float(mover.step), left
        )
        if beta == 1:
            return
    raise ConfigError(
        f"log_prob: expected a density that {_LEVELS} levels lead to, got to beta = {beta:.3g}. It is improper (add a "
        "prior, or a constraint that bounds the space), or too far from the reference: take a larger scale."
    )


def next_beta(log_ratio: Tensor, beta: float, ess: float) -> float:
    """The largest beta' <= 1 at which weights exp((beta' - beta) log_ratio) of equal points keep `ess` of them.

    Of those inside of the support, where some are outside.
    """
    wanted = ess * float((log_ratio > -torch.inf).sum())

    def enough(ahead: float) -> bool:
        return float(effective_size((ahead - beta) * log_ratio)) >= wanted

    if enough(1.0):
        return 1.0
    low, high = beta, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if enough(middle) else (low, middle)
        if high - low < 1e-3 * (high - beta):
            break
    return high


@dataclass
class _Mover:
    """Sweeps of throws and trajectories, with the step learnt so far."""

    path: Path
    generator: torch.Generator
    leaps: int
    sweeps: int
    step: float
    acceptance: float = 0.0
    thrown: float = 0.0
    swept: int = 0

    def move(self, points: Points, beta: float, atlas: Atlas, memory: float) -> float:
        """Move points (2, half, dim) until they are forgotten; returns the correlation left."""
        betas = torch.full((2,), beta, dtype=torch.float64)
        begun = points
        chance = dict.fromkeys(self._throws(atlas), 1.0)
        left = stay = 1.0
        for sweep in range(1, self.sweeps + 1):
            for name, throw in self._throws(atlas).items():
                if chance[name] >= _USEFUL:
                    points, accepted = throw(self.path, points, betas, self.generator)
                    chance[name] = float(accepted.mean())
                    stay *= 1 - chance[name]
            step = torch.full((2, 1), self.step, dtype=torch.float64)
            spread = 0.7 + 0.6 * torch.rand(points.log_p.shape, generator=self.generator, dtype=torch.float64)
            count = min(self.leaps, max(1, math.ceil(1.5 / self.step)))
            points, accepted = hamiltonian(self.path, points, betas, atlas, step * spread, count, self.generator)
            self.step = float(tuned(step, accepted, gain=1.0 if sweep < 4 else 0.5).mean())
            self.acceptance = float(accepted.mean())
            left = _memory(begun, points, atlas)
            if left < memory and 0.5 < self.acceptance < 0.9:
                break
        self.points, self.thrown, self.swept = points, 1 - stay, sweep
        return left

    def _throws(self, atlas: Atlas) -> dict[str, Callable[..., tuple[Points, Tensor]]]:
        throws: dict[str, Callable[..., tuple[Points, Tensor]]] = {"reference": from_reference}
        throws["atlas"] = lambda path, points, betas, generator: from_atlas(path, points, betas, atlas, generator)
        if atlas.charts > 1:
            throws["chart"] = lambda path, points, betas, generator: transport(path, points, betas, atlas, generator)
        return throws


def _memory(before: Points, after: Points, atlas: Atlas) -> float:
    """Correlation of where points are in the coordinates of their charts with where they were; or of log p / q.

    The larger of the two. A point that changed its chart has forgotten.
    """
    places = []
    for points in (before, after):
        label = atlas.log_parts(points.x).argmax(-1)
        places.append((label, atlas.place(points.x, label)))
    (old, u), (new, v) = places
    same = (old == new)[..., None]
    place = float((u * v * same).sum() / torch.sqrt(u.square().sum() * v.square().sum()).clamp(min=1e-300))
    heights = torch.stack([before.log_ratio.reshape(-1), after.log_ratio.reshape(-1)])
    height = float(torch.corrcoef(heights)[0, 1]) if bool((heights.std(1) > 0).all()) else 0.0
    return max(place, height)


def _first_atlas(path: Path, points: Points, charts: int | None, generator: torch.Generator) -> Atlas:
    own = path.reference.charts() if charts is None else None
    if own is not None:
        share, centre, cov = own
        return Atlas(*(part.expand(2, *part.shape).contiguous() for part in (share, centre, cov)))
    count = charts if charts is not None else max(1, min(8, len(points.x) // (10 * points.x.shape[1])))
    return Atlas.around(points.x.expand(2, *points.x.shape), count, generator)
