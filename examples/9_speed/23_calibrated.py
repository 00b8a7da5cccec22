"""
Times fitted to a solver
========================

With eight steps it matters more where they are than which rule takes them.

.. code-block:: text

    find  t_1 > ... > t_{n-1}   that make   E |walk(x_T; t) - fine walk(x_T)|^2   least

The ends of the grid stay. The search knows the solver, the denoiser and some noise, so it can put the steps where this
rule errs on these data. It need not be done on what is sampled: the times serve every sample of the model.
"""

import torch

from caminito import plot
from caminito.denoiser import MixtureDenoiser
from caminito.process import VP, grid
from caminito.sampling import DPMpp2M, PerSample, calibrate, start, trajectory

angle = torch.arange(8) * torch.pi / 4
centres = 1.4 * torch.stack([angle.cos(), angle.sin()], 1)
ring = MixtureDenoiser(torch.full((8,), 1 / 8), centres, 0.15**2, VP())
torch.manual_seed(0)
data = centres[torch.randint(8, (500,))].double() + 0.15 * torch.randn(500, 2)


def ends(times):
    """Where 512 walks end that all begin at the same points."""
    x = start(ring, torch.empty(512, 2).double(), times[0], PerSample(seed=1))
    return list(trajectory(ring, x, times, DPMpp2M()))[-1].x


truth, steps, errors, spaced = ends(grid.logsnr(ring.process, 400)), [4, 6, 8, 12], {}, {}
makers = {
    "karras": lambda n: grid.karras(ring.process, n),
    "equal in log-SNR": lambda n: grid.logsnr(ring.process, n),
    "calibrated": lambda n: calibrate(ring, data, DPMpp2M(), n, draws=128, teacher_steps=64),
}
for name, make in makers.items():
    grids = [make(n) for n in steps]
    missed = [float((ends(times) - truth).square().sum(1).mean().sqrt()) for times in grids]
    errors[name] = (steps, missed)
    spaced[name] = (torch.arange(8), torch.exp(-ring.process.logsnr(grids[2][:-1]) / 2))
    print(f"{name:17}", "  ".join(f"{error:.4f}" for error in missed))

plot.errors_by_evaluations(errors, y="distance from the exact ends", title="DPM-Solver++(2M) on three grids")
told = (
    "Each dot is a time of the walk; the numbers are the last before the data. The search moves them to where it bends."
)
plot.loss_curves(spaced, x="step", y="sigma / alpha", title="Where eight steps are", caption=told)

# %%
# Exercise
# --------
# Use the times that were found for ``DPMpp2M()`` with another rule, ``DDIM()`` or ``UniPC(2)``. Are they still good?
