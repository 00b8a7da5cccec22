"""A torch module as a denoiser."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from caminito.denoiser.base import Condition, Denoiser
from caminito.denoiser.precondition import Precondition
from caminito.process import Process, times
from caminito.process.base import Time, as_time

__all__ = ["NetworkDenoiser"]


class NetworkDenoiser(Denoiser):
    """x0_hat = skip x_t + out F(inp x_t, label, cond).

    Parameters
    ----------
    network : nn.Module, (x, label (B,), cond) -> tensor shaped as x
    precondition : Precondition
    process : Process
    event_shape : tuple of int
    autocast : torch.dtype, optional
        Lower precision for the network alone (bfloat16); the state and the update keep theirs.
    """

    def __init__(
        self,
        network: nn.Module,
        precondition: Precondition,
        process: Process,
        event_shape: tuple[int, ...],
        *,
        autocast: torch.dtype | None = None,
    ) -> None:
        self.network, self.precondition, self.process = network, precondition, process
        self.event_shape = tuple(event_shape)
        self.autocast = autocast

    def forward(self, x_t: Tensor, t: Time, cond: Condition = None) -> tuple[Tensor, Tensor]:
        """E[x0 | x_t], and the coefficient `out` by which an error of the network reaches it (float64)."""
        t = as_time(t)
        skip, out, inp, label = self.precondition.coefficients(self.process, t)
        label = label.expand(len(x_t)).to(device=x_t.device, dtype=torch.float32)
        x = times(inp, x_t).to(torch.float32)
        with torch.autocast(x_t.device.type, self.autocast, enabled=self.autocast is not None):
            f = self.network(x, label, cond)
        return times(skip, x_t) + times(out, f.to(x_t.dtype)), out

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """E[x0 | x_t] as the network has learnt it."""
        return self.forward(x_t, t, cond)[0]
