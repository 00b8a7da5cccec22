"""
What the U-Net needs
====================

Two claims tested: every level should be told the time, and the skips carry the detail that the way down loses.

.. code-block:: text

    full                 block(h, t) at every level, and skips
    time at the input    t is added once, after the first convolution
    no time              t is never told; the scaling of input and output still follows it
    no skips             the way up does not see the way down

As many parameters, steps, batches and noises for each. Measured by ``benchmarks/unet_ablation.py``, drawn here:

.. image:: ../../../benchmarks/results/unet_ablation.png
   :alt: Held-out loss of four networks by noise level, and samples of each.
   :class: picture
"""

import json
import math
import sys
from pathlib import Path

from caminito import plot

results = Path(sys.argv[0]).resolve().parents[2] / "benchmarks" / "results" / "unet_ablation.json"
if not results.exists():
    raise FileNotFoundError(f"{results}: expected the figures. Run python benchmarks/unet_ablation.py.")
networks = json.loads(results.read_text(encoding="utf-8"))["networks"]

curves = {}
for name, found in networks.items():
    over = found["loss_over_full"]["mean"]
    print(f"{name:18} loss {over:6.3f} of the full one    Frechet distance {found['frechet']['mean']:.3f}")
    full = networks["full"]["loss_by_level"]
    logsnr = [-2 * math.log(level) for level in found["noise"]]
    curves[name] = (logsnr, [a / b for a, b in zip(found["loss_by_level"], full, strict=True)])

told = "1 is the full network; above it something is missed. The numbers are those at the most noise."
title = "Held-out loss over that of the full network"
x, y = "noise   <   log-SNR   >   data", "loss / loss of the full network"
plot.loss_curves(curves, x=x, y=y, title=title, caption=told)

# %%
# Exercise
# --------
# Without time a network has to guess the noise from x_t. In which images is that easy, and in which not? Try it with
# ``ImageDiffusion(network={"time": "none"})`` on digits of 8 x 8 and of 32 x 32.
