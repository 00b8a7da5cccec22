"""What is known of a density after it was sampled, with what may be wrong about it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from caminito._arviz import inference_data

if TYPE_CHECKING:
    from caminito.density.modes import Modes

__all__ = ["DensityResult"]

_ROWS = 8  # modes in a summary
_COORDINATES = 4


@dataclass(frozen=True, eq=False)
class DensityResult:
    """Samples of a density, the constant that was left out of it, and its modes.

    Attributes
    ----------
    samples : tensor (n, dim)
        float64, in the space that log_prob was given in; all weigh the same.
    log_evidence : float or None
        log of the integral of exp(log_prob); None from a method that does not know it.
    log_evidence_se : float or None
        Its standard error, over independent runs.
    modes : Modes or None
        High points, in the space that was searched.
    weights, weights_se : tensor (k,) or None
        Mass of each mode, and its standard error.
    diagnostics : dict of float
    warnings : list of str
        What was warned of.
    method : str
        What drew the samples.
    runs : tensor (n,), int64, or None
        The independent run that each sample is from.
    """

    samples: Tensor
    log_evidence: float | None = None
    log_evidence_se: float | None = None
    modes: Modes | None = None
    weights: Tensor | None = None
    weights_se: Tensor | None = None
    diagnostics: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    method: str = ""
    runs: Tensor | None = None

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.samples)

    @property
    def dim(self) -> int:
        """Numbers in a sample."""
        return self.samples.shape[1]

    def mean(self) -> Tensor:
        """Mean of the samples, shape (dim,)."""
        return self.samples.mean(0)

    def std(self) -> Tensor:
        """Standard deviation of each coordinate, shape (dim,)."""
        return self.samples.std(0, correction=0)

    def summary(self) -> str:
        """What was found, in a few lines, warnings first."""
        lines = [f"{self.n:,} samples in {_counted(self.dim, 'dimension')}".replace(",", " ")]
        lines[0] += f" by {self.method}" if self.method else ""
        lines += [f"  warning       {text}" for text in self.warnings]
        if self.log_evidence is not None:
            lines.append(f"  log evidence  {_with_error(self.log_evidence, self.log_evidence_se)}")
        mean, std = self.mean().tolist(), self.std().tolist()
        lines.append(f"  mean          {_row(mean)}")
        lines.append(f"  deviation     {_row(std)}")
        lines += self._modes()
        if self.diagnostics:
            told = ", ".join(f"{name} {value:.4g}" for name, value in self.diagnostics.items())
            lines.append(f"  diagnostics   {told}")
        return "\n".join(lines)

    def _modes(self) -> list[str]:
        if self.modes is None:
            return []
        weights = self.modes.weights if self.weights is None else self.weights
        lines = [f"  {_counted(len(self.modes), 'mode')}"]
        for i in range(min(_ROWS, len(self.modes))):
            error = None if self.weights_se is None else float(self.weights_se[i])
            weight = _with_error(float(weights[i]), error)
            height = float(self.modes.log_prob[i])
            lines.append(f"    weight {weight:18} log p {height:9.3f}  at {_row(self.modes.x[i].tolist())}")
        if len(self.modes) > _ROWS:
            lines.append(f"    and {len(self.modes) - _ROWS} more")
        return lines

    def to_arviz(self) -> Any:
        """The samples as ArviZ's InferenceData: one variable `x`, one chain for each run.

        Raises
        ------
        MissingExtraError
            Without arviz: pip install "caminito[density]".
        """
        x = self.samples
        if self.runs is not None:
            order = self.runs.argsort(stable=True)
            counts = torch.bincount(self.runs)
            least = int(counts[counts > 0].min())
            parts = x[order].split(counts[counts > 0].tolist())
            chains = torch.stack([part[:least] for part in parts])
        else:
            chains = x[None]
        return inference_data(chains)

    def __repr__(self) -> str:
        known = ""
        if self.log_evidence is not None:
            known += f", log_evidence={_with_error(self.log_evidence, self.log_evidence_se)}"
        if self.modes is not None:
            known += f", {_counted(len(self.modes), 'mode')}"
        if self.warnings:
            known += f", {_counted(len(self.warnings), 'warning')}"
        by = f" by {self.method}" if self.method else ""
        return f"DensityResult({self.n} samples of dim {self.dim}{by}{known})"


def _with_error(value: float, error: float | None) -> str:
    if error is None or not (math.isfinite(error) and error > 0):
        return f"{value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} +- {error:.{digits}f}"


def _row(values: list[float]) -> str:
    told = ", ".join(f"{value:.4g}" for value in values[:_COORDINATES])
    return f"({told}, ...)" if len(values) > _COORDINATES else f"({told})"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
