"""A torch module as a denoiser."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from caminito._errors import ShapeError
from caminito.denoiser.base import Condition, Denoiser
from caminito.denoiser.centre import Centre
from caminito.denoiser.learned_variance import VarianceRange
from caminito.denoiser.precondition import Precondition
from caminito.process import Process, times
from caminito.process.base import Time, as_time

__all__ = ["NetworkDenoiser"]

_SUREST = 1e-3


class NetworkDenoiser(Denoiser):
    """x0_hat = m + skip (x_t - alpha m) + out F(inp (x_t - alpha m), label, cond); without a centre m = 0.

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
    centre : Centre, optional
        What a condition says of x0 by itself; the network is left the rest.

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
        centre: Centre | None = None,
    ) -> None:
        precondition.check(process)
        self.network, self.precondition, self.process = network, precondition, process
        self.event_shape = tuple(event_shape)
        self.autocast, self.variance, self.centre = autocast, variance, centre

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
        m, spread = None, None
        if self.centre is not None:
            m, spread = self.centre.of(cond, x_t)
            x_t = x_t - times(self.process.kernel(t)[0], m)
        skip, out, inp, label = self.precondition.coefficients(self.process, t, spread)
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
        mean = times(skip, x_t) + times(out, f[:, : x_t.shape[1]])
        return mean if m is None else m + mean, out, v

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """E[x0 | x_t] as the network has learnt it."""
        return self._parts(x_t, t, cond)[0]

    def spread(self, cond: Condition, rows: int) -> Tensor | None:
        """Standard deviation of the data about their centre in each row (float64, shape (rows,)); None without one."""
        return None if self.centre is None else self.centre.spread(cond, rows)

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
