"""
Solvers: error against evaluations
==================================

The same way down with the same exact denoiser, walked by rules of several orders.

.. code-block:: text

    d(x / alpha) / d(sigma / alpha) = eps(x, t)               the flow; Song et al. 2021 (DDIM), eq. 14
    x_s = sigma_s / sigma_t x_t - alpha_s expm1(-h) D,        h = log(alpha_s / sigma_s) - log(alpha_t / sigma_t)

    D constant over a step: DDIM, of order 1
    D a line through this step and the last: DPM-Solver++(2M), of order 2           Lu et al. 2022, algorithm 2

A solver of order p has an error of some constant times h^p: twice the steps divide it by 2^p, a line of slope -p.
Heun's rule asks the denoiser twice in each step, and is charged for it.
"""

import math

import torch

from caminito import plot
from caminito.denoiser import MixtureDenoiser
from caminito.process import VP, grid
from caminito.sampling import DDIM, Adams, DPMpp2M, Heun, PerSample, UniPC, start, trajectory

angle = torch.arange(8) * torch.pi / 4
centres = 1.4 * torch.stack([angle.cos(), angle.sin()], 1)
ring = MixtureDenoiser(torch.full((8,), 1 / 8), centres, 0.15**2, VP())


def ends(solver, steps):
    """Where 256 walks end that all begin at the same points, at the smallest noise."""
    times = grid.logsnr(ring.process, steps, sigma_min=0.02, sigma_max=40.0)[:-1]
    x = start(ring, torch.empty(256, 2).double(), times[0], PerSample(seed=0))
    return list(trajectory(ring, x, times, solver))[-1].x


truth = ends(UniPC(3), 1500)
solvers = {"DDIM": DDIM(), "Heun": Heun(), "DPM++ 2M": DPMpp2M(), "UniPC-2": UniPC(2), "Adams-4": Adams(4, "x0")}
errors, orders = {}, {}
for name, solver in solvers.items():
    calls = [8, 16, 32, 64, 128]
    steps = [n // 2 if name == "Heun" else n for n in calls]
    missed = [float((ends(solver, n + 1) - truth).square().sum(1).mean().sqrt()) for n in steps]
    errors[name], orders[name] = (calls, missed), math.log2(missed[-2] / missed[-1])
    print(f"{name:9}", "  ".join(f"{error:.1e}" for error in missed))

plot.errors_by_evaluations(errors, orders=orders, y="distance from the exact ends")

# %%
# Exercise
# --------
# Put ``grid.karras`` in the place of ``grid.logsnr``. Which lines move, and does any change its slope?
