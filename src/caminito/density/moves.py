"""Moves that leave a tempered density unchanged, on many points at once.

Between a reference q and a target p lie the densities q^(1-beta) p^beta. A point is moved along them by Hamiltonian
dynamics with a Metropolis test, or thrown: to a fresh draw of the reference, to a draw of a mixture of normals that
was fitted elsewhere (the atlas), or from one of its charts into another by the affine map between them. None of the
throws needs a barrier to be crossed, which is what makes modes exchange.

Where a density has several scales no single preconditioner serves. Here each point draws a chart k of the atlas with
probability r(k | x), moves in the coordinates of that chart, and the test is the one of the joint density
p(x) r(k | x): the moves depend on the place and remain exact, for any atlas that the points themselves did not make.

Points come as (rungs, chains, dim): a rung has its own beta, step and atlas.

Sources: Neal 2011, "MCMC using Hamiltonian dynamics", section 5; Tjelmeland & Hegland 1998 (mode jumping).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from caminito.density.reference import Reference
from caminito.density.target import Target

__all__ = ["Atlas", "Path", "Points", "from_atlas", "from_reference", "hamiltonian", "tempered", "transport", "tuned"]

ACCEPTANCE = 0.7  # wanted of the Metropolis test of a trajectory
_GATHERED = 4_000_000  # entries of roots that are copied, one per point, rather than looped over


class Points(NamedTuple):
    """Points (..., dim) with the log-densities (...) and their gradients (..., dim) of target and reference."""

    x: Tensor
    log_p: Tensor
    slope_p: Tensor
    log_q: Tensor
    slope_q: Tensor

    @property
    def log_ratio(self) -> Tensor:
        """log p - log q."""
        return self.log_p - self.log_q

    def rows(self, index: Tensor | slice) -> Points:
        """The points at `index` of the first axis."""
        return Points(*(part[index] for part in self))

    def shaped(self, *shape: int) -> Points:
        """The same points under other leading axes."""
        return Points(*(part.reshape(*shape, *part.shape[part.ndim - tail :]) for part, tail in zip(self, _TAILS)))

    def where(self, keep: Tensor, others: Points) -> Points:
        """These points where `keep`, the others elsewhere."""
        return Points(
            *(torch.where(keep[..., None] if tail else keep, a, b) for a, b, tail in zip(self, others, _TAILS))
        )


_TAILS = (1, 0, 1, 0, 1)


@dataclass(frozen=True)
class Path:
    """The densities q^(1-beta) p^beta between a reference and a target."""

    target: Target
    reference: Reference

    def at(self, x: Tensor) -> Points:
        """Both log-densities and gradients at points (..., dim): one call of the target."""
        flat = x.reshape(-1, x.shape[-1])
        points = Points(flat, *self.target.value_and_grad(flat), *self.reference.value_and_grad(flat))
        return points.shaped(*x.shape[:-1])

    def start(self, n: int, generator: torch.Generator) -> Points:
        """n draws of the reference."""
        return self.at(self.reference.draw(n, generator))


def tempered(points: Points, beta: Tensor) -> tuple[Tensor, Tensor]:
    """log(q^(1-beta) p^beta) and its gradient, at points (rungs, chains, dim) with beta (rungs,)."""
    b = beta[:, None]
    value = (1 - b) * points.log_q + torch.where(b > 0, b * points.log_p, 0.0)
    return value, (1 - b[..., None]) * points.slope_q + b[..., None] * points.slope_p


class Atlas:
    """For each rung a mixture of normals, its charts.

    Parameters
    ----------
    share : tensor (rungs, charts)
        Adds up to 1 in each rung.
    centre : tensor (rungs, charts, dim)
    cov : tensor (rungs, charts, dim, dim)
    """

    def __init__(self, share: Tensor, centre: Tensor, cov: Tensor) -> None:
        self.share, self.centre, self.cov = share, centre, cov
        self.root = _root(cov)
        eye = torch.eye(cov.shape[-1], dtype=cov.dtype).expand(cov.shape)
        self.inverse = torch.linalg.solve_triangular(self.root, eye, upper=False)
        self.origin = self.inverse @ centre[..., None]
        self.log_det = torch.diagonal(self.root, dim1=-2, dim2=-1).log().sum(-1)

    @property
    def charts(self) -> int:
        """How many, in each rung."""
        return self.centre.shape[1]

    @classmethod
    def around(cls, x: Tensor, charts: int, generator: torch.Generator, *, rounds: int = 10) -> Atlas:
        """Fit to points (rungs, n, dim) by `rounds` of expectation-maximisation from points chosen by chance."""
        rungs, n, dim = x.shape
        middle = x.mean(1, keepdim=True)
        apart = x - middle
        cov = apart.mT @ apart / n
        ridge = 1e-12 + 1e-9 * torch.diagonal(cov, dim1=-2, dim2=-1).mean(-1)
        cov = cov + ridge[:, None, None] * torch.eye(dim, dtype=x.dtype)
        charts = min(charts, n)
        if charts == 1:
            return cls(torch.ones(rungs, 1, dtype=x.dtype), middle, cov[:, None])
        chosen = torch.rand(rungs, n, generator=generator).argsort(1)[:, :charts]
        centre = torch.gather(x, 1, chosen[..., None].expand(-1, -1, dim))
        share = torch.full((rungs, charts), 1 / charts, dtype=x.dtype)
        atlas = cls(share, centre, cov[:, None].expand(-1, charts, -1, -1).contiguous())
        for _ in range(rounds):
            atlas = atlas.refit(x)
        return atlas

    def refit(self, x: Tensor) -> Atlas:
        """One round of expectation-maximisation on points (rungs, n, dim).

        Each chart counts for `dim` points of its own old shape, so one that few points use does not collapse.
        """
        n, dim = x.shape[1:]
        chance = self.log_parts(x).softmax(-1).mT  # (rungs, charts, n)
        count = chance.sum(-1)
        centre = (chance @ x + self.centre) / (count + 1)[..., None]
        spread = torch.stack(
            [_spread(x, weight, middle) for weight, middle in zip(chance.unbind(1), centre.unbind(1))], 1
        )
        cov = (spread + dim * self.cov) / (count + dim)[..., None, None]
        return Atlas((count + 1) / (n + self.charts), centre, cov)

    def flipped(self) -> Atlas:
        """The rungs in reverse order: of two halves, each gets what was learnt from the other."""
        return Atlas(self.share.flip(0), self.centre.flip(0), self.cov.flip(0))

    def log_parts(self, x: Tensor) -> Tensor:
        """log of share times normal density, (rungs, n, charts), of points (rungs, n, dim)."""
        at_once = max(1, _GATHERED // max(1, x.numel()))  # charts, by memory
        blocks = zip(self.inverse.split(at_once, 1), self.origin.split(at_once, 1))
        norm = torch.cat([(inverse @ x[:, None].mT - origin).square().sum(-2) for inverse, origin in blocks], 1)
        constant = self.share.log() - self.log_det - x.shape[-1] / 2 * math.log(2 * math.pi)
        return (constant[..., None] - norm / 2).mT

    def labels(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A chart for each point (rungs, n), drawn by r(k | x), and log r (rungs, n, charts)."""
        if self.charts == 1:
            return torch.zeros(x.shape[:2], dtype=torch.long), torch.zeros(*x.shape[:2], 1, dtype=x.dtype)
        log_chance = self.log_parts(x).log_softmax(-1)
        flat = log_chance.exp().reshape(-1, self.charts)
        return torch.multinomial(flat, 1, generator=generator).reshape(x.shape[:2]), log_chance

    def place(self, x: Tensor, label: Tensor) -> Tensor:
        """Points (rungs, n, dim) in the coordinates of their charts."""
        return _times(self.inverse, label, x - _row(self.centre, label))

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """n points of each rung's mixture, (rungs, n, dim)."""
        label = torch.multinomial(self.share, n, replacement=True, generator=generator)
        noise = torch.randn(*label.shape, self.centre.shape[-1], generator=generator, dtype=torch.float64)
        return _row(self.centre, label) + _times(self.root, label, noise)


