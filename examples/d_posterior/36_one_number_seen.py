"""
One number seen of two
======================

Points of a spiral are seen through one coordinate, with noise. What may the point have been?

.. code-block:: text

    y = A x + n,   n ~ N(0, R)
    D_y = D + V A^T (R + A V A^T)^-1 (y - A D),   V = Cov[x0 | x_t] = (sigma^2 / alpha) dD/dx_t    (MMPS)

The spiral crosses the line of what was seen several times, so the posterior has several parts. ``mmps`` is exact where
x0 given x_t is normal, and here it is not: at much noise its one normal covers all crossings, and the walk ends at some
of them too often. ``ddnm`` puts what was seen in the place of what D says and is too sure; ``dps`` walks down the
distance to y, by steps that must be tuned. Particles (``tds``) take the same guided steps and weigh them: what a guide
gets wrong costs particles and no truth, and the sum of the weights is the evidence p(y).
"""

import warnings

import torch

from caminito import plot
from caminito.posterior import Linear, posterior
from caminito.process import VP
from caminito.testing import Mixture

warnings.simplefilter("ignore")
along = torch.linspace(0.5, 3.4, 40, dtype=torch.float64)
places = along[:, None] / 2 * torch.stack([(2.6 * along).cos(), (2.6 * along).sin()], 1)
each = 0.07**2 * torch.eye(2, dtype=torch.float64).expand(40, 2, 2)
spiral = Mixture(torch.full((40,), 1 / 40, dtype=torch.float64), places, each)
y, noise = torch.tensor([0.35], dtype=torch.float64), 0.15
first = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
answer, log_evidence = spiral.given(y, first, torch.tensor([[noise**2]], dtype=torch.float64))
exact = answer.draw(1500)
above = float((exact[:, 1] > 0).double().mean())
print(f"exact      share above the axis {above:.2f}, log p(y) {float(log_evidence):.2f}")
sets, prior = {"the posterior itself": exact}, spiral.denoiser(VP())
for method in ("tds", "split-smc", "mmps", "ddnm", "dps"):
    options = {"scale": 0.1} if method == "dps" else None  # it must be tuned: with 1 it leaves the spiral
    found = posterior(prior, y, Linear(first), noise, method=method, n=1500, random_state=0, options=options)
    sets[method] = found.samples
    known = "" if found.log_evidence is None else f", log p(y) {float(found.log_evidence):.2f}"
    print(f"{method:10} share above the axis {float((found.samples[:, 1] > 0).double().mean()):.2f}{known}")

seen = (
    "Orange: a method's draws; blue: the posterior; grey: the spiral. Look at where the orange lies, and how much of "
    "it each crossing has: the two particle methods are right in both."
)
plot.clouds(sets, data=exact, others=spiral.draw(1500), title="What x may have been, given one number", caption=seen)

# %%
# Exercise
# --------
# With ``noise=0.02`` the crossings are points. Which methods still have their shares, and what does ``found.ess`` of
# ``tds`` say of it?
