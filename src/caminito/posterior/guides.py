"""Guides: from a denoiser to the denoiser of E[x0 | x_t, y], as each method takes it.

With D = E[x0 | x_t] and V = Cov[x0 | x_t] = (sigma^2 / alpha) dD/dx_t, and y seen with noise of covariance R,

    D_y = D + V A^T (R + A V A^T)^-1 (y - A D)

is exact where x0 given x_t is Gaussian. The methods differ in what they put in the place of V:

==========  =============================================  ======================  ===================================
name        V (left), V (within the inverse)               cost of a step          source
==========  =============================================  ======================  ===================================
`mmps`      V, V                                           1 call, its derivative  Rozet et al. 2024 (MMPS)
                                                           once per entry of y or
                                                           per iteration
`pigdm`     V, r^2 I                                       1 call, 1 derivative    Song et al. 2023 (PiGDM), eq. 8
`jfps`      (S^-1 + alpha^2 / sigma^2 I)^-1, the same      1 call, no derivative   Gaussian data of covariance S
`diffpir`   sigma^2 / (alpha^2 lambda) I, the same         1 call, no derivative   Zhu et al. 2023 (DiffPIR), eq. 12-13
`ddnm`      infinity: A D becomes y                        1 call, no derivative   Wang et al. 2023 (DDNM), eq. 13
==========  =============================================  ======================  ===================================

All are biased where x0 given x_t has several modes, however good the denoiser: D_y is then the mean of a normal that
the data never were. Those without a derivative work with trees and closed boxes. Where alpha = 0 nothing of x_t is of
the data, and V is unknown: D is left as it is for that step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from caminito._errors import ConfigError, NonFiniteError
from caminito._random import Stream, normal
from caminito.denoiser import Condition, Denoiser, RegressorDenoiser, Wrapped, rows_of
from caminito.denoiser.gaussian import Spectrum, as_given
from caminito.posterior.observation import Observation
from caminito.posterior.operators import whole
from caminito.process import Process, times
from caminito.process.base import Time, as_time

__all__ = [
    "DENSE",
    "Local",
    "at",
    "ddnm",
    "diffpir",
    "has_derivative",
    "iterated",
    "jfps",
    "local",
    "matched",
    "mmps",
    "pigdm",
    "require_derivative",
    "spread_of",
]

_PROBED, _STEP = 8, 0.05  # rows that a derivative is tried on, and the difference in sigma
DENSE = 8  # entries seen, up to which the covariance of what is seen is written out
_CONJUGATE = 0.3  # of their sizes, that ways in turn may have in common; rounding makes .002 at a condition of 1e6
_TRUSTED = 3.0  # times its asymmetry, from which a covariance of a learnt denoiser is trusted


class Local(NamedTuple):
    """What a denoiser says around a point.

    Attributes
    ----------
    mean : tensor (B, *event)
        D, without a graph.
    times_var : (B, *event) -> (B, *event)
        V u, by one derivative of the denoiser.
    push, pull
        A and its adjoint, of a nonlinear operator at D.
    """

    mean: Tensor
    times_var: Callable[[Tensor], Tensor]
    push: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor], Tensor]


def mmps(denoiser: Denoiser, seen: Observation, *, iterations: int | None = None) -> Denoiser:
    """Moment matching: V is the denoiser's own.

    Parameters
    ----------
    denoiser : Denoiser
        One that torch can differentiate.
    seen : Observation
        By a linear operator, or by another, which is then linearised at D.
    iterations : int, optional
        Of conjugate gradients, each one derivative. Unless given: up to 8 entries seen the system is written out and
        solved, beyond that 5.

    Notes
    -----
    Exact for Gaussian data. Source: Rozet et al. 2024, algorithm 2-3.
    """
    if iterations is not None:
        whole("iterations", iterations)

    def led(x_t: Tensor, t: Tensor, cond: Condition) -> Tensor:
        here = local(denoiser, seen, x_t, t, cond)
        if iterations is None and seen.size <= DENSE:
            return matched(here, seen)[0]
        return iterated(here, seen, iterations or 5)

    return _Led(denoiser, led, by_derivative=True)


def pigdm(denoiser: Denoiser, seen: Observation) -> Denoiser:
    """Within the inverse, V is r^2 I with r^2 = q sigma^2 / (alpha^2 q + sigma^2), q the variance of the data.

    Notes
    -----
    Source: Song et al. 2023 (PiGDM), eq. 8, with the r of its section 4 for data of variance q.
    """
    _linear(seen, "pigdm")

    def led(x_t: Tensor, t: Tensor, cond: Condition) -> Tensor:
        here = local(denoiser, seen, x_t, t, cond)
        u = seen.solve(seen.residual(here.mean), spread_of(denoiser, t))
        return here.mean + here.times_var(here.pull(u))

    return _Led(denoiser, led, by_derivative=True)


def jfps(denoiser: Denoiser, seen: Observation, *, cov: Tensor | float | None = None, iterations: int = 20) -> Denoiser:
    """V is that of Gaussian data: no derivative, so the denoiser may be of trees.

    Parameters
    ----------
    denoiser : Denoiser
    seen : Observation
    cov : number, diagonal (*event) or matrix (d, d), optional
        S, of the data; the variances that the denoiser knows of them unless given.
    iterations : int
        At most, of conjugate gradients, none of which calls the denoiser.

    Notes
    -----
    Exact for Gaussian data whose covariance is given.
    """
    _linear(seen, "jfps")
    whole("iterations", iterations)
    given = as_given(denoiser.data_moments[1] if cov is None else cov)
    if cov is None and given.ndim:
        given = given.expand(seen.event)
    spectrum = Spectrum.of(given, seen.event)

    def led(x_t: Tensor, t: Tensor, cond: Condition) -> Tensor:
        with torch.no_grad():
            mean = denoiser.mean(x_t, t, cond)
        alpha, sigma = (v.reshape(-1, 1) for v in denoiser.process.kernel(t))
        q = spectrum.values
        shrunk = (q * sigma**2 / (alpha**2 * q + sigma**2)).to(mean)

        def times_var(u: Tensor) -> Tensor:
            return spectrum.back(shrunk * spectrum.into(u.flatten(1))).reshape(u.shape)

        def system(v: Tensor) -> Tensor:
            return seen.noise_times(v) + seen.push(times_var(seen.pull(v)))

        return mean + times_var(seen.pull(conjugate(system, seen.residual(mean), iterations)))

    return _Led(denoiser, led)


def diffpir(denoiser: Denoiser, seen: Observation, *, trust: float = 1.0) -> Denoiser:
    """The point nearest to D and to what was seen: argmin |y - A x|_R^2 + lambda alpha^2 / sigma^2 |x - D|^2.

    Parameters
    ----------
    denoiser : Denoiser
    seen : Observation
    trust : float > 0
        lambda: the larger, the more D counts.

    Notes
    -----
    Source: Zhu et al. 2023, eq. 12-13; the walk there is DDIM with a share of fresh noise.
    """
    _linear(seen, "diffpir")
    if not trust > 0:
        raise ConfigError(f"trust: expected a number > 0, got {trust!r}.")

    def led(x_t: Tensor, t: Tensor, cond: Condition) -> Tensor:
        with torch.no_grad():
            mean = denoiser.mean(x_t, t, cond)
        alpha, sigma = denoiser.process.kernel(t)
        c = sigma**2 / (alpha**2 * trust)
        return mean + times(c, seen.pull(seen.solve(seen.residual(mean), c)))

    return _Led(denoiser, led)


def ddnm(denoiser: Denoiser, seen: Observation) -> Denoiser:
    """What was seen takes the place of what D says of it: D + A^+ (y - A D). Noise is not allowed for.

    Notes
    -----
    Source: Wang et al. 2023 (DDNM), eq. 13.
    """
    _linear(seen, "ddnm")

    def led(x_t: Tensor, t: Tensor, cond: Condition) -> Tensor:
        with torch.no_grad():
            mean = denoiser.mean(x_t, t, cond)
        return mean + seen.inverse(seen.residual(mean))

    return _Led(denoiser, led)


class _Led(Wrapped):
    """A denoiser with the mean of a guide; a variance stays that of the denoiser."""

    def __init__(
        self, denoiser: Denoiser, led: Callable[[Tensor, Tensor, Condition], Tensor], *, by_derivative: bool = False
    ) -> None:
        super().__init__(denoiser)
        self.led, self.is_asked = led, by_derivative

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """D_y."""
        time = as_time(t)
        if bool((self.process.kernel(time).scale == 0).any()):
            return self.denoiser.mean(x_t, t, cond)
        if self.is_asked:
            require_derivative(self.denoiser, x_t, cond)
            self.is_asked = False
        return self.led(x_t, time, cond)

    def moments(self, x_t: Tensor, t: Time, cond: Condition = None) -> tuple[Tensor, Tensor | None]:
        """D_y, and the variance without y."""
        return self.mean(x_t, t, cond), self.denoiser.var(x_t, t, cond)

    def log_marginal(self, x_t: Tensor, t: Time, cond: Condition = None) -> None:
        """Unknown."""


def local(denoiser: Denoiser, seen: Observation, x_t: Tensor, t: Tensor, cond: Condition = None) -> Local:
    """D, and V as a map, from one call of a denoiser that has a derivative (`require_derivative`)."""
    with torch.enable_grad():
        x = x_t.detach().requires_grad_()
        mean = denoiser.mean(x, t, cond)
    alpha, sigma = denoiser.process.kernel(t)

    def times_var(u: Tensor) -> Tensor:
        (back,) = torch.autograd.grad(mean, x, u, retain_graph=True)
        return times(sigma**2 / alpha, back)

    out = mean.detach()
    if seen.operator.is_linear:
        return Local(out, times_var, seen.push, seen.pull)

    def push(v: Tensor) -> Tensor:
        return seen.of_seen(torch.func.jvp(seen.operator, (out,), (v,))[1])

    def pull(u: Tensor) -> Tensor:
        with torch.enable_grad():
            point = out.detach().requires_grad_()
            image = seen.operator(point)
            (back,) = torch.autograd.grad(image, point, seen.of_seen(u).reshape(image.shape))
        return back

    return Local(out, times_var, push, pull)


def require_derivative(denoiser: Denoiser, like: Tensor, cond: Condition = None) -> None:
    """Refuse a denoiser whose derivative torch does not know.

    Raises
    ------
    ConfigError
    """
    if not has_derivative(denoiser, like, cond):
        raise ConfigError(
            "method: expected a denoiser that torch can differentiate, got one that it cannot (trees, a closed box). "
            "Use method='split-smc' or 'jfps'."
        )


def has_derivative(denoiser: Denoiser, like: Tensor, cond: Condition = None) -> bool:
    """Whether torch's derivative of the mean is that of the mean.

    It knows one also of x0 = skip x_t + out f(x_t) with a closed f, which it leaves out: so the derivative is compared
    with a difference, where noise and data are of one size, on the first rows of `like` and `cond`.
    """
    if _is_of_trees(denoiser):
        return False
    process, rows = denoiser.process, slice(0, _PROBED)
    t = at(process, torch.as_tensor(denoiser.data_moments[1], dtype=torch.float64).mean().sqrt())
    alpha, sigma = process.kernel(t)
    if alpha == 0 or sigma == 0:
        return True
    mean, std = (m.to(like) for m in denoiser.prior(t))
    shape, told = tuple(like[rows].shape), rows_of(cond, rows)
    x = mean + std * normal(0, Stream.PROBE, 3, shape, dtype=like.dtype, device=like.device)
    way = normal(0, Stream.PROBE, 4, shape, dtype=like.dtype, device=like.device).sign()
    with torch.enable_grad():
        x = x.requires_grad_()
        out = denoiser.mean(x, t, told)
        if not out.requires_grad:
            return False
        (back,) = torch.autograd.grad(out, x, way)
    with torch.no_grad():
        step = _STEP * float(sigma)
        gap = (denoiser.mean(x + step * way, t, told) - denoiser.mean(x - step * way, t, told)) / (2 * step)
    known, found = (float(alpha) * float((way * slope).mean()) for slope in (back, gap))  # shares of the noise: 0 to 1
    return abs(known - found) <= 0.25 * max(abs(known), abs(found)) + 0.01


def _is_of_trees(denoiser: Denoiser) -> bool:
    if isinstance(denoiser, RegressorDenoiser):
        return True
    parts = [part if isinstance(part, list | tuple) else [part] for part in getattr(denoiser, "__dict__", {}).values()]
    return any(_is_of_trees(each) for part in parts for each in part if isinstance(each, Denoiser))


def at(process: Process, level: Tensor) -> Tensor:
    """The time whose noise level sigma / |alpha| is nearest to the given one, above 0."""
    return process.time(-2 * torch.log(level)).clamp(1.0 if process.is_discrete else 0.0, process.t_max)


def matched(here: Local, seen: Observation) -> tuple[Tensor, Tensor]:
    """D_y of `mmps`, and log N(y; A D, R + A V A^T), float64 (B,), with the covariance of what is seen written out."""
    r = seen.residual(here.mean)
    cross, cov = covariances(here, seen)
    u = solved(cov, r)
    count = seen.spread(seen.present, len(r)).sum(1)
    far = (r.to(torch.float64) * u).sum(1)
    log_normal = -0.5 * (far + torch.logdet(cov) + count * math.log(2 * math.pi))
    return here.mean + (cross * u[:, :, None]).sum(1).reshape(here.mean.shape), log_normal


def iterated(here: Local, seen: Observation, iterations: int) -> Tensor:
    """D_y of `mmps` by conjugate gradients."""
    r = seen.residual(here.mean)
    u = conjugate(lambda v: seen.noise_times(v) + here.push(here.times_var(here.pull(v))), r, iterations)
    return here.mean + here.times_var(here.pull(u))


def covariances(here: Local, seen: Observation) -> tuple[Tensor, Tensor]:
    """V A^T, shape (B, m, d), and R + A V A^T, shape (B, m, m), float64, written out by m derivatives.

    A covariance is symmetric, and the derivative of a learnt denoiser is not: by how much it is not says how wrong it
    is. What A V A^T is along an axis counts if it is some times that, and below it is raised to that and V A^T shrunk
    along that axis in proportion, so that directions of which nothing is known neither move a mean nor seem certain.
    Each entry is taken in units of its own deviation, so that none depends on the units of another.

    Raises
    ------
    NonFiniteError
        If a derivative is not finite.
    """
    cross, seen_cross = [], []
    for j in range(seen.size):
        unit = torch.zeros(len(here.mean), seen.size, dtype=here.mean.dtype, device=here.mean.device)
        unit[:, j] = 1
        column = here.times_var(here.pull(unit))
        cross.append(column.flatten(1))
        seen_cross.append(here.push(column))
    cov = torch.stack(seen_cross, 1).to(torch.float64)
    if not bool(torch.isfinite(cov).all()):
        raise NonFiniteError(
            "operator: expected finite derivatives where the walk goes, got others. It is asked at means of noisy "
            "data, which may lie outside of what the data are."
        )
    noise = (torch.diag(seen.var) if seen.cov is None else seen.cov).to(cov)
    units = torch.diagonal(cov, dim1=1, dim2=2).clamp_min(0) + torch.diagonal(noise)
    units = units.where(units > 0, torch.ones_like(units)).sqrt()  # entries may have different ones
    cov = cov / (units[:, :, None] * units[:, None, :])
    least = _TRUSTED * torch.linalg.matrix_norm((cov - cov.mT) / 2, ord=2)[:, None]
    values, basis = torch.linalg.eigh((cov + cov.mT) / 2)
    share = (values / least.clamp_min(torch.finfo(cov.dtype).tiny)).clamp(0, 1)
    moved = torch.stack(cross, 1)
    shrunk = ((basis * share[:, None]) @ basis.mT) @ (moved.to(cov) / units[:, :, None])
    cov = (basis * torch.maximum(values, least)[:, None]) @ basis.mT * units[:, :, None] * units[:, None, :]
    present = seen.spread(seen.present, len(here.mean)).to(cov)
    cov = cov + noise * present[:, :, None] * present[:, None, :] + torch.diag_embed(1 - present)
    return (shrunk * units[:, :, None]).to(moved), cov


def solved(cov: Tensor, r: Tensor) -> Tensor:
    """cov^-1 r for each row."""
    out: Tensor = torch.linalg.solve(cov, r.to(cov)[:, :, None])[:, :, 0].to(r)
    return out


def conjugate(system: Callable[[Tensor], Tensor], r: Tensor, iterations: int, tolerance: float = 1e-12) -> Tensor:
    """u with system(u) = r, row by row, by conjugate gradients from 0.

    A row stops where its residual is `tolerance` of r, and where the system shows itself not to be positive, or not to
    be symmetric by two ways in turn that are not conjugate, which that of a learnt denoiser need not be: what further
    ways find then is what is wrong with it, and the less noise there is, the larger.
    """
    u, left, way = torch.zeros_like(r), r, r
    size = (left * left).sum(1, keepdim=True)
    enough = tolerance**2 * size
    before: tuple[Tensor, Tensor, Tensor] | None = None
    for _ in range(min(iterations, r.shape[1])):
        image = system(way)
        curve = (way * image).sum(1, keepdim=True)
        goes = (curve > 0) & (size > enough)
        if before is not None:
            way_before, image_before, curve_before = before
            crossed = torch.stack([way * image_before, way_before * image]).sum(2, keepdim=True).abs().amax(0)
            goes &= crossed <= _CONJUGATE * (curve * curve_before).clamp_min(0).sqrt()
        if not bool(goes.any()):
            break
        step = torch.where(goes, size / curve.where(goes, torch.ones_like(curve)), torch.zeros_like(size))
        u, left, before = u + step * way, left - step * image, (way, image, curve)
        last, size = size, torch.where(goes, (left * left).sum(1, keepdim=True), torch.zeros_like(size))
        way = torch.where(goes, left + size / last.clamp_min(torch.finfo(r.dtype).tiny) * way, torch.zeros_like(way))
    return u


def spread_of(denoiser: Denoiser, t: Tensor) -> Tensor:
    """q sigma^2 / (alpha^2 q + sigma^2), the variance left of Gaussian data of variance q."""
    q = torch.as_tensor(denoiser.data_moments[1], dtype=torch.float64).mean()
    alpha, sigma = denoiser.process.kernel(t)
    return q * sigma**2 / (alpha**2 * q + sigma**2)


def _linear(seen: Observation, name: str) -> None:
    if not seen.operator.is_linear:
        raise ConfigError(f"operator: expected a linear one for {name!r}, got a nonlinear one. Use 'tds' or 'mmps'.")
