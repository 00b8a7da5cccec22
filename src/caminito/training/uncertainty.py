"""How hard each noise level is, learnt beside the network, so that no level dominates the loss.

    loss = w(t) |x0 - D|^2 / e^u(logsnr) + u(logsnr)

For a given network its optimum is e^u = E[w(t) |x0 - D|^2], at which every level contributes the same gradient scale,
whatever w was. u is a sum of waves in the network's label, zero at birth; it is not part of the model.
Source: Karras et al. 2024 (EDM2), eq. 14-16 and appendix B.2; Kendall et al. 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from caminito.nn.embed import Fourier

__all__ = ["Uncertainty"]

_RANGE = 24.0  # |log-SNR| beyond which a network sees no difference


class Uncertainty(nn.Module):
    """u(logsnr), float32."""

    def __init__(self) -> None:
        super().__init__()
        self.waves = Fourier(32, low=0.25, high=8.0)
        self.mix = nn.Linear(32, 1)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, logsnr: Tensor) -> Tensor:
        """Map log-SNR (B,) to u (B,)."""
        label = (-logsnr / 8).clamp(-_RANGE / 8, _RANGE / 8).to(self.mix.weight.device, torch.float32)
        u: Tensor = self.mix(self.waves(label))[:, 0]
        return u