def hamiltonian(
    path: Path,
    points: Points,
    beta: Tensor,
    atlas: Atlas,
    step: Tensor,
    leaps: int,
    generator: torch.Generator,
) -> tuple[Points, Tensor]:
    """One trajectory of `leaps` leapfrog steps for each point, in the coordinates of a chart, accepted or not.

    Parameters
    ----------
    points : (rungs, chains, dim)
    beta : tensor (rungs,)
    step : tensor (rungs, 1) or (rungs, chains)
        In units of the chart; with one leap this is MALA with step^2 / 2 before the gradient.

    Returns
    -------
    points : Points
    acceptance : tensor (rungs, chains)
        The probability with which each was accepted.

    Notes
    -----
    `leaps` calls. Source: Neal 2011, section 5.2. A trajectory whose energy is off by 10^4 is stopped and refused.
    """
    label, log_chance = atlas.labels(points.x, generator)
    momentum = torch.randn(points.x.shape, generator=generator, dtype=torch.float64)
    value, slope = tempered(points, beta)
    energy = value - momentum.square().sum(-1) / 2
    here, now, h = points.x, points, step[..., None]
    lost = torch.zeros(value.shape, dtype=torch.bool)
    force = _times(atlas.root, label, slope, transpose=True)
    momentum = momentum + h / 2 * force
    for _ in range(leaps):
        ahead = here + h * _times(atlas.root, label, momentum)
        lost = lost | ~torch.isfinite(ahead).all(-1)
        here = torch.where(lost[..., None], points.x, ahead)
        now = path.at(here)
        level, slope = tempered(now, beta)
        force = _times(atlas.root, label, slope, transpose=True)
        momentum = momentum + h * force
        lost = lost | ~(level - (momentum - h / 2 * force).square().sum(-1) / 2 > energy - 1e4)
    momentum = momentum - h / 2 * force
    level = tempered(now, beta)[0] - momentum.square().sum(-1) / 2
    if atlas.charts > 1:
        level = level + _entry(atlas.log_parts(now.x).log_softmax(-1), label)
        energy = energy + _entry(log_chance, label)
    log_ratio = torch.where(lost, -torch.inf, level - energy)
    return _tested(now, points, log_ratio, generator)


