"""Calibrated grids on the ring of eight Gaussians: how far few steps end from the exact flow, before and after.

Variance exploding, sigma 20 to .02, the exact denoiser. A grid is calibrated on its own draws and judged on 1024 fresh
starts, for several seeds of the draws. Beside it the grids that need no data.

    python benchmarks/calibrate_mixture.py [--seeds 5] [--solvers ddim dpmpp2m unipc] [--steps 6 8 12]
"""

from __future__ import annotations

import argparse
import math
import time

import torch

from _common import mean_sd, write
from caminito.denoiser import from_x0
from caminito.process import EDM
from caminito.sampling import DPMpp2M, calibrate, trajectory

HIGH, LOW, STD = 20.0, 0.02, 0.1
PROCESS = EDM(HIGH, 1.0)
ENDS = torch.tensor([1.0, LOW / HIGH], dtype=torch.float64)
ANGLES = torch.arange(8, dtype=torch.float64) * (math.pi / 4)
MEANS = torch.stack([ANGLES.cos(), ANGLES.sin()], 1)


def mean(x, t, cond):
    """E[x0 | x] of the ring; its centres have one norm, so the softmax needs their products alone."""
    total = STD**2 + (HIGH * float(t)) ** 2
    share = torch.softmax(x @ MEANS.T / total, 1)
    return (1 - STD**2 / total) * (share @ MEANS) + STD**2 / total * x


def named(steps: int) -> dict[str, torch.Tensor]:
    """Grids that need no data, from HIGH to LOW."""
    share = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    root = HIGH ** (1 / 7) + share * (LOW ** (1 / 7) - HIGH ** (1 / 7))
    return {"karras": (root**7 / HIGH).clamp(max=1), "logsnr": (LOW / HIGH) ** share}


def main() -> None:
    """Run and write results/calibrate_mixture.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--solvers", nargs="*", default=["ddim", "dpmpp2m", "unipc"])
    parser.add_argument("--steps", type=int, nargs="*", default=[6, 8, 12])
    args = parser.parse_args()
    denoiser = from_x0(mean, PROCESS)
    draw = torch.Generator().manual_seed(0)
    x0 = MEANS[torch.randint(8, (1024,), generator=draw)] + STD * torch.randn(
        1024, 2, generator=draw, dtype=torch.float64
    )
    starts = HIGH * torch.randn(1024, 2, generator=draw, dtype=torch.float64)

    def end(grid, solver):
        for frame in trajectory(denoiser, starts, grid, solver):
            last = frame.x
        return last

    exact = end((LOW / HIGH) ** torch.linspace(0, 1, 2049, dtype=torch.float64), DPMpp2M())

    def rms(grid, solver):
        return float((end(grid, solver) - exact).square().sum(1).mean().sqrt())

    figures = {}
    for solver in args.solvers:
        for steps in args.steps:
            row = {name: rms(grid, solver) for name, grid in named(steps).items()}
            for method in ("score", "klub", "trajectory", "search"):
                begin, scores = time.perf_counter(), []
                for seed in range(args.seeds):
                    grid = calibrate(denoiser, x0, solver, steps, method=method, like=ENDS, seed=seed)
                    scores.append(rms(grid, solver))
                seconds = (time.perf_counter() - begin) / args.seeds
                row[method] = {**mean_sd(scores), "per_seed": scores, "sigma": HIGH * grid, "seconds": seconds}
            figures[f"{solver} {steps}"] = row
            shown = {k: v["mean"] if isinstance(v, dict) else v for k, v in row.items()}
            print(solver, steps, {k: f"{v:.4f}" for k, v in shown.items()}, flush=True)
    write("calibrate_mixture", {"asked": "dpmpp2m with 8 steps <= 5e-3", "rms": figures})


if __name__ == "__main__":
    main()
