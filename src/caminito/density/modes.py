"""Where a density is high: the maxima that starts at all scales lead to, what each weighs, and what may be missing.

A point is moved by noise and taken back up by what the noise left unsaid,

    o = x + std eps,      x <- argmax log p(x) - |x - o|^2 / (2 std^2),

with std falling from the scale of the start to that of the narrowest mode seen: early steps jump between basins, late
ones settle in one. Starts are drawn from N(0, s^2 I) with s = 1, 2, 4, ..., four scales at a time, until the last two
scales bring nothing new; nobody says what the scale is. Ends are polished by L-BFGS and Newton's method, and merged
where the local metric, Delta' H Delta / dim < 1 with H = -Hessian of log p, and no valley on the straight line say that
they are one. To second order a mode then holds the mass

    log Z_k = log p(m_k) + (dim / 2) log 2 pi - (1/2) log det H_k.

Of the starts of one scale, the share whose mode was met only once estimates the mass of basins never met.

Sources: Rockafellar 1976 (proximal points); Good 1953, "The population frequencies of species".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from caminito._errors import ConfigError
from caminito._random import seed_from
from caminito.density.climb import Climbed, ascend, newton, proximal
from caminito.density.target import LogProb, Target

__all__ = ["Modes", "find_modes", "search"]

_TOGETHER = 4  # scales that share their calls
_LAST = 19  # doublings after which a density that still grows is taken to be improper
_SAME = 1e-4  # Delta' H Delta: one point, found twice
_HOME = 0.25  # Delta' H Delta: so near to a mode that the climb can end
_VALLEY = 1.0  # nats below the lower end of a straight line: two modes
_FLAT = 1e-7  # least over largest eigenvalue of H: a ridge, not a peak
_AT_ONCE = 64  # candidates that Newton's method takes at a time
_FEW = 8  # of those that arrived nowhere, where none did
_MOST, _NUMBERS = 1024, 2**26  # modes kept, and numbers in all their Hessians
_FLOOR = 1 / 30  # least noise, of the scale of the starts, before a mode is known


@dataclass(frozen=True)
class Modes:
    """Maxima of a density, the heaviest first.

    Attributes
    ----------
    x : tensor (k, dim)
    log_prob : tensor (k,)
    hessian : tensor (k, dim, dim)
        Of -log p, so positive definite at a peak; its inverse is the local covariance.
    log_evidence : tensor (k,)
        Laplace's estimate of log of the mass of each mode; nan where it is a ridge.
    hits : tensor (k,), int64
        How many starts ended in it.
    first_scale : tensor (k,)
        Standard deviation of the first starts that met it.
    ridge : tensor (k,), bool
        log p is flat along some direction: the mode is one point of a ridge, shell or funnel.
    missing : float
        Good and Turing's estimate of the mass of basins that no start ended in.
    scale : float
        Largest standard deviation of starts.
    calls, evaluations : int
        Batches, and points, that log_prob was asked for.
    """

    x: Tensor
    log_prob: Tensor
    hessian: Tensor
    log_evidence: Tensor
    hits: Tensor
    first_scale: Tensor
    ridge: Tensor
    missing: float
    scale: float
    calls: int
    evaluations: int

    def __len__(self) -> int:
        return len(self.x)

    @property
    def weights(self) -> Tensor:
        """Share of each mode in the whole mass by Laplace's estimate, shape (k,); 0 for a ridge."""
        return torch.softmax(torch.nan_to_num(self.log_evidence, nan=-1e300), 0) * ~self.ridge

    def __repr__(self) -> str:
        ridges = f", {int(self.ridge.sum())} of them ridges" if bool(self.ridge.any()) else ""
        return f"Modes({len(self)} in {self.x.shape[1]} dimensions{ridges}, missing={self.missing:.3g})"


