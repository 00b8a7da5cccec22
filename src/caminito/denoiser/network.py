"""A torch module as a denoiser."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from caminito._errors import ShapeError
from caminito.denoiser.base import Condition, Denoiser
from caminito.denoiser.learned_variance import VarianceRange
from caminito.denoiser.precondition import Precondition
from caminito.process import Process, times
from caminito.process.base import Time, as_time

__all__ = ["NetworkDenoiser"]

_SUREST = 1e-3


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
    variance : VarianceRange, optional
        The network then gives twice as many channels: F, and what 2 v - 1 is in the range of each step's variance.

    Raises
    ------
    ConfigError
        If `precondition` speaks of the steps of a chain and the process has none.
    """

    def __init__(
        self,
        network: nn.Module,
        precondition: Precondition,
        process: Process,
        event_shape: tuple[int, ...],
        *,
        autocast: torch.dtype | None = None,
        variance: VarianceRange | None = None,
    ) -> None:
        precondition.check(process)
        self.network, self.precondition, self.process = network, precondition, process
        self.event_shape = tuple(event_shape)
        self.autocast, self.variance = autocast, variance

    def forward(self, x_t: Tensor, t: Time, cond: Condition = None) -> tuple[Tensor, Tensor]:
        """E[x0 | x_t], and the coefficient `out` by which an error of the network reaches it (float64)."""
        mean, out, _ = self._parts(x_t, t, cond)
        return mean, out

    def mean_and_v(self, x_t: Tensor, t: Time, cond: Condition = None) -> tuple[Tensor, Tensor | None]:
        """E[x0 | x_t], and the place v of the variance in its range; both of the shape of x_t.

        Raises
        ------
        ShapeError
            If the network gives another number of channels than is asked of it.
        """
        mean, _, v = self._parts(x_t, t, cond)
        return mean, v

    def _parts(self, x_t: Tensor, t: Time, cond: Condition) -> tuple[Tensor, Tensor, Tensor | None]:
        t = as_time(t)
        skip, out, inp, label = self.precondition.coefficients(self.process, t)
        label = label.expand(len(x_t)).to(device=x_t.device, dtype=torch.float32)
        x = times(inp, x_t).to(torch.float32)
        with torch.autocast(x_t.device.type, self.autocast, enabled=self.autocast is not None):
            f = self.network(x, label, cond).to(x_t.dtype)
        channels = x_t.shape[1] * (1 if self.variance is None else 2)
        if f.shape != (len(x_t), channels, *x_t.shape[2:]):
            what = "one per channel of x" if self.variance is None else "two per channel of x: its prediction and v"
            raise ShapeError(
                f"network: expected {channels} channels ({what}) in the shape ({len(x_t)}, {channels}, ...), got "
                f"{tuple(f.shape)}. Set its out_channels or out_size."
            )
        v = None if self.variance is None else (f[:, x_t.shape[1] :] + 1) / 2
        return times(skip, x_t) + times(out, f[:, : x_t.shape[1]]), out, v

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """E[x0 | x_t] as the network has learnt it."""
        return self._parts(x_t, t, cond)[0]

    @property
    def mixes_conditions(self) -> bool:
        """True: networks take an absent condition row by row."""
        return True

    @property
    def knows_variance(self) -> bool:
        """Whether the network was asked to learn it."""
        return self.variance is not None

    def var(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor | None:
        """Var[x0 | x_t] as the network has learnt it; None if it has not."""
        return self.moments(x_t, t, cond)[1]

    def moments(self, x_t: Tensor, t: Time, cond: Condition = None) -> tuple[Tensor, Tensor | None]:
        """`mean` and `var` of one call of the network, which is not believed to be sure of any entry.

        v is taken for at least .001: of a variance of 0, which v <= 0 stands for, every error costs infinitely many
        bits.
        """
        mean, v = self.mean_and_v(x_t, t, cond)
        if v is None or self.variance is None:
            return mean, None
        return mean, self.variance.var(v.clamp_min(_SUREST), self._step(t))

    def _step(self, t: Time) -> Tensor:
        """The step of the chain of `variance` that has the noise of time t."""
        if self.variance is None or self.variance.chain is self.process:
            return as_time(t)
        return self.variance.chain.time(self.process.logsnr(t))
