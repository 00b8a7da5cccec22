"""Given an observation: how near the draws are to the exact posterior, part by part.

    gmm       25 normals in 8, 80 and 800 dimensions, 1, 2 and 4 numbers seen, exact denoiser: every method
    gaussian  a Gaussian prior (`mmps` exact) and the smoother of a linear-Gaussian state space
    learned   the 8-dimensional cells with a network and with trees in the place of the exact denoiser, 3 seeds
    tables    holes in five real tables: coverage, energy score and time beside other ways to fill them

    python benchmarks/posterior.py --part gmm [--seeds 10] [--resume]

The mixture is that of Cardoso et al. 2024 (MCGdiff): unit variances, centres (8 i, 8 j, 8 i, ...) for i, j in -2..2,
random weights; A = U S V^T of random directions with singular values uniform in [0, 1], noise uniform in [0, max S],
y from a draw of the prior. Distances are W1 in 500 random directions, averaged, between 1000 draws and 1000 exact ones,
the mean over nine sets of these; the floor is the same between exact sets. `tds 16` is 64 runs of 16 particles, all
their draws together; `dps` has the best of five scales in each problem. The evidence of `tds` and `split-smc` is held
against its closed form. Seconds are of one thread.

The network is that of `DiffusionModel`, the trees are those of scikit-learn's gradient boosting, both fitted to 20 000
draws of the prior. Beside what they give for y stand their draws of the prior itself, over the floor of exact draws of
it: what a method adds to the errors of its denoiser is the rest.

Each part writes results/posterior_PART.json, and after each point what was measured so far; --resume goes on from
there.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits
from torch import Tensor

from _common import RESULTS, write
from _points import Points, brief, told
from _posterior_tables import tables
from caminito import DiffusionModel
from caminito.denoiser import Condition, Denoiser, GaussianDenoiser
from caminito.posterior import Linear, Mask, PosteriorResult, mmps, observe, posterior
from caminito.process import EDM, VP, Process
from caminito.process.base import Time
from caminito.sampling import sample
from caminito.training import fit_regressors

CELLS = [(dx, dy) for dx in (8, 80, 800) for dy in (1, 2, 4)]
N = 1000  # draws
SETS = 10  # of exact draws
SCALE = 12.0  # the deviation of each entry, nearly: denoisers see data over it, as they do behind a codec
RATIO, EVIDENCE = 1.25, 0.1  # asked
SCALES = (0.01, 0.03, 0.1, 0.3, 1.0)  # of `dps`, in its favour
METHODS: dict[str, dict[str, Any]] = {
    "tds": {},
    "tds 16": {"method": "tds", "particles": 16, "n": 16, "runs": 64},
    "split-smc": {},
    "mmps": {},
    "pigdm": {},
    "jfps": {},
    "diffpir": {},
    "ddnm": {},
    "dps": {},
    "daps": {},
    "split-gibbs": {},
}
LEARNED = {  # methods of each denoiser: trees have no derivative
    "exact": ("tds", "split-smc", "mmps", "jfps"),
    "network": ("tds", "split-smc", "mmps"),
    "trees": ("split-smc", "jfps"),
}
ROWS = 20_000  # of the prior, that a denoiser is fitted to
GUIDES = ("mmps", "pigdm", "jfps", "diffpir", "ddnm", "dps", "daps", "split-gibbs")

# -- a mixture and its posterior ---------------------------------------------------------------------------------------


class Spherical(Denoiser):
    """Exact denoiser of sum_k w_k N(m_k, q I) by two matrix products; `MixtureDenoiser` takes any, and longer."""

    def __init__(self, weights: Tensor, means: Tensor, var: float, process: Process) -> None:
        self.process, self.event_shape, self.q = process, (means.shape[1],), var
        self.log_weights, self.means = torch.log(weights), means
        mean = weights @ means
        self.data_moments = (mean, var + weights @ (means - mean) ** 2)

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """M + alpha q / (alpha^2 q + sigma^2) (x_t - alpha M), M = sum_k r_k m_k."""
        alpha, sigma = self.process.kernel(t)
        total = alpha**2 * self.q + sigma**2
        logits = self.log_weights + (alpha * (x_t @ self.means.T) - alpha**2 * (self.means**2).sum(1) / 2) / total
        centre = torch.softmax(logits, 1) @ self.means
        return centre + alpha * self.q / total * (x_t - alpha * centre)


@dataclass(frozen=True)
class Problem:
    """A prior, what is seen of a draw of it, and the posterior as a mixture."""

    weights: Tensor
    means: Tensor
    matrix: Tensor
    noise: float
    y: Tensor

    @classmethod
    def of(cls, dx: int, dy: int, seed: int) -> Problem:
        """Problem number `seed` of a cell."""
        chance = np.random.default_rng([dx, dy, seed])
        centres = np.array([[8.0 * i, 8.0 * j] * (dx // 2) for i in range(-2, 3) for j in range(-2, 3)])
        weights = chance.standard_normal(25) ** 2
        weights = weights / weights.sum()
        left, _, right = np.linalg.svd(chance.standard_normal((dy, dx)), full_matrices=False)
        values = np.sort(chance.random(dy))[::-1]
        matrix = left @ np.diag(values) @ right
        noise = float(chance.random() * values.max())
        x = centres[chance.choice(25, p=weights)] + chance.standard_normal(dx)
        y = matrix @ x + noise * chance.standard_normal(dy)
        return cls(*(torch.from_numpy(v) for v in (weights, centres, matrix)), noise, torch.from_numpy(y))

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """log w_k p(y | k), means and the covariance of the posterior's components."""
        a, size = self.matrix, len(self.y)
        seen = a @ a.T + self.noise**2 * torch.eye(size, dtype=torch.float64)
        gain = torch.linalg.solve(seen, a).T
        apart = self.y - self.means @ a.T
        far = (apart * torch.linalg.solve(seen, apart.T).T).sum(1)
        logs = torch.log(self.weights) - 0.5 * (far + torch.logdet(2 * math.pi * seen))
        keep = torch.eye(a.shape[1], dtype=torch.float64) - gain @ a
        return logs, self.means + apart @ gain.T, keep @ keep.T + self.noise**2 * gain @ gain.T

    @property
    def log_evidence(self) -> float:
        """log p(y)."""
        return float(torch.logsumexp(self.parts()[0], 0))

    def exact(self, n: int, seed: int) -> Tensor:
        """Draws of the posterior."""
        chance = torch.Generator().manual_seed(seed)
        logs, means, cov = self.parts()
        kinds = torch.multinomial(torch.softmax(logs, 0), n, replacement=True, generator=chance)
        root = torch.linalg.cholesky(cov + 1e-12 * torch.eye(len(cov), dtype=torch.float64))
        return means[kinds] + torch.randn(n, len(cov), generator=chance, dtype=torch.float64) @ root.T

    def draw(self, n: int, seed: int) -> Tensor:
        """Draws of the prior."""
        chance = torch.Generator().manual_seed(seed)
        kinds = torch.multinomial(self.weights, n, replacement=True, generator=chance)
        return self.means[kinds] + torch.randn(n, self.means.shape[1], generator=chance, dtype=torch.float64)


