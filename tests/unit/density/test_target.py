"""The border of a log-density: what it may return, and what is counted."""

import numpy as np
import pytest
import torch

from caminito.density import Normal, Target
from caminito.errors import ConfigError, NonFiniteError, ShapeError


def quartic(x):
    return -(x**4).sum(-1) / 4 - x[:, 0] * x[:, 1]


def test_value_gradient_and_hessian_are_those_of_the_function():
    target = Target(quartic, 2)
    x = torch.tensor([[0.3, -1.2], [2.0, 0.5]], dtype=torch.float64)
    value, slope = target.value_and_grad(x)
    torch.testing.assert_close(value, quartic(x))
    torch.testing.assert_close(slope, -(x**3) - x.flip(1))
    expected = torch.diag_embed(-3 * x**2) - torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(target.hessian(x), expected, atol=1e-6, rtol=0)
    assert target.calls == 2 and target.evaluations == 2 + 2 * 2 * 2


def test_a_numpy_function_needs_its_gradient():
    def value(x):
        return -0.5 * np.square(x).sum(-1)

    x = torch.ones(3, 2, dtype=torch.float64)
    found = Target(value, 2, gradient=lambda x: -x).value_and_grad(x)
    torch.testing.assert_close(found[0], -x.sum(-1) / 2)
    torch.testing.assert_close(found[1], -x)
    with pytest.raises((ConfigError, RuntimeError), match="gradient"):
        Target(lambda x: torch.zeros(len(x)), 2).value_and_grad(x)


def test_outside_of_the_support_the_gradient_is_zero():
    target = Target(lambda x: torch.where(x[:, 0] > 0, torch.log(x[:, 0].clamp(min=0)), -torch.inf), 1)
    value, slope = target.value_and_grad(torch.tensor([[-1.0], [2.0]], dtype=torch.float64))
    assert value[0] == -torch.inf and slope[0] == 0
    assert slope[1] == 0.5


@pytest.mark.parametrize(
    ("function", "error", "word"),
    [
        (lambda x: (x * torch.nan).sum(-1), NonFiniteError, "nan"),
        (lambda x: x.sum(-1) + torch.inf, NonFiniteError, "inf"),
        (lambda x: x.sum(), ShapeError, "one number for each"),
        (lambda x: x, ShapeError, "one number for each"),
    ],
)
def test_what_is_no_log_density_is_refused(function, error, word):
    with pytest.raises(error, match=word):
        Target(function, 2).value(torch.ones(3, 2, dtype=torch.float64))


@pytest.mark.parametrize("dim", [0, -1, 1.5, "2"])
def test_dim_is_a_count(dim):
    with pytest.raises(ConfigError, match="dim"):
        Target(quartic, dim)


def test_the_normal_reference_is_normalised():
    reference = Normal(torch.tensor([1.0, -1.0]), 2.0)
    expected = torch.distributions.Normal(torch.tensor([1.0, -1.0]).double(), 2.0)
    x = reference.draw(5, torch.Generator().manual_seed(0))
    torch.testing.assert_close(reference.value(x), expected.log_prob(x).sum(-1))
    torch.testing.assert_close(reference.value_and_grad(x)[1], -(x - reference.mean) / 4)
