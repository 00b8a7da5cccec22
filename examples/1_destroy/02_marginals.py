"""
The marginals
=============

The law of the data at chosen times, each a blurred and shrunken copy of the first.

.. code-block:: text

    x_t = alpha_t x_0 + sigma_t eps,   eps ~ N(0, 1)    Ho et al. 2020, eq. 4
    q(x_t) = the density of alpha_t x_0, convolved with N(0, sigma_t^2)

All steps up to t are one step: only alpha_t = sqrt(abar_t) and sigma_t = sqrt(1 - abar_t) are needed, no path.
"""

import torch

from caminito import plot
from caminito.denoiser import MixtureDenoiser
from caminito.process import Chain

chain = Chain.ddpm("linear", steps=100)
weights, means = torch.tensor([0.2, 0.3, 0.5]), torch.tensor([[-1.6], [-0.4], [0.9]])
data = MixtureDenoiser(weights, means, torch.tensor([0.01, 0.03, 0.06]), chain)

chosen = [0, 2, 5, 10, 20, 40, 100]
grid = torch.linspace(-3.2, 3.2, 641)
density = torch.stack([data.log_marginal(grid[:, None], float(t)).exp() for t in chosen])

for t in chosen:
    alpha, sigma = chain.kernel(t)
    print(f"t = {t:3d}    alpha {alpha:.4f}    sigma {sigma:.4f}    log-SNR {chain.logsnr(t):+.2f}")

plot.marginals(grid, density, [f"t = {t}" for t in chosen])

# %%
# Exercise
# --------
# Two normals of one width are seen as two peaks as long as their means are more than two standard deviations apart. The
# two on the left have means 1.2 apart and standard deviations of about 0.14. Find from the printed table between which
# of the chosen times they merge, then look.
