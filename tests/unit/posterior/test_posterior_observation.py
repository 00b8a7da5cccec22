"""A Gaussian observation, against dense linear algebra written out."""

import math

import pytest
import torch

from caminito.errors import ConfigError, DataError, ShapeError
from caminito.posterior import Blur, Compose, Downsample, Identity, Linear, Mask, Nonlinear, Select, observe

NAN = float("nan")


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariance(size, seed=5):
    root = randn(size, size, seed=seed)
    return 0.1 * root @ root.T / size + 0.05 * torch.eye(size, dtype=torch.float64)


OPERATORS = {
    "identity": (Identity(), (5,)),
    "select": (Select([3, 0, 4]), (6,)),
    "matrix": (Linear(randn(4, 6, seed=1)), (2, 3)),
    "more rows than columns": (Linear(randn(5, 3, seed=2)), (3,)),
    "downsample": (Downsample(2), (1, 4, 4)),
    "blur": (Blur(0.8), (1, 2, 4)),
    "composed": (Compose(Downsample(2), Blur(1.0)), (1, 4, 4)),
}


def noise_of(kind, shape):
    size = math.prod(shape)
    if kind == "number":
        return 0.3, 0.09 * torch.eye(size, dtype=torch.float64)
    if kind == "diagonal":
        std = 0.2 + torch.arange(size, dtype=torch.float64).reshape(shape) / 10
        return std, torch.diag(std.flatten() ** 2)
    return covariance(size), covariance(size)


@pytest.mark.parametrize("missing", [False, True], ids=["all", "holes"])
@pytest.mark.parametrize("kind", ["number", "diagonal", "full"])
@pytest.mark.parametrize("name", OPERATORS)
def test_solve_and_log_normal_are_those_of_dense_matrices(name, kind, missing):
    operator, event = OPERATORS[name]
    shape = operator.seen(event)
    noise, cov = noise_of(kind, shape)
    y = randn(2, *shape, seed=7)
    if missing:
        y.flatten(1)[:, 1] = NAN
    seen = observe(y, operator, noise, event, dtype=torch.float64)
    matrix = seen.matrix()
    torch.testing.assert_close(randn(3, *event).flatten(1) @ matrix.T, operator(randn(3, *event)).flatten(1))
    keep = ~torch.isnan(y[0].flatten())
    r = seen.of_seen(randn(4, *shape, seed=8))
    for c in (0.0, 0.7, torch.tensor([0.0, 0.01, 1.0, 50.0], dtype=torch.float64)):
        solved, log = seen.solve(r, c), seen.log_normal(r, c)
        for b in range(4):
            amount = float(c[b]) if isinstance(c, torch.Tensor) else c
            total = (cov + amount * matrix @ matrix.T)[keep][:, keep]
            law = torch.distributions.MultivariateNormal(torch.zeros(len(total), dtype=torch.float64), total)
            torch.testing.assert_close(solved[b][keep], torch.linalg.solve(total, r[b][keep]), rtol=1e-9, atol=1e-9)
            assert bool((solved[b][~keep] == 0).all())
            torch.testing.assert_close(log[b], law.log_prob(r[b][keep]), rtol=1e-11, atol=1e-9)
    assert log.dtype == torch.float64


@pytest.mark.parametrize("kind", ["number", "diagonal", "full"])
def test_the_likelihood_is_that_of_what_was_seen(kind):
    operator, event = OPERATORS["matrix"]
    noise, cov = noise_of(kind, (4,))
    y = randn(3, 4, seed=1)
    y[:, 2] = NAN
    seen = observe(y, operator, noise, event, dtype=torch.float64)
    x = randn(6, *event)
    keep = torch.tensor([0, 1, 3])
    law = torch.distributions.MultivariateNormal(operator(x)[:, keep], cov[keep][:, keep])
    each = y.repeat_interleave(2, 0)[:, keep]  # rows 0, 1 of the first observation, 2, 3 of the second
    torch.testing.assert_close(seen.log_prob(x), law.log_prob(each), rtol=1e-11, atol=1e-10)
    torch.testing.assert_close(seen.residual(x)[:, keep], each - operator(x)[:, keep])
    assert bool((seen.residual(x)[:, 2] == 0).all())
    root = seen.draw(torch.eye(4, dtype=torch.float64)[:3])  # rows of the transposed root, as many as divide by P
    expected = torch.linalg.cholesky(cov).T[:3].clone()
    expected[:, 2] = 0
    torch.testing.assert_close(root, expected)
    u = randn(3, 4, seed=9)
    expected = u @ cov
    expected[:, 2] = 0
    torch.testing.assert_close(seen.noise_times(u), expected)


