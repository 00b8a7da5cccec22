"""Non-reversible parallel tempering between a reference q and a target p.

R rungs hold points of q^(1-beta_r) p^beta_r, beta_0 = 0 < ... < beta_(R-1) = 1. In turn every point is moved at its
rung and neighbours are exchanged, the pairs (0, 1), (2, 3), ... and the pairs (1, 2), (3, 4), ... by turns, without
chance: a point that starts upwards goes on upwards until it is refused, where random pairs would let it diffuse. The
lowest rung is drawn afresh each time, so what has come from there to the top owes nothing to where the chain was
before: a mode's weight is right as soon as there were many such arrivals.

The rates of refusal r_i add up to the barrier Lambda between q and p, which does not depend on the number of rungs; the
betas are spaced so that all r_i are alike, and R is about 2 Lambda + 1.

Many columns of R rungs run side by side in one batch; moves, betas, steps and charts are learnt in the warm-up rounds
and stand still in the last one, whose draws are therefore those of an exact Markov chain. Ratios of constants between
rungs come from both sides, E_r[(p/q)^(d/2)] / E_(r+1)[(p/q)^(-d/2)], d = beta_(r+1) - beta_r; their product is the
constant of p.

Cost: about 2 sweeps x (1 + leapfrogs) calls of columns x R points, a few times what SMC needs; in exchange errors fall
as the run gets longer, and funnels and shells are walked through again and again. It fails where the reference gives a
mode no draws, and is slow where Lambda is large: an arrival takes about 2 (1 + Lambda) sweeps at best.

Sources: Syed, Bouchard-Cote, Deligiannidis & Doucet 2022, "Non-reversible parallel tempering", sections 3-5;
Bennett 1976 (ratios from both sides).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from caminito._errors import ConfigError
from caminito.density.draws import Draws
from caminito.density.moves import (
    Atlas,
    Path,
    Points,
    from_atlas,
    from_reference,
    hamiltonian,
    transport,
    tuned,
)
from caminito.density.reference import Reference
from caminito.density.smc import anneal
from caminito.density.target import Target

__all__ = ["parallel_tempering", "respaced", "swapped"]

_STARTED = 1000  # points of the run of SMC that the rungs start from
_FITTED = 2000  # points of a rung that its charts are fitted to


def parallel_tempering(
    target: Target,
    reference: Reference,
    n: int,
    generator: torch.Generator,
    *,
    columns: int = 64,
    sweeps: int = 256,
    rungs: int | None = None,
    charts: int | None = None,
    leaps: int = 8,
    rounds: int = 3,
) -> Draws:
    """n points of the target from the last round, and its constant.

    Parameters
    ----------
    target : Target
    reference : Reference
        Has to reach wherever the target has mass.
    n : int
    generator : torch.Generator
    columns : int >= 4
        Ladders side by side.
    sweeps : int
        Of the last round, raised to 2 n / columns where that is more; the rounds before have 1/2, 1/4, ... as many.
    rungs : int >= 3, optional
        2 Lambda + 2, by the barrier that the first round measures, unless given.
    charts : int, optional
        Normals in the mixture that preconditions the moves of a rung; as many as the points bear, up to 8, unless
        given.
    leaps : int
        At most so many leapfrog steps in a trajectory.
    rounds : int >= 1
        Of warm-up.

    Returns
    -------
    Draws
        diagnostics: `rungs`; `barrier`, Lambda; `refused`, the largest rate between two neighbours; `arrivals`,
        points that came from the reference to the target in the last round: a bound on how many draws are
        independent; `acceptance` of trajectories at the target; `log_evidence_se`, by leaving out columns;
        `calls`, `evaluations`.

    Raises
    ------
    ConfigError
        If an option is out of range.
    """
    if n < 1 or columns < 4 or sweeps < 1 or rounds < 1 or leaps < 1 or (rungs is not None and rungs < 3):
        raise ConfigError(
            "parallel_tempering: expected n, sweeps, rounds, leaps >= 1, columns >= 4 and rungs >= 3, got "
            f"n={n}, sweeps={sweeps}, rounds={rounds}, leaps={leaps}, columns={columns}, rungs={rungs}."
        )
    calls, evaluations = target.calls, target.evaluations
    path = Path(target, reference)
    ladder = _first_ladder(path, columns, charts, generator)
    length = max(sweeps, math.ceil(2 * n / columns))
    for back in range(rounds, 0, -1):
        seen = _walk(path, ladder, max(8, length >> back), leaps, generator, learn=True)
        ladder = _next_ladder(seen, rungs, charts, generator)
    seen = _walk(path, ladder, length, leaps, generator, learn=False)
    top = torch.stack([x[-1] for x in seen.x]).reshape(-1, target.dim)
    chosen = torch.linspace(0, len(top) - 1, n).round().long()
    log_evidence, se = _evidence(seen.ladder.betas, seen.log_ratio)
    return Draws(
        x=top[chosen],
        log_evidence=log_evidence,
        diagnostics={
            "rungs": float(len(seen.ladder.betas)),
            "barrier": float(seen.refused.sum()),
            "refused": float(seen.refused.max()),
            "arrivals": float(seen.arrivals),
            "acceptance": seen.acceptance,
            "log_evidence_se": se,
            "calls": float(target.calls - calls),
            "evaluations": float(target.evaluations - evaluations),
        },
    )


@dataclass(frozen=True)
class _Ladder:
    betas: Tensor  # (rungs,)
    points: Points  # (rungs, columns, dim)
    atlas: Atlas  # of all rungs but the lowest
    step: Tensor  # (rungs - 1, 1)


@dataclass(frozen=True)
class _Seen:
    """What a round leaves: where it ended, and what was recorded."""

    ladder: _Ladder
    x: list[Tensor]  # of each sweep, (rungs, columns, dim)
    log_ratio: Tensor  # (sweeps, rungs, columns)
    refused: Tensor  # (rungs - 1,)
    arrivals: int
    acceptance: float


def _first_ladder(path: Path, columns: int, charts: int | None, generator: torch.Generator) -> _Ladder:
    """Rungs at the levels of a quick run of SMC, with its points."""
    levels = list(anneal(path, max(_STARTED, columns), generator, ess=0.6, charts=charts, sweeps=4))
    betas = torch.tensor([level.beta for level in levels], dtype=torch.float64)
    x = torch.stack([level.points.x for level in levels])
    some = torch.randperm(x.shape[1], generator=generator)[:columns]
    kept = [level.points.rows(some) for level in levels]
    points = Points(*(torch.stack(parts) for parts in zip(*kept)))
    atlas = _fitted(x[1:], charts, generator)
    step = torch.tensor([[level.step] for level in levels[1:]], dtype=torch.float64)
    return _Ladder(betas, points, atlas, step)


def _fitted(x: Tensor, charts: int | None, generator: torch.Generator) -> Atlas:
    count = charts if charts is not None else min(8, max(1, x.shape[1] // (10 * x.shape[2])))
    return Atlas.around(x, count, generator)


def _walk(path: Path, ladder: _Ladder, sweeps: int, leaps: int, generator: torch.Generator, *, learn: bool) -> _Seen:
    betas, points, atlas, step = ladder.betas, ladder.points, ladder.atlas, ladder.step
    upper = slice(1, None)
    count = min(leaps, max(1, math.ceil(1.5 / float(step.min()))))
    upwards = torch.zeros(points.log_p.shape, dtype=torch.bool)
    xs, ratios = [], []
    refused, accepted_top, arrivals = torch.zeros(len(betas) - 1, dtype=torch.float64), 0.0, 0
    for sweep in range(sweeps):
        points = _throw(path, points, betas, atlas, sweep, generator)
        spread = torch.exp(-torch.randn(points.log_p[upper].shape, generator=generator, dtype=torch.float64).abs())
        moved, accepted = hamiltonian(
            path, points.rows(upper), betas[upper], atlas, 1.5 * step * spread, 1 + sweep % count, generator
        )
        points = Points(*(torch.cat([low[:1], high]) for low, high in zip(points, moved)))
        if learn:
            step = tuned(step, accepted, gain=1.0 if sweep < sweeps // 4 else 0.2)
        accepted_top += float(accepted[-1].mean()) / sweeps
        upwards[0] = True
        points, order, chance = swapped(points, betas, sweep % 2, generator)
        upwards = torch.gather(upwards, 0, order)
        arrivals += int(upwards[-1].sum())
        upwards[-1] = False
        refused += (1 - chance.mean(1)) / sweeps
        xs.append(points.x)
        ratios.append(points.log_ratio)
    return _Seen(_Ladder(betas, points, atlas, step), xs, torch.stack(ratios), refused, arrivals, accepted_top)


def _throw(path: Path, points: Points, betas: Tensor, atlas: Atlas, sweep: int, generator: torch.Generator) -> Points:
    """The lowest rung afresh from the reference; the others from it, or by their charts, in turn."""
    kinds = 3 if atlas.charts > 1 else 2
    if sweep % kinds == 0:
        return from_reference(path, points, betas, generator)[0]
    low = from_reference(path, points.rows(slice(0, 1)), betas[:1], generator)[0]
    throw = from_atlas if sweep % kinds == 1 else transport
    high = throw(path, points.rows(slice(1, None)), betas[1:], atlas, generator)[0]
    return Points(*(torch.cat(parts) for parts in zip(low, high)))


def swapped(points: Points, betas: Tensor, first: int, generator: torch.Generator) -> tuple[Points, Tensor, Tensor]:
    """Exchange neighbours of points (rungs, columns, dim), the pairs that begin at rung `first`, first + 2, ...

    Returns
    -------
    points : Points
    order : tensor (rungs, columns)
        The rung from which each came.
    chance : tensor (rungs - 1, columns)
        min(1, exp((beta_(r+1) - beta_r) (l_r - l_(r+1)))), l = log p / q, of every pair of neighbours.
    """
    ratio = points.log_ratio
    chance = ((betas[1:] - betas[:-1])[:, None] * (ratio[:-1] - ratio[1:])).clamp(max=0).exp()
    taken = torch.rand(chance.shape, generator=generator, dtype=torch.float64) < chance
    taken[1 - first :: 2] = False
    order = torch.arange(len(betas))[:, None].repeat(1, ratio.shape[1])
    order[:-1] += taken.long()
    order[1:] -= taken.long()
    moved = Points(
        *(torch.gather(part, 0, order[..., None].expand_as(part) if part.ndim == 3 else order) for part in points)
    )
    return moved, order, chance


def respaced(betas: Tensor, refused: Tensor, rungs: int) -> tuple[Tensor, Tensor]:
    """Betas (rungs,) between which refusal is alike, and for each the nearest of the old rungs."""
    far = torch.cat([torch.zeros(1, dtype=torch.float64), refused.clamp(min=1e-3).cumsum(0)])
    wanted = torch.linspace(0, 1, rungs, dtype=torch.float64) * far[-1]
    after = torch.searchsorted(far, wanted).clamp(1, len(far) - 1)
    share = (wanted - far[after - 1]) / (far[after] - far[after - 1])
    new = betas[after - 1] + share * (betas[after] - betas[after - 1])
    new[0], new[-1] = 0.0, 1.0
    return new, torch.where(share < 0.5, after - 1, after)


def _next_ladder(seen: _Seen, rungs: int | None, charts: int | None, generator: torch.Generator) -> _Ladder:
    count = rungs if rungs is not None else max(3, math.ceil(2 * float(seen.refused.sum())) + 2)
    betas, nearest = respaced(seen.ladder.betas, seen.refused, count)
    own = nearest.clamp(min=1)
    every = max(1, len(seen.x) * seen.x[0].shape[1] // _FITTED)
    x = torch.cat(seen.x[::every], 1)
    points = seen.ladder.points.rows(nearest)
    return replace(
        seen.ladder,
        betas=betas,
        points=points,
        atlas=_fitted(x[own[1:]], charts, generator),
        step=seen.ladder.step[own[1:] - 1],
    )


def _evidence(betas: Tensor, log_ratio: Tensor) -> tuple[float, float]:
    """log of the product of the ratios of constants, from (sweeps, rungs, columns), and its error by the jackknife."""
    columns = log_ratio.shape[2]
    half = (betas[1:] - betas[:-1])[:, None, None] / 2
    ratio = log_ratio.permute(1, 2, 0)
    up = torch.where(half > 0, half * ratio[:-1], 0.0).logsumexp(-1)  # (rungs - 1, columns)
    down = (-half * ratio[1:]).logsumexp(-1)
    groups = torch.arange(columns) * min(columns, 16) // columns

    def total(keep: Tensor) -> float:
        return float((up[:, keep].logsumexp(1) - down[:, keep].logsumexp(1)).sum())

    count = int(groups[-1]) + 1
    without = torch.tensor([total(groups != g) for g in range(count)], dtype=torch.float64)
    return total(groups >= 0), math.sqrt((count - 1) * float(without.var(correction=0)))
