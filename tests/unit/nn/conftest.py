"""Networks away from their silent birth."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn


@pytest.fixture
def wake() -> Callable[[nn.Module], nn.Module]:
    """Move every weight off its initial value, zeros included, by fixed noise."""

    def _wake(network: nn.Module) -> nn.Module:
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        return network.eval()

    return _wake


@pytest.fixture
def draw() -> Callable[..., torch.Tensor]:
    """Fixed normal numbers."""
    generator = torch.Generator().manual_seed(11)

    def _draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return _draw
