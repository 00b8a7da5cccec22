"""The chain, whose atoms are its steps: x_i = (1 - mu_i) x_{i-1} + sigma_i eps_i, i = 1..T.

Any drift mu_i is allowed (1 forgets the past, more than 1 turns it over) and any noise sigma_i >= 0. DDPM is the chain
with 1 - mu_i = sqrt(1 - beta_i) and sigma_i = sqrt(beta_i). Sums of positive terms replace differences throughout, so
that no digits are lost where 1 - abar is small.

Sources: Ho et al. 2020, eq. 2; Nichol & Dhariwal 2021, eq. 17 (cosine); Rombach et al. 2022 (scaled linear); Jabri et
al. 2022 (sigmoid); Lin et al. 2024, algorithm 1 (zero terminal SNR).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from caminito._errors import ConfigError, TimeError
from caminito._random import Stream, normal
from caminito.process.base import Process, Time, as_time
from caminito.process.kernel import Kernel

__all__ = ["BetaTable", "Chain", "beta_table"]

BetaTable = Literal["linear", "scaled-linear", "cosine", "sigmoid"]


class Chain(Process):
    """x_i = (1 - drift_i) x_{i-1} + noise_i eps_i for i = 1..T; times are the integers 0..T.

    Parameters
    ----------
    drift, noise : array-like, shape (T,)
        mu_i (any finite number) and sigma_i >= 0 of the steps.

    Raises
    ------
    ConfigError
        If the two differ in length, are empty, are not finite, a noise is negative, or no step has noise.
    """

    is_discrete = True

    def __init__(self, drift: ArrayLike | Tensor, noise: ArrayLike | Tensor) -> None:
        mu, std = (torch.as_tensor(np.asarray(v, dtype=np.float64)).clone() for v in (drift, noise))
        if mu.ndim != 1 or mu.shape != std.shape or mu.numel() == 0:
            raise ConfigError(
                f"drift, noise: expected two lists of the same length T >= 1, got shapes {tuple(mu.shape)} and "
                f"{tuple(std.shape)}."
            )
        if not bool(torch.isfinite(mu).all() and torch.isfinite(std).all()) or bool((std < 0).any()):
            raise ConfigError("drift, noise: expected finite drifts and noises >= 0. Noise is a standard deviation.")
        self._build(1 - mu, std)

    def _build(self, scale: Tensor, std: Tensor) -> None:
        self.scale, self.std = scale, std  # of the steps, shape (T,)
        self.t_max = float(len(scale))
        alpha, sigma = [1.0], [0.0]
        for a, b in zip(scale.tolist(), std.tolist()):
            alpha.append(a * alpha[-1])
            sigma.append(math.hypot(a * sigma[-1], b))
        self._alpha, self._sigma = (torch.tensor(c, dtype=torch.float64) for c in (alpha, sigma))
        if float(self._sigma[-1]) == 0:
            raise ConfigError(
                "noise: expected some sigma_i > 0 that is not erased, got a chain that ends without noise."
            )

    @property
    def drift(self) -> Tensor:
        """mu_i, shape (T,)."""
        return 1 - self.scale

    @classmethod
    def ddpm(
        cls, betas: ArrayLike | Tensor | BetaTable = "linear", *, steps: int = 1000, zero_snr: bool = False
    ) -> Chain:
        """The chain of DDPM: 1 - mu_i = sqrt(1 - beta_i), sigma_i = sqrt(beta_i).

        Parameters
        ----------
        betas : array-like (T,) in (0, 1], or the name of a table
        steps : int
            Length of a named table.
        zero_snr : bool
            Rescale so that abar_T = 0 exactly (Lin et al. 2024, algorithm 1).
        """
        table = beta_table(betas, steps) if isinstance(betas, str) else torch.as_tensor(np.asarray(betas, np.float64))
        if table.ndim != 1 or table.numel() == 0:
            raise ConfigError(f"betas: expected a list of numbers in (0, 1], got shape {tuple(table.shape)}.")
        wrong = torch.nonzero(~((table > 0) & (table <= 1)))[:, 0]
        if len(wrong):
            raise ConfigError(
                f"betas: expected numbers in (0, 1], got {float(table[wrong[0]]):g} at step {int(wrong[0]) + 1}. "
                "beta is the share of the variance that a step replaces by noise."
            )
        if zero_snr and len(table) < 2:
            raise ConfigError(
                "zero_snr: expected a chain of at least 2 steps, got 1. Its signal cannot be rescaled to 0."
            )
        if zero_snr:
            table = _zero_terminal_snr(table)
        chain = cls.__new__(cls)
        chain._build(torch.sqrt(1 - table), torch.sqrt(table))
        # 1 - abar without cancellation; the recursion of _build is exact to rounding, this to the last digit.
        logs = torch.cumsum(torch.log1p(-table), 0)
        chain._sigma = torch.cat([torch.zeros(1, dtype=torch.float64), torch.sqrt(-torch.expm1(logs))])
        chain._alpha = torch.cat([torch.ones(1, dtype=torch.float64), torch.exp(logs / 2)])
        return chain

    @classmethod
    def discretise(cls, process: Process, times: ArrayLike | Tensor) -> Chain:
        """The chain that visits `process` at the given increasing times (0 is added in front if absent).

        Exact: the marginals of the chain at its steps are those of the process at the times.
        """
        grid = torch.as_tensor(np.asarray(times, dtype=np.float64))
        if grid.ndim != 1 or grid.numel() == 0:
            raise TimeError("times: expected a list of increasing times, got none.")
        if float(grid[0]) != 0:
            grid = torch.cat([torch.zeros(1, dtype=torch.float64), grid])
        if (
            grid.numel() < 2
            or not bool((grid.diff() > 0).all())
            or float(grid[0]) < 0
            or float(grid[-1]) > process.t_max
        ):
            raise TimeError(f"times: expected increasing times in (0, {process.t_max}], got {grid.tolist()[:5]}...")
        steps = [process.transition(s, t) for s, t in itertools.pairwise(grid)]
        chain = cls.__new__(cls)
        chain._build(torch.stack([k.scale for k in steps]), torch.stack([k.std for k in steps]))
        return chain

    def _index(self, t: Time) -> Tensor:
        t = as_time(t)
        index = t.round().long()
        if bool((index != t).any()) or bool((index < 0).any()) or bool((index > self.t_max).any()):
            raise TimeError(
                f"t: expected whole steps in 0..{self.t_max:.0f} of a chain, got {t.flatten()[:5].tolist()}. "
                "Use a chain grid (trailing, leading, linspace)."
            )
        return index

    def kernel(self, t: Time) -> Kernel:
        """(alpha_t, sigma_t) from the table."""
        index = self._index(t)
        return Kernel(self._alpha[index], self._sigma[index])

    def transition(self, s: Time, t: Time) -> Kernel:
        """Product of the steps s+1..t; legal where alpha_s = 0, and where a step turns the sign."""
        first, last = torch.broadcast_tensors(self._index(s), self._index(t))
        if not bool((first < last).all()):
            raise TimeError(
                f"expected s < t, got s = {first.tolist()}, t = {last.tolist()}. A transition runs towards noise."
            )
        if first.ndim == 0:
            return self._between(int(first), int(last))
        known = {pair: self._between(*pair) for pair in set(zip(first.tolist(), last.tolist()))}
        pairs = [known[pair] for pair in zip(first.tolist(), last.tolist())]
        return Kernel(torch.stack([k.scale for k in pairs]), torch.stack([k.std for k in pairs]))

    def _between(self, s: int, t: int) -> Kernel:
        scale, std = self.scale[s:t].flip(0), self.std[s:t].flip(0)
        products = torch.cumprod(scale, 0)
        carried = torch.cat([torch.ones(1, dtype=torch.float64), products[:-1]])
        return Kernel(products[-1], torch.linalg.vector_norm(carried * std))

    def time(self, logsnr: Time) -> Tensor:
        """The step whose log-SNR is nearest to the given one (0 for +inf)."""
        table = torch.atan(self.logsnr(torch.arange(len(self._alpha))) / 8)  # finite at both ends, same order
        gap = (torch.atan(as_time(logsnr) / 8)[..., None] - table).abs()
        return gap.argmin(-1).to(torch.float64)

    def rates(self, t: Time) -> Kernel:
        """A chain has none."""
        raise TimeError("rates: a chain has steps and no time derivative. Use its bridge, or a continuous process.")

    def simulate(self, x0: Tensor, seed: int = 0) -> Tensor:
        """The whole path, step by step: x_0..x_T.

        Parameters
        ----------
        x0 : tensor, shape (B, *event)

        Returns
        -------
        tensor, shape (T + 1, B, *event)
            Row i of the batch depends on (seed, i) alone.
        """
        path = torch.empty((len(self._alpha), *x0.shape), dtype=x0.dtype, device=x0.device)
        path[0] = x0
        for i, step in enumerate(zip(self.scale, self.std), start=1):
            eps = normal(seed, Stream.CHAIN, i, tuple(x0.shape), dtype=x0.dtype, device=x0.device)
            path[i] = Kernel(*step).sample(path[i - 1], eps)
        return path


def beta_table(name: BetaTable | str, steps: int = 1000) -> Tensor:
    """The noise table beta_1..beta_T by name, float64, shape (steps,).

    - ``linear``: 1e-4 to .02, scaled by 1000 / T (Ho et al. 2020)
    - ``scaled-linear``: linear in sqrt(beta), .00085 to .012 (Rombach et al. 2022)
    - ``cosine``: abar = cos^2((t/T + .008) / 1.008 pi/2), beta capped at .999 (Nichol & Dhariwal 2021, eq. 17)
    - ``sigmoid``: abar a sigmoid on (-3, 3), capped at .999 (Jabri et al. 2022)

    Raises
    ------
    ConfigError
        For another name, or steps < 1, or so few steps that a linear beta would exceed 1.
    """
    if steps < 1:
        raise ConfigError(f"steps: expected a whole number >= 1, got {steps}.")
    grid = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    if name == "linear":
        return _capped_linear(torch.linspace(1e-4, 0.02, steps, dtype=torch.float64) * (1000 / steps), name, steps)
    if name == "scaled-linear":
        roots = torch.linspace(0.00085**0.5, 0.012**0.5, steps, dtype=torch.float64)
        return _capped_linear(roots**2 * (1000 / steps), name, steps)
    if name == "cosine":
        level = torch.cos((grid + 0.008) / 1.008 * (torch.pi / 2)) ** 2
        return (1 - level[1:] / level[:-1]).clamp(max=0.999)
    if name == "sigmoid":
        ends = torch.sigmoid(torch.tensor([-3.0, 3.0], dtype=torch.float64))
        level = (ends[1] - torch.sigmoid(grid * 6 - 3)) / (ends[1] - ends[0])
        return (1 - level[1:] / level[:-1]).clamp(max=0.999)
    names: Sequence[str] = BetaTable.__args__  # type: ignore[attr-defined]
    raise ConfigError(f"betas: expected one of {', '.join(names)} or a list of numbers, got {name!r}.")


def _capped_linear(betas: Tensor, name: str, steps: int) -> Tensor:
    if float(betas.max()) > 1:
        raise ConfigError(
            f"steps: the {name} table scaled to {steps} steps exceeds beta = 1. Use more steps or 'cosine'."
        )
    return betas


def _zero_terminal_snr(betas: Tensor) -> Tensor:
    root = torch.exp(torch.cumsum(torch.log1p(-betas), 0) / 2)
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    level = root**2
    return torch.cat([1 - level[:1], 1 - level[1:] / level[:-1]])
