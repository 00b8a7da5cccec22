"""Each error of a denoiser says what was expected, what came, and what to do."""

import pytest
import torch
from sklearn.mixture import GaussianMixture

from caminito._errors import ConfigError, ShapeError
from caminito.denoiser import EmpiricalDenoiser, GaussianDenoiser, MixtureDenoiser, Precondition, ResidualVariance
from caminito.process import VP

ONE = GaussianDenoiser(torch.zeros(2), 1.0, VP())

CASES = {
    "lopsided covariance": (
        lambda: GaussianDenoiser(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.2, 1.0]]), VP()),
        ConfigError,
        ["symmetric"],
    ),
    "negative variance": (
        lambda: GaussianDenoiser(torch.zeros(2), torch.tensor([1.0, -0.1]), VP()),
        ConfigError,
        [">= 0", "negative"],
    ),
    "indefinite covariance": (
        lambda: GaussianDenoiser(torch.zeros(2), torch.tensor([[1.0, 2.0], [2.0, 1.0]]), VP()),
        ConfigError,
        [">= 0", "negative eigenvalue"],
    ),
    "covariance of another size": (
        lambda: GaussianDenoiser(torch.zeros(2), torch.ones(3), VP()),
        ShapeError,
        ["diagonal of 2", "2 x 2", "(3,)"],
    ),
    "weights": (
        lambda: MixtureDenoiser(torch.tensor([0.5, 0.6]), torch.zeros(2, 2), 1.0, VP()),
        ConfigError,
        ["sum to 1", "1.1", "Divide"],
    ),
    "components": (
        lambda: MixtureDenoiser(torch.tensor([0.5, 0.5]), torch.zeros(3, 2), 1.0, VP()),
        ShapeError,
        ["2 means", "(3, 2)"],
    ),
    "unfitted mixture": (
        lambda: MixtureDenoiser.from_sklearn(GaussianMixture(2), VP()),
        ConfigError,
        ["fitted", "Call fit"],
    ),
    "no data": (lambda: EmpiricalDenoiser(torch.zeros(0, 2), VP()), ShapeError, ["at least one event", "(0, 2)"]),
    "data without events": (lambda: EmpiricalDenoiser(torch.zeros(3), VP()), ShapeError, ["(N, *event)", "(3,)"]),
    "bandwidth": (lambda: EmpiricalDenoiser(torch.zeros(3, 2), VP(), -1.0), ConfigError, [">= 0", "-1"]),
    "prediction": (lambda: Precondition("noise"), ConfigError, ["x0, eps, v, flow, edm", "'noise'"]),
    "data_std": (lambda: Precondition("edm", 0.0), ConfigError, ["> 0", "got 0"]),
    "residual table": (
        lambda: ResidualVariance(ONE, torch.tensor([0.0, 1.0]), torch.ones(3, 2)),
        ShapeError,
        ["(L,)", "(L, C)", "(2,)", "(3, 2)"],
    ),
    "falling levels": (
        lambda: ResidualVariance(ONE, torch.tensor([1.0, 0.0]), torch.ones(2, 2)),
        ShapeError,
        ["increasing"],
    ),
}


@pytest.mark.parametrize("case", CASES, ids=[c.replace(" ", "-") for c in CASES])
def test_error_names_what_was_expected_what_came_and_the_way_out(case):
    call, kind, parts = CASES[case]
    with pytest.raises(kind) as caught:
        call()
    assert isinstance(caught.value, ValueError)
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in: {caught.value}"
