"""
Loss at each noise level
========================

The simple loss is the bound without its weights. Where on the way is it large, and where is there something to learn?

.. code-block:: text

    L_simple = E |eps - eps_theta(x_t, t)|^2        Ho et al. 2020, eq. 14
             = E  SNR_t  |x_0 - D(x_t, t)|^2,    SNR_t = abar_t / (1 - abar_t)

    the least it can be = SNR_t E Var[x_0 | x_t]    per entry; the exact denoiser has it

Where noise is finer than the finest structure of the data nobody can tell the two apart, and the loss tends to 1. With
much noise x_t is almost eps, and it tends to 0. Only what lies above the exact denoiser's can be learnt.
"""

import torch

from caminito import plot
from caminito.denoiser import MixtureDenoiser, NetworkDenoiser, Precondition
from caminito.nn import ResidualMLP
from caminito.process import Chain
from caminito.training import TrainingConfig, fit_steps, validate

chain = Chain.ddpm("cosine", steps=1000)
angle = torch.arange(8) * torch.pi / 4
centres = 1.4 * torch.stack([angle.cos(), angle.sin()], 1)
exact = MixtureDenoiser(torch.full((8,), 1 / 8), centres, 0.1**2, chain)

torch.manual_seed(0)
data = centres[torch.randint(8, (6000,))] + 0.1 * torch.randn(6000, 2)
learnt = NetworkDenoiser(ResidualMLP(2, width=64, depth=2, fourier=8), Precondition("eps"), chain, (2,))
options = {"times": "uniform", "weight": "simple", "validate_every": 50, "validation_items": 1000}
config = TrainingConfig(steps=800, batch_size=256, learning_rate=4e-3, **options)

training = fit_steps(learnt, data[1000:], config, held_out=data[:1000])
seen = [progress for progress in training if progress.validation is not None]
history = [progress.validation.loss for progress in seen]
floor = validate(exact, data[:1000], config, seed=0)
print("log-SNR       ", *(f"{level:7.2f}" for level in floor.logsnr))
print(f"step {seen[0].step:9d}", *(f"{loss:7.3f}" for loss in history[0]))
print(f"step {seen[-1].step:9d}", *(f"{loss:7.3f}" for loss in history[-1]))
print("exact denoiser", *(f"{loss:7.3f}" for loss in floor.loss))

plot.loss_by_level(floor.logsnr, history, labels=[f"step {progress.step}" for progress in seen])

# %%
# Exercise
# --------
# Train with ``weight="uniform"``, the plain error of x0. At which levels does the network now come nearer to the exact
# one, and at which does it stay behind?
