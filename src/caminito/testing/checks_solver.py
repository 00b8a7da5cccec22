"""Check of a solver of your own: its claims are measured, and the identities of every reverse rule are held against it.

All walks are on Gaussian data. There every rule is an affine map of the start and of its noise, so that mean and
variance of what it makes are known without sampling (`propagate`).
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from caminito._random import Stream, normal
from caminito.denoiser import Denoiser, GaussianDenoiser
from caminito.denoiser.base import Condition
from caminito.process import EDM, VE, VP, Chain, Cosine, Process, RectifiedFlow
from caminito.process import grid as grids
from caminito.process.base import Time
from caminito.sampling import Frame, NoiseSource, PerSample, Solver, trajectory
from caminito.sampling.noise import PART
from caminito.testing.oracles import Moments, propagate
from caminito.testing.report import Record, Report

__all__ = ["check_solver"]

_EPS = torch.finfo(torch.float64).eps
_MEAN, _VAR = (torch.tensor(v, dtype=torch.float64) for v in ((1.5, -0.5), (0.3, 2.0)))
_THOUSAND = 0.1  # relative error of the variance in a thousand steps: ten times that of a rule of first order


def check_solver(solver: Solver, *, verbose: bool = True) -> Report:
    """Measure what a reverse rule claims, and check the identities that every rule obeys.

    Claims: `order` (of the variance, on an even grid of log sigma), `evals`, `calls`, `is_stochastic` and `draws`.
    Identities: the mean of the data is reproduced by any number of steps, under processes with and without signal at
    their end (alpha = 0) and chains that lose it on the way; where alpha changes its sign the walk is that of the chain
    without turns; the denoiser is not asked at t = 0, and the last steps change no more than the noise that is left
    allows; a thousand steps of a chain reach the variance of the data to a tenth; a row does not depend on the others;
    nothing is written in place or hidden between walks; the dtype and device of the start are kept. Whether the walk is
    the same under every schedule (re-schedule invariance) is noted: good rules differ in it.

    Parameters
    ----------
    solver : Solver
    verbose : bool
        Whether the table is printed.

    Returns
    -------
    Report

    Raises
    ------
    BrokenIdentity
        Naming the first claim or identity that fails.
    """
    record = Record(solver, verbose)
    _check_claims(record, solver)
    _check_order(record, solver)
    _check_mean(record, solver, "the mean of Gaussian data is reproduced", _ordinary())
    _check_mean(record, solver, "alpha = 0: the mean of Gaussian data is reproduced", _without_signal())
    _check_turns(record, solver)
    _check_last_steps(record, solver)
    _check_thousand(record, solver)
    _check_memory(record, solver)
    _check_rows(record, solver)
    _check_dtype(record, solver)
    _note_schedules(record, solver)
    return record.done()


class _Ruler(Denoiser):
    """Exact denoiser of independent normal entries, D = gain x + shift; it works out a time once, notes calls."""

    def __init__(self, mean: Tensor, var: Tensor, process: Process) -> None:
        self.process, self.event_shape, self.data_moments = process, tuple(mean.shape), (mean, var)
        self.asked: list[float] = []
        self._known: dict[float, tuple[Tensor, Tensor, Tensor]] = {}
        self._rows = GaussianDenoiser(mean, var, process)

    def _at(self, t: float) -> tuple[Tensor, Tensor, Tensor]:
        if t not in self._known:
            (alpha, sigma), (m, q) = self.process.kernel(t), self._rows.data_moments
            total = torch.as_tensor(alpha**2 * q + sigma**2)
            gain = torch.where(total > 0, alpha * q / total, 0.0)
            self._known[t] = gain, (1 - alpha * gain) * m, torch.where(total > 0, q * sigma**2 / total, q)
        return self._known[t]

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        if isinstance(t, Tensor) and t.ndim:
            self.asked += t.tolist()
            return self._rows.mean(x_t, t)
        self.asked.append(float(t))
        gain, shift, _ = self._at(float(t))
        return gain.to(x_t) * x_t + shift.to(x_t)

    def var(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        if isinstance(t, Tensor) and t.ndim:
            return self._rows.var(x_t, t)
        return self._at(float(t))[2].to(x_t).expand_as(x_t)


def _ordinary() -> dict[str, Process]:
    return {
        "VP()": VP(),
        "EDM()": EDM(),
        "a DDPM chain of 50 steps": Chain.ddpm("linear", steps=50),
        "a chain that begins without noise": Chain([0.1, 0.0, 0.2], [0.0, 0.7, 0.5]),
    }


def _without_signal() -> dict[str, Process]:
    return {
        "Cosine()": Cosine(),
        "RectifiedFlow()": RectifiedFlow(),
        "a DDPM chain that ends without signal": Chain.ddpm("cosine", steps=20, zero_snr=True),
        "a chain that loses its signal on the way": Chain([0.1, 1.0, 0.2, 0.3], [0.2, 0.7, 0.5, 0.6]),
        "a chain that loses signal and noise on the way": Chain([0.0, 0.1, 1.0, 0.2], [0.0, 0.3, 0.0, 0.3]),
    }


@contextmanager
def _walking(record: Record, where: str) -> Iterator[None]:
    """What a part under check raises on a walk is its failure to walk."""
    try:
        yield
    except Exception as error:
        record.fails("every walk is finite and comes to its end", error, where)


def _moments(
    record: Record, solver: Solver, process: Process, grid: Tensor, where: str, mean: Tensor = _MEAN, var: Tensor = _VAR
) -> Moments:
    with _walking(record, where):
        got = propagate(_Ruler(mean, var, process), grid, solver)
    finite = bool(torch.isfinite(got.cov).all() and torch.isfinite(got.mean).all())
    record.require("every walk is finite and comes to its end", finite, f"Got {got.cov.tolist()}.", where)
    return got


def _counts(process: Process) -> list[int]:
    return sorted({1, 2, 3, int(process.t_max)}) if process.is_discrete else [1, 2, 9]


# --- claims -----------------------------------------------------------------------------------------------------------


@dataclass
class _Heard:
    """A noise source that notes which parts of the noise of a step are asked for."""

    inner: NoiseSource = field(default_factory=PerSample)
    parts: set[int] = field(default_factory=set)

    def normal(self, step: int, like: Tensor) -> Tensor:
        self.parts.add(step // PART)
        return self.inner.normal(step, like)


def _check_claims(record: Record, solver: Solver) -> None:
    process = EDM()
    grid = grids.uniform(process, 8)[:-1]  # ends before the data: every step is a full one
    ruler, heard, calls = _Ruler(_MEAN, _VAR, process), _Heard(), []
    with _walking(record, "with EDM() in 7 steps"):
        for _ in trajectory(ruler, _start(process, grid), grid, solver, noise=heard):
            calls.append(len(ruler.asked))
    steps = [after - before for before, after in itertools.pairwise(calls)]
    usual, total = int(statistics.median(steps)), solver.calls(process, grid)
    made = f"In {len(steps)} steps it made {', '.join(map(str, steps))}."
    for what, name, claimed, measured in (
        ("evaluations in a step", "evals", solver.evals, usual),
        (f"evaluations in {len(steps)} steps", "calls", total, calls[-1]),
    ):
        detail = f"The denoiser is to be called as often as claimed: `{name}` says {claimed}, it was {measured}. {made}"
        record.compare(what, claimed, measured, claimed == measured, detail)
    drew = bool(heard.parts)
    said, did = ("yes" if flag else "no" for flag in (solver.is_stochastic, drew))
    detail = f"`is_stochastic` says {solver.is_stochastic}, and the walk {'drew noise' if drew else 'drew none'}."
    record.compare("noise is drawn", said, did, said == did, detail)
    parts = max(heard.parts, default=-1) + 1
    most = solver.draws if solver.is_stochastic else 0
    detail = f"`draws` says {solver.draws} at most, and a step asked for part {parts - 1}, counted from 0."
    record.compare("parts of the noise in a step, at most", most, parts, parts <= most, detail)


def _check_order(record: Record, solver: Solver) -> None:
    # even steps in log sigma, far from the last step to the data, which is of first order, and from so much noise that
    # the first steps, of first order too for want of a memory, have nothing to get wrong
    process, counts, errors = EDM(sigma_max=1000.0, rho=1.0), (64, 256), []
    mean, var = torch.zeros(3, dtype=torch.float64), torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)
    for steps in counts:
        times = torch.logspace(0, -4, steps + 1, dtype=torch.float64)
        where = f"with EDM(1000.0, rho=1.0) in {steps} steps"
        got = _moments(record, solver, process, times, where, mean, var).cov.diagonal()
        errors.append(float((got / (var + (1000.0 * float(times[-1])) ** 2) - 1).abs().max()))
    what, order = "order of convergence", solver.order
    if max(errors) < 1e-10:
        record.compare(what, order, "exact", True, "")
        return
    slope = math.log(errors[0] / max(errors[-1], _EPS)) / math.log(counts[-1] / counts[0])
    detail = (
        f"It claims that the variance of Gaussian data converges with order {order}. The largest errors are "
        f"{errors[0]:.3g} in {counts[0]} steps and {errors[-1]:.3g} in {counts[-1]}: measured order {slope:.2f}."
    )
    record.compare(what, order, slope, slope > order - 0.25, detail, tolerance=0.25)


# --- identities -------------------------------------------------------------------------------------------------------


def _check_mean(record: Record, solver: Solver, what: str, processes: Mapping[str, Process]) -> None:
    for name, process in processes.items():
        for steps in _counts(process):
            where = f"with {name} in {steps} step{'s' if steps > 1 else ''}"
            got = _moments(record, solver, process, grids.grid(process, steps), where)
            # rounding of x / alpha grows with the largest sigma / alpha that is divided by, and with what the walk
            # makes of it: no more than of the spread
            spread = float(got.cov.diagonal().abs().max()) ** 0.5
            record.close(what, got.mean, _MEAN, 1e-9 + 256 * _EPS * spread, where)


def _check_turns(record: Record, solver: Solver) -> None:
    what = "alpha < 0: the walk is that of the chain without turns"
    drift, noise = [0.1, 1.5, 0.2, 1.2, 1.7], [0.2, 0.7, 0.5, 0.6, 0.3]
    turning, straight = Chain(drift, noise), Chain([1 - abs(1 - mu) for mu in drift], noise)
    for steps in _counts(turning):
        where = f"with a chain that turns its sign, in {steps} step{'s' if steps > 1 else ''}"
        grid = grids.grid(turning, steps)
        got, expected = (_moments(record, solver, chain, grid, where) for chain in (turning, straight))
        for a, b in zip(got, expected):
            record.close(what, a, b, 1e-12 * (1 + float(b.abs().max())), where)


def _check_last_steps(record: Record, solver: Solver) -> None:
    process, where = EDM(), "with EDM() in 55 steps, the last but one at sigma = 1e-6"
    levels = torch.logspace(math.log10(80.0), -6, 55, dtype=torch.float64)
    grid = torch.cat([process.time(-2 * torch.log(levels)), torch.zeros(1, dtype=torch.float64)])
    ruler, near = _Ruler(_MEAN, _VAR, process), int((levels > 0.01).sum())
    with _walking(record, where):
        points = [frame.x for frame in trajectory(ruler, _start(process, grid), grid, solver)]
    moved = (points[-1] - points[near]) / float(levels[near])
    # a rule takes out the noise that is left, a normal number of its size, and may put in another: none of them is 10
    record.close("last steps: x moves by no more than the noise that is left", moved, torch.zeros(()), 10.0, where)
    asked = sum(t == 0 for t in ruler.asked)
    record.compare("last step: evaluations at t = 0", 0, asked, asked == 0, f"Got {asked}. There x is the data.", where)


def _check_thousand(record: Record, solver: Solver) -> None:
    chain = Chain.ddpm("cosine", steps=1000, zero_snr=True)
    where = "with a DDPM chain that ends without signal, in all its steps"
    m, q = torch.tensor([1.5], dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64)
    got = _moments(record, solver, chain, grids.trailing(chain, 1000), where, m, q)
    record.close("a thousand steps: the mean is reproduced", got.mean, m, 1e-9, where)
    record.close("a thousand steps: the variance is that of the data", got.cov / q, torch.ones(1, 1), _THOUSAND, where)


def _start(process: Process, grid: Tensor, rows: int = 5) -> Tensor:
    alpha, sigma = process.kernel(grid[0])
    z = normal(0, Stream.PROBE, 0, (rows, len(_MEAN)), dtype=torch.float64)
    return alpha * _MEAN + torch.sqrt(alpha**2 * _VAR + sigma**2) * z


def _walk(solver: Solver, process: Process, grid: Tensor, x: Tensor, first: int = 0) -> list[Frame]:
    return list(trajectory(_Ruler(_MEAN, _VAR, process), x, grid, solver, noise=PerSample(0, first)))


def _check_memory(record: Record, solver: Solver) -> None:
    process, where = EDM(), "with EDM() in 4 steps"
    grid = grids.uniform(process, 4)
    x = _start(process, grid)
    start, other = x.clone(), -x
    with _walking(record, where):
        kept = [(frame.x, frame.x.clone()) for frame in trajectory(_Ruler(_MEAN, _VAR, process), x, grid, solver)]
        pairs = zip(*(trajectory(_Ruler(_MEAN, _VAR, process), y, grid, solver) for y in (x, other)))
        *_, (again, _) = pairs
    record.close("the start is left as it was (no writing in place)", x, start, 0.0)
    now, then = (torch.stack(points) for points in zip(*kept))
    record.close("points once made are left as they were (no writing in place)", now, then, 0.0)
    record.close("two walks at once are two walks (no hidden state)", again.x, then[-1], 0.0)


def _check_rows(record: Record, solver: Solver) -> None:
    process, what = VP(), "batch invariance (a row alone and among others)"
    grid = grids.grid(process, 6)
    x = _start(process, grid)
    with _walking(record, "with VP() in 6 steps"):
        whole = _walk(solver, process, grid, x)[-1].x
        alone = torch.cat([_walk(solver, process, grid, x[i : i + 1], i)[-1].x for i in range(len(x))])
    record.close(what, alone, whole, 64 * _EPS * float(whole.abs().max()))


def _check_dtype(record: Record, solver: Solver) -> None:
    process, where = EDM(), "with EDM() in 18 steps"
    grid = grids.grid(process, 18)
    x = _start(process, grid).float()
    with _walking(record, where):
        single, double = _walk(solver, process, grid, x), _walk(solver, process, grid, x.double())
    kinds = ", ".join(sorted({f"{frame.x.dtype} on {frame.x.device}".removeprefix("torch.") for frame in single}))
    wanted = f"float32 on {x.device}"
    record.compare("float32 in, float32 out", wanted, kinds, kinds == wanted, f"Got {kinds}.", where)
    limit = 64 * torch.finfo(torch.float32).eps * max(float(frame.x.abs().max()) for frame in double)
    record.close("float32: the walk in float64, to rounding", single[-1].x, double[-1].x, limit, where)


def _note_schedules(record: Record, solver: Solver) -> None:
    """Whether x / alpha comes out the same under every process, at the same sigma / alpha; else how far apart."""
    level = torch.linspace(math.log(18.0), math.log(0.02), 13, dtype=torch.float64)
    y = _start(EDM(20.0), EDM(20.0).time(-2 * level))
    ends = []
    for process in (EDM(20.0), EDM(20.0, rho=1.0), VE(), VP(), RectifiedFlow()):
        grid = process.time(-2 * level)
        with _walking(record, f"with {type(process).__name__}() in 12 steps"):
            end = _walk(solver, process, grid, y * process.kernel(grid[0]).scale)[-1].x
        ends.append(end / process.kernel(grid[-1]).scale)
    apart = max(float((end - ends[0]).abs().max()) for end in ends)
    # each process knows the times of the levels to rounding, which the walk down from sigma = 18 amplifies a little
    same = "yes" if apart < 1e-9 else f"no ({apart:.1g})"
    record.note("re-schedule invariance", same)
