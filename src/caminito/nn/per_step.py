"""One network per noise level: how diffusion is introduced, before one network is told the level instead.

Sohl-Dickstein et al. 2015 and textbooks begin with T networks, one for each step. They share nothing, so each learns
from a T-th of the batch; one network that sees the label learns from all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from caminito._errors import ConfigError, ShapeError
from caminito.nn.condition import Cond

__all__ = ["PerStep"]


class PerStep(nn.Module):
    """Sends each row to the network whose label is nearest to the row's: (x, label, cond) -> output of that network.

    Parameters
    ----------
    networks : sequence of nn.Module, each (x, label, cond) -> tensor
        All with one shape of output.
    labels : tensor or sequence of float, shape (T,)
        The label of each network. For the steps of a chain, those that its denoiser gives:
        ``precondition.coefficients(chain, torch.arange(1, T + 1)).label``.

    Attributes
    ----------
    options : dict or None
        The labels and the options that all networks share, plain JSON with `kind`; `caminito.nn.build` rebuilds the
        networks from them. None where they have no options, or not the same.

    Raises
    ------
    ConfigError
        If there is not exactly one label for each network, or two labels are the same.

    Examples
    --------
    >>> import torch
    >>> from caminito.denoiser import NetworkDenoiser, Precondition
    >>> from caminito.nn import PerStep, ResidualMLP
    >>> from caminito.process import Chain
    >>> chain, kind = Chain.ddpm([0.3, 0.5, 0.9]), Precondition("previous")
    >>> labels = kind.coefficients(chain, torch.arange(1, 4)).label
    >>> network = PerStep([ResidualMLP(2, width=8, depth=1) for _ in range(3)], labels)
    >>> NetworkDenoiser(network, kind, chain, (2,)).mean(torch.zeros(5, 2), 3.0).shape
    torch.Size([5, 2])
    """

    labels: Tensor

    def __init__(self, networks: Sequence[nn.Module], labels: Tensor | Sequence[float]) -> None:
        super().__init__()
        row = torch.as_tensor(labels, dtype=torch.float32)
        if row.shape != (len(networks),) or len(networks) == 0:
            raise ConfigError(
                f"labels: expected one for each of {len(networks)} networks, got shape {tuple(row.shape)}."
            )
        if len(torch.unique(row)) < len(row):
            raise ConfigError("labels: expected a different one for each network, got two that are the same.")
        inner = [getattr(network, "options", None) for network in networks]
        alike = inner[0] is not None and all(each == inner[0] for each in inner)
        self.options: dict[str, Any] | None = (
            {"kind": "per-step", "network": inner[0], "labels": row.tolist()} if alike else None
        )
        self.networks = nn.ModuleList(networks)
        self.register_buffer("labels", row)

    def forward(self, x: Tensor, label: Tensor, cond: Cond = None) -> Tensor:
        """Map x and its label to the output of the networks chosen row by row.

        Parameters
        ----------
        x : float Tensor (B, *event)
        label : float Tensor (B,)
        cond : None
            Conditions are not taken.
        """
        if cond:
            raise ConfigError("cond: one network per step takes no conditions. Use one network with time as input.")
        if label.shape != x.shape[:1]:
            raise ShapeError(f"label: expected shape ({x.shape[0]},), got {tuple(label.shape)}. One number per row.")
        chosen = (label[:, None] - self.labels).abs().argmin(1)
        rows = [torch.nonzero(chosen == k)[:, 0] for k in range(len(self.networks))]
        parts = [network(x[index], label[index], None) for network, index in zip(self.networks, rows) if len(index)]
        return torch.cat(parts)[torch.argsort(torch.cat(rows))] if parts else torch.zeros_like(x)
