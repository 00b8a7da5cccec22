"""
What looks like an 8
====================

A classifier has never drawn anything. Digits that look like an 8 to it, and why the best of them are cartoons.

.. code-block:: text

    log p(x) = temperature * log [P(8 | x) / (1 - P(8 | x))] + log base(x)

P(8 | x) is no density of x: over a base as good as flat its high points are noise that the classifier is sure of.
Times a density of all digits, here one normal, its high points look like an 8, and like each other: blurred, as if no
hand had written them. They are cartoons. In 64 dimensions the top of a density is nowhere near what is drawn from it,
as no draw of a normal is near its mean. Drawing the inversion in place of maximising it gives back what varies. Each
column starts from a real digit of another kind, with noise. Of such cartoons: Karczewski et al. 2025.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

from caminito import plot
from caminito.density import from_classifier, invert

images, labels = (torch.from_numpy(each) for each in load_digits(return_X_y=True))
images = images / 16
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 10)).double()
optimiser = torch.optim.AdamW(net.parameters(), 1e-2, weight_decay=0.1)
for _ in range(300):
    rows = torch.randint(len(images), (128,))
    loss = nn.functional.cross_entropy(net(images[rows] + 0.2 * torch.randn(128, 64)), labels[rows])
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
net.requires_grad_(False)

cov = torch.cov(images.T) + 0.1**2 * torch.eye(64)
options = {"temperature": 3.0, "smooth": 0.3, "draws": 8}
alone = from_classifier(net, 8, base={"mean": images.mean(0), "cov": 100.0}, **options)
digits = from_classifier(net, 8, base={"mean": images.mean(0), "cov": cov}, **options)

others = images[labels != 8][:10]
o = others + 0.4 * torch.randn(10, 64)
rows = {"a digit": others, "with noise": o}
rows |= {"classifier alone": invert(alone, o, 0.4).x, "a high point": invert(digits, o, 0.4).x}
rows |= {"a draw": invert(digits, o, 0.4, "sample", sweeps=40, random_state=0).x, "real 8s": images[labels == 8][:10]}
for name, each in rows.items():
    share = float((net(each).argmax(1) == 8).double().mean())
    print(f"{name:16}: {share:4.0%} are an 8 to the classifier, mean log p {float(digits(each).mean()):7.1f}")
seen = "High points are smooth and alike. A draw varies as digits do and is less probable, and so are real 8s."
pictures = torch.cat(list(rows.values())).reshape(-1, 8, 8)
plot.image_grid(pictures, 10, row_labels=list(rows), limits=(0, 1), title="What looks like an 8", caption=seen)

# %%
# Exercise
# --------
# Set ``smooth=0.0``. How sure is the classifier then of its high points, and do they still look like an 8? What does
# ``temperature=0.0`` show?
