"""
When the way back is normal
===========================

A step back from x_t is normal if the step was small, and only then.

.. code-block:: text

    q(x_{t-1} | x_t)      =  q(x_t | x_{t-1}) q(x_{t-1}) / q(x_t)       Bayes; what has to be learnt
    q(x_{t-1} | x_t, x_0) =  N(c0 x_0 + ct x_t, beta-tilde_t)           Ho et al. 2020, eq. 6-7; normal at any beta
    N(c0 E[x_0 | x_t] + ct x_t,  beta-tilde_t + c0^2 Var[x_0 | x_t])    the normal with the moments of the first

For a small beta the first factor of the first line is a narrow normal in x_{t-1}, and the second, which the data made,
is nearly straight within it. That is why the reverse chain of a diffusion model may be a chain of normals.
"""

import torch

from caminito import plot
from caminito.denoiser import MixtureDenoiser
from caminito.process import Chain

weights, means, std = torch.tensor([0.4, 0.6]), torch.tensor([[-1.0], [1.0]]), 0.2
grid, x_t, starts = torch.linspace(-3, 3, 1201).double(), torch.full((1, 1), 0.2).double(), torch.tensor([-1.0, 1.0])


def normal(mean, std):
    return torch.exp(-0.5 * ((grid - mean) / std) ** 2) / (std * (2 * torch.pi) ** 0.5)


exact, fitted, known, labels = [], [], [], []
for beta in (0.8, 0.4, 0.1, 0.02):
    chain = Chain.ddpm([0.1, beta])  # from x_0 to x_1, always the same; then the step that is turned around
    data = MixtureDenoiser(weights, means, std**2, chain)
    a, b = chain.transition(1, 2)
    c0, ct, bridge = chain.bridge(1, 2)
    likely = torch.exp(-0.5 * ((x_t[0] - a * grid) / b) ** 2) * data.log_marginal(grid[:, None], 1.0).exp()
    exact.append(likely / torch.trapezoid(likely, grid))
    mean, var = data.mean(x_t, 2.0), data.var(x_t, 2.0)
    fitted.append(normal(c0 * mean[0] + ct * x_t[0], (bridge**2 + c0**2 * var[0]).sqrt()))
    known.append(torch.stack([normal(c0 * start + ct * x_t[0], bridge) for start in starts]))
    apart = torch.trapezoid((exact[-1] - fitted[-1]).abs(), grid) / 2
    labels.append(f"beta = {beta:g}")
    print(f"beta {beta:4g}: {100 * apart:5.2f} % of the mass of q(x_1 | x_2 = 0.2) lies elsewhere than the normal's")

exact, fitted, known = torch.stack(exact), torch.stack(fitted), torch.stack(known)
plot.reverse_conditionals(grid, exact, fitted, labels, known=known, starts=starts)

# %%
# Exercise
# --------
# Look from ``x_t = 1`` instead of 0.2. Why is the normal so much better there, even where beta is large?
