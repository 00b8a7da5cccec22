"""What is known of a density after it was sampled, with what may be wrong about it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from caminito._errors import MissingExtraError
from caminito._random import seed_from
from caminito.density.draws import effective_size

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
        float64, in the space that log_prob was given in.
    log_weights : tensor (n,)
        Up to a constant; zeros where all samples weigh the same.
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
    log_weights: Tensor
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

    @property
    def effective_size(self) -> float:
        """(sum of weights)^2 / sum of squared weights; `n` where all weigh the same."""
        return effective_size(self.log_weights)

    @property
    def shares(self) -> Tensor:
        """Weights of the samples, shape (n,), with sum 1."""
        return torch.softmax(self.log_weights, 0)

    def mean(self) -> Tensor:
        """Weighted mean, shape (dim,)."""
        return self.shares @ self.samples

    def std(self) -> Tensor:
        """Weighted standard deviation of each coordinate, shape (dim,)."""
        return (self.shares @ (self.samples - self.mean()) ** 2).sqrt()

    def resample(self, n: int | None = None, *, random_state: int | None = None) -> Tensor:
        """Samples of equal weight, shape (n, dim): systematic resampling, after which rows repeat."""
        count = self.n if n is None else n
        chance = torch.Generator().manual_seed(seed_from(random_state))
        places = (torch.arange(count) + torch.rand(1, generator=chance, dtype=torch.float64)) / count
        index = torch.searchsorted(self.shares.cumsum(0), places).clamp(max=self.n - 1)
        return self.samples[index[torch.randperm(count, generator=chance)]]

    def summary(self) -> str:
        """What was found, in a few lines, warnings first."""
        lines = [f"{self.n:,} samples in {_counted(self.dim, 'dimension')}".replace(",", " ")]
        lines[0] += f" by {self.method}" if self.method else ""
        lines += [f"  warning       {text}" for text in self.warnings]
        if self.log_evidence is not None:
            lines.append(f"  log evidence  {_with_error(self.log_evidence, self.log_evidence_se)}")
        if abs(self.effective_size - self.n) > 0.5:
            lines.append(f"  effective     {self.effective_size:.0f} of {self.n} samples")
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

        Weighted samples are resampled first: ArviZ has no weights.

        Raises
        ------
        MissingExtraError
            Without arviz: pip install "caminito[density]".
        """
        try:
            import arviz
        except ImportError as error:
            raise MissingExtraError('to_arviz needs arviz. Install it: pip install "caminito[density]"') from error
        x = self.samples
        if abs(self.effective_size - self.n) > 0.5:
            chains = self.resample(random_state=0)[None]
        elif self.runs is not None:
            order = self.runs.argsort(stable=True)
            counts = torch.bincount(self.runs)
            least = int(counts[counts > 0].min())
            parts = x[order].split(counts[counts > 0].tolist())
            chains = torch.stack([part[:least] for part in parts])
        else:
            chains = x[None]
        given = {"x": chains.numpy()}
        if int(arviz.__version__.split(".")[0]) < 1:
            return arviz.from_dict(posterior=given)
        return arviz.from_dict({"posterior": given})

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
