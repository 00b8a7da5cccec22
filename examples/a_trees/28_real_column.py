"""
A column of a real table
========================

Blood pressures and ages of 442 people: a column with a shape of its own, learnt jump by jump, alone and given another.

.. code-block:: text

    x_t = alpha_t x_0 + sigma_t eps,    tree_t(x_t, age) ~ E[x_0 | x_t, age]

A condition is one more column of what the trees see. Nothing else changes, and nothing is rejected when it is asked
for. Data: Efron et al. 2004, as scikit-learn bundles them.
"""

import torch
from sklearn.datasets import load_diabetes
from sklearn.ensemble import ExtraTreesRegressor

from caminito import plot
from caminito.process import VP
from caminito.process.grid import logsnr
from caminito.sampling import Ancestral, sample
from caminito.training import fit_regressors, fit_residual_variance

table = load_diabetes(scaled=False, as_frame=True).data
pressure = torch.from_numpy(table["bp"].to_numpy().copy())[:, None]
age = torch.from_numpy(table["age"].to_numpy().copy())
x0 = (pressure - pressure.mean()) / pressure.std()

process = VP()
grid = logsnr(process, 15, sigma_min=0.05, sigma_max=20.0)
forest = ExtraTreesRegressor(10, min_samples_leaf=40)
trees = fit_regressors(process, x0, grid, forest, copies=20, cond={"age": age})
known = fit_residual_variance(trees, x0, grid[:-1], cond={"age": age}, seed=1)


def pressures(years):
    """Blood pressures of people of such ages."""
    made = sample(known, (len(years), 1), grid=grid, solver=Ancestral("posterior"), cond={"age": years})
    return (made * pressure.std() + pressure.mean())[:, 0]


young, old = (pressures(torch.full((1000,), years)) for years in (25.0, 70.0))
print(f"mean blood pressure at 25: {young.mean():.1f}, at 70: {old.mean():.1f}")
print(f"of people below 30: {pressure[age < 30].mean():.1f}, above 65: {pressure[age > 65].mean():.1f}")

heights, edges = torch.histogram(pressure[:, 0], bins=24, density=True)
centres = (edges[1:] + edges[:-1]) / 2
everyone = pressures(age.repeat(4))
plot.histogram1d(everyone, (centres, heights), names=("samples", "data"), x="blood pressure, mm Hg")

# %%
# Exercise
# --------
# Add the body mass index, ``table["bmi"]``, to the conditions. Which of the two moves the blood pressure more?
