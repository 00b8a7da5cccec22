"""Targets with known answers: the answers hold."""

import math

import pytest
import torch

from caminito.errors import ConfigError, ShapeError
from caminito.testing import (
    bananas,
    funnel,
    logistic,
    mog40,
    phi4,
    phi4_laplace,
    rings,
    two_modes,
)

MAKERS = {
    "mog40": mog40,
    "mog40 in 50": lambda: mog40(50),
    "two modes": lambda: two_modes(8),
    "unequal modes": lambda: two_modes(3, weights=(0.1, 0.9), variances=(0.05, 0.2)),
    "bananas": bananas,
    "rings": rings,
    "funnel": lambda: funnel(std=1.0),
    "phi4": lambda: phi4(0.005, dim=8),
}


def slopes(known, x):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(known.log_prob(x).sum(), x)[0]


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_draws_are_of_the_density_by_steins_identity(make):
    """E[grad log p . f + div f] = 0 for f = x and for f = sin x, coordinate by coordinate."""
    known = make()
    n = 1500
    x = known.draw(n, 3)
    assert x.shape == (n, known.dim) and x.dtype == torch.float64
    g = slopes(known, x)
    for value, divergence in ((x, torch.ones_like(x)), (torch.sin(x), torch.cos(x))):
        found = (g * value + divergence).sum(1)
        assert abs(float(found.mean())) < 4.5 * float(found.std()) / math.sqrt(n)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_shares_average_to_the_weights(make):
    known = make()
    x = known.draw(1500, 1)
    found = known.shares(x)
    error = (found.std(0) / math.sqrt(len(x))).clamp(min=1e-12)
    assert float(known.weights.sum()) == pytest.approx(1)
    assert bool(((found.mean(0) - known.weights).abs() < 4.5 * error + 1e-9).all())


def test_those_in_the_plane_integrate_to_one():
    line = torch.linspace(-8, 8, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    assert float(rings().log_prob(grid).exp().sum() * 0.02**2) == pytest.approx(1, abs=1e-4)
    both = two_modes(2)
    assert float(both.log_prob(grid).exp().sum() * 0.02**2) == pytest.approx(1, abs=1e-6)
    assert float(funnel(2, std=0.5).log_prob(grid).exp().sum() * 0.02**2) == pytest.approx(1, abs=1e-3)
    assert float(bananas(2).log_prob(grid[::3] * 2.5).exp().sum() * 3 * 0.05**2) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "make",
    [lambda: two_modes(8), bananas, lambda: phi4(0.01), logistic],
    ids=["two modes", "bananas", "phi4", "logistic"],
)
def test_the_gradient_vanishes_at_modes(make):
    known = make()
    assert float(slopes(known, known.modes).abs().max()) < 1e-6


def test_the_forty_centres_of_the_plane_are_those_of_the_papers():
    known = mog40()
    torch.manual_seed(0)
    torch.testing.assert_close(known.modes, ((torch.rand(40, 2) - 0.5) * 80).double())
    one = known.log_prob(known.modes[:1]).item()
    assert one >= -math.log(40 * 2 * math.pi * math.log1p(math.e) ** 2)


def test_the_transfer_matrix_is_the_integral():
    """A chain of two sites by quadrature in the plane."""
    known = phi4(0.3, dim=2, beta=2.0, coupling=0.5)
    line = torch.linspace(-3.2, 3.2, 641, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    mass = known.log_prob(grid).exp().reshape(641, 641) * 0.01**2
    assert known.log_evidence == pytest.approx(math.log(float(mass.sum())), abs=1e-6)
    edge = mass[:, 320].sum() / 2
    assert float(known.weights[0]) == pytest.approx(float((mass[:, 321:].sum() + edge) / mass.sum()), abs=1e-6)


@pytest.mark.parametrize(("field", "up"), [(0.0, 0.5), (0.005, 0.1738), (0.01, 0.0424)])
def test_laplace_of_second_order_is_near_the_exact_chain(field, up):
    known = phi4(field)
    log_evidence, weights = phi4_laplace(field)
    assert float(known.weights[0]) == pytest.approx(up, abs=2e-4)
    assert float(weights[0]) == pytest.approx(up, abs=5e-4)
    assert log_evidence == pytest.approx(known.log_evidence, abs=0.015)


def test_a_constant_is_added_to_both():
    known = two_modes(2)
    raised = known.raised(3.5)
    x = known.draw(3)
    torch.testing.assert_close(raised.log_prob(x), known.log_prob(x) + 3.5)
    assert raised.log_evidence == 3.5 and logistic().raised(1.0).log_evidence is None


def test_what_is_not_known_or_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="no exact draws"):
        logistic().draw(3)
    with pytest.raises(ConfigError, match="dim"):
        mog40(0)
    with pytest.raises(ConfigError, match="both"):
        logistic(torch.ones(3, 2))
    with pytest.raises(ShapeError, match="logistic"):
        logistic(torch.ones(3, 2), torch.ones(4))
