"""
The two algorithms of DDPM
==========================

Training and sampling, written out with one network that is told the time.

.. code-block:: text

    Algorithm 1   repeat    Ho et al. 2020
                      x_0 ~ data,  t ~ uniform on 1..T,  eps ~ N(0, I)
                      a gradient step on |eps - eps_theta(sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, t)|^2

    Algorithm 2   x_T ~ N(0, I)
                  for t = T, ..., 1:
                      z ~ N(0, I), but z = 0 if t = 1
                      x_{t-1} = (x_t - beta_t / sqrt(1 - abar_t) eps_theta(x_t, t)) / sqrt(alpha_t) + sqrt(beta_t) z

Paper and code share the letters. In the last line alpha_t = 1 - beta_t is of one step, abar_t of all of them.
"""

import torch

from caminito import plot
from caminito.data import swiss_roll
from caminito.nn import ResidualMLP
from caminito.process import beta_table

torch.manual_seed(0)
T, data = 100, torch.from_numpy(swiss_roll(4000, seed=0)).float()
beta = beta_table("linear", T).float()
alpha, abar = 1 - beta, torch.cumprod(1 - beta, 0)  # entry t - 1 belongs to step t
label = torch.log((1 - abar) / abar) / 8  # what the network is told of t
network = ResidualMLP(2, width=64, depth=2, fourier=8)

optimizer = torch.optim.Adam(network.parameters(), lr=6e-3)  # algorithm 1
decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1500)
for _ in range(1500):
    x0, eps, t = data[torch.randint(len(data), (512,))], torch.randn(512, 2), torch.randint(T, (512,))
    x_t = abar[t, None].sqrt() * x0 + (1 - abar[t, None]).sqrt() * eps
    loss = (eps - network(x_t, label[t])).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    decay.step()

x = torch.randn(4000, 2)  # algorithm 2
with torch.no_grad():
    for t in reversed(range(T)):
        z = torch.randn_like(x) if t > 0 else 0.0
        eps = network(x, label[t].expand(len(x)))
        x = (x - beta[t] / (1 - abar[t]).sqrt() * eps) / alpha[t].sqrt() + beta[t].sqrt() * z

plot.scatter(data, x, title="A Swiss roll, and what the two algorithms make of noise")

# %%
# Exercise
# --------
# A misprint in circulation adds ``beta[t] * z`` instead of ``beta[t].sqrt() * z``. Make it, and see what becomes of the
# roll. `DDPM, formula by formula <../../ddpm.html>`_ tells by how much the noise is then too small.
