"""From a density alone: known laws, modes far apart, hard shapes, every method by name, and NUTS, in five parts.

    law         argmax, draws and the dial kappa on N(0, 1), beside their closed forms
    multimodal  forty normals in 2 and 50 dimensions, two modes in 8 to 128, five bananas; from nothing but log p
    shapes      a field on 100 sites, rings, a funnel, logistic regression
    named       every method by its name, at about a million evaluations each
    nuts        beside NUTS with 4 and 64 chains, which may go on until it has spent as many gradients; with a picture

    python benchmarks/density.py --part multimodal [--seeds 10] [--resume]
    pip install numpyro                                          (for `nuts`, and for logistic regression in `shapes`)

A score is divided by its floor where it has one: the median of what exact draws get in the place of ours. W2 is the
distance of the best assignment of 2000 points to 2000 exact ones; it can be less than its floor, for our samples are
drawn systematically from more points, with less chance in how many each mode gets. The weight error is half the sum
over parts of |mean responsibility of the samples - weight|. Calls are batches that log p was asked for, evaluations
are points, with or without gradient; seconds are of one thread. log p is raised by a constant that nobody is told.

Each part writes results/density_PART.json, and after each point what was measured so far; --resume goes on from there.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import kstest
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor

import _nuts
from _common import RESULTS, write
from _points import Points, brief, told
from caminito.denoiser import GaussianDenoiser
from caminito.density import DensityResult, diffuse_and_invert, flow, invert, sample
from caminito.metrics import c2st
from caminito.plot import style
from caminito.process import EDM
from caminito.testing import targets
from caminito.testing.targets import KnownTarget

RAISED = 3.7
N = 2000  # samples, unless a part says otherwise
PAIRS = 9  # exact against exact, of which a floor is the median
MANY = 20_000  # samples where a histogram judges

MULTIMODAL: dict[str, Callable[[], KnownTarget]] = {
    "mog40 d=2": lambda: targets.mog40(2),
    "mog40 d=50": lambda: targets.mog40(50),
    **{f"two modes d={dim}": partial(targets.two_modes, dim) for dim in (8, 32, 64, 128)},
    "two modes d=64 (.1, .9)": lambda: targets.two_modes(64, weights=(0.1, 0.9)),
    "two modes d=64 of unequal width": lambda: targets.two_modes(64, variances=(0.05, 0.1)),
    "bananas d=10": lambda: targets.bananas(10),
    "bananas d=30": lambda: targets.bananas(30),
}

# -- points ------------------------------------------------------------------------------------------------------------


def points_of(args: argparse.Namespace) -> Points:
    """Where the points of a part are kept."""
    return Points(args.out / f"scratch_density_{args.part}.json", args.resume, hidden=("curve",))


def chosen(args: argparse.Namespace, names: Sequence[str]) -> list[str]:
    """The targets asked for."""
    return [name for name in names if not args.targets or any(name.startswith(asked) for asked in args.targets)]


# -- scores, and their floors ------------------------------------------------------------------------------------------


def w2(x: Tensor, y: Tensor) -> float:
    """Wasserstein-2 distance of two sets of as many points."""
    cost = cdist(x.numpy(), y.numpy(), "sqeuclidean")
    return float(cost[linear_sum_assignment(cost)].mean() ** 0.5)


def weight_error(target: KnownTarget, x: Tensor) -> float:
    """Half the sum of |share - weight|."""
    assert target.shares is not None and target.weights is not None
    shares = torch.stack([target.shares(part).sum(0) for part in x.split(20_000)]).sum(0) / len(x)
    return float((shares - target.weights).abs().sum() / 2)


@cache
def floors(name: str, n: int) -> dict[str, float]:
    """What exact draws get, the median over pairs."""
    target = MULTIMODAL[name]()
    pairs = [(target.draw(n, 1000 + 2 * i), target.draw(n, 1001 + 2 * i)) for i in range(PAIRS)]
    found = {"w2": float(np.median([w2(x, y) for x, y in pairs]))} if n <= N else {}
    return found | {"weight_error": float(np.median([weight_error(target, x) for pair in pairs for x in pair]))}


def sampled(target: KnownTarget, n: int, seed: int, **how: Any) -> tuple[dict[str, Any], DensityResult]:
    """What `sample` did, and at what cost."""
    raised = target.raised(RAISED)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        begin = time.perf_counter()
        result = sample(raised.log_prob, target.dim, n, random_state=seed, **how)
        seconds = time.perf_counter() - begin
    row: dict[str, Any] = {
        "seconds": seconds,
        "calls": int(result.diagnostics["calls"]),
        "evaluations": int(result.diagnostics["evaluations"]),
        "by": result.method,
        "warned": sorted({each.category.__name__ for each in caught}),
    }
    if result.log_evidence is not None:
        row["log_z_se"] = result.log_evidence_se
        if raised.log_evidence is not None:
            row["log_z_error"] = result.log_evidence - raised.log_evidence
    if target.shares is not None and target.weights is not None and len(target.weights) > 1:
        row["weight_error"] = weight_error(target, result.samples)
        if result.weights is not None and result.modes is not None:
            own = target.shares(result.modes.x).T
            row["modes"] = len(result.modes)
            row["parts_met"] = len(torch.unique(own.argmax(0)))
            row["told_weight_error"] = float((own @ result.weights - target.weights).abs().sum() / 2)
    return row, result


# -- law ---------------------------------------------------------------------------------------------------------------

TAUS = (0.5, 1.0, 3.0, math.sqrt(10.0), 10.0)
KAPPAS = (0.0, 0.25, 0.5, 0.75, 1.0)
STEPS = 32


def normal(x: Tensor) -> Tensor:
    """log of N(0, I), without its constant."""
    return -0.5 * (x**2).sum(-1)


def law(args: argparse.Namespace) -> dict[str, Any]:
    """Variances beside their closed forms."""
    points, n = points_of(args), args.points

    def spread(x: Tensor, expected: float, seconds: float) -> dict[str, Any]:
        ratio = float(x.square().mean()) / expected
        error = math.sqrt(2 / x.numel())
        return {"variance": ratio * expected, "law": expected, "ratio": ratio, "errors": (ratio - 1) / error} | {
            "n": x.numel(),
            "seconds": seconds,
        }

    def once(how: str, dim: int, tau: float, seed: int) -> dict[str, Any]:
        chance = torch.Generator().manual_seed(1000 * seed + 20 * TAUS.index(tau) + dim)
        clean, noise = torch.randn(2, n // dim, dim, generator=chance, dtype=torch.float64)
        begin = time.perf_counter()
        found = invert(normal, clean + tau * noise, tau, how, random_state=seed)  # type: ignore[arg-type]
        expected = 1.0 if how == "sample" else 1 / (1 + tau**2)
        return spread(found.x, expected, time.perf_counter() - begin)

    def many(how: str, tau: float, seed: int) -> dict[str, Any]:
        begin = time.perf_counter()
        x = diffuse_and_invert(normal, 1, n // 10, tau, STEPS, how=how, std=1.0, random_state=seed)  # type: ignore[arg-type]
        return spread(x, 1.0 if how == "sample" else 1 / (1 + tau**2), time.perf_counter() - begin)

    def dial(kappa: float, source: str, seed: int) -> dict[str, Any]:
        """The ends are a multiple of the starts, which kappa = 0 gives: their ratio has no chance in it."""
        if source == "denoiser":
            known, count, how = GaussianDenoiser(torch.zeros(1), 1.0, EDM()), n, {}
        else:
            known, count, how = normal, n // 20, {"dim": 1, "std": 1.0}
        begin = time.perf_counter()
        start, end = (
            flow(known, count, value, noise=3.0, random_state=seed, **how)  # type: ignore[arg-type]
            for value in (0.0, kappa)
        )
        row = spread(end, 10.0 ** (1 - 2 * kappa), time.perf_counter() - begin)
        gained = float(end.square().sum() / start.square().sum()) * 10.0
        return row | {"percent_of_law": 100 * (gained / row["law"] - 1)}

    out: dict[str, Any] = {"one jump": {}, f"{STEPS} jumps": {}, "kappa": {}}
    for how in ("map", "sample"):
        for dim in (1, 10):
            for tau in TAUS:
                name = f"{how} d={dim} tau={tau:.4g}"
                rows = points.seeds(name, args.seeds, partial(once, how, dim, tau))
                out["one jump"][name] = ratios(rows) | {"standard errors": told(rows, "errors", 4.0)}
    for how in ("map", "sample"):
        for tau in (1.0, 10.0):
            name = f"{how} tau={tau:g}"
            rows = points.seeds(f"{STEPS} jumps {name}", args.seeds, partial(many, how, tau))
            out[f"{STEPS} jumps"][name] = ratios(rows) | {"standard errors": told(rows, "errors")}
    for source in ("denoiser", "log_prob"):
        for kappa in KAPPAS[1:]:
            name = f"{source} kappa={kappa:g}"
            rows = points.seeds(name, args.seeds, partial(dial, kappa, source))
            out["kappa"][name] = ratios(rows) | {"percent": told(rows, "percent_of_law", 1.0)}
    return {"n": n, **out}


def ratios(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean over seeds of variance over law."""
    return {"law": rows[0]["law"], "ratio": brief(float(np.mean([row["ratio"] for row in rows])))}