@dataclass(frozen=True)
class Prior:
    """A denoiser of data less their centre, over their scale, and what fitting it took."""

    denoiser: Denoiser
    centre: Tensor
    scale: Tensor
    seconds: float = 0.0

    @classmethod
    def exact(cls, problem: Problem) -> Prior:
        """The closed form."""
        denoiser = Spherical(problem.weights, problem.means / SCALE, 1 / SCALE**2, EDM())
        return cls(denoiser, torch.zeros_like(problem.means[0]), torch.full_like(problem.means[0], SCALE))


def sliced(x: Tensor, y: Tensor) -> float:
    """Mean W1 of two sets of as many points in 500 directions."""
    ways = torch.randn(x.shape[1], 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ways = ways / ways.norm(dim=0)
    return float(((x @ ways).sort(0).values - (y @ ways).sort(0).values).abs().mean())


def sets_of(draw: Callable[[int, int], Tensor], count: int = SETS - 1) -> list[Tensor]:
    """Sets of exact draws."""
    return [draw(N, 100 + i) for i in range(count)]


def apart(draw: Callable[[int, int], Tensor]) -> float:
    """Mean distance of exact sets from each other."""
    sets = sets_of(draw, SETS)
    return float(np.mean([sliced(sets[i], sets[j]) for i in range(SETS) for j in range(i)]))


def off(draws: Tensor, sets: Sequence[Tensor]) -> float:
    """Mean distance of draws from exact sets."""
    return float(np.mean([sliced(draws.to(torch.float64), each) for each in sets]))


# -- gmm ---------------------------------------------------------------------------------------------------------------


def floor(dx: int, dy: int, seed: int) -> dict[str, Any]:
    """Exact against exact, every pair of sets."""
    return {"distance": apart(Problem.of(dx, dy, seed).exact)}


def asked_of(
    prior: Prior, problem: Problem, name: str, seed: int, options: dict[str, Any] | None = None
) -> tuple[PosteriorResult, Tensor, float]:
    """What a method gives, its draws, and its seconds."""
    how = dict(METHODS[name])
    runs, n, method = how.pop("runs", 1), how.pop("n", N), how.pop("method", name)
    y = problem.y - problem.matrix @ prior.centre
    y = y.expand(runs, -1) if runs > 1 else y
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = posterior(
            prior.denoiser,
            y,
            Linear(problem.matrix * prior.scale),
            problem.noise,
            method=method,
            n=n,
            options=options,
            random_state=seed,
            **how,
        )
    taken = time.process_time() - begin
    draws = prior.centre + prior.scale * (found.samples.flatten(0, 1) if runs > 1 else found.samples)
    return found, draws[torch.randperm(len(draws), generator=torch.Generator().manual_seed(seed))[:N]], taken


def judged(prior: Prior, problem: Problem, name: str, seed: int) -> dict[str, Any]:
    """Distance of a method's draws, error of its evidence, what it says of itself."""
    row: dict[str, Any] = {"distance": math.inf}
    sets = sets_of(problem.exact)
    for scale in SCALES if name == "dps" else (None,):
        found, draws, taken = asked_of(prior, problem, name, seed, None if scale is None else {"scale": scale})
        distance = off(draws, sets)
        if distance < row["distance"]:
            row = {"distance": distance, "seconds": taken} | ({} if scale is None else {"scale": scale})
    if found.log_evidence is not None and found.log_evidence.ndim == 0:
        row["evidence_error"] = float(found.log_evidence) - problem.log_evidence
    if found.ess is not None and found.ancestors is not None:
        row |= {"ess": float(found.ess.min()), "ancestors": float(found.ancestors.to(torch.float64).mean())}
    return row


def cell(dx: int, dy: int, name: str, seed: int) -> dict[str, Any]:
    """A method on a problem, with the exact denoiser."""
    problem = Problem.of(dx, dy, seed)
    return judged(Prior.exact(problem), problem, name, seed)


def summed(rows: Sequence[dict[str, Any]], floors: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Ratios over floors, errors and seconds of the seeds of a cell."""
    ratios = [row["distance"] / base["distance"] for row, base in zip(rows, floors)]
    out: dict[str, Any] = {
        "ratio": {"median": brief(float(np.median(ratios))), "mean": brief(float(np.mean(ratios)))},
        "distance": brief(float(np.mean([row["distance"] for row in rows]))),
        "seconds": brief(float(np.median([row["seconds"] for row in rows]))),
    }
    if errors := told(rows, "evidence_error", EVIDENCE):
        out["evidence_error"] = errors
    if "ess" in rows[0]:
        out |= {key: brief(float(np.median([row[key] for row in rows]))) for key in ("ess", "ancestors")}
    return out


def gmm(args: argparse.Namespace) -> dict[str, Any]:
    """Nine cells, every method."""
    points, out = points_of(args), {}
    for dx, dy in CELLS:
        place = f"({dx}, {dy})"
        floors = points.seeds(f"{place} floor", args.seeds, partial(floor, dx, dy))
        row = {"floor": brief(float(np.mean([each["distance"] for each in floors])))}
        for name in args.methods or METHODS:
            rows = points.seeds(f"{place} {name}", args.seeds, partial(cell, dx, dy, name))
            row[name] = summed(rows, floors)
        out[place] = row
    return {"asked": {"ratio": RATIO, "evidence_error": EVIDENCE, "tds 16 over the best guide": 0.5}, "cells": out}


# -- gaussian ----------------------------------------------------------------------------------------------------------


def matched(seed: int) -> dict[str, Any]:
    """Largest error of `mmps` at any of three times on a Gaussian prior in 12 dimensions, 5 numbers seen."""
    chance = torch.Generator().manual_seed(seed)
    size, seen = 12, 5
    root, mean = (torch.randn(*shape, generator=chance, dtype=torch.float64) for shape in ((size, size), (size,)))
    cov = root @ root.T / size + 0.1 * torch.eye(size, dtype=torch.float64)
    matrix = torch.randn(seen, size, generator=chance, dtype=torch.float64)
    y = torch.randn(seen, generator=chance, dtype=torch.float64)
    noise = 0.2
    process = VP()
    gain = torch.linalg.solve(matrix @ cov @ matrix.T + noise**2 * torch.eye(seen, dtype=torch.float64), matrix @ cov).T
    after = cov - gain @ matrix @ cov
    exact = GaussianDenoiser(mean + gain @ (y - matrix @ mean), (after + after.T) / 2, process)
    led = mmps(GaussianDenoiser(mean, cov, process), observe(y, Linear(matrix), noise, (size,), dtype=torch.float64))
    x = torch.randn(64, size, generator=chance, dtype=torch.float64)
    worst = max(float((led.mean(x, t) - exact.mean(x, t)).abs().max()) for t in (0.05, 0.4, 0.95))
    return {"error": worst}


def smoothed(method: str, seed: int) -> dict[str, Any]:
    """A walk z_i = .95 z_{i-1} + .3 e_i of 100 points, each tenth seen with noise .2: errors of mean and deviation."""
    size, noise = 100, 0.2
    lag = torch.arange(size, dtype=torch.float64)
    cov = 0.3**2 / (1 - 0.95**2) * 0.95 ** (lag[:, None] - lag).abs()
    chance = torch.Generator().manual_seed(seed)
    truth = torch.linalg.cholesky(cov) @ torch.randn(size, generator=chance, dtype=torch.float64)
    mask = torch.zeros(size, dtype=torch.bool)
    mask[::10] = True
    y = truth + noise * torch.randn(size, generator=chance, dtype=torch.float64)
    rows = cov[mask]
    gain = torch.linalg.solve(rows[:, mask] + noise**2 * torch.eye(int(mask.sum()), dtype=torch.float64), rows).T
    mean, after = gain @ y[mask], cov - gain @ rows
    log_evidence = torch.distributions.MultivariateNormal(
        torch.zeros(int(mask.sum()), dtype=torch.float64),
        rows[:, mask] + noise**2 * torch.eye(int(mask.sum()), dtype=torch.float64),
    ).log_prob(y[mask])
    prior = GaussianDenoiser(torch.zeros(size, dtype=torch.float64), cov, VP())
    begin = time.process_time()
    found = posterior(prior, y, Mask(mask), noise, method=method, n=N, random_state=seed)
    std = torch.diagonal(after).sqrt()
    row = {
        "mean_error": float(((found.mean() - mean) / std).square().mean().sqrt()),  # .032 of exact draws
        "std_ratio": float((found.std() / std).mean()),
        "seconds": time.process_time() - begin,
    }
    if found.log_evidence is not None:
        row["evidence_error"] = float(found.log_evidence - log_evidence)
    return row


def gaussian(args: argparse.Namespace) -> dict[str, Any]:
    """Exactness of `mmps`, and the smoother."""
    points = points_of(args)
    out: dict[str, Any] = {"mmps": told(points.seeds("mmps", args.seeds, matched), "error", 1e-8)}
    for method in ("mmps", "tds", "split-smc"):
        rows = points.seeds(f"smoother {method}", args.seeds, partial(smoothed, method))
        out[f"smoother, {method}"] = {
            name: told(rows, name) for name in ("mean_error", "std_ratio", "evidence_error", "seconds")
        }
    return out


# -- learned -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def prior_of(dx: int, dy: int, kind: str, seed: int) -> Prior:
    """The prior of a problem as a kind of denoiser has learnt it."""
    problem = Problem.of(dx, dy, seed)
    if kind == "exact":
        return Prior.exact(problem)
    return (network if kind == "network" else trees)(problem.draw(ROWS, 1000 + seed), seed)


def network(x: Tensor, seed: int) -> Prior:
    """A perceptron of three blocks, with the variance that was measured on rows kept aside."""
    begin = time.process_time()
    model = DiffusionModel(
        network={"width": 128, "depth": 3},
        max_steps=4000,
        training={"batch_size": 256, "learning_rate": 3e-3, "precision": "float32"},
        random_state=seed,
    ).fit(x.numpy())
    codec: Any = model.codec_
    centre, scale = (torch.from_numpy(np.asarray(v, dtype=np.float64)) for v in (codec.mean, codec.std))
    return Prior(model.residual_variance_ or model.denoiser_, centre, scale, time.process_time() - begin)


def trees(x: Tensor, seed: int) -> Prior:
    """Boosted trees of each entry at 16 noise levels."""
    begin = time.process_time()
    centre, scale, process = x.mean(0), x.std(0), EDM(10.0)
    sigmas = torch.from_numpy(np.geomspace(10.0, 0.02, 16))
    grid = torch.cat([process.time(-2 * torch.log(sigmas)), torch.zeros(1, dtype=torch.float64)])
    boosted = HistGradientBoostingRegressor(max_iter=30, learning_rate=0.3, early_stopping=False)
    denoiser = fit_regressors(process, (x - centre) / scale, grid, boosted, prediction="edm", seed=seed)
    return Prior(denoiser, centre, scale, time.process_time() - begin)


def prior_floor(dx: int, dy: int, seed: int) -> dict[str, Any]:
    """Exact against exact, with nothing seen."""
    return {"distance": apart(Problem.of(dx, dy, seed).draw)}


def sampled(dx: int, dy: int, kind: str, seed: int) -> dict[str, Any]:
    """Draws of a prior with nothing seen."""
    prior, begin = prior_of(dx, dy, kind, seed), time.process_time()
    x = sample(prior.denoiser, (N, dx), steps=50, solver="dpmpp2m-sde", seed=seed, dtype=torch.float64)
    taken = time.process_time() - begin
    distance = off(prior.centre + prior.scale * x, sets_of(Problem.of(dx, dy, seed).draw))
    return {"distance": distance, "seconds": taken, "fit": prior.seconds}


def led(dx: int, dy: int, kind: str, name: str, seed: int) -> dict[str, Any]:
    """A method on a problem, with a denoiser of a kind."""
    return judged(prior_of(dx, dy, kind, seed), Problem.of(dx, dy, seed), name, seed)


def beside(
    rows: Sequence[dict[str, Any]], exact: Sequence[dict[str, Any]], floors: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Figures of the seeds of a cell, with the distance over that of the exact denoiser."""
    out = summed(rows, floors)
    out["over_exact"] = brief(float(np.median([row["distance"] / base["distance"] for row, base in zip(rows, exact)])))
    if "fit" in rows[0]:
        out["fit_seconds"] = brief(float(np.median([row["fit"] for row in rows])))
    return out


@threadpool_limits.wrap(limits=1)
def learned(args: argparse.Namespace) -> dict[str, Any]:
    """Three cells, the methods of each denoiser."""
    points, out = points_of(args), {}
    for dx, dy in (place for place in CELLS if place[0] == 8):
        place = f"({dx}, {dy})"
        seen = points.seeds(f"{place} floor", args.seeds, partial(floor, dx, dy))
        unseen = points.seeds(f"{place} floor of the prior", args.seeds, partial(prior_floor, dx, dy))
        rows: dict[str, dict[str, list[dict[str, Any]]]] = {kind: {} for kind in LEARNED}
        for seed, kind in itertools.product(range(args.seeds), LEARNED):  # fitted once, for all that is asked of it
            measures = {"prior": partial(sampled, dx, dy, kind)}
            measures |= {name: partial(led, dx, dy, kind, name) for name in LEARNED[kind]}
            for name, measure in measures.items():
                row = points.get(f"{place} {kind} {name}/{seed}", partial(measure, seed))
                rows[kind].setdefault(name, []).append(row)
        out[place] = {
            kind: {
                name: beside(each, rows["exact"][name], unseen if name == "prior" else seen)
                for name, each in found.items()
            }
            for kind, found in rows.items()
        }
        floors = {"floor": seen, "floor of the prior": unseen}
        out[place] |= {name: brief(float(np.mean([row["distance"] for row in each]))) for name, each in floors.items()}
    return {"rows": ROWS, "cells": out}


PARTS = {"gmm": gmm, "gaussian": gaussian, "learned": learned, "tables": tables}
SEEDS = {"learned": 3}  # of other parts 10


def points_of(args: argparse.Namespace) -> Points:
    """Where the points of a part are kept."""
    return Points(args.out / f"scratch_posterior_{args.part}.json", args.resume)


def main() -> None:
    """Measure a part and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--seeds", type=int, help="10, and 3 of `learned`, unless given")
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), help="of `gmm`; all unless given")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of what is written")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    args = parser.parse_args()
    args.seeds = args.seeds or SEEDS.get(args.part, 10)
    torch.set_num_threads(1)
    begin = time.perf_counter()
    figures = PARTS[args.part](args)
    content = {"seeds": args.seeds, **figures, "seconds": round(time.perf_counter() - begin, 1)}
    write(f"posterior_{args.part}", content, folder=args.out)


if __name__ == "__main__":
    main()
