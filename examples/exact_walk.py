"""A walk with an exact denoiser: nothing is learnt, so what is seen is the solver alone.

A mixture of two Gaussians on the line is noised to its end and walked back with each solver in 16 steps. Its mean and
standard deviation are known, so the error of each is too.

    python examples/exact_walk.py [--out exact_walk]
"""

import argparse
from pathlib import Path

import torch

from caminito import plot
from caminito.denoiser import MixtureDenoiser
from caminito.process import VP, grid
from caminito.sampling import DDIM, Ancestral, DPMpp2M, Heun, PerSample, sample, start, trajectory

parser = argparse.ArgumentParser()
parser.add_argument("--out", type=Path, default=Path("exact_walk"))
options = parser.parse_args()

means = torch.tensor([[-1.0], [1.0]])
denoiser = MixtureDenoiser(torch.tensor([0.3, 0.7]), means, 0.04, VP())
mean, var = (float(moment) for moment in denoiser.data_moments)
print(f"{'exact':31} mean {mean:.4f}  std {var**0.5:.4f}")
for solver in (Ancestral(), Ancestral("posterior"), DDIM(), Heun(), DPMpp2M()):
    x = sample(denoiser, 20_000, steps=16, solver=solver, seed=0, dtype=torch.float64)
    print(f"{solver!s:31} mean {float(x.mean()):.4f}  std {float(x.std()):.4f}")

noise, times = PerSample(1), grid.uniform(denoiser.process, 100)
x = start(denoiser, torch.empty(200, 1), times[0], noise)
paths = torch.stack([frame.x for frame in trajectory(denoiser, x, times, noise=noise)])
options.out.mkdir(parents=True, exist_ok=True)
(options.out / "paths.png").write_bytes(plot.png_bytes(plot.trajectories(paths.numpy(), times.numpy())))
