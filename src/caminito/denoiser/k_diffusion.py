"""Denoisers in the calling form of k-diffusion: model(x, sigma) -> E[x0 | x], x = x0 + sigma eps.

The other direction needs no adapter. A function of k-diffusion's form is a denoiser of the process with alpha = 1:

    process = EDM()
    denoiser = from_x0(lambda x, t, cond: model(x, process.kernel(t).std.expand(len(x)).to(x)), process)

Source: Karras et al. 2022, section 5 (the denoiser D(x; sigma)).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from caminito.denoiser._level import mean_at_level
from caminito.denoiser.base import Condition, Denoiser
from caminito.process.base import as_time
from caminito.process.grid import SIGMA_MAX, SIGMA_MIN

__all__ = ["KDiffusionModel", "to_k_diffusion"]


class KDiffusionModel:
    """model(x, sigma) -> E[x0 | x] for x = x0 + sigma eps, by any denoiser.

    Attributes
    ----------
    denoiser : Denoiser
    sigma_min, sigma_max : float
        Least and most noise that the grids of this library walk through unless told otherwise: .002 and 80, cut at the
        first step of a chain and at the end of the process.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser = denoiser
        process = denoiser.process
        first = math.exp(-float(process.logsnr(1)) / 2) if process.is_discrete else 0.0
        self.sigma_min = max(SIGMA_MIN, first)
        self.sigma_max = min(SIGMA_MAX, math.exp(-float(process.logsnr(process.t_max)) / 2))

    def __call__(self, x: Tensor, sigma: Tensor | float, cond: Condition = None) -> Tensor:
        """E[x0 | x].

        Parameters
        ----------
        x : tensor, shape (B, *event)
            x0 + sigma eps.
        sigma : tensor, shape () or (B,), data units
        cond : mapping of conditions, rows as in x
            In k-diffusion's functions: `extra_args={"cond": {...}}`.

        Notes
        -----
        Exact for a continuous process up to its end; more noise is taken for that of the end. A chain has whole steps
        only: the step nearest in log-SNR answers, an error of first order in log(sigma / sigma of the step), which is
        at most half the gap between two steps (.005 at the noisy end of DDPM's thousand; .2 at its clean end, where
        E[x0 | x] is x all but exactly). `levels` gives sigmas that are steps.
        """
        level = as_time(torch.as_tensor(sigma).detach().cpu())
        return mean_at_level(self.denoiser, x, torch.hypot(torch.ones_like(level), level), -2 * torch.log(level), cond)

    def levels(self, grid: Tensor) -> Tensor:
        """The `sigmas` of k-diffusion's functions for a grid of this library's times: sigma / |alpha|, float64."""
        return torch.exp(-self.denoiser.process.logsnr(grid) / 2)


def to_k_diffusion(denoiser: Denoiser) -> KDiffusionModel:
    """Any denoiser as a model that k-diffusion's functions can call.

    Parameters
    ----------
    denoiser : Denoiser
        Of any process; x and sigma are brought to its coordinates.

    Returns
    -------
    KDiffusionModel
        Callable as model(x, sigma, cond=None).

    Examples
    --------
    >>> import torch
    >>> from caminito.denoiser import GaussianDenoiser, to_k_diffusion
    >>> from caminito.process import EDM
    >>> model = to_k_diffusion(GaussianDenoiser(torch.zeros(2), 1.0, EDM()))
    >>> model(torch.ones(1, 2), torch.tensor([1.0])).tolist()
    [[0.5, 0.5]]
    """
    return KDiffusionModel(denoiser)