# -- multimodal --------------------------------------------------------------------------------------------------------

ASKED: dict[str, dict[str, float]] = {
    "mog40 d=2": {"w2": 1.2, "log_z_error": 0.02, "calls": 2000},
    "mog40 d=50": {"w2": 1.1, "log_z_error": 0.05, "seconds": 30.0},
    **{name: {"weight_error": 0.03, "log_z_error": 0.05} for name in MULTIMODAL if name.startswith("two")},
}


def far_apart(target: KnownTarget, seed: int) -> dict[str, Any]:
    """One run, and how far its samples are from exact ones."""
    row, result = sampled(target, N, seed)
    exact = [target.draw(N, 5000 + 10 * seed + i) for i in range(3)]
    return row | {"w2": float(np.median([w2(result.samples, each) for each in exact]))}


def multimodal(args: argparse.Namespace) -> dict[str, Any]:
    """Where the modes are far apart, and nobody says where or how far."""
    points, out = points_of(args), {}
    for name in chosen(args, list(MULTIMODAL)):
        target = MULTIMODAL[name]()
        rows = points.seeds(name, args.seeds, partial(far_apart, target))
        floor = points.get(f"{name}/floor", partial(floors, name, N))
        limits = ASKED.get(name, {})
        shown = ("w2", "weight_error", "told_weight_error", "log_z_error", "calls", "evaluations", "seconds")
        over = {"w2": floor["w2"]}
        out[name] = {
            **{key: told(rows, key, limits.get(key), over.get(key, 1.0)) for key in shown},
            "weight_error over floor": told(rows, "weight_error", None, floor["weight_error"]),
            "floor": floor,
            "modes": sorted({row.get("modes") for row in rows}, key=str),
            "parts_met": sorted({row.get("parts_met") for row in rows}, key=str),
            "warned": [row["warned"] for row in rows],
        }
        print(name, json.dumps(out[name]), flush=True)
    return {"n": N, "w2 is over its floor": True, "targets": out}