def find_modes(
    log_prob: LogProb,
    dim: int,
    *,
    n_starts: int = 256,
    scale: float | Literal["auto"] = "auto",
    n_levels: int = 12,
    inner: int = 4,
    gradient: LogProb | None = None,
    random_state: int | np.random.RandomState | np.random.Generator | None = None,
) -> Modes:
    """Maxima of a density, from starts at every scale.

    Parameters
    ----------
    log_prob : (n, dim) -> (n,)
        Up to a constant. In torch, or in numpy with `gradient`.
    dim : int
    n_starts : int
        Starts for each scale. More modes than this need more.
    scale : float or "auto"
        Standard deviation of the starts around 0. "auto" doubles it from 1 until two scales bring no new mode.
    n_levels : int
        Levels of noise, from the scale of the starts down to the narrowest mode.
    inner : int
        Steps of each proximal problem.
    gradient : (n, dim) -> (n, dim), optional
        Of log_prob.
    random_state : int, numpy generator or None

    Returns
    -------
    Modes

    Raises
    ------
    ConfigError
        If log_prob is constant, or improper: without bound, or with mass at every scale.
    ShapeError, NonFiniteError
        If log_prob gives something else than a number for each point.

    Examples
    --------
    >>> import torch
    >>> def log_prob(x):
    ...     return torch.logaddexp(-((x - 3) ** 2).sum(-1), -((x + 3) ** 2).sum(-1))
    >>> modes = find_modes(log_prob, 2, random_state=0)
    >>> modes.x[modes.x[:, 0].argsort()].round(decimals=3)
    tensor([[-3., -3.],
            [ 3.,  3.]], dtype=torch.float64)
    """
    generator = torch.Generator().manual_seed(seed_from(random_state))
    target = Target(log_prob, dim, gradient=gradient)
    return search(target, generator, n_starts=n_starts, scale=scale, n_levels=n_levels, inner=inner)


def search(
    target: Target,
    generator: torch.Generator,
    *,
    n_starts: int = 256,
    scale: float | Literal["auto"] = "auto",
    n_levels: int = 12,
    inner: int = 4,
) -> Modes:
    """`find_modes` of a target, with chance from a generator."""
    for name, count in (("n_starts", n_starts), ("n_levels", n_levels), ("inner", inner)):
        if not (isinstance(count, int | np.integer) and count >= 1):
            raise ConfigError(f"{name}: expected a whole number >= 1, got {count!r}.")
    if scale != "auto" and not (isinstance(scale, int | float) and 0 < scale < math.inf):
        raise ConfigError(f'scale: expected a standard deviation > 0 or "auto", got {scale!r}.')
    before = target.calls, target.evaluations
    catalogue = _Catalogue(target)
    explore = _Explorer(target, generator, catalogue, n_starts, n_levels, inner)
    _refuse_a_constant(explore)
    if scale != "auto":
        explore([float(scale)])
        last = float(scale)
    else:
        last = _over_all_scales(explore, catalogue)
    if not len(catalogue):
        raise ConfigError(
            f"log_prob: expected a density that is not 0 everywhere, got -inf at all starts up to scale {last:g}. "
            "Move the density so that its mass is near the origin, or pass a constraint."
        )
    catalogue.check_ridges(last)
    return catalogue.table(last, target.calls - before[0], target.evaluations - before[1])


def _over_all_scales(explore: _Explorer, catalogue: _Catalogue) -> float:
    """Doubles the scale until nothing new comes; the last scale."""
    done, best = 0, -math.inf
    while True:
        scales = [2.0**j for j in range(done, done + _TOGETHER)]
        news = explore(scales)
        done += _TOGETHER
        climbing = explore.climbing and catalogue.best > best + 1
        best = max(best, catalogue.best)
        if len(catalogue) and bool(catalogue.ridge.all()) and not climbing:
            return scales[-1]
        if done > _LAST:
            if not len(catalogue) and explore.nowhere:
                return scales[-1]
            raise ConfigError(_IMPROPER.format(f"at scale {scales[-1]:g} there is still more to find than below it"))
        if climbing or not len(catalogue) or not (explore.falling or explore.mass < catalogue.mass + 1):
            continue
        if any(news[-2:]) or catalogue.extent > scales[-1]:
            continue
        if catalogue.narrowest < _FLOOR / 2:
            _into_the_small(explore, catalogue)
        return scales[-1]


def _refuse_a_constant(explore: _Explorer) -> None:
    spread = torch.ones(64, dtype=torch.float64)
    for outer in (0, _LAST):  # far out only if there is cause
        x = (spread * 2 ** torch.linspace(0, outer, 64, dtype=torch.float64))[:, None] * explore.noise(64)
        value = explore.target.value(x)
        if float(value.min()) < float(value.max()) or float(value.max()) == -math.inf:
            return
    raise ConfigError(
        f"log_prob: expected a density, got a constant: {float(value[0]) + 0.0:g} at all points up to {2.0**_LAST:g} "
        "from the origin. Bound the space by a constraint, or add a prior."
    )


