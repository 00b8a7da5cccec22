"""What a network predicts, as one formula: x0_hat = skip x_t + out F(inp x_t, label).

The network sees canonical coordinates: x_t scaled to unit variance with the sign of alpha taken out, and the label
log(sigma / |alpha|) / 4. Neither depends on how a process scales or clocks its noise, so a network trained under one
process serves another that passes the same sigma / alpha. With a = |alpha| data_std:

    kind      what F is                        skip                 out
    x0        x0 / data_std                    0                    data_std
    eps       the noise                        1 / alpha            -sigma / alpha
    v         a' eps - sigma' x0 / data_std    alpha d^2 / n^2      -d sigma / n          n^2 = a^2 + sigma^2
    flow      eps - x0 / data_std              d / (a + sigma)      -d sigma / (a + sigma)
    edm       -v                               alpha d^2 / n^2      d sigma / n
    previous  E[x_(t-1) | x_t] / n_(t-1)       -ct / c0             n_(t-1) / c0

The last is for chains, whose bridge has the mean c0 x0 + ct x_t at t - 1: it is how the reverse chain is introduced.
Its network has to say almost x_t itself, and its errors reach x0 enlarged by 1 / c0, some 1 / beta; it serves only the
chain it was trained on.

Sources: Karras et al. 2022, table 1; Salimans & Ho 2022, appendix D; Lipman et al. 2023; Ho et al. 2020, eq. 7-8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from caminito._errors import ConfigError, TimeError
from caminito.process import Process
from caminito.process.base import Time, as_time

__all__ = ["Coefficients", "Precondition", "Prediction"]

Prediction = Literal["x0", "eps", "v", "flow", "edm", "previous"]

_LABEL_RANGE = 12.0  # |log(sigma / alpha)| beyond which a network sees no difference


class Coefficients(NamedTuple):
    """Of x0_hat = skip x_t + out F(inp x_t, label); float64, shape of t."""

    skip: Tensor
    out: Tensor
    inp: Tensor
    label: Tensor


@dataclass(frozen=True)
class Precondition:
    """How a network's output becomes E[x0 | x_t].

    Parameters
    ----------
    kind : 'x0', 'eps', 'v', 'flow', 'edm' or, for chains, 'previous'
    data_std : float > 0
        Standard deviation of the data that the network will see.
    """

    kind: Prediction = "edm"
    data_std: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Prediction):
            raise ConfigError(f"prediction: expected one of {', '.join(get_args(Prediction))}, got {self.kind!r}.")
        if not self.data_std > 0:
            raise ConfigError(f"data_std: expected a number > 0, got {self.data_std}.")

    def check(self, process: Process) -> None:
        """Raise ConfigError if `kind` speaks of the steps of a chain and the process has none."""
        if self.kind == "previous" and not process.is_discrete:
            raise ConfigError(
                f"prediction='previous': {type(process).__name__} has no steps, so nothing comes before x_t. Use a "
                "chain, or predict x0, eps, v, flow or edm."
            )

    def coefficients(self, process: Process, t: Time, spread: Tensor | None = None) -> Coefficients:
        """Coefficients at time t; with `spread` of each row (float64, shape (B,)), of data that vary so much.

        Raises
        ------
        TimeError
            If `kind` is eps and alpha_t = 0: the noise alone says nothing of x0. If it is previous, and x_(t-1) does
            not depend on x0 once x_t is known (a step without noise, or signal that is gone before it).
        """
        alpha, sigma = process.kernel(t)
        # a chain step that erases signal and noise alike leaves x_t = 0, which says as much as noise alone
        sigma = torch.where((alpha == 0) & (sigma == 0), torch.ones_like(sigma), sigma)
        d = torch.full_like(alpha, self.data_std) if spread is None else spread.to(alpha) * self.data_std
        sign = torch.where(alpha < 0, -torch.ones_like(alpha), torch.ones_like(alpha))
        size = alpha.abs()
        norm = torch.hypot(size * d, sigma)
        if self.kind == "eps":
            if bool((alpha == 0).any()):
                raise TimeError("eps: x0 cannot be told from the noise where alpha_t = 0. Predict x0, v, flow or edm.")
            skip, out = 1 / alpha, -sigma / alpha
        elif self.kind == "previous":
            skip, out = self._previous(process, as_time(t), d)
        elif self.kind == "x0":
            skip, out = torch.zeros_like(alpha), d
        elif self.kind == "flow":
            skip, out = sign * d / (size * d + sigma), -d * sigma / (size * d + sigma)
        else:
            turn = -1.0 if self.kind == "v" else 1.0
            skip, out = alpha * d**2 / norm**2, turn * d * sigma / norm
        if self.kind == "eps":
            out = out * sign  # F is the noise of the sign-free coordinates
        label = (torch.log(sigma) - torch.log(size)).clamp(-_LABEL_RANGE, _LABEL_RANGE) / 4
        return Coefficients(skip, out, sign / norm, label)

    def _previous(self, process: Process, t: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
        """skip and out of x0 = (m - ct x_t) / c0; at t = 0 the observation is the datum."""
        noisy = t > 0
        s = torch.where(noisy, t - 1, torch.zeros_like(t))
        c0, ct, _ = process.bridge(s, torch.where(noisy, t, torch.ones_like(t)))
        if bool((noisy & (c0 == 0)).any()):
            raise TimeError(
                "previous: x0 cannot be told from E[x_(t-1) | x_t] where the step adds no noise, or no signal is left "
                "before it. Predict x0, v, flow or edm."
            )
        alpha, sigma = process.kernel(s)
        size = torch.copysign(torch.hypot(alpha * d, sigma), alpha)
        return torch.where(noisy, -ct / c0, torch.ones_like(c0)), torch.where(noisy, size / c0, torch.zeros_like(c0))