def from_reference(path: Path, points: Points, beta: Tensor, generator: torch.Generator) -> tuple[Points, Tensor]:
    """Throw each point to a draw of the reference; one call. At beta = 0 all are accepted.

    The Gaussian or mixture cancels: the ratio is (p / q)^beta at the new point over that at the old one.
    """
    x = path.reference.draw(points.log_p.numel(), generator).reshape(points.x.shape)
    new, b = path.at(x), beta[:, None]
    log_ratio = torch.where(b > 0, b * (new.log_ratio - points.log_ratio), 0.0)
    return _tested(new, points, log_ratio, generator)


def from_atlas(
    path: Path, points: Points, beta: Tensor, atlas: Atlas, generator: torch.Generator
) -> tuple[Points, Tensor]:
    """Throw each point to a draw of its rung's mixture; one call."""
    new = path.at(atlas.draw(points.x.shape[1], generator))
    ahead, behind = (tempered(p, beta)[0] - torch.logsumexp(atlas.log_parts(p.x), -1) for p in (new, points))
    return _tested(new, points, ahead - behind, generator)


def transport(
    path: Path, points: Points, beta: Tensor, atlas: Atlas, generator: torch.Generator
) -> tuple[Points, Tensor]:
    """Throw each point from its chart i to the same place of another, x' = m_j + L_j L_i^-1 (x - m_i); one call.

    Accepted with p(x') r(j | x') |L_j| / (p(x) r(i | x) |L_i|). The distance from the centre stays, so the chance does
    not fall with the dimension where both modes have the same shape. Source: Tjelmeland & Hegland 1998.
    """
    label, log_chance = atlas.labels(points.x, generator)
    shift = torch.randint(1, atlas.charts, label.shape, generator=generator)
    other = (label + shift) % atlas.charts
    new = path.at(_row(atlas.centre, other) + _times(atlas.root, other, atlas.place(points.x, label)))
    after = atlas.log_parts(new.x).log_softmax(-1)
    ahead = tempered(new, beta)[0] + _entry(after, other) + torch.gather(atlas.log_det, 1, other)
    behind = tempered(points, beta)[0] + _entry(log_chance, label) + torch.gather(atlas.log_det, 1, label)
    return _tested(new, points, ahead - behind, generator)


