"""The border of a log-density: what it may return, and what is counted."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.distributions import constraints

from caminito.density import ConstrainedTarget, Normal, Target
from caminito.density.climb import precision
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
    torch.testing.assert_close(precision(target, x, torch.ones(2, dtype=torch.float64)), -expected, atol=1e-6, rtol=0)
    assert target.calls == 2 and target.evaluations == 2 + 2 * 2 * 2


def test_a_numpy_function_needs_its_gradient():
    def value(x):
        return -0.5 * np.square(x).sum(-1)

    x = torch.ones(3, 2, dtype=torch.float64)
    found = Target(value, 2, gradient=lambda x: -x).value_and_grad(x)
    torch.testing.assert_close(found[0], -x.sum(-1) / 2)
    torch.testing.assert_close(found[1], -x)
    with pytest.raises(ConfigError, match="gradient"):
        Target(lambda x: torch.zeros(len(x)), 2).value_and_grad(x)
    for function in (value, lambda x: norm.logpdf(x).sum(-1), lambda x: value(x.detach().numpy())):
        with pytest.raises(ConfigError, match="gradient="):
            Target(function, 2).value_and_grad(x)


def test_other_errors_of_a_function_are_its_own():
    def broken(x):
        raise RuntimeError("a fault of mine")

    with pytest.raises(RuntimeError, match="of mine"):
        Target(broken, 2).value_and_grad(torch.ones(3, 2))


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
        (lambda x: x.sum(), ShapeError, "vmap"),
        (lambda x: None, ConfigError, "expected numbers"),
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


def test_a_log_density_is_a_function():
    with pytest.raises(ConfigError, match="function"):
        Target(3.0, 2)


@pytest.mark.parametrize(("mean", "std"), [(torch.zeros(2), 0.0), (torch.zeros(2, 2), 1.0)])
def test_a_normal_reference_has_a_mean_and_a_width(mean, std):
    with pytest.raises(ConfigError, match="std"):
        Normal(mean, std)


def test_the_normal_reference_is_normalised():
    reference = Normal(torch.tensor([1.0, -1.0]), 2.0)
    expected = torch.distributions.Normal(torch.tensor([1.0, -1.0]).double(), 2.0)
    x = reference.draw(5, torch.Generator().manual_seed(0))
    torch.testing.assert_close(reference.value(x), expected.log_prob(x).sum(-1))
    torch.testing.assert_close(reference.value_and_grad(x)[1], -(x - reference.mean) / 4)


CONSTRAINED = {
    "positive": (constraints.positive, 2, 2),
    "interval": (constraints.interval(-1.0, 3.0), 2, 2),
    "simplex": (constraints.simplex, 3, 2),
    "transform": (torch.distributions.transforms.AffineTransform(1.0, 3.0), 2, 2),
    "several": (constraints.cat([constraints.positive, constraints.real], dim=-1, lengths=[1, 1]), 2, 2),
}


@pytest.mark.parametrize(("constraint", "dim", "free"), CONSTRAINED.values(), ids=CONSTRAINED)
def test_a_constrained_density_has_the_volume_of_its_map(constraint, dim, free):
    def log_prob(x):
        return -(x**2).sum(-1) - x[:, 0] ** 3

    def gradient(x):
        return -2 * x - np.stack([3 * x[:, 0] ** 2, *[0 * x[:, 0]] * (dim - 1)], 1)

    by_torch = ConstrainedTarget(log_prob, dim, constraint)
    by_hand = ConstrainedTarget(lambda x: log_prob(torch.as_tensor(x)).numpy(), dim, constraint, gradient=gradient)
    z = torch.tensor([[0.3, -1.2], [-0.4, 0.9]], dtype=torch.float64)
    assert by_torch.dim == free
    x = by_torch.constrain(z)
    torch.testing.assert_close(by_torch.unconstrain(x), z)
    jacobian = torch.stack([torch.autograd.functional.jacobian(lambda u: by_torch.constrain(u[None])[0], u) for u in z])
    volume = torch.linalg.slogdet(jacobian[:, :free])[1]
    value, slope = by_torch.value_and_grad(z)
    torch.testing.assert_close(value, log_prob(x) + volume)
    torch.testing.assert_close(by_hand.value_and_grad(z), (value, slope))
    step = 1e-6 * torch.eye(free, dtype=torch.float64)
    for i in range(free):
        central = (by_torch.value(z + step[i]) - by_torch.value(z - step[i])) / 2e-6
        torch.testing.assert_close(slope[:, i], central, rtol=1e-6, atol=1e-7)
    assert by_torch.calls == 1 + 2 * free


def test_where_a_map_leaves_the_numbers_the_density_is_zero():
    target = ConstrainedTarget(lambda x: -x[:, 0], 1, constraints.positive)
    value, slope = target.value_and_grad(torch.tensor([[0.0], [1000.0]], dtype=torch.float64))
    assert value.tolist() == [-1.0, -torch.inf] and slope.tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("constraint", [constraints.boolean, constraints.lower_cholesky, "positive"])
def test_a_constraint_without_a_map_is_refused(constraint):
    with pytest.raises(ConfigError, match="constraint"):
        ConstrainedTarget(quartic, 3, constraint)
