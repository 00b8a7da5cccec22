"""
Images destroyed
================

An image is a row of numbers, and each of them takes the way of the pages before, by itself.

.. code-block:: text

    x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps,   eps ~ N(0, I)    Ho et al. 2020, eq. 4

Under the linear table an image of 8 x 8 is gone long before the end; under the cosine table it is not, and that is what
the table was made for.
"""

import torch

from caminito import plot
from caminito.data import ImageCodec, load_digits
from caminito.process import Chain

images, _ = load_digits()
codec = ImageCodec().fit(images)
x0 = codec.encode(images[[0, 3, 6, 8]])  # mean 0, standard deviation 1

torch.manual_seed(0)
eps, steps = torch.randn_like(x0), [0, 100, 200, 300, 400, 500, 600, 800, 1000]
for name in ("linear", "cosine"):
    chain = Chain.ddpm(name, steps=1000)
    noisy = torch.stack([chain.noise(x0, t, eps) for t in steps])
    shown = [codec.decode(each.float()) for each in noisy]
    plot.corruption(shown, [f"t = {t}" for t in steps], title=f"Digits destroyed under the {name} table")

# %%
# Exercise
# --------
# Neighbouring pixels of a larger image agree with each other, so it survives more noise. Enlarge the digits fourfold,
# ``images.repeat(4, axis=1).repeat(4, axis=2)``: until which t can you still read them?
