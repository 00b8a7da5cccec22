"""
A free chain
============

Sixty jumps with drifts and noises of one's own choice, the tenth of them seen from both sides.

.. code-block:: text

    x_i = (1 - mu_i) x_{i-1} + sigma_i eps_i,    mu_i = sigma_i = 0.01 i,    i = 1..60

The data are photos of one pixel, which is black (-1), grey (0) or white (1). Forward, a jump is a line with noise about
it. Backward it is no line: photos come from three places only, and the best guess of where x_10 came from,

.. code-block:: text

    E[x_9 | x_10] = c0 E[x_0 | x_10] + ct x_10    (c0, ct) of the bridge, Ho et al. 2020, eq. 7

is drawn to them. This map is what a model has to learn; here it is exact. A tree learns it from the
jumps alone on :doc:`another page </auto/a_trees/25_three_photos>`.
"""

import torch

from caminito import plot
from caminito.denoiser import EmpiricalDenoiser
from caminito.process import Chain

size = 0.01 * torch.arange(1, 61)
chain = Chain(size, size)
photos = torch.tensor([[-1.0], [0.0], [1.0]])
exact = EmpiricalDenoiser(photos, chain)

x0 = photos[torch.arange(1500) % 3]
paths = chain.simulate(x0, seed=0)[..., 0]
alpha, sigma = chain.kernel(60)
print(f"the end: {alpha:.1e} of the photo, and noise of standard deviation {sigma:.4f}")
print(f"the end of {len(x0)} photos: mean {paths[60].mean():+.4f}, standard deviation {paths[60].std():.4f}")

where = torch.linspace(float(paths[10].min()), float(paths[10].max()), 400)[:, None]
c0, ct, _ = chain.bridge(9, 10)
back = c0 * exact.mean(where, 10.0) + ct * where

plot.diffusion_paths(paths, torch.arange(61), title="Sixty jumps of a free chain", shown=9)
maps, names = {"exact": (where, back)}, ("$x_9$", "$x_{10}$")
plot.jumps(paths[9], paths[10], maps=maps, dilation=float(1 / chain.scale[9]), names=names)

# %%
# Exercise
# --------
# A free chain need not end at N(0, 1). Which standard deviation does it end with if every ``mu_i`` is 0.3 and every
# ``sigma_i`` too? Solve ``s^2 = (1 - mu)^2 s^2 + sigma^2``, then run it. Which ``sigma`` would make it 1?
