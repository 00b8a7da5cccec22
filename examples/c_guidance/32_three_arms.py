"""
How far to follow a condition
=============================

Samples of one of three arms, with the class followed not at all, as learnt, and beyond.

.. code-block:: text

    D(x_t) = D(x_t, nothing) + w (D(x_t, class) - D(x_t, nothing))    Ho & Salimans 2022
    q(x) ~ p(x) p(class | x)^w                                        what this is often taken for

w = 0 draws all data and w = 1 the class. Beyond 1 samples run from the other classes, to where nothing else could be
meant, and end in a small part of the class. They are not draws of q, which varies more: at each noise level the step is
that of the classes at that level, and the noisy marginals of q have other scores. Guiding at middling noise alone keeps
more of the variety (Kynkaanniemi et al. 2024): at much noise a step chooses the part of the class, and at little noise
the class is settled.
"""

import math

import torch

from caminito import plot
from caminito.denoiser import ClassDenoiser, MixtureDenoiser
from caminito.guidance import cfg
from caminito.process import VP
from caminito.sampling import sample

along = torch.linspace(0.8, 3.0, 8, dtype=torch.float64)
vp, arms = VP(), []
for k in range(3):
    angle = 2 * math.pi * k / 3 + 0.7 * along
    places = along[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    arms.append(MixtureDenoiser(torch.full((8,), 1 / 8), places, 0.3**2, vp))
arm = ClassDenoiser(arms, torch.full((3,), 1 / 3))
first = {"y": torch.zeros(1, dtype=torch.long)}


def drawn(w, interval=None):
    return sample(cfg(arm, w, interval=interval), 1500, steps=32, cond=first)


sets = {f"w = {w}": drawn(w) for w in (0, 1, 2, 4)}
sets["w = 4, at middling noise"] = drawn(4, (0.5, 2.0))

line = torch.linspace(-5, 5, 401, dtype=torch.float64)
plane = torch.cartesian_prod(line, line)
clean = torch.tensor(0.0)
q = torch.softmax(arm.log_marginal(plane, clean) + 4 * arm.log_probs(plane, clean)[:, 0], 0)
cells = torch.multinomial(q, 1500, replacement=True, generator=torch.Generator().manual_seed(0))
sets["p(x) p(class | x)^4"] = plane[cells]
for name, x in sets.items():
    print(f"{name:25} mean {float(x.norm(dim=1).mean()):.2f} from the middle, deviation {float(x.std(0).norm()):.2f}")

seen = (
    "Blue: the arm that is asked for; grey: the others. From w = 1 on look into which part of the blue samples crowd, "
    "and which part they leave; then at the last panel, which is not what w = 4 draws."
)
data = sample(arm, 1500, steps=32, cond=first, seed=1)
others = sample(arm, 1500, steps=32, cond={"y": 1 + torch.arange(1500) % 2}, seed=1)
plot.clouds(sets, data=data, others=others, title="One arm of three, followed further", caption=seen)

# %%
# Exercise
# --------
# Which interval of the same width, in log sigma / alpha, brings samples nearest to the last panel? And what do
# negative w draw?
