"""
What each of the sixty jumps does
=================================

How far each learnt jump departs from a pure dilation, and how many jumps the photos are worth.

.. code-block:: text

    m_i(x) - x / (1 - mu_i)    departure of jump i; 0 where the jump undoes the drift and knows no more

Close to the data the departures lead to three places. Far from them there is one place, the middle, and nothing to be
learnt: the last thirty jumps carry no information. Times that are spread by what there is to know, here so that all
steps lose as much (Sabour et al. 2024, eq. 10, as a path of least cost), leave most of them out.
"""

import torch
from sklearn.tree import DecisionTreeRegressor

from caminito import plot
from caminito.denoiser import EmpiricalDenoiser
from caminito.process import Chain
from caminito.process.grid import uniform
from caminito.sampling import DDIM, calibrate, sample
from caminito.training import fit_regressors

size = 0.01 * torch.arange(1, 61)
chain = Chain(size, size)
photos = torch.tensor([-1.0, 0.0, 1.0]).repeat(1000)[:, None]
tree = DecisionTreeRegressor(min_samples_leaf=30)
trees = fit_regressors(chain, photos, uniform(chain, 60), tree)

where = torch.linspace(-1.5, 1.5, 300)[:, None].double()
departures = []
for i in range(1, 61):
    c0, ct, _ = chain.bridge(i - 1, i)
    departures.append((c0 * trees.mean(where, i) + (ct - 1 / chain.scale[i - 1]) * where)[:, 0])

exact = EmpiricalDenoiser(photos[:3].double(), chain)
few = calibrate(exact, photos[:300].double(), DDIM(), 12, method="klub")
print("twelve jumps that suffice:", ", ".join(f"{int(t)}" for t in few))
for name, grid in {"all sixty": uniform(chain, 60), "twelve, evenly": uniform(chain, 12), "those twelve": few}.items():
    ends = sample(trees, (3000, 1), grid=grid, solver=DDIM())[:, 0]
    shares = [float((ends.round() == photo).double().mean()) for photo in (-1, 0, 1)]
    told = ", ".join(f"{share:.0%}" for share in shares)
    print(f"{name:15} photos {told};  {float((ends - ends.round()).abs().mean()):.4f} from the nearest")

plot.departures(where[:, 0], torch.stack(departures), [str(i) for i in range(1, 61)])

# %%
# Exercise
# --------
# How many jumps are needed? Try ``calibrate(..., 6, ...)`` and 3. What goes wrong first, the places or the shares?
