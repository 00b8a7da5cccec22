"""Check of a denoiser of your own against the identities of E[x0 | x_t]."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from caminito._errors import ShapeError
from caminito._random import Stream, normal
from caminito.denoiser import Denoiser
from caminito.denoiser.base import Condition, rows_of
from caminito.process import Process
from caminito.testing.report import Record, Report

__all__ = ["check_denoiser"]

_EPS = torch.finfo(torch.float64).eps
_STANDARD_ERRORS = 6.0  # a sound part fails one of a thousand such comparisons in 500 000 runs


def check_denoiser(
    denoiser: Denoiser,
    x0: Tensor,
    *,
    exact: bool | None = None,
    cond: Condition = None,
    seed: int = 0,
    verbose: bool = True,
) -> Report:
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
    verbose : bool
        Whether the table is printed.

    Returns
    -------
    Report

    Raises
    ------
    BrokenIdentity
        Naming the first identity that fails.
    ShapeError
        If x0 is not a batch of two or more events in float64.
    """
    if x0.ndim < 2 or len(x0) < 2 or x0.dtype != torch.float64:
        raise ShapeError(f"x0: expected float64, shape (B, *event) with B >= 2, got {x0.dtype}, {tuple(x0.shape)}.")
    process, record = denoiser.process, Record(denoiser, verbose)
    for i, t in enumerate(_noisy_times(process)):
        eps = normal(seed, Stream.PROBE, i, tuple(x0.shape), dtype=torch.float64)
        x_t = process.noise(x0, t, eps)
        where = f"at t = {float(t):g}"
        known = denoiser.log_marginal(x_t, t, cond) is not None
        mean = _check_rows(record, denoiser, x_t, t, cond, where)
        if known if exact is None else exact:
            _check_differential(record, denoiser, x_t, t, cond, where)
            if len(x0) >= 200:
                _check_residual(record, denoiser, x0, x_t, mean, t, cond, where)
    return record.done()


def _noisy_times(process: Process) -> Tensor:
    """Times where sigma / |alpha| is 0.05 to 4, and t_max; five steps of a chain."""
    if process.is_discrete:
        times = torch.unique(torch.linspace(1, process.t_max, 5).round()).to(torch.float64)
        return times[process.kernel(times).std > 0]
    ratio = torch.tensor([0.05, 0.3, 1.0, 4.0], dtype=torch.float64)
    inside = process.time(-2 * torch.log(ratio))
    return torch.cat([inside, torch.full((1,), process.t_max, dtype=torch.float64)])


def _check_rows(record: Record, denoiser: Denoiser, x_t: Tensor, t: Tensor, cond: Condition, where: str) -> Tensor:
    mean = denoiser.mean(x_t, t, cond)
    record.require(
        "mean has the shape and dtype of x_t",
        mean.shape == x_t.shape and mean.dtype == x_t.dtype,
        f"Got {tuple(mean.shape)}, {mean.dtype} for {tuple(x_t.shape)}, {x_t.dtype}.",
        where,
    )
    record.require("mean is finite", bool(torch.isfinite(mean).all()), "Got NaN or infinity.", where)
    # networks compute in float32: rows may differ by the order of a sum
    tol = 1e-5 * (1 + float(mean.abs().max()))
    if cond is None:
        alone = denoiser.mean(x_t[:1], t)
        record.close("row i does not depend on the other rows", alone, mean[:1], tol, where)
        again = denoiser.mean(x_t, t.expand(len(x_t)))
        record.close("a scalar t and a row of equal times agree", again, mean, tol, where)
    var = denoiser.var(x_t, t, cond)
    if var is not None:
        record.require("var has the shape of x_t", var.shape == x_t.shape, f"Got {tuple(var.shape)}.", where)
        record.require("var >= 0", bool((var >= 0).all()), f"Got {float(var.min())}.", where)
    return mean


def _check_differential(
    record: Record, denoiser: Denoiser, x_t: Tensor, t: Tensor, cond: Condition, where: str
) -> None:
    alpha, sigma = (float(c) for c in denoiser.process.kernel(t))
    x = x_t.detach()[:8].clone().requires_grad_(True)
    few = rows_of(cond, slice(8))
    with torch.enable_grad():
        mean = denoiser.mean(x, t, few)
        log_p = denoiser.log_marginal(x, t, few)
        size = float(x.detach().abs().max()) + abs(alpha) * float(mean.detach().abs().max())
        if log_p is not None:
            (score,) = torch.autograd.grad(log_p.sum(), x, retain_graph=True)
            # each term is a sum of parts as large as sigma^2 |score| or |x|, with condition number up to 1 / sigma^2
            tol = 1e4 * _EPS * size * (1 + 1 / sigma**2)
            identity = "Tweedie: alpha D = x + sigma^2 grad log p"
            record.close(identity, alpha * mean, x + sigma**2 * score, tol, where)
        var = denoiser.var(x, t, few)
        if var is not None and alpha != 0:
            flat = mean.flatten(1)
            columns = [
                torch.autograd.grad(flat[:, j].sum(), x, retain_graph=True)[0].flatten(1)[:, j]
                for j in range(flat.shape[1])
            ]
            slope = sigma**2 / alpha * torch.stack(columns, 1)
            tol = 1e4 * _EPS * (1 + size**2 / sigma**2) * (1 + sigma**2)
            record.close("Var[x0 | x_t] = sigma^2 / alpha dD/dx", var.flatten(1), slope, tol, where)


def _check_residual(
    record: Record, denoiser: Denoiser, x0: Tensor, x_t: Tensor, mean: Tensor, t: Tensor, cond: Condition, where: str
) -> None:
    residual = (x0 - mean).flatten(1)
    for identity, value in (
        ("E[x0 - D] = 0", residual),
        ("E[(x0 - D) x_t] = 0 (the residual is orthogonal to what is known)", residual * x_t.flatten(1)),
    ):
        _unbiased(record, identity, value, where)
    var = denoiser.var(x_t, t, cond)
    if var is not None:
        _unbiased(record, "E[(x0 - D)^2] = E Var[x0 | x_t]", residual**2 - var.flatten(1), where)


def _unbiased(record: Record, identity: str, value: Tensor, where: str) -> None:
    error = value.std(0) / math.sqrt(len(value))
    record.close(identity, value.mean(0), torch.zeros(()), _STANDARD_ERRORS * error + 1e-12, where)
