"""
A learned variance
==================

With few steps the variance of a step matters, and the network can learn it beside the mean.

.. code-block:: text

    log Sigma = v log beta + (1 - v) log beta-tilde    Nichol & Dhariwal 2021, eq. 15
    L_hybrid  = L_simple + 0.001 L_vlb                 eq. 16; in L_vlb the mean is a constant

    Var[x_0 | x_t] = (Sigma - beta-tilde) / c0^2       the same knowledge, for a step of any length

Small (beta-tilde) is right if the data are one point, large (beta) if they are N(0, I). Over long steps the two are far
apart. Images have entries of both kinds, and so have these data: a plane in eight dimensions, with a thickness of 0.1.
What a wrong variance costs is seen in the bound, in nats above -log p of the data.
"""

import torch

from caminito import plot
from caminito.denoiser import GaussianDenoiser, NetworkDenoiser, Precondition, VarianceRange
from caminito.nn import ResidualMLP
from caminito.process import Chain, grid
from caminito.sampling import variational_bound
from caminito.training import TrainingConfig, averaged, fit_steps

torch.manual_seed(0)
chain = Chain.ddpm("cosine", steps=100)
std = torch.tensor([1.0, 1.0] + 6 * [0.1])
exact = GaussianDenoiser(torch.zeros(8), std**2, chain)

network = ResidualMLP(8, 16, width=64, depth=2)  # twice as many outputs: the prediction, and 2 v - 1
learnt = NetworkDenoiser(network, Precondition("v"), chain, (8,), variance=VarianceRange(chain))
config = TrainingConfig(steps=1000, batch_size=256, learning_rate=4e-3, loss="hybrid", times="uniform")
for progress in fit_steps(learnt, std * torch.randn(10_000, 8), config):
    state = progress.state

fresh = std * torch.randn(1000, 8)
least, steps, above = -exact.log_marginal(fresh.double(), 0.0).mean(), [5, 10, 20, 50, 100], {}
print("steps   ", "  ".join(f"{n:8d}" for n in steps))
with averaged(state):
    for name, variance in {"small": "small", "large": "large", "learned": "posterior"}.items():
        bounds = [variational_bound(learnt, fresh, grid.trailing(chain, n), variance=variance) for n in steps]
        above[name] = (steps, [float(bound.total.mean() - least) for bound in bounds])
        print(f"{name:8}", "  ".join(f"{nats:8.3f}" for nats in above[name][1]))

plot.errors_by_evaluations(above, y="nats above -log p of the data", title="What a wrong variance costs")

# %%
# Exercise
# --------
# The exact variance would cost nothing here: put ``exact`` for ``learnt`` in the bound. The network has learnt v from a
# thousandth of the loss; train it with ``loss="vlb"`` instead, in which v counts fully. At which steps is it better?
