"""Operators: each against the matrix that it is, and what is refused."""

import math

import pytest
import torch
from torch.nn import functional

from caminito.errors import ConfigError, ShapeError
from caminito.posterior import (
    Blur,
    Compose,
    Downsample,
    Identity,
    Linear,
    Mask,
    Nonlinear,
    Operator,
    Select,
    check_adjoint,
)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense(operator, event):
    """A, column by column."""
    size = math.prod(event)
    return operator(torch.eye(size, dtype=torch.float64).reshape(size, *event)).flatten(1).T


def holes(*event, seed=0):
    return randn(*event, seed=seed) > -0.3


MATRIX = randn(4, 6, seed=3)

CASES = {
    "identity": (Identity(), (3,)),
    "mask 1-d": (Mask(holes(5)), (5,)),
    "mask 2-d": (Mask(holes(2, 4, 5)), (2, 4, 5)),
    "select": (Select([5, 0, 2]), (2, 3)),
    "matrix": (Linear(MATRIX), (2, 3)),
    "function": (Linear(lambda x: x.diff(dim=-1)), (2, 6)),
    "function with adjoint": (
        Linear(lambda x: x[:, :, ::2], lambda y: functional.pad(y[..., None], (0, 1)).flatten(2)),
        (2, 6),
    ),
    "downsample 1-d": (Downsample(2), (2, 8)),
    "downsample 2-d": (Downsample(3), (2, 6, 3)),
    "downsample 3-d": (Downsample(2), (1, 2, 4, 4)),
    "blur 1-d": (Blur(0.7), (2, 9)),
    "blur 2-d": (Blur(1.1), (2, 5, 6)),
    "blur 3-d": (Blur(0.6), (1, 3, 4, 5)),
    "downsample after blur": (Compose(Downsample(2), Blur(1.0)), (2, 4, 6)),
    "select after downsample": (Compose(Select([0, 3]), Downsample(2)), (1, 4, 4)),
    "matrix after select": (Compose(Linear(MATRIX[:, :3]), Select([1, 2, 4])), (6,)),
    "mask after blur": (Compose(Mask(holes(1, 4, 4)), Blur(1.0)), (1, 4, 4)),
    "three": (Compose(Compose(Linear(randn(2, 4)), Downsample(2)), Blur(0.5)), (1, 4, 4)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_adjoint_is_the_transposed_matrix(name):
    operator, event = CASES[name]
    matrix = dense(operator, event)
    shape = operator.seen(event, torch.float64)
    assert math.prod(shape) == len(matrix)
    x, y = randn(3, *event, seed=1), randn(3, *shape, seed=2)
    back = operator.adjoint(y, event)
    assert back.shape == x.shape
    torch.testing.assert_close(operator(x).flatten(1), x.flatten(1) @ matrix.T, rtol=0, atol=1e-13)
    torch.testing.assert_close(back.flatten(1), y.flatten(1) @ matrix, rtol=0, atol=1e-13)
    left, right = (operator(x) * y).flatten(1).sum(1), (x * back).flatten(1).sum(1)
    torch.testing.assert_close(left, right, rtol=0, atol=1e-12)
    check_adjoint(operator, event)
    check_adjoint(operator, event, dtype=torch.float32)


@pytest.mark.parametrize("name", CASES)
def test_an_operator_that_claims_it_has_a_gram_matrix_that_is_a_multiple_of_the_identity(name):
    operator, event = CASES[name]
    gram = operator.gram(event)
    claims = name.split()[0] in ("identity", "select", "mask", "downsample") and "after" not in name
    assert (gram is not None) == claims
    if gram is not None:
        matrix = dense(operator, event)
        keep = matrix.abs().sum(1) > 0  # of a mask, what is seen
        product = (matrix @ matrix.T)[keep][:, keep]
        torch.testing.assert_close(product, gram * torch.eye(int(keep.sum()), dtype=torch.float64), rtol=0, atol=1e-14)


def test_what_is_seen_is_what_the_names_say():
    x = randn(2, 2, 4, 6)
    torch.testing.assert_close(Downsample(2)(x), functional.avg_pool2d(x, 2), rtol=0, atol=1e-14)
    assert torch.equal(Select([7, 1])(x), x.flatten(1)[:, [7, 1]])
    mask = holes(2, 4, 6)
    assert torch.equal(Mask(mask)(x), torch.where(mask, x, 0.0))
    told = torch.stack([mask, ~mask])
    assert torch.equal(Mask(told)(x), torch.where(told, x, 0.0))
    torch.testing.assert_close(Linear(randn(3, 48))(x), x.flatten(1) @ randn(3, 48).T, rtol=0, atol=1e-13)
    torch.testing.assert_close(Compose(Downsample(2), Blur(1.0))(x), functional.avg_pool2d(Blur(1.0)(x), 2))


def test_a_blur_is_the_sum_over_a_normal_kernel_with_zeros_beyond_the_border():
    width, points = 0.8, 9
    place = torch.arange(points, dtype=torch.float64)
    gap = place[:, None] - place
    reach = math.ceil(4 * width)
    kernel = torch.exp(-0.5 * (gap / width) ** 2).where(gap.abs() <= reach, 0.0)
    whole = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / width) ** 2).sum()
    torch.testing.assert_close(dense(Blur(width), (1, points)), kernel / whole, rtol=0, atol=1e-14)
    inner = Blur(width)(torch.ones(1, 1, 40, dtype=torch.float64))[0, 0]
    assert float((inner[8:-8] - 1).abs().max()) < 1e-14 and float(inner[0]) < 0.8


