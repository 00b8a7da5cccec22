"""
Reverse paths of numbers
========================

From noise back to data with the exact denoiser, and what becomes of it if the noise of the steps is left out.

.. code-block:: text

    x_{t-1} = c0 E[x_0 | x_t] + ct x_t + std z,    z ~ N(0, 1)    Ho et al. 2020, eq. 7 and algorithm 2
    std^2   = beta-tilde_t + c0^2 Var[x_0 | x_t]                  Bao et al. 2022 (Analytic-DPM)

The mean of a step is not a sample of it. For data N(0, 1) it is sqrt(alpha_t) x_t, so T means in a row are
sqrt(abar_T) x_T: everything contracts to 0. For two peaks it does so too, and from there goes to one point.
"""

import torch

from caminito import plot
from caminito.denoiser import GaussianDenoiser, MixtureDenoiser
from caminito.process import Chain
from caminito.sampling import Ancestral, PerSample, start, trajectory

chain = Chain.ddpm("linear", steps=100)
two = MixtureDenoiser(torch.tensor([0.35, 0.65]), torch.tensor([[-1.2], [0.7]]), 0.25**2, chain)
one = GaussianDenoiser(torch.zeros(1), 1.0, chain)
times = torch.arange(100.0, -1, -1).double()


def means_only(denoiser, x):
    """Every step goes to its mean."""
    yield x
    for t in times[:-1]:
        c0, ct, _ = chain.bridge(t - 1, t)
        x = c0 * denoiser.mean(x, t) + ct * x
        yield x


noise = PerSample(seed=0)
x_T = start(two, torch.empty(400, 1).double(), times[0], noise)
drawn = torch.stack([frame.x for frame in trajectory(two, x_T, times, Ancestral("posterior"), noise=noise)])
means = torch.stack(list(means_only(two, x_T)))
mode = ["lower peak" if x < -0.25 else "upper peak" for x in drawn[-1, :, 0]]

print(f"two peaks: {two.data_moments[1].sqrt().item():.3f} is the standard deviation of the data")
print(f"           {drawn[-1].std():.3f} with noise in each step, {means[-1].std():.3f} without")
print(f"N(0, 1):   {list(means_only(one, x_T))[-1].std():.4f} without; sqrt(abar_T) = {chain.kernel(100).scale:.4f}")

plot.trajectories(drawn[:, :120], times, groups=mode[:120], title="Back with noise in each step")
told = "The same starts. Each step goes to its mean, so all of them meet, and end at one point instead of two peaks."
plot.trajectories(means[:, :120], times, title="Back by means alone", caption=told)

# %%
# Exercise
# --------
# There is a way back without noise that does end at the data: ``DDIM()`` in the place of ``Ancestral("posterior")``. By
# how much do its steps differ from the means? (In the limit of small steps it goes half as far along the score.)
