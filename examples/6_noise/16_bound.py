"""
The bound, term by term
=======================

What the reverse chain needs, at most, to say a number: one term for each step.

.. code-block:: text

    E[-log p(x_0)] <= L_T + sum_{t=2}^T L_{t-1} + L_0    Ho et al. 2020, eq. 5

    L_{t-1} = KL(q(x_{t-1} | x_t, x_0) || N(mu, v_t))
            = beta_t^2 / (2 v_t alpha_t (1 - abar_t)) (eps - eps_theta)^2 + (r - 1 - log r) / 2
                                                         eq. 12, and r = beta-tilde_t / v_t
    v_t     = beta-tilde_t  (small),  beta_t  (large),  beta-tilde_t + c0^2 Var[x_0 | x_t]  (posterior)

No model can need less than the entropy of the data. With the exact denoiser and the variance of the posterior what
remains above it is that a step back is not quite normal. The small variance is wrong near the data, the large one where
they take shape.
"""

import numpy as np
import torch

from caminito import plot
from caminito.denoiser import MixtureDenoiser
from caminito.process import Chain
from caminito.sampling import variational_bound

chain = Chain.ddpm("linear", steps=200)
weights, means, std = torch.tensor([0.35, 0.65]), torch.tensor([[-1.2], [0.7]]), 0.25
exact = MixtureDenoiser(weights, means, std**2, chain)

nodes, shares = (torch.from_numpy(each) for each in np.polynomial.hermite_e.hermegauss(24))
shares = shares / shares.sum()  # sum of shares f(nodes) is E f(z), z ~ N(0, 1): expectations without any draw
x0 = (means + std * nodes).repeat_interleave(24)[:, None]  # of both peaks, each with every noise
odds = (weights[:, None] * shares).flatten().repeat_interleave(24) * shares.repeat(48)


class Nodes:
    """The noise of every row, at any step."""

    def normal(self, step, like):
        return nodes.repeat(48)[:, None]


least, costs = -odds @ exact.log_marginal(x0, 0.0), {}
print("               L_T    sum of L_t-1         L_0       total    - entropy")
for variance in ("small", "large", "posterior"):
    bound = variational_bound(exact, x0, variance=variance, noise=Nodes())
    parts = (bound.prior, bound.steps.sum(1), bound.reconstruction, bound.total, bound.total - least)
    print(f"{variance:10}", *(f"{odds @ part:12.5f}" for part in parts))
    costs[variance] = odds @ bound.steps

last = slice(-81, None, 2)  # the steps from t = 82 down to t = 2
above = {name: (bound.times[last], (costs[name] - costs["posterior"])[last]) for name in ("small", "large")}
title = "What a step costs more than with the variance of the posterior"
told = "Numbers are those of t = 2. Small is wrong near the data, large where they take shape; neither at much noise."
plot.loss_curves(above, x="t", y="nats", title=title, caption=told)

# %%
# Exercise
# --------
# Take 20 steps instead of 200 (``"cosine"``, for the linear table has no room for so few). Which variance suffers most,
# and why does ``posterior`` no longer reach the entropy?