def _into_the_small(explore: _Explorer, catalogue: _Catalogue) -> None:
    """Scales below 1, around what was found, where the modes are much narrower than the starts."""
    scale = 0.5
    while scale > catalogue.narrowest:
        explore([scale / 4**i for i in range(_TOGETHER)], around=True)
        scale /= 4.0**_TOGETHER


_IMPROPER = (
    "log_prob: expected a density with finite mass, got an improper one: {}. Add a prior, or a constraint that bounds "
    "the space."
)


@dataclass
class _Explorer:
    """Starts at given scales, their descent, and what of it is new."""

    target: Target
    generator: torch.Generator
    catalogue: _Catalogue
    n_starts: int
    n_levels: int
    inner: int
    climbing: bool = False  # some ends were still going up, far out
    falling: bool = False  # the mass within the last scale is far inside of it
    mass: float = math.inf  # its log, by the starts
    nowhere: bool = True  # no start was in the support
    holes: bool = False  # some were not

    def floor(self, scale: float) -> float:
        """Least noise for starts of this scale."""
        return min(scale * _FLOOR, self.catalogue.narrowest / 2)

    def noise(self, n: int) -> Tensor:
        return torch.randn(n, self.target.dim, generator=self.generator, dtype=torch.float64)

    def __call__(self, scales: list[float], *, around: bool = False) -> list[bool]:
        """Whether each scale brought a mode that is new."""
        which = torch.arange(len(scales)).repeat_interleave(self.n_starts)
        spread = torch.tensor(scales, dtype=torch.float64)[which]
        x = spread[:, None] * self.noise(len(spread))
        if around:
            pick = torch.randint(len(self.catalogue), (len(x),), generator=self.generator)
            x = x + self.catalogue.x[pick]
        value, slope = self.target.value_and_grad(x)
        if not around:
            outer = which == len(scales) - 1
            self._tail(x[outer], value[outer], slope[outer], scales[-1])
        inside = torch.isfinite(value)
        x, spread, which = x[inside], spread[inside], which[inside]
        self.nowhere &= not len(x)
        self.holes |= not bool(inside.all())
        if not len(x):
            return [False] * len(scales)
        curvature = torch.zeros(len(x), dtype=torch.float64)
        ends = torch.tensor([self.floor(s) for s in spread.tolist()], dtype=torch.float64)
        for level in range(self.n_levels):
            std = spread * (ends / spread) ** (level / max(self.n_levels - 1, 1))
            start = centre = x + std[:, None] * self.noise(len(x))
            if self.holes:
                start = torch.where(torch.isfinite(self.target.value(centre))[:, None], centre, x)
            x, curvature = proximal(self.target, start, centre, std, curvature, steps=self.inner)
        return self._settle(x, curvature, spread, which, scales)

    def _tail(self, x: Tensor, value: Tensor, slope: Tensor, scale: float) -> None:
        """Is most of the mass within this scale far inside of it?

        By parts, E[x . grad log p] = -dim + E|x|^2 / s^2 under p(x) N(x; 0, s^2 I): with all mass inside it is -dim.
        """
        if not bool(torch.isfinite(value).any()):
            self.falling = True
            return
        weight, dim = torch.softmax(value, 0), self.target.dim
        self.falling = float((weight * (x * slope).sum(-1)).sum()) < 0.1 - dim
        self.mass = float(value.logsumexp(0)) - math.log(len(value)) + dim * math.log(scale * math.sqrt(2 * math.pi))

    def _settle(self, x: Tensor, curvature: Tensor, spread: Tensor, which: Tensor, scales: list[float]) -> list[bool]:
        """Polish, tell known from new, and count. A few rows go ahead, so that the others know where to stop."""
        catalogue = self.catalogue
        label = torch.full((len(x),), -1)
        news = [False] * len(scales)
        ahead = torch.zeros(len(x), dtype=torch.bool)
        if not len(catalogue):
            ahead[:: max(1, len(x) // _AT_ONCE)] = True
        self.climbing = False
        for rows in (torch.nonzero(ahead)[:, 0], torch.nonzero(~ahead)[:, 0]):
            if not len(rows):
                continue
            reach = 2 * spread[rows] * self.target.dim**0.5
            known = (lambda *at: catalogue.label(*at) >= 0) if len(catalogue) else None
            ends = ascend(self.target, x[rows], curvature[rows], reach=reach, known=known)
            label[rows] = catalogue.label(ends.x, ends.value, ends.slope)
            far = (ends.x.norm(dim=1) > reach) & ~ends.arrived & (ends.slope.norm(dim=1) * spread[rows] > 1)
            self.climbing |= bool((far & (label[rows] < 0)).any())
            left = torch.nonzero((label[rows] < 0) & ends.arrived & torch.isfinite(ends.value))[:, 0]
            if not len(left) and not len(catalogue) and not bool(far.any()):
                left = torch.nonzero(torch.isfinite(ends.value))[:, 0]
                left = left[ends.value[left].argsort(descending=True, stable=True)][:_FEW]
            left = left[ends.value[left].argsort(descending=True, stable=True)]
            while len(left) and not catalogue.full:
                at_once = min(_AT_ONCE, max(_FEW, len(catalogue)))
                chosen = left[_apart(ends.x[left], ends.curvature[left], at_once)]
                fresh, added = catalogue.add(ends.x[chosen], ends.curvature[chosen], spread[rows[chosen]])
                for row in rows[chosen[fresh]].tolist():
                    news[int(which[row])] = True
                label[rows[left]] = catalogue.label(ends.x[left], ends.value[left], ends.slope[left])
                label[rows[chosen]] = added
                taken = torch.isin(left, chosen)
                left = left[~taken & (label[rows[left]] < 0)]
            catalogue.overflow = max(catalogue.overflow, len(left) / len(rows))
        catalogue.count(label, which, len(scales))
        return news


def _apart(x: Tensor, curvature: Tensor, most: int) -> Tensor:
    """Rows that are no copies of an earlier one, as far as Euclid can tell; the first `most`."""
    chosen: list[int] = []
    near = 0.01 * curvature.clamp(min=1e-300) ** -0.5
    taken = torch.zeros(len(x), dtype=torch.bool)
    for i in range(len(x)):
        if taken[i]:
            continue
        chosen.append(i)
        if len(chosen) == most:
            break
        taken |= (x - x[i]).norm(dim=1) < near[i]
    return torch.tensor(chosen, dtype=torch.int64)


class _Catalogue:
    """All points found, and which of them are one mode: each points to a better one of its mode, or to itself."""

    def __init__(self, target: Target) -> None:
        self.target = target
        dim = target.dim
        self.x = torch.empty(0, dim, dtype=torch.float64)
        self.value = torch.empty(0, dtype=torch.float64)
        self.bent = torch.empty(0, dim, dim, dtype=torch.float64)
        self.curves = torch.empty(0, dim, dtype=torch.float64)  # eigenvalues, ascending
        self.scale = torch.empty(0, dtype=torch.float64)
        self.ridge = torch.empty(0, dtype=torch.bool)
        self._cholesky: list[Tensor] = []
        self.parent: list[int] = []
        self.overflow = 0.0  # share of ends that there was no room for
        self.counts: list[Tensor] = []  # of each scale: starts for each point, and those that ended nowhere

    def __len__(self) -> int:
        return len(self.x)

    @property
    def full(self) -> bool:
        return len(self) >= max(16, min(_MOST, _NUMBERS // self.target.dim**2))

    @property
    def best(self) -> float:
        return float(self.value.max()) if len(self) else -math.inf

    @property
    def narrowest(self) -> float:
        """Least standard deviation of a mode."""
        steep = self.curves[:, -1][self.curves[:, -1] > 0] if len(self) else self.curves.new_empty(0)
        return float(steep.max() ** -0.5) if len(steep) else math.inf

    @property
    def extent(self) -> float:
        """How far out modes reach, as a standard deviation."""
        return float(self.x.norm(dim=1).max()) / self.target.dim**0.5 if len(self) else 0.0

    @property
    def laplace(self) -> Tensor:
        """log p(m) + (dim / 2) log 2 pi - (1/2) log det H of each point; nan for a ridge."""
        logdet = torch.log(self.curves.clamp(min=1e-300)).sum(-1)
        found = self.value + 0.5 * self.target.dim * math.log(2 * math.pi) - 0.5 * logdet
        return torch.where(self.ridge, torch.nan, found)

    @property
    def mass(self) -> float:
        """log of the mass of all modes that are no ridges, by Laplace's estimate."""
        own = self.laplace[self.roots.unique()]
        return float(torch.logsumexp(own[~torch.isnan(own)], 0)) if len(self) else -math.inf

    @property
    def roots(self) -> Tensor:
        return torch.tensor([self.root(i) for i in range(len(self))], dtype=torch.int64)

    def root(self, i: int) -> int:
        while self.parent[i] != i:
            i = self.parent[i]
        return i

    def label(self, x: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        """The point whose home each row is in, -1 if none.

        A row is at home within half a standard deviation, or where the parabola around the point foretells its value
        and its gradient.
        """
        found = torch.full((len(x),), -1)
        if not len(self):
            return found
        nearest = torch.cdist(x, self.x, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
        for i in nearest.unique().tolist():
            rows = torch.nonzero(nearest == i)[:, 0]
            away = x[rows] - self.x[i]
            pull = away @ self.bent[i]
            apart = (pull * away).sum(-1).abs()
            home = apart < _HOME
            if not bool(self.ridge[i]):
                wrong = slope[rows] + pull
                off = (torch.cholesky_solve(wrong.T, self._cholesky[i]).T * wrong).sum(-1)
                fall = (self.value[i] - value[rows] - 0.5 * apart).abs()
                home |= (apart < self.target.dim) & (off < 0.1 * apart) & (fall < 0.1 * apart)
            found[rows[home]] = i
        return found

    def add(self, x: Tensor, curvature: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Newton's method on candidates: which are modes that were not known, and the point of each, -1 if none."""
        ends, bent = newton(self.target, x, curvature)
        curves, axes = torch.linalg.eigh(bent)
        saddle = curves[:, 0] < -_FLAT * curves[:, -1].abs()
        if bool(saddle.any()):
            ends, bent, curves = self._off_the_saddle(ends, bent, curves, axes, saddle)
            saddle = curves[:, 0] < -_FLAT * curves[:, -1].abs()
        good = ends.arrived & ~saddle
        if not len(self) and not bool(good.any()):
            good = torch.arange(len(x)) == ends.value.argmax()  # better a ridge than nothing
        start = len(self)
        ridge = (curves[:, 0] <= _FLAT * curves[:, -1]) | ~ends.arrived
        self.x, self.value = torch.cat([self.x, ends.x[good]]), torch.cat([self.value, ends.value[good]])
        self.bent, self.curves = torch.cat([self.bent, bent[good]]), torch.cat([self.curves, curves[good]])
        self.scale, self.ridge = torch.cat([self.scale, scale[good]]), torch.cat([self.ridge, ridge[good]])
        self.parent += list(range(start, len(self)))
        self._merge(start)
        place = torch.full((len(x),), -1)
        place[good] = torch.arange(start, len(self))
        fresh, met = torch.zeros(len(x), dtype=torch.bool), set()
        for i in torch.nonzero(good)[:, 0].tolist():
            root = self.root(int(place[i]))
            fresh[i] = root not in met and all(self.root(j) != root for j in range(start))
            met.add(root)
        return fresh, place

    def _off_the_saddle(
        self, ends: Climbed, bent: Tensor, curves: Tensor, axes: Tensor, saddle: Tensor
    ) -> tuple[Climbed, Tensor, Tensor]:
        """Climbs on from points that are maxima in some directions only."""
        step = 0.3 * curves[saddle, 0].abs() ** -0.5
        up = ascend(self.target, ends.x[saddle] + step[:, None] * axes[saddle, :, 0], curves[saddle, -1].abs())
        again, more = newton(self.target, up.x, up.curvature)
        merged = []
        for old, new in zip((*ends, bent), (*again, more), strict=True):
            old = old.clone()
            old[saddle] = new
            merged.append(old)
        return Climbed(*merged[:-1]), merged[-1], torch.linalg.eigvalsh(merged[-1])

    def _merge(self, start: int) -> None:
        """Joins the points from `start` on to those that they are one mode with."""
        dim, pairs = self.target.dim, []
        self._cholesky = self._cholesky[:start]
        for i in range(start, len(self)):
            self._cholesky.append(torch.linalg.cholesky_ex(self.bent[i]).L)
            away = self.x[:i] - self.x[i]
            own = ((away @ self.bent[i]) * away).sum(-1).abs()
            other = torch.einsum("kd,kde,ke->k", away, self.bent[:i], away).abs()
            near = torch.minimum(own, other)
            for j in torch.nonzero(near < _SAME)[:, 0].tolist():
                self._join(i, j)
            pairs += [(i, j) for j in torch.nonzero((near >= _SAME) & (near < dim))[:, 0].tolist()]
            if bool(self.ridge[i]):
                alike = self.ridge[:i] & ((self.value[:i] - self.value[i]).abs() < 1e-3)
                alike &= ((self.curves[:i] - self.curves[i]).abs() < 1e-2 * self.curves[i, -1]).all(1)
                for j in torch.nonzero(alike)[:, 0].tolist():
                    self._join(i, j)
        pairs = [(i, j) for i, j in pairs if self.root(i) != self.root(j)]
        if not pairs:
            return
        one, two = (torch.tensor(side) for side in zip(*pairs, strict=True))
        share = torch.arange(1, 6, dtype=torch.float64)[:, None, None] / 6
        line = self.x[one] + share * (self.x[two] - self.x[one])
        lowest = self.target.value(line.reshape(-1, dim)).reshape(5, -1).amin(0)
        joined = lowest >= torch.minimum(self.value[one], self.value[two]) - _VALLEY
        for (i, j), same in zip(pairs, joined.tolist(), strict=True):
            if same:
                self._join(i, j)

    def _join(self, i: int, j: int) -> None:
        """One mode: the higher point stands for it, of equal ones the first."""
        i, j = sorted((self.root(i), self.root(j)))
        if i != j:
            higher = self.value[j] > self.value[i] + 1e-9 * (1 + self.value[i].abs())
            low, high = (i, j) if higher else (j, i)
            self.parent[low] = high
            self.scale[high] = torch.minimum(self.scale[high], self.scale[low])

    def count(self, label: Tensor, which: Tensor, n_scales: int) -> None:
        """How many starts of each scale ended in each point, and how many nowhere."""
        for j in range(n_scales):
            self.counts.append(torch.bincount(label[which == j] + 1, minlength=len(self) + 1))

    def check_ridges(self, scale: float) -> None:
        """Refuses a ridge that runs straight on without end."""
        for i in (self.roots == torch.arange(len(self))).nonzero()[:, 0].tolist():
            if bool(self.ridge[i]):
                axis = torch.linalg.eigh(self.bent[i]).eigenvectors[:, 0]
                far = max(scale, 1.0) * 10.0 ** torch.arange(1, 7, dtype=torch.float64)
                line = self.x[i] + torch.stack([far, -far])[..., None] * axis
                ways = self.target.value(line.reshape(-1, self.target.dim)).reshape(2, -1).amin(1)
                if float(ways.max()) > float(self.value[i]) - 1:
                    raise ConfigError(_IMPROPER.format("along a straight line it does not fall, however far"))

    def table(self, scale: float, calls: int, evaluations: int) -> Modes:
        roots = self.roots
        own = roots.unique()
        place = torch.searchsorted(own, roots)
        each = [torch.zeros(len(own), dtype=torch.int64).index_add_(0, place[: len(c) - 1], c[1:]) for c in self.counts]
        hits = torch.stack(each).sum(0)
        once = [int(((hits == 1) & (here == 1)).sum()) / max(int(here.sum()), 1) for here in each]
        laplace = self.laplace[own]
        order = torch.where(self.ridge[own], -torch.inf, laplace).argsort(descending=True, stable=True)
        own = own[order]
        return Modes(
            x=self.x[own],
            log_prob=self.value[own],
            hessian=self.bent[own],
            log_evidence=laplace[order],
            hits=hits[order],
            first_scale=self.scale[own],
            ridge=self.ridge[own],
            missing=max(*once, self.overflow),
            scale=scale,
            calls=calls,
            evaluations=evaluations,
        )
