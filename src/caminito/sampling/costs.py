"""What a reverse step costs, measured on data: the quantities that a calibrated grid makes small.

Write r = sigma / |alpha|, snr = 1 / r^2, y = x / alpha, D_t = E[x0 | x_t]. Three answers, each for all pairs or all
neighbours of a fine set of times at once:

`klub`. A stochastic solver that keeps D from t down to s leaves the reverse SDE by a Kullback-Leibler divergence of

    KLUB(t -> s) = 1/2 int_{snr_t}^{snr_s} E |D_u - D_t|^2 d snr_u  nats,    (x_u, x_t) on one forward path,

which is int E|D_u - D_t|^2 u^-3 du where sigma = u, alpha = 1 (Sabour et al. 2024, section 3 and appendix A.2). The
summed KLUB of a grid is how much its variational bound falls short of the bound in continuous time, and for Gaussian
data N(m, c^2) it is 1/2 sum_i (w_i+1 / w_i - 1) up to a constant, w = snr + 1/c^2: smallest where w grows
geometrically.

`score_length`. The work of a corrector that takes x from p_t to p_s is L(t, s) = r^2 E |score_s - score_t|^2, and
Lambda = sum sqrt(L) over ever finer steps is a length (Williams et al. 2024, algorithms 1 and 2, with v = sigma). For
Gaussian data it is 2 sqrt(d) (asinh(r / c) - r / sqrt(r^2 + c^2)).

`deviations`. Along the trajectory of a fine teacher, how far one straight step (Euler's, from any point with the slope
there) lands from the teacher (Chen et al. 2024, section 4).

All levels share their draws (common random numbers), so that what is compared differs by the levels alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from caminito._random import Stream, normal, permutation
from caminito.denoiser import Condition, Denoiser, rows_of
from caminito.sampling.noise import NoiseSource
from caminito.sampling.solvers import Solver
from caminito.sampling.trajectory import trajectory

__all__ = ["Draws", "deviations", "klub", "score_length"]

Tick = Callable[[], None]

_HELD = 2**24  # values kept at once: those of all levels, for a chunk of rows


@dataclass(frozen=True)
class Draws:
    """The rows of data, with their conditions and noise, on which every cost is measured.

    Parameters
    ----------
    denoiser : Denoiser
    x0 : tensor, shape (n, *event)
    cond : mapping of conditions with n rows
    seed : int
    batch_size : int, optional
        Rows given to the denoiser at once.
    start : int
        Number of the first row: the noise of a row does not depend on the chunk it is in.
    """

    denoiser: Denoiser
    x0: Tensor
    cond: Condition
    seed: int
    batch_size: int | None = None
    start: int = 0

    @classmethod
    def choose(
        cls, denoiser: Denoiser, x0: Tensor, count: int, cond: Condition, seed: int, batch_size: int | None = None
    ) -> Draws:
        """`count` rows of the data in random order, each as often as any other, give or take one."""
        order = permutation(seed, Stream.CALIBRATION, -1, len(x0)).repeat(-(-count // len(x0)))[:count]
        return cls(denoiser, x0[order.to(x0.device)], rows_of(cond, order), seed, batch_size)

    def noise(self, step: int) -> Tensor:
        """Standard normal values of the shape of x0; one table for each step number."""
        x0 = self.x0
        return normal(
            self.seed,
            Stream.CALIBRATION,
            step,
            tuple(x0.shape),
            start=self.start,
            dtype=x0.dtype,
            device=x0.device,
        )

    def chunks(self, held: int = 1) -> Iterator[Draws]:
        """The same in parts, of a size for which `held` copies of an event fit in memory."""
        rows = self._rows(held)
        for low in range(0, len(self.x0), rows):
            part = slice(low, low + rows)
            yield replace(self, x0=self.x0[part], cond=rows_of(self.cond, part), start=self.start + low)

    def count_chunks(self, held: int = 1) -> int:
        """How many `chunks` there are."""
        return -(-len(self.x0) // self._rows(held))

    def _rows(self, held: int) -> int:
        return min(self.batch_size or len(self.x0), max(1, _HELD // (held * self.x0[0].numel())))

    def noisy(self, t: Tensor) -> Tensor:
        """The rows at time t."""
        return self.denoiser.process.noise(self.x0, t, self.noise(0))

    def walk(self, x: Tensor, grid: Tensor, solver: Solver, noise: NoiseSource | None = None) -> Tensor:
        """Where a walk from x ends."""
        end = []
        for low in range(0, len(x), self.batch_size or len(x)):
            part = slice(low, low + (self.batch_size or len(x)))
            last = x[part]
            for frame in trajectory(self.denoiser, last, grid, solver, cond=rows_of(self.cond, part), noise=noise):
                last = frame.x
            end.append(last)
        return torch.cat(end)


def klub(draws: Draws, times: Tensor, tick: Tick) -> Tensor:
    """KLUB of a step between any two times.

    Parameters
    ----------
    draws : Draws
    times : float64 tensor, shape (J,), falling, of strictly falling noise; only the first may be without signal
    tick : callable
        Called after each evaluation of the denoiser, J times a chunk.

    Returns
    -------
    float64 tensor, shape (J, J)
        Entry (i, j), i < j, in nats per event: the step from times[i] to times[j]. 0 elsewhere.

    Notes
    -----
    The rows walk forwards through all times once. Between two times the integrand is that of Gaussian data with the
    variance of x0 (the weights by which the paper samples times) times a factor that is the mean of those at the ends:
    exact for such data, up to the draws.
    """
    process, events = draws.denoiser.process, len(draws.x0)
    gram = torch.zeros(len(times), len(times), dtype=torch.float64)
    for part in draws.chunks(held=len(times)):
        x, s, means = part.x0, torch.zeros((), dtype=torch.float64), []
        for step, t in enumerate(times.flip(0), start=1):
            x, s = process.transition(s, t).sample(x, part.noise(step)), t
            with torch.no_grad():
                # less x0, which cancels in the differences and would cost digits
                means.append((part.denoiser.mean(x, t, part.cond) - part.x0).flatten().double().cpu())
            tick()
        rows = torch.stack(means).flip(0)
        gram += rows @ rows.T
    squares = gram.diagonal()
    change = (squares[:, None] + squares[None] - 2 * gram).clamp_min(0) / events  # E |D_j - D_i|^2
    variance = float(draws.x0.double().var(0, correction=0).mean())
    return _integrated(change, torch.exp(process.logsnr(times)), variance)


def _integrated(change: Tensor, snr: Tensor, variance: float) -> Tensor:
    """1/2 int change(i, u) d snr_u from level i to every later one, with the Gaussian form between levels."""
    w = snr + 1 / variance if variance > 0 else snr
    gap = (snr[None] - snr[:, None]).triu(1)
    factor = torch.where(gap > 0, change * w[:, None] * w[None] / gap, torch.zeros_like(gap))
    first = torch.arange(len(snr) - 1)
    factor[first, first] = factor[first, first + 1]
    growth = snr.diff() / w[:-1]
    # int (1/w_i - 1/w) dw over a cell; the cell next to level i by series, where the two terms cancel
    cell = snr.diff()[None] / w[:, None] - torch.log1p(growth)[None]
    cell[first, first] = torch.where(growth < 1e-4, growth**2 / 2 - growth**3 / 3, growth - torch.log1p(growth))
    pieces = ((factor[:, :-1] + factor[:, 1:]) / 2 * cell).triu()
    return torch.cat([torch.zeros(len(snr), 1, dtype=torch.float64), torch.cumsum(pieces, 1) / 2], 1).triu(1)


def score_length(draws: Draws, times: Tensor, levels: Tensor, tick: Tick) -> Tensor:
    """Lambda from the first time to each.

    Parameters
    ----------
    draws : Draws
    times : float64 tensor, shape (J,), falling
    levels : float64 tensor, shape (J,), falling
        log(sigma / |alpha|) there; for a first time without signal, a finite level that stands for it.
    tick : callable
        Called after each evaluation of the denoiser, 2 (J - 1) times a chunk.

    Returns
    -------
    float64 tensor, shape (J,), rising from 0

    Notes
    -----
    Scores of y at both ends of each gap, at points of the level between them: error O(gap^2).
    """
    process = draws.denoiser.process
    alpha, ratio = process.kernel(times).scale.tolist(), torch.exp(levels).tolist()
    squares = torch.zeros(len(times) - 1, dtype=torch.float64)
    for part in draws.chunks():
        eps = part.noise(0)
        for i in range(len(times) - 1):
            middle = math.sqrt(ratio[i] * ratio[i + 1])
            y = part.x0 + middle * eps
            scores = []
            for j in (i, i + 1):
                with torch.no_grad():
                    mean = part.denoiser.mean(alpha[j] * y, times[j], part.cond)
                scores.append((mean.double() - y.double()) / ratio[j] ** 2)
                tick()
            squares[i] += middle**2 * float((scores[1] - scores[0]).square().sum())
    steps = torch.sqrt(squares / len(draws.x0))
    return torch.cat([torch.zeros(1, dtype=torch.float64), torch.cumsum(steps, 0)])


def deviations(draws: Draws, times: Tensor, teacher: Solver, tick: Tick) -> tuple[Tensor, Tensor]:
    """How far a straight step lands from the teacher's trajectory, and where that ends.

    Parameters
    ----------
    draws : Draws
    times : float64 tensor, shape (J,), falling
    teacher : Solver
        Deterministic; its first prediction of a step is D at the point where the step begins.
    tick : callable
        Called after each step, J - 1 times a chunk.

    Returns
    -------
    cost : float64 tensor, shape (J, J)
        Entry (i, j), i < j: mean distance |y - y_teacher| per event after one step from times[i] to times[j].
    ends : tensor, shape (n, *event)
        Last points of the teacher, from the rows at times[0].
    """
    process = draws.denoiser.process
    alpha, sigma = process.kernel(times)
    cost, ends = torch.zeros(len(times), len(times), dtype=torch.float64), []
    for part in draws.chunks(held=2 * len(times)):
        points, means = [], []
        for frame in trajectory(part.denoiser, part.noisy(times[0]), times, teacher, cond=part.cond):
            points.append(frame.x.flatten(1))
            if frame.i:
                means.append(frame.x0.flatten(1))
                tick()
        path = torch.stack(points)
        for i, mean in enumerate(means):
            later = slice(i + 1, None)
            turned = process.transition(times[later], times[i]).scale < 0
            k = torch.where(turned, -1.0, 1.0) * sigma[later] / sigma[i]
            pull = alpha[later] - k * alpha[i]
            landed = k.to(path)[:, None, None] * path[i] + pull.to(path)[:, None, None] * mean
            away = torch.linalg.vector_norm((landed - path[later]).double(), dim=2).sum(1).cpu()
            scale = alpha[later].abs()  # a point without signal has no place to miss
            cost[i, later] += torch.where(scale > 0, away / scale.clamp_min(1e-300), torch.zeros_like(away))
        ends.append(frame.x)
    return cost / len(draws.x0), torch.cat(ends)
