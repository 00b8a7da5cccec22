"""Steps of a chain drawn in proportion to their losses: importance sampling of the time.

    p_t = (1 - u) sqrt(E[L_t^2]) / sum + u / T,       weight of a loss drawn at t: 1 / (T p_t)

Of all laws of the time with an unbiased mean loss, p_t ~ sqrt(E[L_t^2]) has the least variance. E[L_t^2] is the mean
over the last ten losses of each step, and p is uniform until every step has ten.
Source: Nichol & Dhariwal 2021, section 3.3, eq. 18.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from caminito._errors import ConfigError
from caminito.process import Process

__all__ = ["Resampler"]

_KEPT = 10
_UNIFORM = 1e-3  # share of the draws that any step may get


class Resampler(nn.Module):
    """Keeps the last losses of each step, and says how often to draw it. Its buffers are its state, on the CPU.

    Parameters
    ----------
    process : Process

    Raises
    ------
    ConfigError
        If the process has no steps of its own.
    """

    losses: Tensor
    seen: Tensor

    def __init__(self, process: Process) -> None:
        super().__init__()
        if not process.is_discrete:
            raise ConfigError(
                f"training.times='resampled' needs the steps of a chain, and {type(process).__name__} has none. Use "
                "process='ddpm', or times='lognormal' or 'uniform'."
            )
        steps = int(process.t_max)
        self.register_buffer("losses", torch.zeros(steps, _KEPT, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros(steps, dtype=torch.int64))

    def probabilities(self) -> Tensor:
        """p_1..p_T, float64, on the CPU."""
        count = len(self.seen)
        size = self.losses.square().mean(1).sqrt()
        if int(self.seen.min()) < _KEPT or float(size.sum()) == 0:
            return torch.full((count,), 1 / count, dtype=torch.float64)
        return (1 - _UNIFORM) * size / size.sum() + _UNIFORM / count

    def weights(self, t: Tensor, law: Tensor) -> Tensor:
        """1 / (T p_t) for steps t (B,) that were drawn by `law`."""
        return 1 / (len(law) * law[t.long() - 1])

    def update(self, t: Tensor, losses: Tensor) -> None:
        """Take in the losses (B,) of steps t (B,), before their weights; the last ten of each step are kept."""
        for step, loss in zip((t.long() - 1).tolist(), losses.detach().cpu().tolist()):
            self.losses[step, self.seen[step] % _KEPT] = loss
            self.seen[step] += 1
