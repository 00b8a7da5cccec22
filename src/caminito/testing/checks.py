"""Checks of a process, a denoiser or a solver of your own against the identities that all of them obey.

Each check returns None, or raises `BrokenIdentity`, whose message names the identity, where it failed, what was
expected, what came, and the tolerance: a bound on float64 rounding, or a number of standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from caminito._errors import ShapeError, TimeError
from caminito._random import Stream, normal
from caminito.denoiser import Denoiser, GaussianDenoiser
from caminito.denoiser.base import Condition
from caminito.process import EDM, VP, Chain, Cosine, Process
from caminito.process import grid as grids
from caminito.process.base import Time
from caminito.sampling import Solver, trajectory
from caminito.testing.oracles import propagate

__all__ = ["BrokenIdentity", "check_denoiser", "check_process", "check_solver"]

_EPS = torch.finfo(torch.float64).eps
_STANDARD_ERRORS = 6.0  # a sound part fails one of a thousand such comparisons in 500 000 runs


class BrokenIdentity(AssertionError):
    """An identity that the part under check must obey does not hold."""


def _require(holds: bool, what: object, identity: str, detail: str) -> None:
    if not holds:
        raise BrokenIdentity(f"{what}: {identity}. {detail}")


def _close(
    what: object, identity: str, got: Tensor, expected: Tensor, tolerance: Tensor | float, where: str = ""
) -> None:
    got, expected = torch.broadcast_tensors(got.detach().to(torch.float64), expected.detach().to(torch.float64))
    limit = torch.as_tensor(tolerance, dtype=torch.float64).expand(got.shape)
    error = torch.where(got == expected, torch.zeros_like(got), (got - expected).abs())
    bad = ~(error <= limit)
    if bool(bad.any()):
        at = int((bad.flatten().to(torch.float64) * error.flatten().nan_to_num(posinf=1e300, nan=1e300)).argmax())
        g, e, lim = (float(v.flatten()[at]) for v in (got, expected, limit))
        raise BrokenIdentity(
            f"{what}: {identity} does not hold{' ' + where if where else ''}: expected {e:.17g}, got {g:.17g} "
            f"(entry {at}; the tolerance is {lim:.2g}; {int(bad.sum())} of {bad.numel()} values are off)."
        )


def _name(part: object) -> str:
    text = repr(part)
    return type(part).__name__ if text.startswith("<") else text


# --- process -----------------------------------------------------------------------------------------------------


def check_process(process: Process) -> None:
    """Check the identities that every forward process obeys.

    The data at t = 0 (alpha = 1, sigma = 0); float64 coefficients of the shape of t; a log-SNR that never rises;
    composition of transitions (Chapman-Kolmogorov) with each other and with the marginal; the bridge as the conditional
    of x_s and x_t given x_0 (its mean, variance and covariance); `time` as the inverse of `logsnr`; `rates` as the
    derivative of `kernel`; `prior` as the moments of x at t_max; refusal of s >= t.

    Parameters
    ----------
    process : Process

    Raises
    ------
    BrokenIdentity
        Naming the first identity that fails.
    """
    name = _name(process)
    times = _probe_times(process)
    alpha, sigma = _check_marginal(process, name, times)
    _check_transitions(process, name, times, alpha, sigma)
    _check_inverse(process, name, times)
    if not process.is_discrete:
        _check_rates(process, name, times)
    prior = process.prior(2.0, 0.25)
    _close(name, "prior: mean of x at t_max = alpha m", prior.mean, alpha[-1] * 2, 8 * _EPS * float(alpha[-1].abs()))
    end = torch.sqrt(alpha[-1] ** 2 * 0.25 + sigma[-1] ** 2)
    _close(name, "prior: variance of x at t_max = alpha^2 var + sigma^2", prior.std, end, 8 * _EPS * float(end))


def _probe_times(process: Process) -> Tensor:
    if process.is_discrete:
        return torch.unique(torch.linspace(0, process.t_max, min(int(process.t_max), 24) + 1).round()).to(torch.float64)
    return torch.linspace(0, 1, 25, dtype=torch.float64) * process.t_max


def _check_marginal(process: Process, name: str, times: Tensor) -> tuple[Tensor, Tensor]:
    alpha, sigma = process.kernel(times)
    for label, value in (("alpha", alpha), ("sigma", sigma)):
        _require(
            value.dtype == torch.float64 and value.shape == times.shape,
            name,
            f"kernel: {label} is a float64 tensor of the shape of t",
            f"Got {value.dtype}, shape {tuple(value.shape)}.",
        )
        _require(bool(torch.isfinite(value).all()), name, f"kernel: {label} is finite on [0, t_max]", f"Got {value}.")
    _close(name, "kernel: alpha_0 = 1", alpha[0], torch.ones(()), 0.0)
    _close(name, "kernel: sigma_0 = 0", sigma[0], torch.zeros(()), 0.0)
    _require(bool((sigma >= 0).all()), name, "kernel: sigma >= 0", f"Got {float(sigma.min())}.")
    one = process.kernel(float(times[-1]))
    _close(
        name,
        "kernel: a scalar t and a row of times agree",
        torch.stack([*one]),
        torch.stack([alpha[-1], sigma[-1]]),
        0.0,
    )
    ratio = torch.where(alpha == 0, torch.inf, sigma / torch.where(alpha == 0, 1.0, alpha).abs())
    falls = ratio[1:] - ratio[:-1] >= -16 * len(times) * _EPS * ratio[1:]
    falls |= torch.isinf(ratio[1:])
    _require(bool(falls.all()), name, "logsnr never rises with t", f"sigma / |alpha| = {ratio.tolist()}.")
    shown = process.logsnr(times)
    _close(
        name,
        "logsnr = log(alpha^2 / sigma^2)",
        shown,
        -2 * torch.log(ratio),
        16 * _EPS * (1 + shown.abs().clamp_max(1e3)),
    )
    return alpha, sigma


def _check_transitions(process: Process, name: str, times: Tensor, alpha: Tensor, sigma: Tensor) -> None:
    level = process.logsnr(times)
    # an error of a few eps in alpha and in the log-SNR moves a variance by that much, relative to sigma_t^2
    steps = process.t_max if process.is_discrete else 1.0
    tol = 64 * _EPS * (1 + float(level[torch.isfinite(level)].abs().max()) + steps)
    for i in range(len(times)):
        for j in range(i + 1, len(times), 1 + len(times) // 8):
            s, t = times[i], times[j]
            where = f"at s = {float(s):g}, t = {float(t):g}"
            a, b = process.transition(s, t)
            whole = process.kernel(s).then(process.transition(s, t))
            scale = float(torch.maximum(alpha[j].abs(), (a * alpha[i]).abs())) + 1e-300
            spread = float(torch.maximum(sigma[j], b)) ** 2 + 1e-300
            _close(name, "alpha_t = a alpha_s (transition and marginal)", whole.scale, alpha[j], tol * scale, where)
            identity = "sigma_t^2 = a^2 sigma_s^2 + b^2 (transition and marginal)"
            _close(name, identity, whole.std**2, sigma[j] ** 2, tol * spread, where)
            c0, ct, std = process.bridge(s, t)
            reach = float(alpha[i].abs()) + float(abs(ct * alpha[j])) + 1e-300
            _close(
                name, "c0 + ct alpha_t = alpha_s (mean of the bridge)", c0 + ct * alpha[j], alpha[i], tol * reach, where
            )
            identity = "ct^2 sigma_t^2 + std^2 = sigma_s^2 (variance of the bridge)"
            width = float(sigma[i]) ** 2 + 1e-300
            _close(name, identity, ct**2 * sigma[j] ** 2 + std**2, sigma[i] ** 2, tol * width, where)
            if float(sigma[j]) > 0:
                identity = "ct sigma_t^2 = a sigma_s^2 (covariance of the bridge)"
                size = float((a * sigma[i] ** 2).abs()) + 1e-300
                _close(name, identity, ct * sigma[j] ** 2, a * sigma[i] ** 2, tol * size, where)
            if j - i >= 2:
                r = times[(i + j) // 2]
                two = process.transition(s, r).then(process.transition(r, t))
                identity = "transition(s, r) then transition(r, t) = transition(s, t)"
                _close(name, identity, two.scale, a, tol * (float(a.abs()) + 1e-300), where)
                _close(name, identity, two.std**2, b**2, tol * spread, where)
    for ask in (process.transition, process.bridge):
        _refuses(name, ask, times)


def _refuses(name: str, ask: Callable[[Time, Time], object], times: Tensor) -> None:
    try:
        ask(times[1], times[1])
    except TimeError:
        return
    raise BrokenIdentity(f"{name}: a step needs s < t. {ask.__name__}(t, t) gave a result; raise TimeError.")


def _check_inverse(process: Process, name: str, times: Tensor) -> None:
    level = process.logsnr(times)
    inside = torch.isfinite(level) & (level.abs() < 25)
    back = process.logsnr(process.time(level[inside]))
    identity = "logsnr(time(l)) = l"
    # t carries eps, and near either end a log-SNR of size l moves by exp(|l| / 2) per unit of relative alpha or t
    slack = 64 * _EPS * (1 + torch.exp(level[inside].abs() / 2))
    _close(name, identity, back, level[inside], slack)


def _check_rates(process: Process, name: str, times: Tensor) -> None:
    inner = times[2:-2]
    h = 1e-5
    before, after = process.kernel(inner - h), process.kernel(inner + h)
    for label, rate, low, high in zip(("alpha", "sigma"), process.rates(inner), before, after):
        # rounding eps |y| / h, truncation h^2 y''' / 6: with y''' up to 1e5 |y| both stay below 1e-5 (|y| + |y'|)
        slope = (high - low) / (2 * h)
        identity = f"rates: d {label}/dt is the derivative of kernel"
        _close(name, identity, rate, slope, 1e-5 * (high.abs() + slope.abs()) + 1e-9)


# --- denoiser ----------------------------------------------------------------------------------------------------


def check_denoiser(
    denoiser: Denoiser,
    x0: Tensor,
    *,
    exact: bool | None = None,
    cond: Condition = None,
    seed: int = 0,
) -> None:
    """Check the identities of E[x0 | x_t] on data drawn from the law that the denoiser knows.

    Always: shape, dtype and finite values; rows that do not see each other; scalar and row times agreeing; a variance
    >= 0. If `exact`: Tweedie's formula (where `log_marginal` is known) and Cov[x0 | x_t] = sigma^2 / alpha dD/dx_t
    (where `var` is known), by automatic differentiation; and, from 200 rows, that the residual is orthogonal to x_t and
    has the variance claimed, within 6 standard errors.

    Parameters
    ----------
    denoiser : Denoiser
    x0 : float64 tensor, shape (B, *event), B >= 2
        Independent draws from the denoiser's data law.
    exact : bool, optional
        True unless given where `log_marginal` is known, else False.
    cond : mapping of conditions, rows as in x0
    seed : int
        Of the noise.

    Raises
    ------
    BrokenIdentity
        Naming the first identity that fails.
    ShapeError
        If x0 is not a batch of two or more events in float64.
    """
    if x0.ndim < 2 or len(x0) < 2 or x0.dtype != torch.float64:
        raise ShapeError(f"x0: expected float64, shape (B, *event) with B >= 2, got {x0.dtype}, {tuple(x0.shape)}.")
    process, name = denoiser.process, _name(denoiser)
    grid = _noisy_times(process)
    for i, t in enumerate(grid):
        eps = normal(seed, Stream.PROBE, i, tuple(x0.shape), dtype=torch.float64)
        x_t = process.noise(x0, t, eps)
        where = f"at t = {float(t):g}"
        known = denoiser.log_marginal(x_t, t, cond) is not None
        mean = _check_rows(denoiser, name, x_t, t, cond, where)
        if known if exact is None else exact:
            _check_differential(denoiser, name, x_t, t, cond, where)
            if len(x0) >= 200:
                _check_residual(denoiser, name, x0, x_t, mean, t, cond, where)


def _noisy_times(process: Process) -> Tensor:
    """Times where sigma / |alpha| is 0.05 to 4, and t_max; five steps of a chain."""
    if process.is_discrete:
        times = torch.unique(torch.linspace(1, process.t_max, 5).round()).to(torch.float64)
        return times[process.kernel(times).std > 0]
    ratio = torch.tensor([0.05, 0.3, 1.0, 4.0], dtype=torch.float64)
    inside = process.time(-2 * torch.log(ratio))
    return torch.cat([inside, torch.full((1,), process.t_max, dtype=torch.float64)])


def _check_rows(denoiser: Denoiser, name: str, x_t: Tensor, t: Tensor, cond: Condition, where: str) -> Tensor:
    mean = denoiser.mean(x_t, t, cond)
    _require(
        mean.shape == x_t.shape and mean.dtype == x_t.dtype,
        name,
        f"mean has the shape and dtype of x_t {where}",
        f"Got {tuple(mean.shape)}, {mean.dtype} for {tuple(x_t.shape)}, {x_t.dtype}.",
    )
    _require(bool(torch.isfinite(mean).all()), name, f"mean is finite {where}", "Got NaN or infinity.")
    # networks compute in float32: rows may differ by the order of a sum
    tol = 1e-5 * (1 + float(mean.abs().max()))
    if cond is None:
        alone = denoiser.mean(x_t[:1], t)
        _close(name, "row i does not depend on the other rows", alone, mean[:1], tol, where)
        again = denoiser.mean(x_t, t.expand(len(x_t)))
        _close(name, "a scalar t and a row of equal times agree", again, mean, tol, where)
    var = denoiser.var(x_t, t, cond)
    if var is not None:
        _require(var.shape == x_t.shape, name, f"var has the shape of x_t {where}", f"Got {tuple(var.shape)}.")
        _require(bool((var >= 0).all()), name, f"var >= 0 {where}", f"Got {float(var.min())}.")
    return mean


def _check_differential(denoiser: Denoiser, name: str, x_t: Tensor, t: Tensor, cond: Condition, where: str) -> None:
    alpha, sigma = (float(c) for c in denoiser.process.kernel(t))
    x = x_t.detach()[:8].clone().requires_grad_(True)
    few = None if cond is None else {key: value[:8] for key, value in cond.items()}
    with torch.enable_grad():
        mean = denoiser.mean(x, t, few)
        log_p = denoiser.log_marginal(x, t, few)
        size = float(x.detach().abs().max()) + abs(alpha) * float(mean.detach().abs().max())
        if log_p is not None:
            (score,) = torch.autograd.grad(log_p.sum(), x, retain_graph=True)
            # each term is a sum of parts as large as sigma^2 |score| or |x|, with condition number up to 1 / sigma^2
            tol = 1e4 * _EPS * size * (1 + 1 / sigma**2)
            _close(name, "Tweedie: alpha D = x + sigma^2 grad log p", alpha * mean, x + sigma**2 * score, tol, where)
        var = denoiser.var(x, t, few)
        if var is not None and alpha != 0:
            flat = mean.flatten(1)
            columns = [
                torch.autograd.grad(flat[:, j].sum(), x, retain_graph=True)[0].flatten(1)[:, j]
                for j in range(flat.shape[1])
            ]
            slope = sigma**2 / alpha * torch.stack(columns, 1)
            tol = 1e4 * _EPS * (1 + size**2 / sigma**2) * (1 + sigma**2)
            _close(name, "Var[x0 | x_t] = sigma^2 / alpha dD/dx", var.flatten(1), slope, tol, where)


def _check_residual(
    denoiser: Denoiser, name: str, x0: Tensor, x_t: Tensor, mean: Tensor, t: Tensor, cond: Condition, where: str
) -> None:
    residual = (x0 - mean).flatten(1)
    for identity, value in (
        ("E[x0 - D] = 0", residual),
        ("E[(x0 - D) x_t] = 0 (the residual is orthogonal to what is known)", residual * x_t.flatten(1)),
    ):
        _unbiased(name, identity, value, where)
    var = denoiser.var(x_t, t, cond)
    if var is not None:
        _unbiased(name, "E[(x0 - D)^2] = E Var[x0 | x_t]", residual**2 - var.flatten(1), where)


def _unbiased(name: str, identity: str, value: Tensor, where: str) -> None:
    error = value.std(0) / math.sqrt(len(value))
    _close(name, identity, value.mean(0), torch.zeros(()), _STANDARD_ERRORS * error + 1e-12, where)


# --- solver ------------------------------------------------------------------------------------------------------


class _Counting(Denoiser):
    """A denoiser that counts its calls."""

    def __init__(self, inner: Denoiser) -> None:
        self.inner, self.calls = inner, 0
        self.process, self.event_shape, self.data_moments = inner.process, inner.event_shape, inner.data_moments

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        self.calls += 1
        return self.inner.mean(x_t, t, cond)

    def var(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor | None:
        return self.inner.var(x_t, t, cond)


def check_solver(solver: Solver) -> None:
    """Check the identities that every reverse rule obeys, on Gaussian data and without sampling noise.

    The mean of the data is reproduced by any number of steps, under processes with and without signal at their end and
    under chains whose signal vanishes or turns its sign; the step leaves its input alone and is repeatable; the
    denoiser is called `evals` times a step; the variance converges with the claimed `order`.

    Parameters
    ----------
    solver : Solver

    Raises
    ------
    BrokenIdentity
        Naming the first identity that fails.
    """
    name = _name(solver)
    for process in (
        VP(),
        Cosine(),
        EDM(),
        Chain.ddpm("linear", steps=50),
        Chain.ddpm("cosine", steps=20, zero_snr=True),
        Chain([0.1, 1.0, 0.2, 0.3], [0.2, 0.7, 0.5, 0.6]),
        Chain([0.1, 1.5, 0.2, 1.2], [0.2, 0.7, 0.5, 0.6]),
        Chain([0.1, 0.0, 0.2], [0.0, 0.7, 0.5]),
    ):
        _check_mean(solver, name, process)
    _check_calls(solver, name)
    _check_order(solver, name)


def _check_mean(solver: Solver, name: str, process: Process) -> None:
    data = torch.tensor([1.5, -0.5], dtype=torch.float64)
    denoiser = GaussianDenoiser(data, torch.tensor([0.3, 2.0], dtype=torch.float64), process)
    counts = [1, 2, 3, int(process.t_max)] if process.is_discrete else [1, 2, 9]
    for steps in counts:
        where = f"with {_name(process)} in {steps} steps"
        got = propagate(denoiser, grids.grid(process, steps), solver)
        _require(bool(torch.isfinite(got.cov).all()), name, f"the walk is finite {where}", f"Got {got.cov.tolist()}.")
        # rounding of x / alpha grows with the largest sigma / alpha that is divided by
        _close(name, "the mean of Gaussian data is reproduced", got.mean, data, 1e-9, where)


def _check_calls(solver: Solver, name: str) -> None:
    process = EDM()
    inner = GaussianDenoiser(torch.zeros(2), 0.5, process)
    grid = grids.uniform(process, 4)[:-1]  # ends before the data: every step is a full one
    x = normal(0, Stream.PROBE, 0, (3, 2), dtype=torch.float64) * 80
    kept = x.clone()
    ends = []
    for _ in range(2):
        counting = _Counting(inner)
        frames = list(trajectory(counting, x, grid, solver))
        _require(
            counting.calls == solver.calls(process, grid),
            name,
            "the denoiser is called as often as claimed",
            f"Expected {solver.calls(process, grid)} calls, got {counting.calls} in {len(grid) - 1} steps.",
        )
        ends.append(frames[-1].x)
    _close(name, "the start is left as it was (no writing in place)", x, kept, 0.0)
    _close(name, "the same walk twice gives the same points (no hidden state)", ends[1], ends[0], 0.0)


def _check_order(solver: Solver, name: str) -> None:
    # even steps in log sigma, far from the last step to the data, which is of first order, and from so much noise that
    # the first steps, of first order too for want of a memory, have nothing to get wrong
    process = EDM(sigma_max=1000.0, rho=1.0)
    q, counts = 1.0, (64, 128, 256)
    denoiser = GaussianDenoiser(torch.zeros(1), q, process)
    errors = []
    for steps in counts:
        times = torch.logspace(0, -4, steps + 1, dtype=torch.float64)
        got = float(propagate(denoiser, times, solver).cov[0, 0])
        errors.append(abs(got / (q + (1000.0 * float(times[-1])) ** 2) - 1))
    if max(errors) < 1e-10:  # exact on Gaussian data at any number of steps
        return
    slope = math.log(errors[0] / errors[-1]) / math.log(counts[-1] / counts[0])
    _require(
        slope > solver.order - 0.25,
        name,
        f"the variance of Gaussian data converges with order {solver.order}",
        f"Errors {', '.join(f'{e:.3g}' for e in errors)} at {counts} steps: measured order {slope:.2f}.",
    )
