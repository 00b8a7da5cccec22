"""
Reverse paths in the plane
==========================

Two hundred points of noise find the spiral, along the field of the page before.

.. code-block:: text

    x_s = alpha_s D(x_t, t) + sigma_s eps            Song et al. 2021 (DDIM), eq. 12
    eps = (x_t - alpha_t D(x_t, t)) / sigma_t

At first all paths run to the mean of the data. They part late, when the noise has become as small as the gaps between
the turns of the spiral. The same walk, moving: each dot is a sample.
"""

import torch

from caminito import plot
from caminito.data import spiral
from caminito.denoiser import EmpiricalDenoiser
from caminito.process import Cosine, grid
from caminito.sampling import DDIM, PerSample, start, trajectory

points = torch.from_numpy(spiral(2000, seed=0))
exact = EmpiricalDenoiser(points, Cosine(), bandwidth=0.03)
times = grid.uniform(exact.process, 50)

x = start(exact, torch.empty(200, 2).double(), times[0], PerSample(seed=3))
paths = torch.stack([frame.x for frame in trajectory(exact, x, times, DDIM())])
distance = torch.cdist(paths[-1], points).min(1).values
print(f"at the end the samples are {distance.median():.3f} from the nearest point of the data, in the median")

plot.trajectories(paths, title="200 paths from noise to a spiral")
plot.moving_paths(paths, times, data=points)

# %%
# Exercise
# --------
# Walk with 8 steps instead of 50, then with ``DPMpp2M()``. Which of the two needs fewer steps to reach the spiral?
