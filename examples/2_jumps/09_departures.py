"""
The departure from a dilation
=============================

What a jump back does beyond undoing the shrinking: it climbs the density.

.. code-block:: text

    E[x_{i-1} | x_i] = ( x_i + sigma_i^2 d/dx log q_i(x_i) ) / (1 - mu_i)    Tweedie's formula, of one step

    departure = E[x_{i-1} | x_i] - x_i / (1 - mu_i)
              = sigma_i^2 / (1 - mu_i)  d/dx log q_i(x_i)

If x were spread evenly, the best guess of the way back would be the dilation x / (1 - mu_i). What is left when that is
taken off is all that a model has to learn of the data at this step, and it is the score, the slope of log q_i.
"""

import torch

from caminito import plot
from caminito.denoiser import EmpiricalDenoiser, score
from caminito.process import Chain

size = 0.01 * torch.arange(1, 61)
chain = Chain(size, size)
exact = EmpiricalDenoiser(torch.tensor([[-1.0], [0.0], [1.0]]), chain)  # the photos of the free chain

grid, departures, density = torch.linspace(-1.5, 1.5, 301).double()[:, None], {}, []
for i in (3, 5, 7, 9, 12, 20):
    c0, ct, _ = chain.bridge(i - 1, i)
    scale, std = chain.transition(i - 1, i)
    back = c0 * exact.mean(grid, i) + ct * grid
    departures[f"i = {i}"] = departure = (back - grid / scale)[:, 0]
    density.append(exact.log_marginal(grid, i).exp())
    slope = std**2 / scale * score(exact, grid, i)[:, 0]
    apart = (departure - slope).abs().max()
    print(f"jump {i:2d}: at most {departure.abs().max():.3f}, and from the score by {apart:.0e}")

plot.departures(grid[:, 0], torch.stack(list(departures.values())), list(departures), density=torch.stack(density))

# %%
# Exercise
# --------
# The departure of jump 5 falls through 0 near the three photos, which have shrunk to 0 and +-0.86 by then, and rises
# through 0 twice between them. What do these two points separate, and at which jump have they gone?
