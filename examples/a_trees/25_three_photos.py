"""
Three photos, and a tree for every jump
=======================================

Sixty jumps of a free chain, each turned back by one regression tree that has seen nothing but the jump.

.. code-block:: text

    x_i = (1 - mu_i) x_{i-1} + sigma_i eps_i,    mu_i = sigma_i = 0.01 i,    i = 1..60
    tree_i(x)  =  mean of the x_{i-1} in the leaf of x  ~  E[x_{i-1} | x_i = x]

A tree is asked at its argument, and nowhere else: at the points it was fitted to it knows where they came from. And a
mean is no sample. Going from mean to mean every path contracts to the photo in the middle. What is missing is the noise
of the step,

.. code-block:: text

    Var[x_{i-1} | x_i] = beta-tilde + c0^2 Var[x_0 | x_i]    Bao et al. 2022 (Analytic-DPM), eq. 7

and with it the same trees find all three photos, each as often as it was there.
"""

import torch
from sklearn.tree import DecisionTreeRegressor

from caminito import plot
from caminito.process import Chain
from caminito.process.grid import uniform
from caminito.sampling import Ancestral, PerSample, start, trajectory
from caminito.training import fit_regressors, fit_residual_variance

size = 0.01 * torch.arange(1, 61)
chain, grid = Chain(size, size), uniform(Chain(size, size), 60)
photos = torch.tensor([-1.0, 0.0, 1.0]).repeat(334)[:1000, None]
paths = chain.simulate(photos, seed=0)

tree = DecisionTreeRegressor(min_samples_leaf=10)
trees = fit_regressors(chain, photos, grid, tree, prediction="previous", paths=paths)
known = fit_residual_variance(trees, photos, grid[:-1], seed=1)


def back(x, i):
    """E[x_{i-1} | x_i = x] as the tree of jump i says it."""
    c0, ct, _ = chain.bridge(i - 1, i)
    return c0 * trees.mean(x, i) + ct * x


noise = PerSample(seed=0)
x = start(known, torch.empty(100, 1), grid[0], noise)  # from the normal that fits the end of the paths
means = [x]
for i in range(60, 0, -1):
    means.append(back(means[-1], i))
drawn = torch.stack([frame.x for frame in trajectory(known, x, grid, Ancestral("posterior"), noise=noise)])
ends = drawn[-1, :, 0].round().clamp(-1, 1).int().tolist()
print(f"by means alone {float((means[-1].abs() < 0.1).double().mean()):.0%} of the paths end at 0;")
print("with noise " + ", ".join(f"{ends.count(photo)} % at {photo}" for photo in (-1, 0, 1)))

where = torch.linspace(-0.9, 0.9, 500)[:, None]
maps = {"the tree of jump 10": (where, back(where, 10))}
names = ("$x_9$", "$x_{10}$")
plot.terminal(paths[60, :, 0], title="The end of a thousand photos")
plot.jumps(paths[9, :, 0], paths[10, :, 0], maps=maps, dilation=float(1 / chain.scale[9]), names=names)
plot.trajectories(torch.stack(means), grid, title="Back by means alone")
plot.trajectories(drawn, grid, groups=ends, title="Back with noise in each step")

# %%
# Exercise
# --------
# ``DDIM()`` in the place of ``Ancestral("posterior")`` draws no noise and needs no variance. Does it find three photos?
# And does it if the trees predict the noise, ``prediction="eps"``? Why is that harder for a tree?
