"""
Averages of the weights, afterwards
===================================

Samples are drawn with an average of the weights along training. How wide that is can be decided when training is over.

.. code-block:: text

    theta-bar(t) = sum_tau p(tau) theta(tau),   p(tau) = (gamma + 1) tau^gamma / t^(gamma + 1)       tau <= t
    sigma_rel    = the standard deviation of tau under p, over t        Karras et al. 2024 (EDM2), section 3

Two averages are followed and written down now and then. Any other is the sum of these snapshots whose profile p lies
nearest to its own. A narrow one still wavers with the last steps; a wide one still remembers the first.
"""

import numpy as np

from caminito import DiffusionModel, plot
from caminito.data import eight_gaussians

options = {"snapshots": 32, "decay": "none", "learning_rate": 4e-3, "batch_size": 64}
model = DiffusionModel(network={"width": 64, "depth": 2}, max_steps=1000, training=options, random_state=0)
model.fit(eight_gaussians(10_000, seed=0))

fresh, widths, costs = eight_gaussians(300, seed=1), [0.25, 0.18, 0.12, 0.08, 0.05, 0.03], []
for width in widths:
    costs.append(-model.reaverage(width).score(fresh))
    print(f"sigma_rel {width:.2f}: {costs[-1]:.4f} nats")

x, y = "log2(1 / sigma_rel), wide  <   >  narrow", "-log p of new data, nats"
told = "One training, many averages of its weights. Too wide remembers the beginning, too narrow wavers with the end."
title = "How wide an average should be"
plot.loss_curves({"1000 steps": (-np.log2(widths), costs)}, x=x, y=y, title=title, caption=told)

# %%
# Exercise
# --------
# Here the learning rate stays what it is. Let it fall, ``"decay": "cosine"``: which widths are good now, and why?
