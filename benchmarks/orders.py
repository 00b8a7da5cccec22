"""Orders of convergence on an exact mixture: every deterministic solver, on three processes, beside other packages.

Eight Gaussians on the unit circle, sd 0.1, and their exact denoiser in float64. 256 fixed starts walk from a noise of
sigma / alpha = 20 to one of 0.02 on levels even in log-SNR; the error is the root mean square distance of their ends
from those of an adaptive integrator of eighth order. The same levels make one flow of every process, so VE, VP and
rectified flow are measured on one problem. The order is the slope of log error on log denoiser calls, counted, over 64
to 512 of them.

    pip install diffusers k-diffusion azula
    python benchmarks/orders.py

A package that is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from _common import RESULTS, write
from caminito.denoiser import from_x0
from caminito.plot import style
from caminito.process import EDM, VP, Process, RectifiedFlow
from caminito.sampling import (
    DDIM,
    DEIS,
    IPNDM,
    LMS,
    PNDM,
    Adams,
    DPMpp2M,
    DPMpp2S,
    DPMpp3M,
    DPMSolver2,
    Euler,
    Heun,
    Solver,
    UniPC,
    calibrate,
    trajectory,
)

HIGH, LOW, STD = 20.0, 0.02, 0.1
ANGLES = torch.arange(8, dtype=torch.float64) * (math.pi / 4)
MEANS = torch.stack([ANGLES.cos(), ANGLES.sin()], 1)
STARTS = torch.from_numpy(np.random.RandomState(0).randn(256, 2)) * math.hypot(1.0, HIGH)
SHOWN = (8, 16, 32)
FITTED = (64, 96, 128, 192, 256, 384, 512)
FINE = (256, 384, 512, 768, 1024)
FLOOR = 1e-12  # what rounding leaves of points of size 1
NEAR = 0.15

PROCESSES: dict[str, Process] = {"VE": EDM(HIGH, rho=1.0), "VP": VP(), "rectified flow": RectifiedFlow()}
SOLVERS: dict[str, tuple[Solver, int]] = {  # with the order that theory gives; a corrector adds one
    "ddim": (DDIM(), 1),
    "euler": (Euler(), 1),
    "heun": (Heun(), 2),
    "dpmsolver2": (DPMSolver2(), 2),
    "dpmpp2s": (DPMpp2S(), 2),
    "dpmpp2m": (DPMpp2M(), 2),
    "dpmpp3m": (DPMpp3M(), 3),
    "dpmpp3m legacy": (DPMpp3M(legacy=True), 2),
    **{f"adams-{p} x0": (Adams(p, "x0"), p) for p in (2, 3, 4, 5)},
    **{f"adams-{p} v": (Adams(p, "v"), p) for p in (2, 3, 4)},
    **{f"deis-{p}": (DEIS(p), p) for p in (2, 3, 4)},  # Adams(p, "eps") by another name
    **{f"lms-{p}": (LMS(p), p) for p in (2, 3, 4)},
    "ipndm": (IPNDM(), 2),
    "pndm runge-kutta": (PNDM(), 2),
    "pndm heun": (PNDM("heun"), 2),
    **{f"unipc-{p} {b}": (UniPC(p, b), p + 1) for b in ("bh1", "bh2") for p in (1, 2, 3)},
}


# -- the problem -------------------------------------------------------------------------------------------------------


class Ring:
    """E[x0 | x] at a level of sigma / alpha, for x in units of alpha; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor, level: Tensor | float) -> Tensor:
        self.calls += 1
        noise = float(level) ** 2
        total = STD**2 + noise
        return noise / total * (torch.softmax(x @ MEANS.T / total, 1) @ MEANS) + STD**2 / total * x


def logsnr(steps: int) -> Tensor:
    """Levels even in log(sigma / alpha), from HIGH to LOW."""
    return HIGH * (LOW / HIGH) ** torch.linspace(0, 1, steps + 1, dtype=torch.float64)


def karras(steps: int) -> Tensor:
    """Levels even in (sigma / alpha)^(1/7), from HIGH to LOW."""
    share = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    return (HIGH ** (1 / 7) + share * (LOW ** (1 / 7) - HIGH ** (1 / 7))) ** 7


def split(steps: int) -> Tensor:
    """`logsnr` with its first step walked in nine: two of 1/256 of it, then each twice as long as the one before."""
    levels = logsnr(steps)
    shares = 2.0 ** torch.arange(-8, 0, dtype=torch.float64)
    return torch.cat([levels[:1], levels[0] * (levels[1] / levels[0]) ** shares, levels[1:]])


