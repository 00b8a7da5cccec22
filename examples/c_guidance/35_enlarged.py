"""
What a small image already says
===============================

A network that enlarges is left what the best line through its condition does not say. Untrained, it draws that line.

.. code-block:: text

    m = b / v low          b = E[x_0 low],  v = E[low^2],  d^2 = E (x_0 - m)^2
    D(x_t, low) = m + d^2 / (d^2 + sigma^2) (x_t - m) + d sigma / sqrt(d^2 + sigma^2) F(x_t - m, sigma, low)

Most of an image is in the same image at half the size. A network that had to say all of it would first learn to repeat
what it is told; F has only the rest to say, at the noise levels where the rest is decided. With F = 0 the draws are the
line and white noise, as strong as what is missing. Training makes strokes of that noise.
"""

import numpy as np

from caminito import ImageDiffusion, plot
from caminito.data import load_digits, shrink

images = load_digits()[0].astype(np.uint8)
train, truth = images[:-10], images[-10:]
low = shrink(truth, 2)
small = {"kind": "unet", "width": 24, "multipliers": [1, 2], "blocks": 1, "attention": []}


how = {"upscale": 2, "network": small, "random_state": 0}
models = {steps: ImageDiffusion(max_steps=steps, **how).fit(train) for steps in (1, 200)}


def drawn(steps, seed=0, n_steps=24):
    """Enlarged by the model that was trained for so many steps."""
    asked = {"condition": {"low": low}, "augmentation": 0, "n_steps": n_steps, "random_state": seed}
    return models[steps].sample(len(low), **asked)


rows = {
    "told": low.repeat(2, axis=1).repeat(2, axis=2),
    "the line": drawn(1, n_steps=1),
    "untrained": drawn(1),
    "200 steps": drawn(200),
    "another": drawn(200, seed=1),
    "truth": truth,
}
for name, found in rows.items():
    print(f"{name:9}  off by {np.sqrt(np.mean((found.astype(float) - truth) ** 2)):4.2f} of 16 grey levels")
print(models[200].describe()["centre"].why)
plot.image_grid(
    np.concatenate(list(rows.values())),
    10,
    row_labels=list(rows),
    limits=(0, 16),
    title="From 4 x 4 to 8 x 8",
    caption="Ten digits that no training has seen. The line is blurred, its noise is white; after 200 steps the noise "
    "has become edges, where the small image leaves them open.",
)

# %%
# Exercise
# --------
# The mean of many draws of a trained model is blurred again. Is it nearer to the truth than the line is? And why is a
# single draw farther from it than the line?