# -- shapes ------------------------------------------------------------------------------------------------------------

FIELDS = (0.0, 0.005, 0.01)
BINS = 20


def field(strength: float, seed: int) -> dict[str, Any]:
    """phi^4 beside the second-order Laplace values, and the exact ones, in standard errors of ours."""
    target = targets.phi4(strength)
    constant, weights = targets.phi4_laplace(strength)
    row, result = sampled(target, N, seed)
    if result.weights is None or result.modes is None or result.weights_se is None:
        return row
    assert target.shares is not None and target.weights is not None and result.log_evidence is not None
    up = target.shares(result.modes.x)[:, 0]
    share, error = float(up @ result.weights), float((up * result.weights_se**2).sum().sqrt())
    evidence = result.log_evidence - RAISED
    return row | {
        "weight_up": share,
        "weight_se": error,
        "weight_errors_from_laplace": (share - float(weights[0])) / error,
        "weight_errors_from_exact": (share - float(target.weights[0])) / error,
        "log_z_errors_from_laplace": (evidence - constant) / row["log_z_se"],
        "log_z_errors_from_exact": row["log_z_error"] / row["log_z_se"],
    }


def ring_radii(x: Tensor) -> np.ndarray:
    """Shares of samples in equal bins of the distance from the origin."""
    radius = torch.linalg.vector_norm(x, dim=1).clamp(max=5 - 1e-9)
    return np.histogram(radius.numpy(), BINS, (0.0, 5.0))[0] / len(x)