def test_what_is_missing_is_pushed_and_pulled_to_nothing():
    operator, event = OPERATORS["matrix"]
    y = torch.tensor([0.1, NAN, 0.2, 0.3], dtype=torch.float64)
    seen = observe(y, operator, 0.1, event, dtype=torch.float64)
    matrix = seen.matrix().clone()
    matrix[1] = 0
    x, u = randn(3, *event), randn(3, 4, seed=2)
    torch.testing.assert_close(seen.push(x), x.flatten(1) @ matrix.T)
    torch.testing.assert_close(seen.pull(u).flatten(1), u @ matrix)


def test_each_observation_may_miss_its_own_entries():
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    y, x = randn(3, 3, seed=1), randn(6, 3)
    by_mask = observe(y, Mask(mask), 0.5, (3,), dtype=torch.float64)
    by_nan = observe(y.where(mask, NAN), Identity(), 0.5, (3,), dtype=torch.float64)
    for seen in (by_mask, by_nan):
        assert torch.equal(seen.present, mask) and torch.equal(seen.y, y.where(mask, 0.0))
        law = torch.distributions.Normal(x, 0.5)
        each = law.log_prob(y.repeat_interleave(2, 0)).where(mask.repeat_interleave(2, 0), 0.0).sum(1)
        torch.testing.assert_close(seen.log_prob(x), each)
        part = seen.of(slice(2, 3))
        torch.testing.assert_close(part.log_prob(x[4:]), each[4:])
    both = observe(y.where(mask, NAN), Mask(torch.tensor([True, True, False])), 0.5, (3,))
    assert torch.equal(both.present, mask & torch.tensor([True, True, False]))
    with pytest.raises(ConfigError, match="all observations must miss the same entries"):
        observe(y.where(mask, NAN), Identity(), covariance(3), (3,), dtype=torch.float64).log_prob(x)


