"""Bits of whole numbers from a density: units, cells and Jensen's inequality."""

import math

import numpy as np
import pytest
import torch

from caminito._errors import ConfigError
from caminito.data import ImageCodec
from caminito.denoiser import GaussianDenoiser
from caminito.process import VP
from caminito.sampling import Levels, bits_per_dim, dequantise, log_prob


def test_uniform_noise_over_256_values_is_8_bits():
    assert float(bits_per_dim(-48 * math.log(256), 48)) == pytest.approx(8, abs=1e-14)


def test_scaling_to_plus_minus_one_is_7_bits():
    """X / 128 - 1 of uniform 8-bit values has density 1/2 on [-1, 1): one bit, and seven for the change of units."""
    size = 12
    assert float(bits_per_dim(-size * math.log(2), size)) == pytest.approx(1, abs=1e-14)
    assert float(bits_per_dim(-size * math.log(2), size, log_det=-size * math.log(128))) == pytest.approx(8, abs=1e-14)


def test_bits_do_not_depend_on_the_units_of_the_denoiser():
    """A Gaussian seen through a codec, with the codec's log-determinant: its density in data units."""
    X = np.random.default_rng(0).integers(0, 256, (64, 2, 2, 3)).astype(np.uint8)
    codec = ImageCodec().fit(X)
    x = codec.encode(X).double()
    denoiser = GaussianDenoiser(torch.zeros(codec.event_shape), 1.0, VP())
    nats = log_prob(denoiser, x[:4], method="dopri5", sigma_min=1e-4)
    got = bits_per_dim(nats, 12, log_det=torch.as_tensor(codec.log_det(X[:4])))
    law = torch.distributions.Normal(torch.as_tensor(codec.mean), torch.as_tensor(codec.std))
    exact = -law.log_prob(torch.as_tensor(X[:4]).double()).flatten(1).sum(1) / (12 * math.log(2))
    # float32 of encode: 6e-8 of values up to 2
    assert float((got - exact).abs().max()) < 1e-6


def test_dequantised_values_fill_the_cell_that_rounds_to_them():
    x = torch.arange(256, dtype=torch.uint8).repeat(40, 1)
    got = dequantise(x)
    assert got.dtype == torch.float64
    offset = got - x
    assert float(offset.min()) >= -0.5 and float(offset.max()) < 0.5
    n = offset.numel()
    assert abs(float(offset.mean())) < 5 / math.sqrt(12 * n)
    assert abs(float(offset.square().mean()) - 1 / 12) < 5 / math.sqrt(180 * n)
    wide = dequantise(x, width=2.0) - x
    assert torch.allclose(wide, 2 * offset, rtol=0, atol=1e-12)


def test_dequantised_item_depends_on_seed_and_number_alone():
    x = torch.zeros(7, 3, 2)
    whole = dequantise(x, seed=4)
    assert torch.equal(torch.cat([dequantise(x[i : i + 2], seed=4, first=i) for i in (0, 2, 4, 6)]), whole)
    assert not torch.equal(dequantise(x, seed=5), whole)
    assert len(torch.unique(whole)) == whole.numel()


def test_dequantised_density_bounds_the_code_length_of_whole_numbers():
    """Jensen: the mean log-density over a cell is at most the log of its mass."""
    law = torch.distributions.Normal(127.3, 2.0)
    X = law.sample((4000, 1)).double().round()
    nats = law.log_prob(dequantise(X)).flatten()
    cells = Levels(0.0, 255.0, 256)
    mass = cells.log_prob(X, torch.full_like(X, 127.3), torch.full_like(X, 2.0)).flatten()
    gap = bits_per_dim(nats, 1) - bits_per_dim(mass, 1)
    error = float(gap.std()) / math.sqrt(len(gap))
    # half the variance of log p over a cell, z^2 / (12 * 4) on average, in bits
    assert float(gap.mean()) > 0 and abs(float(gap.mean()) - 1 / (96 * math.log(2))) < 5 * error


def test_an_event_has_entries():
    with pytest.raises(ConfigError, match="entries of an event, got 0"):
        bits_per_dim(1.0, 0)
