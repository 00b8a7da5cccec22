"""The dial from samples to high points."""

import math

import pytest
import torch

from caminito.denoiser import EmpiricalDenoiser, GaussianDenoiser, MixtureDenoiser
from caminito.density import flow
from caminito.errors import ConfigError, NonFiniteError
from caminito.process import EDM, VP, Chain, Cosine
from caminito.testing import two_modes


def standard(x):
    return -0.5 * (x**2).sum(-1)


@pytest.mark.parametrize("process", [EDM(), VP(), Cosine()], ids=["EDM", "VP", "Cosine"])
@pytest.mark.parametrize("kappa", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_variance_is_one_plus_noise_squared_to_one_less_two_kappa(process, kappa):
    """Every path is a multiple of its start, so one path tells the variance."""
    tau = 10.0
    denoiser = GaussianDenoiser(torch.zeros(3), 1.0, process)
    start, end = (flow(denoiser, 4, k, noise=tau, random_state=0) for k in (0.0, kappa))
    assert float(start.std()) > 3  # of sqrt(101)
    expected = (1 + tau**2) ** (-2 * kappa)
    torch.testing.assert_close((end / start) ** 2, torch.full_like(end, expected), rtol=0.01, atol=0)


def test_the_start_is_the_normal_that_data_with_noise_have():
    moments = GaussianDenoiser(torch.tensor([5.0]), 4.0, EDM())
    start = flow(moments, 20_000, 0.0, noise=3.0, random_state=1)
    assert float(start.mean()) == pytest.approx(5, abs=4 * math.sqrt(13 / 20_000))
    assert float(start.var()) == pytest.approx(13, abs=4 * 13 * math.sqrt(2 / 20_000))


@pytest.mark.parametrize("kappa", [0.5, 0.75])
def test_of_a_log_density_alone_the_dial_is_the_same(kappa):
    start, end = (flow(standard, 20, k, noise=3.0, dim=1, std=1.0, steps=20, random_state=0) for k in (0.0, kappa))
    torch.testing.assert_close((end / start) ** 2, torch.full_like(end, 10 ** (-2 * kappa)), rtol=0.01, atol=0)


def test_one_half_draws_modes_with_their_weights_and_one_goes_to_their_tops():
    weights, means = torch.tensor([0.3, 0.7]), torch.tensor([[-2.0], [2.0]])
    mixture = MixtureDenoiser(weights, means, 0.04, EDM())
    drawn = flow(mixture, 4000, 0.5, noise=20.0, random_state=0)
    above = drawn[drawn > 0]
    assert float((drawn > 0).double().mean()) == pytest.approx(0.7, abs=4 * math.sqrt(0.21 / 4000))
    assert float(above.std()) == pytest.approx(0.2, rel=0.1)
    tops = flow(mixture, 500, 1.0, noise=20.0, random_state=0)
    assert float((tops.abs() - 2).abs().max()) < 0.05


def test_a_mixture_known_by_its_log_density_is_drawn():
    known = two_modes(1)
    drawn = flow(known.log_prob, 200, 0.5, noise=4.0, dim=1, std=1.0, steps=16, random_state=0)
    share = known.shares(drawn)[:, 0]
    assert abs(float(share.mean()) - 2 / 3) < 4 * math.sqrt(2 / 9 / 200)
    low = drawn[drawn < 0]
    assert float(low.mean()) == pytest.approx(-2 / 3, abs=0.06)
    assert float(low.std()) == pytest.approx(math.sqrt(0.05), rel=0.25)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"n": 0}, "n:"),
        ({"kappa": -0.1}, "kappa"),
        ({"noise": 0.0}, "noise"),
        ({"steps": 0}, "steps"),
        ({"noise": None}, "noise="),
        ({"dim": None}, "dim="),
        ({"dim": 0}, "dim"),
        ({"std": -1.0}, "std"),
    ],
)
def test_what_cannot_be_is_refused(options, word):
    given = {"source": standard, "n": 3, "noise": 2.0, "dim": 1, **options}
    with pytest.raises(ConfigError, match=word):
        flow(**given)


def test_a_denoiser_that_cannot_flow_is_refused():
    with pytest.raises(ConfigError, match="chain"):
        flow(GaussianDenoiser(torch.zeros(1), 1.0, Chain.ddpm(torch.full((10,), 0.1))), 3)
    with pytest.raises(ConfigError, match="at most"):
        flow(GaussianDenoiser(torch.zeros(1), 1.0, EDM(5.0)), 3, noise=6.0)
    bad = EmpiricalDenoiser(torch.tensor([[0.0], [1.0]]), EDM())
    bad.mean = lambda x, t, cond=None: x * torch.nan
    with pytest.raises(NonFiniteError, match="flow"):
        flow(bad, 3)
