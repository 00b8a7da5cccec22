"""Check of a process of your own against the identities that all of them obey."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from caminito._errors import TimeError
from caminito.process import Process
from caminito.testing.report import Record, Report

__all__ = ["check_process"]

_EPS = torch.finfo(torch.float64).eps


def check_process(process: Process, *, verbose: bool = True) -> Report:
    """Check the identities that every forward process obeys.

    The data at t = 0 (alpha = 1, sigma = 0); float64 coefficients of the shape of t; a log-SNR that never rises;
    composition of transitions (Chapman-Kolmogorov) with each other and with the marginal; the bridge as the conditional
    of x_s and x_t given x_0 (its mean, variance and covariance); `time` as the inverse of `logsnr`; `rates` as the
    derivative of `kernel`; `prior` as the moments of x at t_max; refusal of s >= t, and in a chain of what is no step.

    Parameters
    ----------
    process : Process
    verbose : bool
        Whether the table is printed.

    Returns
    -------
    Report

    Raises
    ------
    BrokenIdentity
        Naming the first identity that fails.
    """
    record = Record(process, verbose)
    times = _probe_times(process)
    alpha, sigma = _check_marginal(record, process, times)
    _check_transitions(record, process, times, alpha, sigma)
    _check_refusals(record, process, times)
    _check_inverse(record, process, times)
    if not process.is_discrete:
        _check_rates(record, process, times)
    prior = process.prior(2.0, 0.25)
    record.close("prior: mean of x at t_max = alpha m", prior.mean, alpha[-1] * 2, 8 * _EPS * float(alpha[-1].abs()))
    end = torch.sqrt(alpha[-1] ** 2 * 0.25 + sigma[-1] ** 2)
    record.close("prior: variance of x at t_max = alpha^2 var + sigma^2", prior.std, end, 8 * _EPS * float(end))
    return record.done()


def _probe_times(process: Process) -> Tensor:
    if process.is_discrete:
        return torch.unique(torch.linspace(0, process.t_max, min(int(process.t_max), 24) + 1).round()).to(torch.float64)
    return torch.linspace(0, 1, 25, dtype=torch.float64) * process.t_max


def _check_marginal(record: Record, process: Process, times: Tensor) -> tuple[Tensor, Tensor]:
    alpha, sigma = process.kernel(times)
    for label, value in (("alpha", alpha), ("sigma", sigma)):
        got = f"Got {value.dtype}, shape {tuple(value.shape)}."
        fits = value.dtype == torch.float64 and value.shape == times.shape
        record.require(f"kernel: {label} is a float64 tensor of the shape of t", fits, got)
        finite = bool(torch.isfinite(value).all())
        record.require(f"kernel: {label} is finite on [0, t_max]", finite, f"Got {value}.")
    record.close("kernel: alpha_0 = 1", alpha[0], torch.ones(()), 0.0)
    record.close("kernel: sigma_0 = 0", sigma[0], torch.zeros(()), 0.0)
    record.require("kernel: sigma >= 0", bool((sigma >= 0).all()), f"Got {float(sigma.min())}.")
    one = torch.stack([*process.kernel(float(times[-1]))])
    record.close("kernel: a scalar t and a row of times agree", one, torch.stack([alpha[-1], sigma[-1]]), 0.0)
    ratio = torch.where(alpha == 0, torch.inf, sigma / torch.where(alpha == 0, 1.0, alpha).abs())
    falls = ratio[1:] - ratio[:-1] >= -16 * len(times) * _EPS * ratio[1:]
    falls |= torch.isinf(ratio[1:])
    record.require("logsnr never rises with t", bool(falls.all()), f"sigma / |alpha| = {ratio.tolist()}.")
    shown = process.logsnr(times)
    slack = 16 * _EPS * (1 + shown.abs().clamp_max(1e3))
    record.close("logsnr = log(alpha^2 / sigma^2)", shown, -2 * torch.log(ratio), slack)
    return alpha, sigma


def _check_transitions(record: Record, process: Process, times: Tensor, alpha: Tensor, sigma: Tensor) -> None:
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
            record.close("alpha_t = a alpha_s (transition and marginal)", whole.scale, alpha[j], tol * scale, where)
            identity = "sigma_t^2 = a^2 sigma_s^2 + b^2 (transition and marginal)"
            record.close(identity, whole.std**2, sigma[j] ** 2, tol * spread, where)
            c0, ct, std = process.bridge(s, t)
            reach = float(alpha[i].abs()) + float(abs(ct * alpha[j])) + 1e-300
            identity = "c0 + ct alpha_t = alpha_s (mean of the bridge)"
            record.close(identity, c0 + ct * alpha[j], alpha[i], tol * reach, where)
            identity = "ct^2 sigma_t^2 + std^2 = sigma_s^2 (variance of the bridge)"
            width = float(sigma[i]) ** 2 + 1e-300
            record.close(identity, ct**2 * sigma[j] ** 2 + std**2, sigma[i] ** 2, tol * width, where)
            if float(sigma[j]) > 0:
                identity = "ct sigma_t^2 = a sigma_s^2 (covariance of the bridge)"
                size = float((a * sigma[i] ** 2).abs()) + 1e-300
                record.close(identity, ct * sigma[j] ** 2, a * sigma[i] ** 2, tol * size, where)
            if j - i >= 2:
                r = times[(i + j) // 2]
                two = process.transition(s, r).then(process.transition(r, t))
                identity = "transition(s, r) then transition(r, t) = transition(s, t)"
                record.close(identity, two.scale, a, tol * (float(a.abs()) + 1e-300), where)
                record.close(identity, two.std**2, b**2, tol * spread, where)


def _check_refusals(record: Record, process: Process, times: Tensor) -> None:
    for ask in (process.transition, process.bridge):
        _refuses(record, "a step needs s < t", f"{ask.__name__}(t, t)", partial(ask, times[1], times[1]))
    if process.is_discrete:
        _refuses(record, "a chain has no time between its steps", "kernel(0.5)", partial(process.kernel, 0.5))


def _refuses(record: Record, what: str, call: str, ask: Callable[[], object]) -> None:
    try:
        ask()
    except TimeError:
        record.compare(what, "TimeError", "TimeError", True, "")
        return
    record.compare(what, "TimeError", "a result", False, f"{call} gave a result; raise TimeError.")


def _check_inverse(record: Record, process: Process, times: Tensor) -> None:
    level = process.logsnr(times)
    inside = torch.isfinite(level) & (level.abs() < 25)
    back = process.logsnr(process.time(level[inside]))
    # t carries eps, and near either end a log-SNR of size l moves by exp(|l| / 2) per unit of relative alpha or t
    slack = 64 * _EPS * (1 + torch.exp(level[inside].abs() / 2))
    record.close("logsnr(time(l)) = l", back, level[inside], slack)


def _check_rates(record: Record, process: Process, times: Tensor) -> None:
    inner = times[2:-2]
    h = 1e-5
    before, after = process.kernel(inner - h), process.kernel(inner + h)
    for label, rate, low, high in zip(("alpha", "sigma"), process.rates(inner), before, after):
        # rounding eps |y| / h, truncation h^2 y''' / 6: with y''' up to 1e5 |y| both stay below 1e-5 (|y| + |y'|)
        slope = (high - low) / (2 * h)
        tolerance = 1e-5 * (high.abs() + slope.abs()) + 1e-9
        record.close(f"rates: d {label}/dt is the derivative of kernel", rate, slope, tolerance)