@cache
def ring_law() -> tuple[np.ndarray, float]:
    """Mass of the bins, by quadrature in the plane; and the total variation that exact draws have."""
    target = targets.rings()
    edges = np.linspace(0, 5, BINS * 400 + 1)
    middle = torch.from_numpy((edges[1:] + edges[:-1]) / 2)
    height = target.log_prob(torch.stack([middle, torch.zeros_like(middle)], 1)).exp() * 2 * math.pi * middle
    mass = (height.numpy() * np.diff(edges)).reshape(BINS, -1).sum(1)
    mass[-1] += 1 - mass.sum()
    exact = [np.abs(ring_radii(target.draw(MANY, seed)) - mass).sum() / 2 for seed in range(PAIRS)]
    return mass, float(np.median(exact))


def ring(seed: int) -> dict[str, Any]:
    """Total variation of the radius."""
    row, result = sampled(targets.rings(), MANY, seed)
    mass, floor = ring_law()
    return row | {"radius_tv": float(np.abs(ring_radii(result.samples) - mass).sum() / 2), "radius_tv_floor": floor}


def narrow(seed: int) -> dict[str, Any]:
    """The deviation of the funnel's v, which is 3, and its Kolmogorov distance."""
    row, result = sampled(targets.funnel(10), N, seed)
    v = result.samples[:, 0].numpy()
    return row | {"sd_v": float(v.std()), "ks_v": float(kstest(v / 3, "norm").statistic)}


@cache
def long_run() -> np.ndarray:
    """Two halves of a long run of NUTS on the regression, thinned to N draws each."""
    target = targets.logistic()
    density = _nuts.written(target, load_breast_cancer(return_X_y=True))
    x = _nuts.Nuts(density, target.dim, 4, kept=4000).run(0).x.reshape(-1, target.dim)
    return x[np.random.default_rng(0).permutation(len(x))[: 2 * N]].reshape(2, N, -1)


def regression(seed: int) -> dict[str, Any]:
    """Whether a classifier tells ours from a long run of NUTS; 1/2 is not at all."""
    row, result = sampled(targets.logistic(), N, seed)
    one, other = long_run()
    ours, forest = result.samples.numpy(), RandomForestClassifier(200, min_samples_leaf=5, random_state=seed)
    return row | {
        "c2st_forest": c2st(ours, one, classifier=forest, seed=seed),
        "c2st_neighbour": c2st(ours, one),
        "c2st_forest_floor": c2st(other, one, classifier=forest, seed=seed),
        "c2st_neighbour_floor": c2st(other, one),
        "distinct": len(np.unique(ours, axis=0)),
    }


def shapes(args: argparse.Namespace) -> dict[str, Any]:
    """Where modes are not isolated normals."""
    points, out = points_of(args), {}
    whole: dict[str, Callable[[int], dict[str, Any]]] = {
        **{f"phi4 h={strength:g}": partial(field, strength) for strength in FIELDS},
        "rings": ring,
        "funnel d=10": narrow,
        "logistic regression": regression,
    }
    limits = {
        "weight_errors_from_laplace": 2.0,
        "log_z_errors_from_laplace": 2.0,
        "evaluations": 1e6,
        "radius_tv": 0.02,
        "c2st_forest": 0.55,
        "c2st_neighbour": 0.55,
    }
    for name in chosen(args, list(whole)):
        if name == "logistic regression" and not _nuts.installed():
            print("numpyro is not installed: logistic regression is left out. pip install numpyro", flush=True)
            continue
        rows = points.seeds(name, args.seeds, whole[name])
        numbers = sorted({key for row in rows for key, value in row.items() if isinstance(value, int | float)})
        out[name] = {
            key: told(rows, key, limits.get(key) if key != "evaluations" or name.startswith("phi4") else None)
            for key in numbers
        }
        if name == "funnel d=10":
            out[name]["sd_v"]["asked"] = [2.8, 3.2]
            out[name]["sd_v"]["held"] = f"{sum(2.8 <= row['sd_v'] <= 3.2 for row in rows)} of {len(rows)}"
            out[name]["sd_v"]["all"] = [row["sd_v"] for row in rows]
        out[name]["by"] = sorted({row["by"] for row in rows})
        out[name]["warned"] = [row["warned"] for row in rows]
        print(name, json.dumps(out[name]), flush=True)
    return {"n": N, "n of rings": MANY, "targets": out}


# -- every method by its name ------------------------------------------------------------------------------------------

COUNTS = {"auto": 2000, "smc": 2000, "nrpt": 1000, "digs": 1000, "langevin": 1000, "slips": 250, "rdmc": 200}
NAMED: dict[str, Callable[[], KnownTarget]] = {
    "mog40 d=2": MULTIMODAL["mog40 d=2"],
    "two modes d=8": MULTIMODAL["two modes d=8"],
    "two modes d=32": MULTIMODAL["two modes d=32"],
    "rings": targets.rings,
    "funnel d=10": targets.funnel,
}