def tuned(step: Tensor, acceptance: Tensor, gain: float = 1.0) -> Tensor:
    """The step (rungs, 1) after seeing the acceptance (rungs, chains) of a trajectory."""
    return (step * torch.exp(gain * (acceptance.mean(1, keepdim=True) - ACCEPTANCE))).clamp(1e-4, 2.0)


def _tested(new: Points, old: Points, log_ratio: Tensor, generator: torch.Generator) -> tuple[Points, Tensor]:
    log_ratio = torch.where(torch.isnan(log_ratio), -torch.inf, log_ratio)
    acceptance = log_ratio.clamp(max=0).exp()
    taken = torch.rand(acceptance.shape, generator=generator, dtype=torch.float64) < acceptance
    return new.where(taken, old), acceptance


def _entry(parts: Tensor, label: Tensor) -> Tensor:
    """Of (rungs, n, charts) the entry at the label of each point (rungs, n)."""
    return torch.gather(parts, 2, label[..., None])[..., 0]


def _row(parts: Tensor, label: Tensor) -> Tensor:
    """Of (rungs, charts, dim) the row at the label of each point (rungs, n): (rungs, n, dim)."""
    return torch.gather(parts, 1, label[..., None].expand(-1, -1, parts.shape[-1]))


def _spread(x: Tensor, weight: Tensor, centre: Tensor) -> Tensor:
    """Sum of weight (x - centre)(x - centre)^T over points (rungs, n, dim)."""
    apart = x - centre[:, None]
    return (weight[..., None] * apart).mT @ apart


def _times(roots: Tensor, label: Tensor, x: Tensor, *, transpose: bool = False) -> Tensor:
    """roots (rungs, charts, dim, dim) times points (rungs, n, dim), each by the chart of its label (rungs, n)."""
    if transpose:
        roots = roots.mT
    rungs, charts, dim = roots.shape[:3]
    if charts == 1:
        return x @ roots[:, 0].mT
    group = (label + charts * torch.arange(rungs)[:, None]).reshape(-1)
    flat, of_all = x.reshape(-1, dim), roots.reshape(-1, dim, dim)
    if len(flat) * dim * dim <= _GATHERED:
        return (of_all[group] @ flat[..., None])[..., 0].reshape(x.shape)
    order = group.argsort()
    sizes = torch.bincount(group, minlength=rungs * charts).tolist()
    parts = [part @ root.mT for part, root in zip(flat[order].split(sizes), of_all) if len(part)]
    out = torch.empty_like(flat)
    out[order] = torch.cat(parts)
    return out.reshape(x.shape)


def _root(cov: Tensor) -> Tensor:
    """Lower Cholesky factors, with the diagonal raised where rounding made a matrix indefinite."""
    root, failed = torch.linalg.cholesky_ex(cov)
    lift = 1e-10
    while bool(failed.any()):
        size = torch.diagonal(cov, dim1=-2, dim2=-1).mean(-1)
        root, failed = torch.linalg.cholesky_ex(
            cov + (lift * size)[..., None, None] * torch.eye(cov.shape[-1], dtype=cov.dtype)
        )
        lift *= 100
    return root
