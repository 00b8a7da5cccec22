"""Var[x0 | x_t] from a number that a network gives beside its prediction: the learned Sigma of Improved DDPM.

A step t -> t - 1 of a chain with exact D has a variance between that of the bridge (beta-tilde: exact if the data are
a point) and, in units where alpha^2 + sigma^2 = 1, that of the transition (beta: exact if they are N(0, 1)). A network
says where, on a logarithmic scale, entry by entry:

    log Sigma = v log beta + (1 - v) log beta-tilde,         v = (output + 1) / 2.

A solver here draws with the variance beta-tilde + c0^2 Var[x0 | x_t], so Sigma is the same statement as

    Var[x0 | x_t] = (Sigma - beta-tilde) / c0^2 = V (e^(v rho) - 1) / (e^rho - 1)

with

    V   = sigma^2 / (alpha^2 + sigma^2)                the posterior variance of N(0, 1) data: v = 1
    rho = log beta / beta-tilde = log V_t / V_(t-1)    the width of the range.

V and rho are functions of log-SNR, so the range does not depend on how a chain is scaled, and Var[x0 | x_t] serves
steps of any length. For short steps rho -> 0 and Var[x0 | x_t] -> v V. The bridge to the data has no variance, and that
of the step after it stands in for the lower end of the first: Sigma is then Var[x0 | x_1] = V e^((v - 1) rho_1).

Source: Nichol & Dhariwal 2021, section 3.1, eq. 15; Bao et al. 2022 (Analytic-DPM), eq. 7.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from caminito._errors import ConfigError
from caminito.process import Process, times
from caminito.process.base import Time

__all__ = ["VarianceRange"]

_WIDEST = 30.0  # of rho at the first step, where the second adds next to no noise


class VarianceRange:
    """The range of the variance of each step of a chain, and what a place in it says of Var[x0 | x_t].

    Parameters
    ----------
    chain : Process with steps
        The one that the network is trained on: its steps are those whose variance v interpolates.

    Raises
    ------
    ConfigError
        If the process has no steps of its own, or fewer than two with noise.
    """

    def __init__(self, chain: Process) -> None:
        if not chain.is_discrete:
            raise ConfigError(
                f"the variance of a step (variance='learned', loss='hybrid' or 'vlb') needs a chain, and "
                f"{type(chain).__name__} has no steps. Use process='ddpm', or Chain.discretise(process, times)."
            )
        steps = torch.arange(int(chain.t_max) + 1, dtype=torch.float64)
        noisy = torch.nonzero(chain.kernel(steps).std > 0)[:, 0]
        if len(noisy) < 2:
            raise ConfigError(
                "the variance of a step (variance='learned', loss='hybrid' or 'vlb') needs a chain of at least 2 noisy "
                "steps, got 1: that of the step to the data is taken from the step after it. Use variance='measured' "
                "and loss='squared'."
            )
        snr, logs = torch.exp(chain.logsnr(steps)), logsigmoid(-chain.logsnr(steps))  # log V
        zero = torch.zeros(1, dtype=torch.float64)
        self.chain, self.first = chain, int(noisy[0])
        self._log_v, self._gap = logs, torch.cat([zero, -snr.diff()])
        self._gap[: self.first + 1] = 0
        self._rho = torch.cat([zero, logs.diff()])
        after = noisy[1].to(torch.float64)
        share = chain.transition(noisy[0], after).std / chain.kernel(after).std
        self._rho[self.first] = (-2 * torch.log(share)).clamp_max(_WIDEST)

    def rho(self, t: Time) -> Tensor:
        """log beta - log beta-tilde of the step that leaves t; float64, shape of t."""
        return self._rho[_index(t)]

    def var(self, v: Tensor, t: Time) -> Tensor:
        """Var[x0 | x_t] at a step of the chain, for v of shape (B, *event) and t of shape () or (B,).

        Never negative: v < 0, a variance below that of the bridge, is taken for 0.
        """
        rho, scale = self.rho(t), torch.exp(self._log_v[_index(t)])
        safe = torch.where(rho > 0, rho, 1.0)
        ratio = torch.where(rho > 0, torch.expm1(safe), 1.0)
        x = times(rho, v)
        inner = times(scale / ratio, torch.where(_rows(rho > 0, v), torch.expm1(x), v))
        ends = times(scale, torch.exp(x - times(rho, torch.ones_like(v))))
        return torch.where(_rows(_index(t) == self.first, v), ends, inner.clamp_min(0))

    def bound(self, square: Tensor, v: Tensor, t: Time) -> Tensor:
        """The term of the variational bound that belongs to the step leaving t, in nats per entry; shape of `square`.

            L_t = KL(q(x_(t-1) | x_t, x_0) || N(c0 D + ct x_t, Sigma))
                = ((SNR_(t-1) - SNR_t) e^(-v rho) square + v rho - 1 + e^(-v rho)) / 2
            L_0 = -log N(x_0; D, Sigma)                                                  at the first noisy step

        Parameters
        ----------
        square : tensor, shape (B, *event)
            (x_0 - D)^2.
        v : tensor, shape of `square`
            0 is the fixed variance 'small' of `variational_bound` (at the first step, where alpha^2 + sigma^2 = 1).
            Below 0, Sigma is less than beta-tilde: no optimum is there, and `var` does not follow.
        t : float64 tensor, shape () or (B,)
            Steps with noise.

        Notes
        -----
        Exact. Source: Ho et al. 2020, eq. 5 and 8; Nichol & Dhariwal 2021, section 3.1.
        """
        x = times(self.rho(t), v)
        inner = (times(self._gap[_index(t)], square) * torch.exp(-x) + _beyond(x)) / 2
        log_var = x + times(self._log_v[_index(t)] - self.rho(t), torch.ones_like(x))
        ends = (square * torch.exp(-log_var) + log_var + math.log(2 * math.pi)) / 2
        return torch.where(_rows(_index(t) == self.first, v), ends, inner)


def _index(t: Time) -> Tensor:
    return torch.as_tensor(t).round().long().cpu()


def _beyond(x: Tensor) -> Tensor:
    """x - 1 + e^-x, and its gradient, without cancellation about 0 (relative error below 1e-8 of the series)."""
    small = x.abs() < 0.1
    near = torch.where(small, x, 0.0)
    series = near**2 / 2 * (1 - near / 3 * (1 - near / 4 * (1 - near / 5 * (1 - near / 6 * (1 - near / 7)))))
    far = torch.where(small, 1.0, x)
    return torch.where(small, series, far + torch.expm1(-far))


def _rows(mask: Tensor, like: Tensor) -> Tensor:
    """A mask of shape () or (B,) laid along the batch axis."""
    mask = mask.to(like.device)
    return mask.reshape(-1, *([1] * (like.ndim - 1))) if mask.ndim else mask