def test_a_wrong_adjoint_is_refused():
    with pytest.raises(ConfigError, match="Mend the adjoint"):
        check_adjoint(Linear(lambda x: 2 * x, lambda y: y), (3,))
    with pytest.raises(ConfigError, match="Mend the adjoint"):
        check_adjoint(Linear(lambda x: x.cumsum(-1), lambda y: y.cumsum(-1)), (5,))
    with pytest.raises(ConfigError, match=r"adjoint that gives shape \(2, 5\)"):
        check_adjoint(Linear(lambda x: x[:, :3], lambda y: y), (5,))


@pytest.mark.parametrize("forward", [lambda x: x**2, torch.abs, lambda x: x + 1, lambda x: x / 0])
def test_a_function_that_is_not_linear_is_refused_as_linear(forward):
    with pytest.raises(ConfigError, match="Use Nonlinear"):
        check_adjoint(Linear(forward), (3,))


def test_operators_in_single_precision_inside_pass():
    matrix = MATRIX.float()
    check_adjoint(Linear(lambda x: (x.float() @ matrix.T).to(x), lambda y: (y.float() @ matrix).to(y)), (6,))


def test_an_operator_of_ones_own_needs_its_map_alone():
    class Ends(Operator):
        def __call__(self, x):
            return x[:, 0] - x[:, -1]

    check_adjoint(Ends(), (4, 3))
    assert Ends().seen((4, 3)) == (3,) and Ends().gram((4, 3)) is None
    back = Ends().adjoint(torch.ones(1, 3), (4, 3))
    assert torch.equal(back[0], torch.tensor([1.0, 0, 0, -1])[:, None].expand(4, 3))


def test_a_nonlinear_operator_has_no_adjoint_and_makes_a_composition_nonlinear():
    squares = Nonlinear(torch.square)
    assert not squares.is_linear and not Compose(squares, Identity()).is_linear
    assert not Compose(Identity(), squares).is_linear and Compose(Identity(), Identity()).is_linear
    with pytest.raises(ConfigError, match="no adjoint"):
        squares.adjoint(torch.ones(1, 3), (3,))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Mask(torch.ones(3)), ConfigError, "Compare: mask > 0"),
        (lambda: Mask(holes(3)).checked((4,)), ShapeError, r"expected shape \(4,\)"),
        (lambda: Mask(holes(2, 2, 4)).checked((4,)), ShapeError, r"expected shape \(4,\)"),
        (lambda: Mask(holes(3, 4))(torch.ones(2, 4)), ShapeError, "2 rows or one for each, got 3"),
        (lambda: Select([0, 0]), ConfigError, "none twice"),
        (lambda: Select([]), ConfigError, "numbers of entries"),
        (lambda: Select([0.5, 1.5]), ConfigError, "whole numbers"),
        (lambda: Select(torch.tensor([True, False])), ConfigError, "whole numbers"),
        (lambda: Select([0, 4])(torch.ones(1, 4)), ShapeError, r"in \[0, 4\), got 0 to 4"),
        (lambda: Select([-1, 2])(torch.ones(1, 4)), ShapeError, "got -1 to 2"),
        (lambda: Linear(torch.ones(3)), ShapeError, r"expected a matrix \(m, d\), got shape \(3,\)"),
        (lambda: Linear(MATRIX, lambda y: y), ConfigError, "has its own"),
        (lambda: Linear("A"), ConfigError, "a matrix or a function, got str"),
        (lambda: Linear(MATRIX)(torch.ones(1, 5)), ShapeError, "a column for each of 5 entries of an event, got 6"),
        (lambda: Downsample(1), ConfigError, "whole number >= 2, got 1"),
        (lambda: Downsample(2.5), ConfigError, "whole number >= 2, got 2.5"),
        (lambda: Downsample(float("inf")), ConfigError, "whole number >= 2, got inf"),
        (lambda: Downsample(2)(torch.ones(1, 1, 4, 5)), ShapeError, "divides the grid, got 2 for 4 x 5"),
        (lambda: Downsample(2)(torch.ones(1, 4)), ShapeError, "an event without a grid"),
        (lambda: Blur(0.0), ConfigError, "points > 0, got 0.0"),
        (lambda: Blur(float("inf")), ConfigError, "points > 0"),
        (lambda: Blur(1.0)(torch.ones(1, 4)), ShapeError, r"\(B, C, \*grid\), got shape \(1, 4\)"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_expected(make, error, message):
    with pytest.raises(error, match=message):
        make()
