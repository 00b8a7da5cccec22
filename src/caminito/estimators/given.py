"""What was drawn of data that were seen in part: draws, and what is said of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caminito._errors import ConfigError
from caminito.estimators.observed import Drawn
from caminito.posterior import PosteriorResult

if TYPE_CHECKING:
    from caminito.estimators.model import DiffusionModel

__all__ = ["Given", "given_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Given:
    """Draws of items given what was seen of them.

    Attributes
    ----------
    draws : array (n_draws, *item); of P observations (P, n_draws, *item)
        Container, dtype and range as `sample` gives them. Of a model of a DataFrame, one whose index is (row, draw).
    log_evidence : float, array (P,), or None
        log p(what was seen) in nats, in the units of data and with the noise that was told; None from a method that
        does not know it, NaN for an item that lacked nothing.
    diagnostics : dict
        Of particles: "ess", the share that counted when fewest did, and "ancestors", how many of the first have
        descendants among the draws, each a number or an array (P,); "particles" and "steps".
    warnings : list of str
    method : str
        By which the draws were made; "" where nothing was missing.
    lead : tuple of int
        (n_draws,) or (P, n_draws).
    """

    draws: Any
    log_evidence: Any = None
    diagnostics: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    method: str = ""
    lead: tuple[int, ...] = ()

    @property
    def array(self) -> NDArray[Any]:
        """The draws as an array, whatever their container."""
        array = np.asarray(self.draws)
        return array.reshape(*self.lead, *array.shape[1 if self._is_frame else len(self.lead) :])

    @cached_property
    def mean(self) -> Floats:
        """Mean of the draws, shape (*item) or (P, *item), data units."""
        first, rest = self._apart
        return np.asarray(first + rest.mean(axis=len(self.lead) - 1))

    @cached_property
    def std(self) -> Floats:
        """Standard deviation of the draws, shape as `mean`; 0 of one draw."""
        return np.asarray(self._apart[1].std(axis=len(self.lead) - 1))

    def interval(self, level: float = 0.9) -> tuple[Floats, Floats]:
        """Central interval of each entry, two arrays of the shape of `mean`.

        Raises
        ------
        ConfigError
            If the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ConfigError(f"level: expected a number between 0 and 1, got {level!r}.")
        ends = [(1 - level) / 2, (1 + level) / 2]
        low, high = np.quantile(self.array.astype(np.float64), ends, axis=len(self.lead) - 1)
        return low, high

    def draw(self, number: int = 0) -> Any:
        """One draw of each observation: the items with what was missing filled in, as they were given."""
        if not self._is_frame:
            return np.asarray(self.draws).take(number, axis=len(self.lead) - 1)
        return self.draws.iloc[number] if len(self.lead) == 1 else self.draws.xs(number, level=-1)

    def to_arviz(self) -> Any:
        """The draws as ArviZ's InferenceData: one variable `x`, one chain for each observation.

        Raises
        ------
        MissingExtraError
            Without arviz: pip install "caminito[density]".
        """
        array = self.array
        event = array.shape[len(self.lead) :]
        return PosteriorResult(torch.from_numpy(np.ascontiguousarray(array)), event=event).to_arviz()

    @property
    def _apart(self) -> tuple[Floats, Floats]:
        """The first draw, and all less the first: entries that are known differ by 0, whatever they are."""
        array = self.array.astype(np.float64)
        first = array.take([0], axis=len(self.lead) - 1)
        return first.squeeze(len(self.lead) - 1), array - first

    @property
    def _is_frame(self) -> bool:
        return hasattr(self.draws, "columns")

    def __repr__(self) -> str:
        count = f"{self.lead[0]} observations, " if len(self.lead) == 2 else ""
        by = f" by {self.method}" if self.method else ""
        more = f", log_evidence={self.log_evidence:.4g}" if isinstance(self.log_evidence, float) else ""
        more += f", {len(self.warnings)} warnings" if self.warnings else ""
        return f"Given({count}{self.lead[-1]} draws of shape {self.mean.shape[len(self.lead) - 1 :]}{by}{more})"


def given_of(
    model: DiffusionModel,
    array: NDArray[Any],
    found: Drawn | None,
    *,
    is_one: bool,
    index: Any = None,
    todo: NDArray[np.intp] | None = None,
) -> Given:
    """The result of draws (P, n, *item); what is known of `todo` alone is NaN for the others."""
    count, draws = array.shape[:2]
    lead = (draws,) if is_one else (count, draws)
    values: Any = array[0] if is_one else array
    if model.container_.columns is not None:
        values = model.container_.restore(array.reshape(count * draws, -1))
        if not is_one:
            import pandas as pd

            rows = pd.RangeIndex(count) if index is None else index
            both = [rows.repeat(draws), np.tile(np.arange(draws), count)]
            values.index = pd.MultiIndex.from_arrays(both, names=[rows.name, "draw"])
    if found is None:
        return Given(values, lead=lead)

    def whole(part: Tensor | None) -> Any:
        if part is None:
            return None
        out = np.full(count, np.nan)
        out[slice(None) if todo is None else todo] = part.numpy()
        return float(out[0]) if is_one else out

    facts: dict[str, Any] = {"ess": whole(found.ess), "ancestors": whole(found.ancestors), **found.diagnostics}
    diagnostics = {name: value for name, value in facts.items() if value is not None}
    return Given(values, whole(found.log_evidence), diagnostics, found.warnings, found.method, lead)
