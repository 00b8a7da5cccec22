"""
Three steps, three networks
===========================

The way back as it is introduced: a network g_t for each step, which learns where its jump came from.

.. code-block:: text

    g_t = the function that makes  E |x_{t-1} - g_t(x_t)|^2  least    t = 1, 2, 3
        = E[x_{t-1} | x_t]  =  c0 E[x_0 | x_t] + ct x_t

Each network is given the pairs of its own jump and nothing else. Back goes x_{t-1} = g_t(x_t) + sqrt(beta_t) z, and
x_0 = g_1(x_1) at last. Three steps are few: what they draw has the peaks in place and a bridge between them where there
are no data, because a long step back is not normal.
"""

import torch

from caminito import plot
from caminito.denoiser import MixtureDenoiser, NetworkDenoiser, Precondition
from caminito.nn import PerStep, ResidualMLP
from caminito.process import Chain
from caminito.sampling import Ancestral, sample

torch.manual_seed(0)
chain, kind = Chain.ddpm([0.1, 0.5, 0.95]), Precondition("previous")
weights, means, std = torch.tensor([0.4, 0.6]), torch.tensor([[-1.0], [1.0]]), 0.2
exact = MixtureDenoiser(weights, means, std**2, chain)

labels = kind.coefficients(chain, torch.arange(1, 4)).label
networks = PerStep([ResidualMLP(1, width=32, depth=2) for _ in range(3)], labels)
learnt = NetworkDenoiser(networks, kind, chain, (1,))


def g(denoiser, t, x):
    """E[x_{t-1} | x_t] of a denoiser."""
    c0, ct, _ = chain.bridge(t - 1, t)
    return (c0 * denoiser.mean(x, t) + ct * x).float()


optimizer = torch.optim.Adam(networks.parameters(), lr=3e-3)
for step in range(600):
    x0 = means[torch.multinomial(weights, 256, replacement=True)] + std * torch.randn(256, 1)
    path = chain.simulate(x0, seed=step)
    loss = sum((path[t - 1] - g(learnt, t, path[t])).square().mean() for t in (1, 2, 3))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

x0 = means[torch.multinomial(weights, 4000, replacement=True)] + std * torch.randn(4000, 1)
fresh = chain.simulate(x0, seed=600)
with torch.no_grad():
    for t in (1, 2, 3):
        error = (g(learnt, t, fresh[t]) - g(exact, t, fresh[t])).square().mean().sqrt()
        print(f"g_{t} is {error:.3f} from the exact map, in the root mean square")
    where = torch.linspace(-3, 3, 400)[:, None]
    maps = {"exact": (where, g(exact, 2, where)), "$g_2$": (where, g(learnt, 2, where))}

names, title = ("$x_1$", "$x_2$"), "The second jump and its network"
plot.jumps(fresh[1, :1500], fresh[2, :1500], maps=maps, names=names, title=title)
x = sample(learnt, 5000, steps=3, solver=Ancestral("large"), seed=0)
density, title = exact.log_marginal(where, 0.0).exp(), "What three networks draw, and the density of the data"
plot.histogram1d(x, (where[:, 0], density), x="$x_0$", bins=60, title=title)

# %%
# Exercise
# --------
# Spread the same noise over six steps of ``beta = 0.4``, with six networks. What becomes better, and which training set
# has each network to learn from now?
