"""
The field towards the data
==========================

Where a noisy point is drawn to: at much noise to the middle of everything, at little noise to the nearest turn.

.. code-block:: text

    x_t = x_0 + sigma eps,   D(x, sigma) = sum_i r_i y_i,   r_i ~ exp(-|x - y_i|^2 / (2 sigma^2))
                                                       Karras et al. 2022, appendix B.3
    D(x, sigma) - x  =  sigma^2 grad log p_sigma(x)    Tweedie's formula

The arrows are the departure of a jump back that goes all the way: D is the mean of the data y_i, each weighted by how
likely it was the one that noise moved to x. The spiral is a line, and at little noise the field is at right angles to
it.
"""

import torch

from caminito import plot
from caminito.data import spiral
from caminito.denoiser import EmpiricalDenoiser
from caminito.process import EDM

points = torch.from_numpy(spiral(2000, seed=0))
exact = EmpiricalDenoiser(points, EDM(80.0))  # alpha = 1, and the time says sigma

line = torch.linspace(-2.6, 2.6, 23).double()
places = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)  # [row, column]: y by rows, x by columns
sigmas, fields = (2.0, 0.8, 0.3, 0.1), []
for sigma in sigmas:
    t = exact.process.time(-2 * torch.log(torch.tensor(sigma)))
    x = places.reshape(-1, 2)
    fields.append((exact.mean(x, t) - x).reshape(places.shape))

plot.vector_field(line, line, torch.stack(fields), [f"sigma = {sigma:g}" for sigma in sigmas], data=points[:500])

# %%
# Exercise
# --------
# How does the field look if the data are four points only, ``points[::500]``? Where do arrows of different points meet?
