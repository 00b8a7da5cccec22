"""Average of the weights along training, by a power of the step.

    beta_t = (1 - 1/t)^(gamma + 1): the average's width is a fixed share of the run so far, so it warms up by itself
    and no half-life has to be chosen.

Source: Karras et al. 2024 (EDM2), eq. 1-2 and appendix C.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

__all__ = ["PowerAverage", "exponent"]


def exponent(std: float) -> float:
    """gamma for an average whose weights have relative standard deviation `std` in (0, 0.2886)."""
    inverse = std**-2
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


class PowerAverage:
    """Running average of a list of tensors.

    Parameters
    ----------
    tensors : the parameters; the average starts at them
    std : float
        Relative width.
    """

    def __init__(self, tensors: Iterable[Tensor], std: float) -> None:
        self.values = [tensor.detach().clone() for tensor in tensors]
        self._power = exponent(std) + 1

    def update(self, tensors: Iterable[Tensor], step: int) -> None:
        """Take in the weights after step number `step` (1, 2, ...)."""
        share = 1 - (1 - 1 / step) ** self._power
        torch._foreach_lerp_(self.values, [tensor.detach() for tensor in tensors], share)