@cache
def named_floor(name: str, n: int) -> dict[str, float]:
    """Of exact draws, at the number of points that a method can pay for."""
    target = NAMED[name]()
    pairs = [(target.draw(n, 1000 + 2 * i), target.draw(n, 1001 + 2 * i)) for i in range(PAIRS)]
    found = {"w2_floor": float(np.median([w2(x, y) for x, y in pairs]))}
    if target.weights is not None and len(target.weights) > 1:
        found["weight_floor"] = float(np.median([weight_error(target, x) for pair in pairs for x in pair]))
    return found


def named(args: argparse.Namespace) -> dict[str, Any]:
    """Who pays for each point gets fewer of them: every score is held against exact draws of as many."""
    points, out = points_of(args), {}

    def one(name: str, method: str, seed: int) -> dict[str, Any]:
        target, n = NAMED[name](), COUNTS[method]
        row, result = sampled(target, n, seed, method=method)
        floor = named_floor(name, n)
        row["w2"] = float(np.median([w2(result.samples, target.draw(n, 5000 + 10 * seed + i)) for i in range(3)]))
        row["w2_over_floor"] = row["w2"] / floor["w2_floor"]
        if "weight_floor" in floor:
            row["weight_error_over_floor"] = row["weight_error"] / floor["weight_floor"]
        if name.startswith("funnel"):
            row["sd_v"] = float(result.samples[:, 0].std())
        return row

    shown = (
        "weight_error",
        "weight_error_over_floor",
        "w2_over_floor",
        "log_z_error",
        "sd_v",
        "evaluations",
        "seconds",
    )
    for name in chosen(args, list(NAMED)):
        out[name] = {}
        for method in args.methods or COUNTS:
            rows = points.seeds(f"{name}/{method}", args.seeds, partial(one, name, method))
            out[name][method] = {key: told(rows, key) for key in shown if any(key in row for row in rows)}
    return {"n": COUNTS, "targets": out}


# -- beside NUTS -------------------------------------------------------------------------------------------------------

DUELS = (
    "mog40 d=2",
    "mog40 d=50",
    "two modes d=8",
    "two modes d=32",
    "two modes d=128",
    "bananas d=10",
    "phi4 h=0.005",
)
SIZES = (500, 2000, 8000)
CHAINS = {  # how many, warm-up and draws of each, and whether they start as wide as the target
    "4 chains": (4, 1000, 2000, False),
    "64 chains": (64, 500, 500, False),
    "64 chains, told the scale": (64, 500, 500, True),
}


def wine() -> tuple[np.ndarray, np.ndarray]:
    """Its first kind against the two others."""
    X, y = load_wine(return_X_y=True)
    return X, (y == 0).astype(int)


def stretched() -> KnownTarget:
    """A normal in 50 dimensions whose precisions go from 1 to 1e-4."""
    precisions = torch.logspace(0, -4, 50, dtype=torch.float64)
    constant = 0.5 * float(precisions.log().sum()) - 25 * math.log(2 * math.pi)
    return KnownTarget("normal", 50, lambda x: constant - 0.5 * (x**2 * precisions).sum(-1), 0.0)


UNIMODAL: dict[str, Callable[[], tuple[KnownTarget, Any]]] = {
    "logistic, breast cancer d=31": lambda: (targets.logistic(), load_breast_cancer(return_X_y=True)),
    "logistic, wine d=14": lambda: (targets.logistic(*map(torch.as_tensor, wine())), wine()),
    "normal, condition 1e4, d=50": lambda: (stretched(), None),
    "funnel d=10": lambda: (targets.funnel(10), None),
}


def worth(parts: Sequence[np.ndarray]) -> float:
    """Independent draws that the mean of all parts is worth, from how far their means lie from each other."""
    between = np.stack([part.mean(0) for part in parts]).var(0, ddof=1)
    within = np.concatenate(parts).var(0)
    return float(len(parts) / np.mean(between / within))


