"""
Paths from data to noise
========================

Five numbers on their way through a hundred noisy steps, over the density of all that could have been in their place.

.. code-block:: text

    q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t)            Ho et al. 2020, eq. 2
    q(x_t) = sum_k w_k N(alpha_t m_k, alpha_t^2 s_k^2 + sigma_t^2)    if the data are sum_k w_k N(m_k, s_k^2)

Each step pulls the number a little towards 0 and adds a little noise, so that a variance of 1 stays 1. Here
alpha_t = sqrt(abar_t) and sigma_t^2 = 1 - abar_t, with abar_t = (1 - beta_1) ... (1 - beta_t).
"""

import torch

from caminito import plot
from caminito.denoiser import MixtureDenoiser
from caminito.process import Chain

chain = Chain.ddpm("linear", steps=100)
weights, means, std = torch.tensor([0.35, 0.65]), torch.tensor([[-1.2], [0.7]]), 0.25
data = MixtureDenoiser(weights, means, std**2, chain)

torch.manual_seed(7)
peak = torch.multinomial(weights, 3000, replacement=True)
x0 = means[peak] + std * torch.randn(3000, 1)
paths = chain.simulate(x0, seed=1)[..., 0]  # every step of every number, (101, 3000)

times, grid = torch.arange(101.0), torch.linspace(-3.2, 3.2, 321)
density = torch.stack([data.log_marginal(grid[:, None], t).exp() for t in times], dim=1)

plot.diffusion_paths(paths, times, density, grid)

# %%
# Exercise
# --------
# Make the chain ten times as long, ``steps=1000``; the table then has a tenth of the noise in each step. Which part of
# the picture stays the same, and which changes?
