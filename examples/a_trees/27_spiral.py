"""
A spiral, by trees and by a network
===================================

The same reverse jumps in the plane: trees beside a perceptron, and the field of each.

.. code-block:: text

    D(x, sigma) ~ E[x_0 | x_t],    field D(x, sigma) - x = sigma^2 grad log p_sigma(x)    Tweedie's formula

A forest of trees with vector leaves says both coordinates at once. It predicts x_0, not the noise: far from the data
E[x_0 | x_t] hardly moves with x_t, which a tree can say in a few leaves, while the noise moves as x_t does and would be
a staircase.
"""

import torch
from sklearn.ensemble import ExtraTreesRegressor

from caminito import DiffusionModel, plot
from caminito.data import spiral
from caminito.process import EDM
from caminito.process.grid import karras
from caminito.sampling import DPMpp2M, sample
from caminito.training import fit_regressors

points = torch.from_numpy(spiral(2000, seed=0)).float()
process = EDM(20.0)
grid = karras(process, 15, sigma_min=0.05, sigma_max=20.0)
forest = ExtraTreesRegressor(10, min_samples_leaf=20)
trees = fit_regressors(process, points, grid, forest, copies=10)
network = DiffusionModel(max_steps=500, random_state=0).fit(points.numpy())

made = sample(trees, (2000, 2), grid=grid, solver=DPMpp2M())
drawn = network.sample(2000, random_state=0)
line = torch.linspace(-2.6, 2.6, 21)
places = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
t = process.time(-2 * torch.log(torch.tensor(0.3)))
field = (trees.mean(places.reshape(-1, 2), t).reshape(places.shape) - places)[None]

plot.scatter(points, made, names=("data", "by trees"), title="A spiral by trees")
plot.scatter(points, drawn, names=("data", "by a perceptron"), title="The same by a perceptron")
plot.vector_field(line, line, field, ["by trees, sigma = 0.3"], data=points[:500])

# %%
# Exercise
# --------
# How does the picture change with one tree in place of ten, ``ExtraTreesRegressor(1, min_samples_leaf=20)``? With
# ``prediction="eps"``?
