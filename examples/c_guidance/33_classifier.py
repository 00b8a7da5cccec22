"""
What a classifier of noisy points says
======================================

The gradient of a classifier leads a denoiser that knows no classes, at every noise level.

.. code-block:: text

    D'(x_t) = D(x_t) + w sigma^2 / alpha grad log p(y | x_t)    Dhariwal & Nichol 2021, algorithm 2
    grad log p(x_t | y) = grad log p(x_t) + grad log p(y | x_t)    Bayes' rule: w = 1 is exact

The classifier is asked of noisy points, so it has to know the noise: at little noise a point of the upper arc is sure
to be one, and at much noise none is. Here it is the exact one. Its field ends where it is sure of the class, and with
more noise that is further away. w = 1 draws the arc as the data have it, from a denoiser that was never told of arcs.
"""

import math

import torch

from caminito import plot
from caminito.denoiser import ClassDenoiser, MixtureDenoiser
from caminito.guidance import classifier_guide
from caminito.process import EDM
from caminito.sampling import sample

turn = math.pi * torch.linspace(0, 1, 16, dtype=torch.float64)
arc, process = 1.8 * torch.stack([turn.cos(), turn.sin()], 1), EDM(20.0)
places = (arc - torch.tensor([0.9, 0.4]), torch.tensor([0.9, 0.4]) - arc)
arcs = [MixtureDenoiser(torch.full((16,), 1 / 16), each, 0.25**2, process) for each in places]
both = ClassDenoiser(arcs, torch.tensor([0.5, 0.5]))  # asked without a class from here on


def upper(x_t, t, cond):
    """log p(upper arc | x_t)."""
    return both.log_probs(x_t, t)[:, 0]


line = torch.linspace(-3.2, 3.2, 21, dtype=torch.float64)
plane = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).reshape(-1, 2)
sigmas, fields = (2.0, 0.8, 0.3), []
for sigma in sigmas:
    t = process.time(-2 * torch.log(torch.tensor(sigma)))
    x = plane.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(upper(x, t, None).sum(), x)
    fields.append((sigma**2 * gradient).reshape(21, 21, 2))

data, others = (sample(each, 1500, steps=32, seed=1) for each in arcs)
sets = {f"w = {w}": sample(classifier_guide(both, upper, w), 1500, steps=32) for w in (0, 1, 4)}
for name, x in {**sets, "data": data}.items():
    share = float(upper(x, process.time(torch.tensor(9.0)), None).exp().mean())  # hardly any noise
    print(f"{name:5}: {share:.0%} on the upper arc, deviations {x[:, 0].std():.2f} and {x[:, 1].std():.2f}")

title = "Where a classifier leads to: the upper arc"
seen = (
    "Arrows: sigma^2 grad log p(upper arc | x_t). At much noise all lead one way. At little noise they lead off the "
    "lower arc across its nearest border, and there is nothing on the blue, where the class is sure."
)
levels = [f"sigma = {sigma:g}" for sigma in sigmas]
plot.vector_field(line, line, torch.stack(fields), levels, data=data[:500], title=title, caption=seen)
title = "A denoiser without classes, led by a classifier"
seen = (
    "Blue: the upper arc, asked for; grey: the lower. w = 1 covers the blue as the data do; see what w = 4 leaves out."
)
plot.clouds(sets, data=data, others=others, title=title, caption=seen)

# %%
# Exercise
# --------
# Ask for the lower arc. Then take a classifier that knows clean points alone, ``both.log_probs(x_t, process.time(
# torch.tensor(9.0)))``: where does its gradient lead points that are mostly noise?
