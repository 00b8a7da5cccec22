"""
How sure to be
==============

Many truths, an observation of each, twenty draws given each observation: is the truth one of them?

.. code-block:: text

    x ~ p(x),  y = A x + n,  x_1 .. x_m ~ method(y):   x is the (m + 1)-th draw of the same law, if the method is exact

so its rank among the draws is uniform (Talts et al. 2018), and the interval that holds the middle 90 % of the draws
holds the truth in 90 % of the cases. A method that is too sure has its truths at the ends of the histogram, and its
curve below the diagonal. Both look at the draws alone: no density, no likelihood.
"""

import warnings

import torch

from caminito import plot
from caminito.denoiser import MixtureDenoiser
from caminito.metrics import coverage, crps, rank_histogram
from caminito.posterior import Linear, posterior
from caminito.process import VP

warnings.simplefilter("ignore")
chance = torch.Generator().manual_seed(0)
centres = torch.tensor([[-1.5, -1.0], [1.5, -1.0], [0.0, 1.2]], dtype=torch.float64)
weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
prior = MixtureDenoiser(weights, centres, 0.25**2, VP())
seen, noise = Linear(torch.tensor([[0.2, 1.0]], dtype=torch.float64)), 0.5

cases, draws = 200, 19
kinds = torch.multinomial(weights, cases, replacement=True, generator=chance)
truth = centres[kinds] + 0.25 * torch.randn(cases, 2, generator=chance, dtype=torch.float64)
y = seen(truth) + noise * torch.randn(cases, 1, generator=chance, dtype=torch.float64)
levels = torch.linspace(0.1, 0.9, 9).tolist()
for method in ("tds", "ddnm"):
    how = {"particles": 64, "steps": 60} if method == "tds" else {"steps": 30}
    found = posterior(prior, y, seen, noise, method=method, n=draws, random_state=0, **how)
    given = found.samples.transpose(0, 1)
    ranks, held = rank_histogram(given, truth), coverage(given, truth, levels=levels)
    print(f"{method:5} crps {crps(given, truth):.3f}, 90 % intervals hold {float(held.share[-1]):.2f} of the truths")
    plot.calibration(
        ranks.counts,
        levels,
        held.share,
        band=ranks.band,
        std_errors=held.std_error,
        title=f"Truths among the draws of {method}",
    )

# %%
# Exercise
# --------
# ``method="mmps"`` is nearly calibrated here. Move the third centre to (0, 3) and the first two to (-0.2, -1) and
# (0.2, -1): what changes, and why?
