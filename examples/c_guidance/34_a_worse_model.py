"""
Away from a worse model
=======================

A model's strays, taken back by a worse model with every mode kept; and what guidance by the class does to them.

.. code-block:: text

    cfg               D(x_t, nothing) + w (D(x_t, class) - D(x_t, nothing))    Ho & Salimans 2022
    autoguidance      D'(x_t, class)  + w (D(x_t, class) - D'(x_t, class))     Karras et al. 2024, eq. 3

Models spread their samples wider than the data, and less able models more so. What a worse model D' tells apart from a
better one is its faults and not a class, so leading away from it tightens every mode where it stands. What a class
tells apart points away from the other classes: modes near to those are lost, and the strays of the rest remain. Here
the data have a deviation of 0.1 around each mode, the model 0.2 and the worse one 0.35, each an exact denoiser of what
it has learnt.
"""

import torch

from caminito import plot
from caminito.denoiser import ClassDenoiser, MixtureDenoiser, given
from caminito.guidance import autoguide, cfg
from caminito.process import VP
from caminito.sampling import sample

vp, side = VP(), torch.linspace(-1, 1, 3, dtype=torch.float64)
nine = torch.cartesian_prod(side, side)
centres = [nine + torch.tensor([shift, 0.0]) for shift in (-1.5, 1.5)]


def model(spread):
    """Two classes of nine modes each, learnt with so wide modes."""
    parts = [MixtureDenoiser(torch.full((9,), 1 / 9), each, spread**2, vp) for each in centres]
    return ClassDenoiser(parts, torch.tensor([0.5, 0.5]))


left = {"y": torch.zeros(1, dtype=torch.long)}
truth, good, worse = model(0.1), model(0.2), model(0.35)
ways = {"as learnt": good, "cfg, w = 3": cfg(good, 3.0), "autoguidance, w = 2.5": autoguide(good, worse, 2.5)}
sets = {name: sample(each, 2000, steps=32, cond=left) for name, each in ways.items()}
for name, x in sets.items():
    distance, nearest = torch.cdist(x.double(), centres[0]).min(1)
    counts = torch.bincount(nearest, minlength=9) / len(x)
    far = float((distance > 0.35).double().mean())
    print(f"{name:21} {far:5.1%} strays; of all samples each mode has {counts.min():5.1%} to {counts.max():5.1%}")

data, others = (sample(given(truth, {"y": torch.tensor([k])}), 2000, steps=32, seed=1) for k in (0, 1))
seen = (
    "Blue: the data of the class; grey: the other class. Count the blue spots that are still reached, and the strays."
)
plot.clouds(
    sets, data=data, others=others, title="Away from the other class, and away from a worse model", caption=seen
)

# %%
# Exercise
# --------
# What does a worse model do that errs the other way, ``model(0.12)``? And at which w is the deviation around each mode
# that of the data, 0.1?
