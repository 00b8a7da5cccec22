"""What training minimises: the weighted squared error of E[x0 | x_t], and where its noise levels come from.

    L = E_t w(t) |x0 - D(alpha_t x0 + sigma_t eps, t)|^2 / d

Weights are declared on the x0 error, whatever the network predicts, for data of unit variance (`weight_of` for what a
condition leaves of it). With SNR = alpha^2 / sigma^2:

    simple   SNR               the eps error of Ho et al. 2020, eq. 14
    snr      max(SNR, 1)       truncated SNR, Salimans & Ho 2022, eq. 9
    min-snr  min(SNR, 5)       Hang et al. 2023
    p2       SNR / (SNR + 1)   Choi et al. 2022 (P2): eps weight 1 / (k + SNR)^gamma, k = gamma = 1
    edm      SNR + 1           Karras et al. 2022, table 1, for unit variance; also the v error
    sigmoid  SNR sigmoid(2 - log SNR)   Hoogeboom et al. 2024 (SiD2): eps weight sigmoid(b - log SNR), b = 2
    uniform  1

For chains there is also the variational bound, one term drawn for each item and T times it taken for the sum:

    vlb      T L_t                                of which the mean over t is the bound without its constant L_T
    hybrid   w(t) |x0 - D|^2 / d + .001 T L_t     in L_t the mean D is a constant: it teaches the variance alone

both in nats per entry. Source: Nichol & Dhariwal 2021, section 3.1, eq. 16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from caminito._errors import ConfigError
from caminito._random import Stream, uniform
from caminito.denoiser import Condition, NetworkDenoiser, VarianceRange
from caminito.process import Process, times
from caminito.process.base import Time
from caminito.training.config import TrainingConfig
from caminito.training.uncertainty import Uncertainty

__all__ = ["WEIGHTS", "batch_targets", "denoising_loss", "draw_times", "weight_of"]

WEIGHTS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "simple": lambda logsnr: torch.exp(logsnr),
    "snr": lambda logsnr: torch.exp(logsnr).clamp_min(1),
    "min-snr": lambda logsnr: torch.exp(logsnr).clamp_max(5),
    "p2": torch.sigmoid,
    "edm": lambda logsnr: torch.exp(logsnr) + 1,
    "sigmoid": lambda logsnr: torch.exp(logsnr) * torch.sigmoid(2 - logsnr),
    "uniform": torch.ones_like,
}

_SHARE = 1e-3  # of the bound in the hybrid loss


def weight_of(name: str, process: Process, t: Time, spread: Tensor | None = None) -> Tensor:
    """w(t) on the squared x0 error, float64, shape of t.

    The formulas are for data of unit variance. Where they vary by `spread` d about a centre, float64, shape (B,), they
    are taken of (x0 - centre) / d: at the log-SNR of that, over d^2.
    """
    if name not in WEIGHTS:
        raise ConfigError(f"weight: expected one of {', '.join(WEIGHTS)}, got {name!r}.")
    if spread is None:
        return WEIGHTS[name](process.logsnr(t))
    return WEIGHTS[name](process.logsnr(t) + 2 * torch.log(spread)) / spread**2


def denoising_loss(
    denoiser: NetworkDenoiser,
    x0: Tensor,
    t: Tensor,
    eps: Tensor,
    *,
    weight: str = "edm",
    loss: Literal["squared", "hybrid", "vlb"] = "squared",
    cond: Condition = None,
    target: Tensor | None = None,
    uncertainty: Uncertainty | None = None,
) -> Tensor:
    """Weighted squared x0 error of each sample, or its term of the variational bound, averaged over its entries.

    Parameters
    ----------
    denoiser : NetworkDenoiser
    x0, eps : tensor, shape (B, *event)
    t : float64 tensor, shape (B,), times > 0
    weight : a name of `WEIGHTS`
        Of the squared error; the bound has weights of its own.
    loss : 'squared', 'hybrid' or 'vlb'
        As above. 'hybrid' needs a denoiser with a learned variance; without one 'vlb' is the bound of 'small'.
    cond : mapping of conditions with B rows
    target : tensor, shape of x0
        What the prediction is compared with in the squared error, x0 unless given; see `batch_targets`.
    uncertainty : Uncertainty, optional
        Divides the squared error by what it says of each level.

    Returns
    -------
    tensor, shape (B,)
        With x0 for target the optimum of 'squared', D exact, is w(t) times the mean of Var[x0 | x_t].

    Raises
    ------
    ConfigError
        If `loss` is of a chain and the process is none, or 'hybrid' has no variance to teach.
    """
    process = denoiser.process
    weights = weight_of(weight, process, t, denoiser.spread(cond, len(x0)))
    mean, v = denoiser.mean_and_v(process.noise(x0, t, eps), t, cond)
    if loss == "vlb":
        return _bound(denoiser, x0 - mean, v, t)
    error = mean - (x0 if target is None else target)
    rows = times(weights, error.square().flatten(1).mean(1))
    if uncertainty is not None:
        u = uncertainty(process.logsnr(t)).to(rows.dtype)
        rows = rows * torch.exp(-u) + u
    if loss == "squared":
        return rows
    if v is None:
        raise ConfigError("loss='hybrid' teaches a variance, and this denoiser has none. Use variance='learned'.")
    return rows + _SHARE * _bound(denoiser, x0 - mean.detach(), v, t)


def _bound(denoiser: NetworkDenoiser, error: Tensor, v: Tensor | None, t: Tensor) -> Tensor:
    """T L_t of each row, in nats per entry."""
    law = denoiser.variance or VarianceRange(denoiser.process)
    terms = law.bound(error.square(), torch.zeros_like(error) if v is None else v, t)
    return law.chain.t_max * terms.flatten(1).mean(1)


def batch_targets(process: Process, x0: Tensor, t: Tensor, eps: Tensor, *, group: int = 256) -> Tensor:
    """E[x0 | x_t, group]: each noisy item explained by all clean items of its group; shape of x0.

    The batch is read in groups of so many. Given the clean items of a group and x_t, any of them may have been the one
    that was noised, item j with odds

        exp(-|x_t - alpha x_j|^2 / (2 sigma^2)).

    The mean over them is a Rao-Blackwell estimate of the same E[x0 | x_t] that x0 itself estimates, unbiased and of
    less variance, most of all where noise is strong or entries are few. It costs `group` distances per item.
    Source: Xu et al. 2023 (stable target field), there with a separate reference; here the noised item is one of
    those that explain it, which is what removes the bias.
    """
    gain = torch.exp(0.5 * process.logsnr(t)).to(x0)[:, None]
    parts = (part.split(group) for part in (x0.flatten(1), eps.flatten(1), gain))
    return torch.cat([_explained(*part) for part in zip(*parts, strict=True)]).view_as(x0)


def _explained(x: Tensor, eps: Tensor, gain: Tensor) -> Tensor:
    apart = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    logits = (gain * eps) @ x.mT  # of eps . (x_j - x_i) what depends on j: the rest of a row cancels
    logits.addcmul_(apart.square_(), gain.square(), value=-0.5)
    logits = torch.maximum(logits, logits.diagonal()[:, None] - 60)  # smaller odds do not count, and are slow
    return logits.softmax(1) @ x


def draw_times(
    process: Process,
    config: TrainingConfig,
    seed: int,
    step: int,
    count: int,
    *,
    start: int = 0,
    law: Tensor | None = None,
    spread: Tensor | None = None,
) -> Tensor:
    """Noise levels of rows start .. start + count - 1 of a step, as times; float64, shape (count,).

    A low-discrepancy batch shifts one even ladder by one uniform draw (Kingma et al. 2021, appendix I.1), which lowers
    the variance of the loss at no cost. A chain gets whole steps 1..T; with `law`, step t with probability law[t - 1].
    The lognormal law is for data of unit variance; on a continuous process `spread`, float64, shape (count,), scales
    its levels. The steps of a chain are all walked, and stay as they are drawn without.
    """
    if config.draws == "independent":
        u = uniform(seed, Stream.TIME, step, count, start=start)
    else:
        shift = uniform(seed, Stream.TIME, step, 1)
        u = (shift + torch.arange(start, start + count, dtype=torch.float64) / config.batch_size) % 1.0
    if law is not None:
        return torch.searchsorted(law.cumsum(0)[:-1].contiguous(), u, right=True).to(torch.float64) + 1
    if config.times != "lognormal":
        if process.is_discrete:
            return torch.floor(u * process.t_max).clamp_max(process.t_max - 1) + 1
        return (1 - u) * process.t_max  # (0, t_max]: the end is trained on, the data are not
    normal = torch.special.ndtri(u.clamp(1e-12, 1 - 1e-12))
    logsnr = -2 * (config.time_mean + config.time_std * normal)
    if spread is not None and not process.is_discrete:
        logsnr = logsnr - 2 * torch.log(spread)
    t = process.time(logsnr)
    return t.clamp(1, process.t_max) if process.is_discrete else t.clamp(1e-9 * process.t_max, process.t_max)
