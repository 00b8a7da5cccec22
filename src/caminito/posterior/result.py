"""What is known of the data after an observation, with what may be wrong about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caminito._arviz import inference_data
from caminito._errors import ConfigError

__all__ = ["PosteriorResult"]


@dataclass(frozen=True, eq=False)
class PosteriorResult:
    """Draws of p(x0 | y).

    Attributes
    ----------
    samples : tensor (n, *event); or (P, n, *event) of P observations
        All weigh the same.
    log_evidence : tensor () or (P,), or None
        log p(y) in nats, of the entries seen; None from a method that does not know it.
    ess : tensor () or (P,), or None
        Share of the particles that counted, at the step where fewest did.
    ancestors : tensor () or (P,), or None
        Particles of the first step that have descendants among the samples.
    diagnostics : dict of float
    warnings : list of str
        What was warned of.
    method : str
    event : tuple of int
        Shape of a draw.
    """

    samples: Tensor
    log_evidence: Tensor | None = None
    ess: Tensor | None = None
    ancestors: Tensor | None = None
    diagnostics: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    method: str = ""
    event: tuple[int, ...] = ()

    @property
    def axis(self) -> int:
        """The axis of the draws: 0, or 1 where there are several observations."""
        return self.samples.ndim - len(self.event) - 1

    def mean(self) -> Tensor:
        """Mean of the draws, shape (*event) or (P, *event)."""
        return self.samples.mean(self.axis)

    def std(self) -> Tensor:
        """Standard deviation of the draws, shape as `mean`."""
        return self.samples.std(self.axis, correction=0)

    def interval(self, level: float = 0.9) -> tuple[Tensor, Tensor]:
        """Central intervals of each entry, two tensors of the shape of `mean`."""
        if not 0 < level < 1:
            raise ConfigError(f"level: expected a share in (0, 1), got {level!r}.")
        ends = [(1 - level) / 2, (1 + level) / 2]
        low, high = torch.from_numpy(np.quantile(self.samples.numpy(), ends, axis=self.axis)).to(self.samples)
        return low, high

    def to_arviz(self) -> Any:
        """The draws as ArviZ's InferenceData: one variable `x`, one chain for each observation.

        Raises
        ------
        MissingExtraError
            Without arviz: pip install "caminito[density]".
        """
        return inference_data(self.samples if self.axis else self.samples[None])

    def __repr__(self) -> str:
        count = f"{self.samples.shape[0]} observations, " if self.axis else ""
        known = ""
        if self.log_evidence is not None and self.log_evidence.ndim == 0:
            known = f", log_evidence={float(self.log_evidence):.4g}"
        if self.warnings:
            known += f", {len(self.warnings)} warnings"
        draws = self.samples.shape[self.axis]
        return f"PosteriorResult({count}{draws} samples of shape {self.event} by {self.method}{known})"
