"""
What the network predicts
=========================

The mean of the jump, the data, the noise or v: one loop, and the same data for all of them.

.. code-block:: text

    previous   E[x_{t-1} | x_t] = c0 D + ct x_t    the networks g_t
    x0                                             D = E[x_0 | x_t]
    eps        (x_t - alpha_t D) / sigma_t         Ho et al. 2020
    v          alpha_t eps - sigma_t D             Salimans & Ho 2022, appendix D

All four are linear in D, so each can be had from any other, and an exact network would be exact in all. A network that
errs by e in what it predicts errs in D by e times

.. code-block:: text

    previous   n_{t-1} / c0  ~  sigma_t^2 / (alpha_t beta_t),  n^2 the variance of x_{t-1}
    x0                    1
    eps                   sigma_t / alpha_t
    v          sigma_t    if alpha_t^2 + sigma_t^2 = 1

which is why ``previous``, where the story begins, is not where it ends.
"""

import torch

from caminito import plot
from caminito.denoiser import MixtureDenoiser, NetworkDenoiser, Precondition
from caminito.nn import ResidualMLP
from caminito.process import Chain
from caminito.training import TrainingConfig, averaged, fit_steps

chain = Chain.ddpm("linear", steps=100)
angle = torch.arange(8) * torch.pi / 4
centres = 1.4 * torch.stack([angle.cos(), angle.sin()], 1)
exact = MixtureDenoiser(torch.full((8,), 1 / 8), centres, 0.1**2, chain)
torch.manual_seed(0)
data = centres[torch.randint(8, (5000,))] + 0.1 * torch.randn(5000, 2)
config = TrainingConfig(steps=600, batch_size=256, times="uniform", weight="simple", learning_rate=4e-3)

steps, fresh, noise, curves = torch.arange(100.0, 0.0, -3), data[:1000], torch.randn(1000, 2), {}
for kind in ("previous", "x0", "eps", "v"):
    torch.manual_seed(0)
    denoiser = NetworkDenoiser(ResidualMLP(2, width=48, depth=2), Precondition(kind), chain, (2,))
    for progress in fit_steps(denoiser, data, config):
        state = progress.state
    errors = []
    with averaged(state), torch.no_grad():
        for t in steps:
            x_t = chain.noise(fresh, t, noise)
            errors.append((denoiser.mean(x_t, t) - exact.mean(x_t, t)).square().mean().sqrt())
    curves[kind] = (chain.logsnr(steps), torch.stack(errors))
    print(f"{kind:8}", "  ".join(f"t = {int(steps[i])}: {errors[i]:8.4f}" for i in (0, 11, 22, 33)))

title, x = "How far each network is from the exact denoiser", "noise   <   log-SNR   >   data"
told = "Numbers are those of t = 1. At much noise an error in the mean, or in the noise, is a large error of the data."
plot.loss_curves(curves, x=x, y="error of D", title=title, caption=told)

# %%
# Exercise
# --------
# All four were trained with the weight of the noise, SNR, on the error of x0. Give them ``weight="uniform"`` instead,
# which is the plain error of x0. Which one gains, and at which end?
