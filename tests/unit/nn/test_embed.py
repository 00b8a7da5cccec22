"""The embedding of real numbers."""

from __future__ import annotations

import math

import pytest
import torch

from caminito._errors import ConfigError
from caminito.nn.embed import Fourier, LabelEmbedding


def test_fourier_features_are_cosines_and_sines_of_geometric_frequencies() -> None:
    value = torch.tensor([-1.3, 0.0, 0.7])
    frequencies = [0.5 * (64 / 0.5) ** (k / 3) for k in range(4)]
    expected = [[f(w * v) for f in (math.cos, math.sin) for w in frequencies] for v in value.tolist()]
    # float32: angles up to 64 * 1.3 carry a rounding of 83 * 2^-23 = 1e-5
    torch.testing.assert_close(Fourier(8)(value), torch.tensor(expected), atol=3e-5, rtol=0)


def test_autocast_leaves_the_embedding_in_float32() -> None:
    labels = torch.linspace(-2, 2, 1000)
    fourier = Fourier(64)
    with torch.autocast("cpu", torch.bfloat16):
        under = fourier(labels)
    assert under.dtype == torch.float32
    assert torch.equal(under, fourier(labels))
    assert len(torch.unique(under, dim=0)) == 1000


def test_turning_a_label_turns_every_pair() -> None:
    fourier = Fourier(16)
    value = torch.tensor([0.3, 0.8])
    waves = fourier(value).view(2, 2, 8)
    norm = waves.square().sum(dim=1)
    torch.testing.assert_close(norm, torch.ones(2, 8), atol=1e-6, rtol=0)


def test_label_embedding_runs_in_the_precision_of_its_weights() -> None:
    assert LabelEmbedding(8, 4).double()(torch.zeros(3)).dtype == torch.float64


@pytest.mark.parametrize("arguments", [{"features": 3}, {"features": 0}, {"features": 4, "low": 2.0, "high": 1.0}])
def test_impossible_fourier_options_are_refused(arguments: dict) -> None:
    with pytest.raises(ConfigError, match="expected"):
        Fourier(**arguments)
