"""
A U-Net on digits
=================

From 1 438 images of 8 x 8 to new ones, in less than a minute of training.

.. code-block:: text

    h1 = block(x, t)                                   8 x 8   where things are, exactly
    h2 = block(attention(block(half(h1), t)), t)       4 x 4   what they are, coarsely
    U  = block([double(h2), h1], t)                    8 x 8   the skip, h1 again, brings back what h2 has lost

    block(h, t) = h + conv(silu(scale(t) norm(conv(silu(norm(h)))) + shift(t)))      Dhariwal & Nichol 2021, section 3
    D(x_t, t)   = skip_t x_t + out_t U(in_t x_t, log(sigma_t / alpha_t) / 4)         Karras et al. 2022, table 1

Every block is told the time, for little noise and much noise are different tasks: to sharpen, and to invent.
"""

from caminito import ImageDiffusion, plot
from caminito.data import holdout, load_digits
from caminito.metrics import copy_gauge, nearest_items

X, _ = load_digits()
rows, others = holdout(len(X), 0.2, seed=0)
model = ImageDiffusion(max_steps=400, random_state=0).fit(X[rows])

times, frames = zip(*model.walk(6, random_state=0))
samples = model.sample(300, random_state=1)
closest, distances = nearest_items(samples[:12], X[rows])
gauge = copy_gauge(samples, X[rows], X[others])
print(f"copy gauge {gauge.ratio:.3f}: 0 is a copy, new images of the same kind have {gauge.floor:.3f}")

plot.film_strip(frames, times, title="Six samples on their way", limits=(0, 16))
plot.nearest(samples[:12], X[rows][closest], distances=distances, columns=12, limits=(0, 16))

# %%
# Exercise
# --------
# Take away the skips, ``ImageDiffusion(network={"skips": "none"}, ...)``, or the time, ``{"time": "none"}``. Which is
# missed more, and at which noise levels? ``model.history_[-1]["levels"]`` has the held-out loss of each level.
