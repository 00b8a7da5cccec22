"""
Quality, coverage, speed
========================

A diffusion model, a VAE and a GAN after as many minutes on the same images.

.. code-block:: text

    quality     Frechet distance to test images: |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)), lower is better
    coverage    recall, the share of test images within reach of samples; Kynkaanniemi et al. 2019
    speed       samples per second: one call for VAE and GAN, one for every step of diffusion

All the pages of this section move the diffusion model along the line of the picture, towards speed. Measured by
``benchmarks/trilemma.py``:

.. image:: ../../../benchmarks/results/trilemma.png
   :alt: Frechet distance against samples per second of each model, with its recall, and samples.
   :class: picture
"""

import json
import math
import sys
from pathlib import Path

from caminito import plot

results = Path(sys.argv[0]).resolve().parents[2] / "benchmarks" / "results" / "trilemma.json"
if not results.exists():
    raise FileNotFoundError(f"{results}: expected the figures. Run python benchmarks/trilemma.py.")
models = json.loads(results.read_text(encoding="utf-8"))["models"]

points = {}
for name, found in models.items():
    distance, recall, rate = (found[key] for key in ("frechet", "recall", "samples_per_second"))
    print(f"{name:24} Frechet {distance:8.3f}    recall {recall:.3f}    samples per second {rate:10.1f}")
    points[f"{name}, recall {recall:.2f}, distance"] = ([math.log10(rate)], [distance])

told = "Lower is better, and farther right is faster; recall is written behind each name."
title, x = "Quality and speed", "log10 of samples per second"
plot.loss_curves(points, x=x, y="Frechet distance", title=title, caption=told)

# %%
# Exercise
# --------
# How many steps would diffusion have to be sampled in to be as fast as the GAN? What could be done about that is called
# distillation: one network call that goes the whole way.
