"""
The end of the chain
====================

Sampling starts from N(0, 1), so the chain has to end there. Does it?

.. code-block:: text

    KL(q(x_T | x_0) || N(0, 1)) = (abar_T x_0^2 - abar_T - log(1 - abar_T)) / 2    L_T of Ho et al. 2020, eq. 5

So far, in nats, is the law of x_T from the one that sampling starts from, for a number that began at x_0.
"""

import torch

from caminito import plot
from caminito.process import Chain, beta_table

betas = beta_table("linear", 100)
torch.manual_seed(0)
x0 = torch.where(torch.rand(20_000, 1) < 0.35, -1.2, 0.7) + 0.25 * torch.randn(20_000, 1)

for name, table in {"too little noise": betas / 10, "the table of DDPM": betas}.items():
    chain = Chain.ddpm(table)
    abar = chain.kernel(100).scale ** 2
    gap = (abar * x0.double() ** 2 - abar - torch.log1p(-abar)) / 2
    print(f"{name}: abar_T {abar:.6f}, L_T {gap.mean():.6f} nats")
    plot.terminal(chain.simulate(x0)[-1], title=f"The end of the chain: {name}")

# %%
# Exercise
# --------
# By how much can the table be divided before L_T exceeds a hundredth of a nat? Put other numbers in the place of 10.