def nuts(args: argparse.Namespace) -> dict[str, Any]:
    """On modes far apart by their weights, on one mode by time."""
    _nuts.needed()
    points = points_of(args)
    out: dict[str, Any] = {"multimodal": {}, "unimodal": {}}
    for name in chosen(args, DUELS):
        out["multimodal"][name] = duel(args, points, name)
        print(name, json.dumps({k: v for k, v in out["multimodal"][name].items() if k != "curves"}), flush=True)
    for name in chosen(args, list(UNIMODAL)):
        out["unimodal"][name] = race(args, points, name)
        print(name, json.dumps(out["unimodal"][name]), flush=True)
    if out["multimodal"]:
        draw(out["multimodal"], args.out / "density_nuts.png")
    return {"chains, warm-up, draws at least, told": CHAINS, "sizes of ours": SIZES, **out}


def duel(args: argparse.Namespace, points: Points, name: str) -> dict[str, Any]:
    """Weight errors of ours and of chains that spend no fewer gradients than ours do for N samples."""
    target = targets.phi4(float(name.split("=")[1])) if name.startswith("phi4") else MULTIMODAL[name]()

    def mine_of(n: int, seed: int) -> dict[str, Any]:
        return sampled(target, n, seed)[0]

    ours = {n: points.seeds(f"{name}/ours {n}", args.seeds, partial(mine_of, n)) for n in SIZES}

    def chains(engine: _nuts.Nuts, wide: np.ndarray | None, seed: int) -> dict[str, Any]:
        found, curve = engine.run(seed, ours[N][seed]["evaluations"] // args.short, spread=wide), []
        for draws in sorted({2**i for i in range(5, 20) if 2**i < found.x.shape[1]} | {found.x.shape[1]}):
            x, spent = found.after(draws)
            curve.append([spent, brief(weight_error(target, torch.from_numpy(x[:: max(1, len(x) // 20_000)])))])
        row = {"gradients": found.gradients, "seconds": found.seconds, "compiling": found.compiling, "rhat": found.rhat}
        return row | {"weight_error": curve[-1][1], "curve": curve}

    theirs: dict[str, list[dict[str, Any]]] = {}
    density, spread = _nuts.written(target), target.draw(4096).std(0).numpy()
    for kind in args.chains or CHAINS:
        count, warm, kept, is_told = CHAINS[kind]
        engine = _nuts.Nuts(density, target.dim, count, warm=warm // args.short, kept=kept // args.short)

        theirs[kind] = points.seeds(f"{name}/{kind}", args.seeds, partial(chains, engine, spread if is_told else None))
    mine = ours[N]
    rows: dict[str, Any] = {}
    for kind, found in theirs.items():
        pairs = [{"share": a["weight_error"] / b["weight_error"]} for a, b in zip(mine, found)]
        rows[kind] = {key: told(found, key) for key in ("weight_error", "gradients", "seconds", "rhat")}
        rows[kind]["ours over theirs"] = told(pairs, "share", 0.2)
        rows[kind]["no more gradients"] = (
            f"{sum(a['evaluations'] <= b['gradients'] for a, b in zip(mine, found))} of {len(mine)}"
        )
    off = [row for row in mine if row["weight_error"] > 0.1]
    exact = [weight_error(target, target.draw(N, 1000 + i)) for i in range(PAIRS)]
    return {
        "ours": {key: told(mine, key) for key in ("weight_error", "log_z_error", "evaluations", "seconds")},
        "floor": brief(float(np.median(exact))),
        "off by more than 0.1": len(off),
        "of which warned": sum(bool(set(row["warned"]) - {"FellBack"}) for row in off),
        "nuts": rows,
        "curves": {
            "ours": [
                [[ours[n][s]["evaluations"], ours[n][s]["weight_error"]] for n in SIZES] for s in range(args.seeds)
            ],
            **{kind: [row["curve"] for row in found] for kind, found in theirs.items()},
        },
    }


def race(args: argparse.Namespace, points: Points, name: str) -> dict[str, Any]:
    """Seconds, and seconds for a thousand draws' worth."""
    target, data = UNIMODAL[name]()

    def ours(seed: int) -> dict[str, Any]:
        row, result = sampled(target, N, seed)
        assert result.runs is not None
        runs = [result.samples[result.runs == run].numpy() for run in range(4)]
        return row | {"worth": worth(runs), "sd_first": float(result.samples[:, 0].std())}

    def chains(engine: _nuts.Nuts, seed: int) -> dict[str, Any]:
        found = engine.run(seed)
        row = {"seconds": found.seconds, "evaluations": found.gradients, "worth": worth(list(found.x))}
        return row | {"ess": found.ess, "sd_first": float(found.x[..., 0].std()), "compiling": found.compiling}

    mine = points.seeds(f"{name}/ours", args.seeds, ours)
    density, out = _nuts.written(target, data), {"ours": summary(mine)}
    for kind in [kind for kind in (args.chains or CHAINS) if not CHAINS[kind][3]]:
        count, warm, kept, _ = CHAINS[kind]
        engine = _nuts.Nuts(density, target.dim, count, warm=warm // args.short, kept=kept // args.short)

        found = points.seeds(f"{name}/{kind}", args.seeds, partial(chains, engine))
        out[kind] = summary(found)
        pairs = [{"time": a["seconds"] / b["seconds"]} for a, b in zip(mine, found)]
        out[kind]["our time over theirs"] = told(pairs, "time", 1.5)
    return out


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of one side of a race; worths are averaged as variances."""
    keys = ("seconds", "evaluations", "sd_first", "ess", "compiling")
    out = {key: told(rows, key) for key in keys if key in rows[0]}
    out["worth"] = brief(len(rows) / sum(1 / row["worth"] for row in rows))
    out["seconds for 1000"] = brief(1000 * float(np.median([row["seconds"] for row in rows])) / out["worth"])
    return out


def draw(found: dict[str, Any], path: Path) -> None:
    """Weight error against gradients: a panel for each target."""
    count = len(found)
    wide = min(count, 4)
    high = math.ceil(count / wide)
    fig, grid = style.figure(max(3.2 * wide, 6.4), 2.9 * high + 1.0, (high, wide))
    places = np.atleast_1d(np.asarray(grid)).ravel()
    inks = {
        "ours": style.GENERATED,
        "4 chains": style.REAL,
        "64 chains": style.COLOURS[2],
        "64 chains, told the scale": style.COLOURS[3],
    }
    for axes, (name, row) in zip(places, found.items()):
        for kind, curves in row["curves"].items():
            label = "caminito" if kind == "ours" else f"NUTS, {kind}"
            length = min(len(curve) for curve in curves)
            middle = np.median([curve[:length] for curve in curves], axis=0)
            for curve in curves:
                axes.plot(*np.maximum(curve, 1e-4).T, color=inks[kind], linewidth=0.6, alpha=0.35)
            marked = {"marker": "o", "markersize": 4} if kind == "ours" else {}
            axes.plot(*np.maximum(middle, 1e-4).T, color=inks[kind], linewidth=1.8, label=label, **marked)
        axes.axhline(row["floor"], color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        style.dress(axes, name, "gradient evaluations", "weight error", grid="both")
        axes.set(xscale="log", yscale="log", xlim=(1e4, 3e6), ylim=(3e-4, 1.3))
        axes.tick_params(which="minor", labelbottom=False, labelleft=False)
    for axes in places[count:]:
        axes.set_axis_off()
    handles, labels = places[0].get_legend_handles_labels()
    free = len(places) > count
    style.legend(places[-1 if free else 0], handles=handles, labels=labels, loc="center" if free else "lower left")
    style.caption(
        fig,
        "How wrong the weights of the modes are, against what was spent",
        f"Dashed: {N} exact draws. Warm-up and every leapfrog step are counted; thin lines are single seeds.",
    )
    fig.savefig(path)


# -- all of it ---------------------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "law": law,
    "multimodal": multimodal,
    "shapes": shapes,
    "named": named,
    "nuts": nuts,
}


def main() -> None:
    """Measure a part and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--targets", nargs="+", help="only those that begin so")
    parser.add_argument("--methods", nargs="+", choices=tuple(COUNTS), help="of `named`")
    parser.add_argument("--chains", nargs="+", choices=tuple(CHAINS), help="of `nuts`")
    parser.add_argument(
        "--short", type=int, default=1, help="divides the chains of `nuts` and what they may spend, to try it out"
    )
    parser.add_argument("--points", type=int, default=100_000, help="of `law`")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of what is written")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    args = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.perf_counter()
    figures = PARTS[args.part](args)
    packages = ("torch", "numpy", "scipy", "scikit-learn")
    if args.part == "nuts":
        packages += ("numpyro", "jax")
    content = {"seeds": args.seeds, **figures, "seconds": round(time.perf_counter() - begin, 1)}
    write(f"density_{args.part}", content, packages, folder=args.out)


if __name__ == "__main__":
    main()