def exact() -> Tensor:
    """Ends of the flow dx / d log sigma = x - E[x0 | x]."""
    ring = Ring()

    def slope(log_level: float, flat: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(flat).view(-1, 2)
        return (x - ring(x, math.exp(log_level))).flatten().numpy()

    span = (math.log(HIGH), math.log(LOW))
    found = solve_ivp(slope, span, STARTS.flatten().numpy(), method="DOP853", rtol=1e-13, atol=1e-14)
    return torch.from_numpy(found.y[:, -1]).view(-1, 2)


class Method(NamedTuple):
    """A way along levels to the ends in units of alpha; `evals` calls a step and `extra` in all."""

    order: int
    walk: Callable[[Tensor, Ring], Tensor]
    evals: int = 1
    extra: int = 0
    note: str = ""


def ours(solver: Solver, theory: int, process: Process) -> Method:
    """One of our solvers on one process."""

    def grid(levels: Tensor) -> Tensor:
        return process.time(-2 * levels.log()).clamp_max(process.t_max)

    def walk(levels: Tensor, ring: Ring) -> Tensor:
        def mean(x: Tensor, t: Tensor, cond: Any) -> Tensor:
            alpha, sigma = process.kernel(t)
            return ring(x / alpha, sigma / alpha)

        times = grid(levels)
        scale = process.kernel(times).scale
        *_, last = trajectory(from_x0(mean, process), STARTS * scale[0], times, solver)
        return last.x / scale[-1]

    return Method(theory, walk, solver.evals, solver.calls(process, grid(logsnr(16))) - 16 * solver.evals)


def error(method: Method, calls: int, ends: Tensor, levels: Callable[[int], Tensor] = logsnr) -> float | None:
    """RMS distance from `ends` after so many calls; None if they do not make a step."""
    steps, ring = (calls - method.extra) // method.evals, Ring()
    if steps < 1:
        return None
    x = method.walk(levels(steps), ring)
    if ring.calls != calls:
        raise AssertionError(f"expected {calls} calls, counted {ring.calls}.")
    return brief(float((x - ends).square().sum(1).mean().sqrt()))


def slope(numbers: tuple[int, ...], errors: list[float | None]) -> float | None:
    """Fitted order over the points that are above rounding."""
    kept = [(n, e) for n, e in zip(numbers, errors) if e is not None and math.isfinite(e) and e > FLOOR]
    return round(float(-np.polyfit(*np.log(np.array(kept)).T, 1)[0]), 3) if len(kept) > 2 else None


def measure(method: Method, ends: Tensor, levels: Callable[[int], Tensor] = logsnr) -> dict[str, Any]:
    """Errors at all numbers of calls, and the order fitted."""
    errors = [error(method, n, ends, levels) for n in SHOWN + FITTED]
    return {"fitted": slope(FITTED, errors[len(SHOWN) :]), "errors": errors}


def brief(value: float) -> float:
    """Four digits."""
    return float(f"{value:.4g}")


def why(solver: Solver, theory: int, ends: Tensor) -> dict[str, Any]:
    """What a fitted order away from theory is due to: a range too coarse, or a start of lower order."""
    method = ours(solver, theory, PROCESSES["VE"])
    fine = slope(FINE, [error(method, n, ends) for n in FINE])
    started = []
    for steps in FINE:
        x = method.walk(split(steps), Ring())
        started.append(float((x - ends).square().sum(1).mean().sqrt()))
    after = slope(FINE, started)
    if abs(fine - theory) <= NEAR:
        cause = "64 calls are too few to see its order"
    elif abs(after - theory) <= NEAR:
        cause = "the error of its first steps, of lower order, is what is left at the fine end"
    else:
        cause = "not explained"
    return {"fitted 256 to 1024": fine, "the same, first step split in nine": after, "cause": cause}


# -- the peers ---------------------------------------------------------------------------------------------------------


def of_diffusers() -> Iterator[tuple[str, Method]]:
    """Schedulers of diffusers; their tables of levels are replaced after `set_timesteps`, for they know no others."""
    import diffusers

    def walk(
        name: str, options: dict[str, Any], levels: Tensor, ring: Ring, in_vp: bool = False, stages: str = ""
    ) -> Tensor:
        scheduler = getattr(diffusers, name)(**options)
        scheduler.set_timesteps(len(levels) - 1)
        table, asked, to = levels, levels[:-1], levels[1:]
        if stages:  # two calls a step: every level but the first stands twice, and the second call looks elsewhere
            second = to if stages == "ends" else (asked * to).sqrt()
            table, asked = torch.cat([levels[:1], to.repeat_interleave(2)]), torch.stack([asked, second], 1).flatten()
            scheduler.sigmas_interpol = torch.cat([levels[:1], second.repeat_interleave(2)])
        scheduler.sigmas, scheduler.timesteps = table, torch.arange(len(asked), dtype=torch.float64)
        scheduler.set_begin_index(0)
        scales = 1 / torch.hypot(torch.ones_like(table), table) if in_vp else torch.ones_like(table)
        state = STARTS * scales[0]
        for i, t in enumerate(scheduler.timesteps):
            scheduler.scale_model_input(state, t)
            x = state / scales[i]
            state = scheduler.step((x - ring(x, asked[i])) / asked[i], t, state).prev_sample
        return state / scales[-1]

    def ipndm(levels: Tensor, ring: Ring) -> Tensor:
        scheduler = diffusers.IPNDMScheduler()
        scheduler.set_timesteps(len(levels) - 1)
        scheduler.alphas = 1 / torch.hypot(torch.ones_like(levels), levels)
        scheduler.betas = levels * scheduler.alphas
        scheduler.set_begin_index(0)
        state = STARTS * scheduler.alphas[0]
        for i, t in enumerate(scheduler.timesteps):
            alpha, sigma = scheduler.alphas[i], scheduler.betas[i]
            x0 = ring(state / alpha, levels[i])
            state = scheduler.step(alpha * (state - alpha * x0) / sigma - sigma * x0, t, state).prev_sample
        return state / scheduler.alphas[-1]

    def pndm(levels: Tensor, ring: Ring) -> Tensor:
        rising = levels.flip(0)
        scheduler = diffusers.PNDMScheduler(len(levels), skip_prk_steps=True, steps_offset=1)
        scheduler.alphas_cumprod = 1 / (1 + rising**2)
        scheduler.set_timesteps(len(levels) - 1)
        state = STARTS * scheduler.alphas_cumprod[-1].sqrt()
        for t in scheduler.timesteps:
            x = state / scheduler.alphas_cumprod[t].sqrt()
            state = scheduler.step((x - ring(x, rising[t])) / rising[t], t, state).prev_sample
        return state / scheduler.alphas_cumprod[0].sqrt()

    single = "rounds its state to float32 in every step"
    yield "euler", Method(1, partial(walk, "EulerDiscreteScheduler", {}), note=single)
    yield "heun", Method(2, partial(walk, "HeunDiscreteScheduler", {}, stages="ends"), 2)
    yield "dpm 2", Method(2, partial(walk, "KDPM2DiscreteScheduler", {}, stages="middles"), 2)
    for p in (2, 3):
        options: dict[str, Any] = {"solver_order": p, "final_sigmas_type": "sigma_min"}
        name = "DPMSolverMultistepScheduler"
        yield f"dpm++ {p}m", Method(p, partial(walk, name, options, in_vp=True), note=single)
    for p in (2, 3):
        yield f"deis-{p}", Method(p, partial(walk, "DEISMultistepScheduler", {"solver_order": p}, in_vp=True))
    for p in (2, 3):
        for kind in ("bh1", "bh2"):
            options = {"solver_order": p, "solver_type": kind, "final_sigmas_type": "sigma_min"}
            yield (
                f"unipc-{p} {kind}",
                Method(p + 1, partial(walk, "UniPCMultistepScheduler", options, in_vp=True), note="as it comes"),
            )
            options = {**options, "lower_order_final": False}
            yield (
                f"unipc-{p} {kind} full order",
                Method(
                    p + 1,
                    partial(walk, "UniPCMultistepScheduler", options, in_vp=True),
                    note="lower_order_final=False",
                ),
            )
    yield "lms-4", Method(4, partial(walk, "LMSDiscreteScheduler", {}))
    yield "ipndm", Method(4, ipndm, note="weights of an even grid")
    yield "pndm", Method(4, pndm, extra=1, note="weights of an even grid; skip_prk_steps")


def of_k_diffusion() -> Iterator[tuple[str, Method]]:
    """Samplers of k-diffusion, without noise."""
    spec = importlib.util.find_spec("k_diffusion")
    if spec is None:
        raise ImportError("k_diffusion")
    package = ModuleType("k_diffusion")  # without its __init__, which loads training code and twenty more packages
    package.__path__ = list(spec.submodule_search_locations or [])
    package.utils = SimpleNamespace(  # type: ignore[attr-defined]  # and all that the samplers take from there
        append_dims=lambda x, dims: x[(...,) + (None,) * (dims - x.ndim)]
    )
    sys.modules["k_diffusion"] = package
    sampling = importlib.import_module("k_diffusion.sampling")

    def walk(name: str, options: dict[str, Any], levels: Tensor, ring: Ring) -> Tensor:
        def model(x: Tensor, sigma: Tensor) -> Tensor:
            return ring(x, sigma[0])

        return getattr(sampling, f"sample_{name}")(model, STARTS, levels, disable=True, **options)

    quiet = {"eta": 0.0, "noise_sampler": lambda *_: 0.0}
    yield "euler", Method(1, partial(walk, "euler", {}))
    yield "heun", Method(2, partial(walk, "heun", {}), 2)
    yield "dpm 2", Method(2, partial(walk, "dpm_2", {}), 2)
    yield "dpm++ 2s", Method(2, partial(walk, "dpmpp_2s_ancestral", quiet), 2, note="eta=0")
    yield "dpm++ 2m", Method(2, partial(walk, "dpmpp_2m", {}))
    yield "dpm++ 2m sde", Method(2, partial(walk, "dpmpp_2m_sde", quiet), note="eta=0")
    yield "dpm++ 3m sde", Method(3, partial(walk, "dpmpp_3m_sde", quiet), note="eta=0")
    yield "lms-4", Method(4, partial(walk, "lms", {}))


def of_azula() -> Iterator[tuple[str, Method]]:
    """Samplers of azula, on its own grid: even in the time of its VE schedule, which is even in log sigma too."""
    from azula import sample
    from azula.denoise import Denoiser, DiracPosterior
    from azula.noise import VESchedule

    class Exact(Denoiser):
        def __init__(self, ring: Ring) -> None:
            super().__init__()
            self.schedule, self.ring = VESchedule(LOW, HIGH), ring

        def forward(self, x_t: Tensor, t: Tensor) -> DiracPosterior:
            return DiracPosterior(self.ring(x_t, self.schedule.sigma(t)))

    def walk(name: str, options: dict[str, Any], levels: Tensor, ring: Ring) -> Tensor:
        sampler = getattr(sample, f"{name}Sampler")
        return sampler(Exact(ring), steps=len(levels) - 1, silent=True, dtype=torch.float64, **options)(STARTS)

    yield "ddim", Method(1, partial(walk, "DDIM", {}))
    yield "euler", Method(1, partial(walk, "Euler", {}))
    yield "heun", Method(2, partial(walk, "Heun", {}), 2)
    for family in ("xEAB", "zEAB", "zAB", "vAB", "REAB"):
        for p in (2, 3, 4):
            yield f"{family}-{p}", Method(p, partial(walk, family, {"order": p}))


PEERS = {"diffusers": of_diffusers, "k-diffusion": of_k_diffusion, "azula": of_azula}


# -- the picture -------------------------------------------------------------------------------------------------------

OURS = {  # drawn in the left panel
    "ddim": "DDIM",
    "heun": "Heun",
    "dpmpp2m": "DPM++ 2M",
    "dpmpp3m": "DPM++ 3M",
    "unipc-2 bh2": "UniPC-2",
    "adams-4 x0": "Adams-4",
    "unipc-3 bh2": "UniPC-3",
}
PANELS: dict[str, tuple[str, dict[str, str]]] = {  # title: our solver, and theirs
    "DDIM, Euler": ("ddim", {"diffusers": "euler", "k-diffusion": "euler", "azula": "ddim"}),
    "Heun": ("heun", {"diffusers": "heun", "k-diffusion": "heun", "azula": "heun"}),
    "DPM++ 2M, xEAB-2": ("dpmpp2m", {"diffusers": "dpm++ 2m", "k-diffusion": "dpm++ 2m", "azula": "xEAB-2"}),
    "DPM++ 3M, xEAB-3": ("dpmpp3m", {"diffusers": "dpm++ 3m", "k-diffusion": "dpm++ 3m sde", "azula": "xEAB-3"}),
    "UniPC-2": ("unipc-2 bh2", {"diffusers": "unipc-2 bh2"}),
    "UniPC-3": ("unipc-3 bh2", {"diffusers": "unipc-3 bh2"}),
    "DEIS-3, zEAB-3": ("deis-3", {"diffusers": "deis-3", "azula": "zEAB-3"}),
    "LMS-4, zAB-4": ("lms-4", {"diffusers": "lms-4", "k-diffusion": "lms-4", "azula": "zAB-4"}),
}
REMARKS = {  # where a gap needs a reason
    "DPM++ 3M, xEAB-3": "the weights in circulation,\nwith a factor 2 lost,\nare of order 2",
    "UniPC-3": "diffusers as it comes:\nthe last step is\nof first order",
}
MARKS = {  # of different size and form, so that points on one place are all seen
    "diffusers": {"color": style.GENERATED, "marker": "o", "markersize": 6.5, "markerfacecolor": "none"},
    "k-diffusion": {"color": style.COLOURS[2], "marker": "x", "markersize": 4.5},
    "azula": {"color": style.COLOURS[3], "marker": "+", "markersize": 9.0},
}


def draw(found: dict[str, Any], peers: dict[str, Any]) -> None:
    """results/orders.png: error against calls, our solvers on the left, each beside its peers on the right."""
    fig = style.pixels(2160, 1120)
    fig.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1, wspace=0.02, hspace=0.04)
    left, right = fig.subfigures(1, 2, width_ratios=(1.0, 2.1))
    axes, numbers = left.subplots(), np.array(SHOWN + FITTED)
    for (name, label), colour in zip(OURS.items(), (*style.COLOURS[:5], style.INK, style.COLOURS[5])):
        errors = found[name]["errors"]
        axes.plot(numbers, errors, color=colour, linewidth=1.8, marker="o", markersize=3)
        shift = {"adams-4 x0": 6, "unipc-3 bh2": -6}.get(name, 0)  # they end on one place
        end = {"xy": (numbers[-1], errors[-1]), "xytext": (6, shift), "textcoords": "offset points"}
        text = f"{label}  {found[name]['fitted']:.2f}"
        axes.annotate(text, **end, color=colour, fontsize=8.5, va="center", annotation_clip=False)
    frame(axes, "Our solvers, and the order fitted from 64 to 512 calls")
    grid = right.subplots(2, 4, sharex=True, sharey=True)
    for place, (title, (name, theirs)) in zip(grid.flat, PANELS.items()):
        errors, order = found[name]["errors"], SOLVERS[name][1]
        label = f"caminito  {found[name]['fitted']:.2f}"
        place.plot(numbers, errors, color=style.REAL, linewidth=5, alpha=0.35, solid_capstyle="round", label=label)
        for peer, method in theirs.items():
            if peer in peers:
                result = peers[peer]["methods"][method]
                label = f"{peer}  {result['fitted']:.2f}"
                place.plot(numbers, result["errors"], linewidth=0.8, label=label, **MARKS[peer])
        guide = 0.3 * errors[-1] * (numbers[3:] / numbers[-1]) ** -float(order)
        place.plot(numbers[3:], guide, color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        if title in REMARKS and "diffusers" in peers:
            where = {"ha": "right", "va": "top", "transform": place.transAxes}
            place.text(0.97, 0.97, REMARKS[title], color=style.GENERATED, fontsize=8.5, **where)
        frame(place, title)
        place.set(xlabel="", ylabel="")
        style.legend(place, loc="lower left")
    right.supxlabel("denoiser calls", fontsize=8.5, color=style.MUTED)
    left.suptitle("Error of the end against denoiser calls", x=0.03, ha="left", fontsize=12, color=style.INK)
    told = (
        "One method, several packages, same axes: marks that leave the blue band differ; dashed is the slope of theory"
    )
    right.suptitle(told, x=0.01, ha="left", fontsize=10, color=style.INK)
    fig.savefig(RESULTS / "orders.png")


def frame(axes: Any, title: str) -> None:
    """The same logarithmic axes for every panel."""
    style.dress(axes, title, "denoiser calls", "RMS distance from the exact end", grid="both")
    axes.set(xscale="log", yscale="log", xlim=(7, 600), ylim=(2e-9, 1.0))
    axes.set_xticks([8, 16, 32, 64, 128, 256, 512], [8, 16, 32, 64, 128, 256, 512], minor=False)
    axes.minorticks_off()


# -- all of it ---------------------------------------------------------------------------------------------------------


def main() -> None:
    """Measure, write results/orders.json and draw results/orders.png."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(1)  # the tensors are small
    begin, ends = time.perf_counter(), exact()
    check = ours(UniPC(6), 7, PROCESSES["VE"]).walk(logsnr(4096), Ring())
    orders: dict[str, dict[str, Any]] = {}
    outside: list[dict[str, Any]] = []
    for name, process in PROCESSES.items():
        orders[name] = {kind: measure(ours(*pair, process), ends) for kind, pair in SOLVERS.items()}
        print(name, {kind: row["fitted"] for kind, row in orders[name].items()}, flush=True)
    orders["VE, karras levels"] = {
        kind: measure(ours(*pair, PROCESSES["VE"]), ends, karras) for kind, pair in SOLVERS.items()
    }
    for kind, (solver, theory) in SOLVERS.items():
        fitted = {name: orders[name][kind]["fitted"] for name in PROCESSES}
        if any(abs(order - theory) > NEAR for order in fitted.values()):
            outside.append({"solver": kind, "theory": theory, "fitted": fitted, **why(solver, theory, ends)})
    peers: dict[str, Any] = {}
    for name, methods in PEERS.items():
        try:
            listed = dict(methods())
        except ImportError:
            print(f"{name} is not installed: skipped", flush=True)
            continue
        rows = {}
        for kind, method in listed.items():
            rows[kind] = {"claimed": method.order, "note": method.note, **measure(method, ends)}
            print(name, kind, method.order, rows[kind]["fitted"], flush=True)
        peers[name] = {"version": version(name), "methods": rows}
    eight = {
        grid.__name__: {kind: error(ours(*pair, PROCESSES["VE"]), 8, ends, grid) for kind, pair in SOLVERS.items()}
        for grid in (logsnr, karras)
    }
    best = min((e, kind, grid) for grid, row in eight.items() for kind, e in row.items() if e is not None)
    write(
        "orders",
        {
            "problem": "8 Gaussians on the unit circle, sd 0.1; sigma / alpha from 20 to 0.02; 256 starts; float64",
            "fit": f"least squares of log error on log calls, {FITTED[0]} to {FITTED[-1]} calls",
            "reference": "DOP853, rtol 1e-13",
            "reference_from_unipc_6_in_4096_steps": brief(float((check - ends).square().sum(1).mean().sqrt())),
            "asked": {
                "fitted order within 0.15 of theory": f"{len(SOLVERS) - len(outside)} of {len(SOLVERS)} solvers",
                "true 3M >= 2.9": least(orders, "dpmpp3m"),
                "UniPC-3 >= 3.8": least(orders, "unipc-3 bh2"),
                "exponential AB-4 >= 3.6": {
                    "eps": least(orders, "deis-4"),
                    "x0": least(orders, "adams-4 x0"),
                    "x0, karras levels": orders["VE, karras levels"]["adams-4 x0"]["fitted"],
                },
                "8 calls, best <= 1.0e-2": {"rms": best[0], "solver": best[1], "levels": best[2]},
            },
            "outside": outside,
            "solvers": {kind: {"claimed": solver.order, "theory": p} for kind, (solver, p) in SOLVERS.items()},
            "calls": SHOWN + FITTED,
            "orders": orders,
            "peers": peers,
            "same_method": {title: {"caminito": mine, **theirs} for title, (mine, theirs) in PANELS.items()},
            "eight_calls": {**eight, "calibrated dpmpp2m": calibrated(ends)},
            "seconds": round(time.perf_counter() - begin, 1),
        },
        ("torch", "numpy", "scipy"),
    )
    draw(orders["VE"], peers)


def least(orders: dict[str, Any], kind: str) -> float:
    """The lowest fitted order over the processes."""
    return min(orders[name][kind]["fitted"] for name in PROCESSES)


def calibrated(ends: Tensor) -> float:
    """DPM++ 2M in 8 steps on levels searched with the denoiser: what a grid is worth at so few calls."""
    process, draws = PROCESSES["VE"], torch.Generator().manual_seed(0)
    x0 = MEANS[torch.randint(8, (1024,), generator=draws)]
    x0 = x0 + STD * torch.randn(1024, 2, generator=draws, dtype=torch.float64)
    denoiser = from_x0(lambda x, t, cond: Ring()(x, HIGH * float(t)), process)
    like = torch.tensor([1.0, LOW / HIGH], dtype=torch.float64)
    grid = calibrate(denoiser, x0, "dpmpp2m", 8, method="search", like=like)
    return error(ours(DPMpp2M(), 2, process), 8, ends, lambda _: HIGH * grid) or math.nan


if __name__ == "__main__":
    main()
