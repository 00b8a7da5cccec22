"""
One jump: diffuse and invert
============================

Add so much noise that only a normal is left, draw that normal, undo the noise. By argmax it is not a sample.

.. code-block:: text

    o = x + noise eps,   x' = argmax p_noise(o - x) p_0(x)               the jump
    x' = o / (1 + noise^2)  ~ N(0, 1 / (1 + noise^2))                    if p_0 = N(0, 1)
    x' drawn from p_noise(o - x) p_0(x)  ~ N(0, 1), for any noise

The text that this is from adds N(0, 10) to N(0, 1). Its prose takes 10 as a variance, so that o has the deviation
sqrt(11); its code takes it as a deviation, and o has sqrt(101). Here noise is a standard deviation everywhere: sqrt(10)
is the prose and 10 the code. By argmax the variance becomes 1/11 or 1/101 in place of 1: *high-probability points*,
all of them near the top. Drawing the inversion instead gives *samples*. What argmax leaves out is the variance of x
given o, noise^2 / (1 + noise^2).
"""

import math

import torch

from caminito import plot
from caminito.density import diffuse_and_invert


def log_prob(x):
    """N(0, 1), up to its constant."""
    return -0.5 * (x**2).sum(-1)


for noise, source in ((math.sqrt(10), "prose"), (10.0, "code ")):
    for how in ("map", "sample"):
        x = diffuse_and_invert(log_prob, 1, 10_000, noise, how=how, std=1.0, random_state=0)
        told = 1.0 if how == "sample" else 1 / (1 + noise**2)
        print(f"{source}, noise {noise:5.2f}, {how:6}: variance {float(x.var()):.4f}, by the formula {told:.4f}")

top, drawn = (diffuse_and_invert(log_prob, 1, 10_000, math.sqrt(10), how=how, std=1.0) for how in ("map", "sample"))
line = torch.linspace(-4, 4, 201, dtype=torch.float64)
law = torch.exp(-0.5 * line**2) / math.sqrt(2 * math.pi)
seen = "Every point lies near the top of the line: argmax finds what is probable, and leaves out how it varies."
plot.histogram1d(top[:, 0], (line, law), names=("by argmax", "N(0, 1)"), title="Noise undone by argmax", caption=seen)
plot.histogram1d(drawn[:, 0], (line, law), names=("drawn", "N(0, 1)"), title="Noise undone by drawing")

# %%
# Exercise
# --------
# Replace ``log_prob`` by two hills, ``torch.logaddexp(-2 * (x[:, 0] - 2) ** 2, -2 * (x[:, 0] + 1) ** 2 - 1)``, with
# ``std=2``. Which hill does argmax choose as the noise grows, and how often does drawing choose it?
