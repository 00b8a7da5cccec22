"""
Tables of noise
===============

The same thousand steps, spent differently.

.. code-block:: text

    linear          beta from 1e-4 to 0.02                                             Ho et al. 2020, section 4
    scaled-linear   sqrt(beta) from sqrt(.00085) to sqrt(.012)                         Rombach et al. 2022
    cosine          abar_t = f(t) / f(0),  f(t) = cos^2((t/T + .008) / 1.008 pi/2)
                    beta_t = min(1 - abar_t / abar_{t-1}, .999)                        Nichol & Dhariwal 2021, eq. 17
    sigmoid         abar_t a falling sigmoid of t, from 1 to 0                         Jabri et al. 2022

A network sees log-SNR = log(abar_t / (1 - abar_t)). A table that falls steeply there spends few steps on it.
"""

from caminito import plot
from caminito.process import Chain, beta_table

names = ("linear", "scaled-linear", "cosine", "sigmoid")
tables = {name: beta_table(name, 1000) for name in names}

for name, beta in tables.items():
    chain = Chain.ddpm(beta)
    alpha, sigma = chain.kernel(1000)
    end = f"abar_T {alpha**2:.2e}   log-SNR_T {2 * (alpha / sigma).log():.1f}"
    print(f"{name:14} beta {beta[0]:.2e} to {beta[-1]:.2e}   {end}")

plot.noise_tables(tables)

# %%
# Exercise
# --------
# Make the tables of 50 steps instead: ``beta_table(name, 50)``. With 15 one of them is refused. Which one, and why?
