"""
The diffusion kernel
====================

Where a number can be after t steps, if it is known where it started.

.. code-block:: text

    q(x_t | x_0) = N(sqrt(abar_t) x_0, 1 - abar_t)    Ho et al. 2020, eq. 4

    abar_t = alpha_1 ... alpha_t,   alpha_i = 1 - beta_i

Two kernels one after the other are a kernel again, which is why a thousand steps cost no more than one:
scale = scale_2 scale_1, variance = scale_2^2 variance_1 + variance_2.
"""

import torch

from caminito import plot
from caminito.process import Chain, Kernel

chain = Chain.ddpm("linear", steps=100)
starts, times = torch.tensor([-1.5, 0.0, 1.0]), torch.arange(101)
alpha, sigma = chain.kernel(times)

composed = Kernel(torch.tensor(1.0).double(), torch.tensor(0.0).double())
for step in range(1, 101):
    composed = composed.then(chain.transition(step - 1, step))
print(f"a hundred kernels composed  scale {composed.scale:.12f}  std {composed.std:.12f}")
print(f"the kernel of the table     scale {alpha[-1]:.12f}  std {sigma[-1]:.12f}")

plot.kernels(starts, times, starts[:, None] * alpha, sigma)

# %%
# Exercise
# --------
# From which t on do the bands of -1.5 and 1 overlap? They touch where 2.5 alpha_t = 4 sigma_t, which is a log-SNR of
# 2 log 1.6. Ask ``chain.time`` for the step, and draw the densities there with ``at=[...]``.
