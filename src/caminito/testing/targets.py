"""Densities whose answers are known: what a sampler that is given nothing but log p is held against.

- `mog40(dim)`: forty equal normals, centres uniform in a box; dim 2 in [-40, 40]^2, else in [-20, 20]^dim. Normalised.
- `two_modes(dim)`: 2/3 N(-2/3, .05 I) + 1/3 N(4/3, .05 I), each coordinate alike, or any weights and variances.
- `bananas(dim)`: five bent normals of unequal weights, far apart, each turned its own way. Normalised.
- `rings()`: four rings in the plane, radii 1 to 4, width 0.15, equal weights: ridges, no isolated modes. Normalised.
- `funnel(dim)`: v ~ N(0, 3^2), the others N(0, exp(v)) given v; its density has its top far from its mass. Normalised.
- `phi4(field)`: a chain of 100 sites with two wells, up and down; not normalised: its constant and weights come from
  the transfer matrix, to rounding, and `phi4_laplace(field)` gives the second-order Laplace values.
- `logistic(X, y)`: Bayesian logistic regression, breast cancer by default; unimodal, not normalised, no exact draws.

Each gives a `KnownTarget`: `.log_prob(x)` on (n, dim) in float64, `.dim`, `.draw(n, seed)`, `.modes`, `.weights`,
`.shares(x)`, whose mean is `.weights` exactly, and `.log_evidence`, 0 where log_prob is normalised.
`.raised(c)` is the same target with log_prob + c: what a user has who does not know the constant.

Sources: Midgley et al. 2023 (FAB), the forty modes; Grenioux et al. 2024 (SLIPS), two modes and phi^4; Neal 2003, the
funnel.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from caminito._errors import ConfigError, DataError, ShapeError

__all__ = [
    "KnownTarget",
    "bananas",
    "funnel",
    "logistic",
    "mog40",
    "phi4",
    "phi4_laplace",
    "rings",
    "two_modes",
]

_FORTY_STD = math.log1p(math.e)  # softplus(1), variance 1.72
_FIVE = (0.3, 0.25, 0.2, 0.15, 0.1)
_BEND, _LONG, _SHORT = 0.25, 2.0, 0.5  # of a banana


@dataclass(frozen=True, eq=False)
class KnownTarget:
    """A log-density, and what is known of it.

    Attributes
    ----------
    name : str
    dim : int
    log_prob : (n, dim) -> (n,)
        In torch, float64, with gradient by autograd.
    log_evidence : float or None
        log of the integral of exp(log_prob); 0 where log_prob is normalised, None where it is not known.
    modes : tensor (k, dim) or None
        Maxima of the parts; where parts overlap those of the whole are a little beside them.
    weights : tensor (k,) or None
        Mass of each part.
    shares : (n, dim) -> (n, k), or None
        How much of a point belongs to each part; its mean under the density is `weights`, exactly.
    sampler : (n, generator) -> (n, dim), or None
        Exact draws.
    """

    name: str
    dim: int
    log_prob: Callable[[Tensor], Tensor]
    log_evidence: float | None = 0.0
    modes: Tensor | None = None
    weights: Tensor | None = None
    shares: Callable[[Tensor], Tensor] | None = None
    sampler: Callable[[int, torch.Generator], Tensor] | None = None

    def draw(self, n: int, seed: int = 0) -> Tensor:
        """n exact, independent draws, shape (n, dim), float64.

        Raises
        ------
        ConfigError
            If no exact draws of this target are known.
        """
        if self.sampler is None:
            raise ConfigError(f"{self.name}: no exact draws are known of it. Compare with a long run of MCMC.")
        return self.sampler(n, torch.Generator().manual_seed(seed))

    def raised(self, constant: float) -> KnownTarget:
        """The same with `constant` added to log_prob, and so to log_evidence."""
        known = None if self.log_evidence is None else self.log_evidence + constant
        plain = self.log_prob
        return dataclasses.replace(self, log_prob=lambda x: plain(x) + constant, log_evidence=known)

    def __repr__(self) -> str:
        return f"KnownTarget({self.name}, dim={self.dim}, log_evidence={self.log_evidence})"


def mog40(dim: int = 2, *, box: float | None = None, seed: int = 0) -> KnownTarget:
    """Forty equally likely N(m, 1.72 I), m uniform in [-box, box]^dim; box 40 in the plane and 20 elsewhere.

    In the plane and with seed 0 these are the centres that papers have used since FAB. A few lie so near to each other
    that the density has 36 or so maxima there.
    """
    _dim(dim)
    edge = box if box is not None else 40.0 if dim == 2 else 20.0
    centres = (torch.rand(40, dim, generator=torch.Generator().manual_seed(seed)) - 0.5) * 2 * edge
    return _normals(
        f"mog40, box {edge:g}", torch.full((40,), 1 / 40), centres, torch.full((40,), _FORTY_STD, dtype=torch.float64)
    )


def two_modes(
    dim: int = 8, *, weights: Sequence[float] = (2 / 3, 1 / 3), variances: Sequence[float] = (0.05, 0.05)
) -> KnownTarget:
    """w N(-2/3, v I) + (1 - w) N(4/3, v' I): where chains end says nothing of how much a mode weighs."""
    _dim(dim)
    centres = torch.tensor([[-2 / 3], [4 / 3]], dtype=torch.float64).expand(2, dim)
    stds = torch.as_tensor(variances, dtype=torch.float64).sqrt()
    return _normals("two modes", torch.as_tensor(weights, dtype=torch.float64), centres, stds)


def bananas(dim: int = 10, *, box: float = 8.0, seed: int = 0) -> KnownTarget:
    """Five bent normals, weights .3 .25 .2 .15 .1, centres uniform in [-box, box]^dim.

    y_1 = 2 z_1, y_2 = z_2 / 2 + (y_1^2 - 4) / 4, y_i = z_i / 2, x = m + Q y, with z ~ N(0, I) and Q a rotation of each.
    """
    _dim(dim, least=2)
    chance = torch.Generator().manual_seed(seed)
    weights = torch.tensor(_FIVE, dtype=torch.float64)
    centres = (torch.rand(5, dim, generator=chance, dtype=torch.float64) - 0.5) * 2 * box
    turns = torch.linalg.qr(torch.randn(5, dim, dim, generator=chance, dtype=torch.float64)).Q
    stds = torch.full((dim,), _SHORT, dtype=torch.float64)
    stds[0] = _LONG
    constant = -0.5 * dim * math.log(2 * math.pi) - float(torch.log(stds).sum())

    def joint(x: Tensor) -> Tensor:
        y = torch.einsum("nkd,kde->nke", x[:, None] - centres, turns)
        bent = y[..., 1] - _BEND * (y[..., 0] ** 2 - _LONG**2)
        straight = torch.cat([y[..., :1], bent[..., None], y[..., 2:]], -1)
        return torch.log(weights) + constant - 0.5 * ((straight / stds) ** 2).sum(-1)

    def sampler(n: int, generator: torch.Generator) -> Tensor:
        which = torch.multinomial(weights, n, replacement=True, generator=generator)
        y = stds * torch.randn(n, dim, generator=generator, dtype=torch.float64)
        y[:, 1] += _BEND * (y[:, 0] ** 2 - _LONG**2)
        return centres[which] + torch.einsum("nde,ne->nd", turns[which], y)

    tops = centres - _BEND * _LONG**2 * turns[:, :, 1]
    return _parts("bananas", dim, joint, weights, tops, sampler)


def rings(radii: Sequence[float] = (1.0, 2.0, 3.0, 4.0), *, width: float = 0.15) -> KnownTarget:
    """p(x) = mean over k of N(|x|; r_k, width^2) / (2 pi c_k), in the plane, with c_k its integral over r dr.

    Finite everywhere: papers divide by the radius instead, which has no bound at the origin. The distance from the
    origin is therefore not normal but has density r N(r; r_k, width^2) / c_k: about width^2 / r_k larger in the mean.
    `modes` are points on the rings at angle 0; every other angle is as good.
    """
    r = torch.as_tensor(radii, dtype=torch.float64)
    if r.ndim != 1 or not len(r) or bool((r <= 0).any()) or not width > 0:
        raise ConfigError(f"rings: expected radii and a width > 0, got {tuple(radii)} and {width}.")
    mass = r * torch.special.ndtr(r / width) + width * _phi(r / width)
    weights = torch.full((len(r),), 1 / len(r), dtype=torch.float64)

    def joint(x: Tensor) -> Tensor:
        apart = (torch.linalg.vector_norm(x, dim=-1)[:, None] - r) / width
        return torch.log(weights / mass / width) - 1.5 * math.log(2 * math.pi) - 0.5 * apart**2

    def below(radius: Tensor, k: Tensor) -> Tensor:
        z, start = (radius - r[k]) / width, -r[k] / width
        part = r[k] * (torch.special.ndtr(z) - torch.special.ndtr(start)) - width * (_phi(z) - _phi(start))
        return part / mass[k]

    def sampler(n: int, generator: torch.Generator) -> Tensor:
        k = torch.multinomial(weights, n, replacement=True, generator=generator)
        share, turn = torch.rand(2, n, generator=generator, dtype=torch.float64)
        low, high = torch.zeros(n, dtype=torch.float64), r[k] + 12 * width
        for _ in range(60):
            middle = (low + high) / 2
            less = below(middle, k) < share
            low, high = torch.where(less, middle, low), torch.where(less, high, middle)
        angle = 2 * math.pi * turn
        return low[:, None] * torch.stack([torch.cos(angle), torch.sin(angle)], -1)

    return _parts("rings", 2, joint, weights, torch.stack([r, torch.zeros_like(r)], -1), sampler)


def funnel(dim: int = 10, *, std: float = 3.0) -> KnownTarget:
    """x_1 = v ~ N(0, std^2); x_i | v ~ N(0, exp(v)), i > 1. What is hard: the deviation of v, which is `std`."""
    _dim(dim, least=2)

    def log_prob(x: Tensor) -> Tensor:
        v, rest = x[:, 0], x[:, 1:]
        constant = 0.5 * dim * math.log(2 * math.pi) + math.log(std)
        return -0.5 * ((v / std) ** 2 + (dim - 1) * v + (rest**2).sum(-1) * torch.exp(-v)) - constant

    def sampler(n: int, generator: torch.Generator) -> Tensor:
        z = torch.randn(n, dim, generator=generator, dtype=torch.float64)
        v = std * z[:, :1]
        return torch.cat([v, torch.exp(v / 2) * z[:, 1:]], 1)

    top = torch.zeros(1, dim, dtype=torch.float64)
    top[0, 0] = -0.5 * (dim - 1) * std**2
    one = torch.ones(1, dtype=torch.float64)
    return KnownTarget("funnel", dim, log_prob, modes=top, weights=one, shares=_all_of_one, sampler=sampler)


@dataclass(frozen=True)
class _Chain:
    """log p = -b [ (c/2) sum over i = 0..dim of (x_{i+1} - x_i)^2 + (1/c) sum of ((1 - x_i^2)^2 / 4 + field x_i) ].

    c = coupling * dim; x_0 = x_{dim+1} = 0.
    """

    dim: int
    field: float
    beta: float
    coupling: float

    @property
    def c(self) -> float:
        return self.coupling * self.dim

    def site(self, x: Tensor) -> Tensor:
        return -self.beta / self.c * ((1 - x**2) ** 2 / 4 + self.field * x)

    def bond(self, gap: Tensor) -> Tensor:
        return -self.beta * self.c / 2 * gap**2

    def log_prob(self, x: Tensor) -> Tensor:
        whole = torch.nn.functional.pad(x, (1, 1))
        return self.bond(whole.diff(dim=-1)).sum(-1) + self.site(x).sum(-1)

    def slope(self, x: Tensor) -> Tensor:
        curved = torch.nn.functional.pad(x, (1, 1)).diff(dim=-1).diff(dim=-1)
        return self.beta * (self.c * curved - (x**3 - x + self.field) / self.c)

    def curvature(self, x: Tensor) -> Tensor:
        """-Hessian of log p at a point (dim,)."""
        eye = torch.eye(self.dim, dtype=torch.float64)
        beside = torch.diag(torch.ones(self.dim - 1, dtype=torch.float64), 1)
        return self.beta * (self.c * (2 * eye - beside - beside.T) + torch.diag((3 * x**2 - 1) / self.c))

    def top(self, sign: float) -> Tensor:
        """The maximum that Newton's method, damped, finds from all sites up (+1) or down (-1)."""
        x = torch.full((self.dim,), sign, dtype=torch.float64)
        eye = torch.eye(self.dim, dtype=torch.float64)
        for _ in range(200):
            slope, bent = self.slope(x), self.curvature(x)
            least = float(torch.linalg.eigvalsh(bent)[0])
            step = torch.linalg.solve(bent + max(0.0, 0.1 - least) * eye, slope)
            x = x + step
            if float(step.abs().max()) < 1e-13:
                break
        return x


def phi4(
    field: float = 0.0, *, dim: int = 100, beta: float = 20.0, coupling: float = 0.1, spacing: float = 0.01
) -> KnownTarget:
    """A chain of sites in two wells, phi^4 in one dimension with its ends held at 0.

    log p = -beta [ (c/2) sum (x_{i+1} - x_i)^2 + (1/c) sum ((1 - x_i^2)^2 / 4 + field x_i) ],  c = coupling dim.

    The two parts are: the site in the middle up (>= 0), and down. `log_evidence` and `weights` are exact to rounding:
    sums over a grid of `spacing` that is far finer than the least scale, site after site (a transfer matrix). Draws
    are made along the same sums and spread linearly between grid points, which adds spacing^2 / 6 to a variance.
    """
    _dim(dim)
    chain = _Chain(dim, field, beta, coupling)
    grid = torch.arange(-3.2, 3.2 + spacing / 2, spacing, dtype=torch.float64)
    bond = torch.exp(chain.bond(grid[:, None] - grid[None]))
    site = torch.exp(chain.site(grid))
    ends = torch.exp(chain.bond(grid))
    messages, log_scale = [ends], 0.0  # messages[i]: what lies beyond site i, to the far end
    for _ in range(dim - 1):
        passed = bond @ (site * messages[-1]) * spacing
        top = float(passed.max())
        messages.append(passed / top)
        log_scale += math.log(top)
    messages.reverse()
    log_evidence = log_scale + math.log(float((ends * site * messages[0]).sum() * spacing))

    band = torch.arange(-(reach := math.ceil(7 / math.sqrt(beta * chain.c) / spacing)), reach + 1)
    near = torch.exp(chain.bond(band * spacing))

    def sampler(n: int, generator: torch.Generator) -> Tensor:
        x = torch.empty(n, dim, dtype=torch.float64)
        cell = torch.full((n,), len(grid) // 2)  # of the end that is held at 0
        for i in range(dim):
            window = cell[:, None] + band
            ahead = torch.nn.functional.pad(site * messages[i], (reach, reach))  # nothing beyond the grid
            sums = (near * ahead[window + reach]).cumsum(1)
            first, left, right = torch.rand(3, n, generator=generator, dtype=torch.float64)
            cell = window[:, 0] + (sums < first[:, None] * sums[:, -1:]).sum(1)
            x[:, i] = grid[cell] + spacing * (left - right)
        return x

    left, middle = ends, dim // 2
    for _ in range(middle):
        left = bond @ (site * left)
        left = left / left.max()
    law = left * site * messages[middle]
    law[grid.abs() < spacing / 4] /= 2  # half of the middle cell is up
    up = float(law[grid > -spacing / 4].sum() / (law[grid > -spacing / 4].sum() + law[grid < spacing / 4].sum()))

    def shares(x: Tensor) -> Tensor:
        high = x[:, middle] >= 0
        return torch.stack([high, ~high], -1).double()

    tops = torch.stack([chain.top(1.0), chain.top(-1.0)])
    weights = torch.tensor([up, 1 - up], dtype=torch.float64)
    return KnownTarget(f"phi4, field {field:g}", dim, chain.log_prob, log_evidence, tops, weights, shares, sampler)


def phi4_laplace(
    field: float = 0.0, *, dim: int = 100, beta: float = 20.0, coupling: float = 0.1
) -> tuple[float, Tensor]:
    """log_evidence and weights (up, down) of `phi4` by Laplace's method to second order around its two maxima.

    log Z_k = log p(m) + (d/2) log 2 pi - (1/2) log det H - (1/8) sum_i S4 C_ii^2
              + sum_ij S3_i S3_j (C_ii C_ij C_jj / 8 + C_ij^3 / 12),    C = H^-1,

    where S3 and S4 are the third and fourth derivatives of -log p, which are those of single sites.
    Source: Kass, Tierney & Kadane 1990; any text on Feynman diagrams at two loops.
    """
    _dim(dim)
    chain = _Chain(dim, field, beta, coupling)
    parts = []
    for sign in (1.0, -1.0):
        x = chain.top(sign)
        bent = chain.curvature(x)
        inverse = torch.linalg.inv(bent)
        own = inverse.diagonal()
        third, fourth = 6 * beta / chain.c * x, 6 * beta / chain.c
        pairs = third[:, None] * third[None] * (own[:, None] * inverse * own[None] / 8 + inverse**3 / 12)
        first = chain.log_prob(x[None])[0] + 0.5 * dim * math.log(2 * math.pi) - 0.5 * torch.logdet(bent)
        parts.append(first - fourth / 8 * (own**2).sum() + pairs.sum())
    both = torch.stack(parts)
    return float(torch.logsumexp(both, 0)), torch.softmax(both, 0)


def logistic(
    X: Tensor | None = None, y: Tensor | None = None, *, std: float = 1.0, intercept_std: float = 2.5
) -> KnownTarget:
    """Posterior of logistic regression: slopes ~ N(0, std^2), then the intercept ~ N(0, intercept_std^2).

    Parameters
    ----------
    X : array (rows, columns), optional
        Standardised here, column by column; the breast cancer table of scikit-learn unless given.
    y : array (rows,) of 0 and 1
    std, intercept_std : float

    Notes
    -----
    `modes` holds the one maximum, by Newton's method: the posterior is log-concave. `log_evidence` is not known.
    """
    if (X is None) != (y is None):
        raise ConfigError("logistic: expected X and y, or neither. Pass both.")
    if X is None:
        from sklearn.datasets import load_breast_cancer

        X, y = load_breast_cancer(return_X_y=True)
    table, label = torch.as_tensor(X, dtype=torch.float64), torch.as_tensor(y, dtype=torch.float64)
    if table.ndim != 2 or label.shape != table.shape[:1]:
        raise ShapeError(f"logistic: expected X (rows, columns) and y (rows,), got {table.shape} and {label.shape}.")
    if not bool(((label == 0) | (label == 1)).all()) or not bool(torch.isfinite(table).all()):
        raise DataError("logistic: expected finite X, and y of 0 and 1.")
    spread = table.std(0, correction=0)
    rows = torch.cat([(table - table.mean(0)) / torch.where(spread > 0, spread, 1.0), table.new_ones(len(table), 1)], 1)
    signed = (2 * label - 1)[:, None] * rows
    dim = rows.shape[1]
    stds = torch.full((dim,), std, dtype=torch.float64)
    stds[-1] = intercept_std
    constant = -0.5 * dim * math.log(2 * math.pi) - float(torch.log(stds).sum())

    def log_prob(x: Tensor) -> Tensor:
        likely = torch.nn.functional.logsigmoid(x @ signed.T).sum(-1)
        return likely + constant - 0.5 * ((x / stds) ** 2).sum(-1)

    top = torch.zeros(dim, dtype=torch.float64)
    for _ in range(100):
        wrong = torch.sigmoid(-signed @ top)
        bent = (signed * (wrong * (1 - wrong))[:, None]).T @ signed + torch.diag(stds**-2)
        step = torch.linalg.solve(bent, wrong @ signed - top / stds**2)
        top = top + step
        if float(step.abs().max()) < 1e-12:
            break
    one = torch.ones(1, dtype=torch.float64)
    return KnownTarget("logistic regression", dim, log_prob, None, top[None], one, _all_of_one)


def _normals(name: str, weights: Tensor, centres: Tensor, stds: Tensor) -> KnownTarget:
    w, m, s = (each.double() for each in (weights / weights.sum(), centres, stds))
    dim = m.shape[1]
    constant = torch.log(w) - dim * (torch.log(s) + 0.5 * math.log(2 * math.pi))

    def joint(x: Tensor) -> Tensor:
        # |x - m|^2 by differences: the expanded form loses half the digits far from the origin
        return constant - 0.5 * ((x[:, None] - m) ** 2).sum(-1) / s**2

    def sampler(n: int, generator: torch.Generator) -> Tensor:
        which = torch.multinomial(w, n, replacement=True, generator=generator)
        return m[which] + s[which, None] * torch.randn(n, dim, generator=generator, dtype=torch.float64)

    return _parts(name, dim, joint, w, m, sampler)


def _parts(
    name: str,
    dim: int,
    joint: Callable[[Tensor], Tensor],
    weights: Tensor,
    tops: Tensor,
    sampler: Callable[[int, torch.Generator], Tensor],
) -> KnownTarget:
    """A mixture of normalised parts, from log w_k p_k(x) (n, k)."""
    return KnownTarget(
        name,
        dim,
        lambda x: torch.logsumexp(joint(x), -1),
        modes=tops,
        weights=weights,
        shares=lambda x: torch.softmax(joint(x), -1),
        sampler=sampler,
    )


def _all_of_one(x: Tensor) -> Tensor:
    return x.new_ones(len(x), 1)


def _phi(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)


def _dim(dim: int, least: int = 1) -> None:
    if not (isinstance(dim, int) and dim >= least):
        raise ConfigError(f"dim: expected a whole number >= {least}, got {dim!r}.")