def test_a_mask_that_comes_last_says_what_is_missing_of_what_comes_before():
    mask, y = torch.tensor([True, False, True]), randn(3, seed=1)
    blur = Linear(randn(3, 4, seed=3))
    seen = observe(y, Compose(Mask(mask), blur), 0.5, (4,), dtype=torch.float64)
    same = observe(y.where(mask, NAN), blur, 0.5, (4,), dtype=torch.float64)
    x = randn(2, 4)
    assert torch.equal(seen.present[0], mask)
    torch.testing.assert_close(seen.log_prob(x), same.log_prob(x), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", [*OPERATORS, "of low rank"])
def test_the_inverse_is_that_of_moore_and_penrose(name, dtype):
    low = (Linear(randn(4, 2, seed=3) @ randn(2, 5, seed=4)), (5,))
    operator, event = low if name == "of low rank" else OPERATORS[name]
    y = randn(2, *operator.seen(event), seed=1).to(dtype)
    y.flatten(1)[:, 2] = NAN
    for noise in (0.0, 0.4):
        seen = observe(y, operator, noise, event, dtype=dtype)
        matrix, r = seen.matrix(), seen.of_seen(randn(2, *y.shape[1:], seed=2).to(dtype))
        keep = ~torch.isnan(y[0].flatten())
        expected = r.double()[:, keep] @ torch.linalg.pinv(matrix[keep], rtol=1e-5).T
        error = 200 * torch.finfo(dtype).eps * float(torch.linalg.cond(matrix[keep])) if name != "of low rank" else 1e-4
        torch.testing.assert_close(seen.inverse(r).flatten(1).double(), expected, rtol=error, atol=error)


def test_the_noise_may_be_numbers_of_any_precision():
    y, x = randn(2, 3), randn(2, 3, seed=4)
    exact = observe(y, Identity(), 0.25, (3,), dtype=torch.float64).log_prob(x)
    spread = torch.full((3,), 0.25)
    for noise in (torch.tensor(0.25), torch.tensor(0.25).double(), spread, spread.double(), torch.eye(3) / 16):
        found = observe(y, Identity(), noise, (3,), dtype=torch.float64)
        assert found.var.dtype == torch.float64
        torch.testing.assert_close(found.log_prob(x), exact, rtol=1e-12, atol=1e-12)
    single = observe(y.float(), Identity(), 0.25, (3,))
    assert single.y.dtype == torch.float32
    torch.testing.assert_close(single.log_prob(x.float()), exact, rtol=1e-5, atol=1e-5)  # y and x rounded to 1e-7
    whole = observe(torch.tensor([1, 2, 3]), Identity(), 0.25, (3,))
    assert whole.y.dtype == torch.float32 and whole.y.tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize("kind", ["number", "full"])
def test_the_normal_of_a_nonlinear_operator_has_c_on_its_diagonal(kind):
    noise, cov = noise_of(kind, (3,))
    seen = observe(randn(3), Nonlinear(torch.square), noise, (3,), dtype=torch.float64)
    r = randn(2, 3, seed=5)
    law = torch.distributions.MultivariateNormal(
        torch.zeros(3, dtype=torch.float64), cov + 0.6 * torch.eye(3, dtype=torch.float64)
    )
    torch.testing.assert_close(seen.log_normal(r, 0.6), law.log_prob(r))
    x = randn(2, 3)
    torch.testing.assert_close(seen.residual(x), seen.y - x**2)


@pytest.mark.parametrize(
    ("y", "operator", "noise", "error", "message"),
    [
        (torch.ones(2), Identity(), 0.1, ShapeError, r"y: expected shape \(3,\)"),
        (torch.ones(2, 2, 3), Identity(), 0.1, ShapeError, r"y: expected shape \(3,\)"),
        (torch.ones(0, 3), Identity(), 0.1, DataError, "at least one observation"),
        (torch.tensor([1, 2, math.inf]), Identity(), 0.1, DataError, "infinities"),
        (torch.ones(3), torch.eye(3), 0.1, ConfigError, r"expected an Operator, got Tensor.*Linear\("),
        (torch.ones(3), lambda x: x, 0.1, ConfigError, "expected an Operator, got function"),
        (torch.ones(3), Mask(torch.ones(2).bool()), 0.1, ShapeError, r"mask: expected shape \(3,\)"),
        (torch.ones(2, 3), Mask(torch.ones(4, 3).bool()), 0.1, ShapeError, "each of 2 observations, got 4"),
        (torch.ones(3), Linear(lambda x: x, lambda y: -y), 0.1, ConfigError, "Mend the adjoint"),
        (torch.ones(3), Identity(), -0.1, ConfigError, "deviations >= 0, got -0.1"),
        (torch.ones(3), Identity(), NAN, ConfigError, "deviations >= 0"),
        (torch.ones(3), Identity(), torch.tensor([0.1, 0.1, math.inf]), ConfigError, "from 0.1 to inf"),
        (torch.ones(3), Identity(), torch.ones(2), ShapeError, r"or a covariance \(3, 3\), got shape \(2,\)"),
        (torch.ones(3), Identity(), torch.ones(3, 3), ConfigError, "symmetric and positive definite"),
        (torch.ones(3), Identity(), torch.eye(3).cumsum(0), ConfigError, "symmetric and positive definite"),
    ],
)
def test_what_is_no_observation_is_refused(y, operator, noise, error, message):
    with pytest.raises(error, match=message):
        observe(y, operator, noise, (3,))
