"""The line through a condition: least squares, and a denoiser that is exact before it has learnt anything."""

import math

import pytest
import torch

from caminito.denoiser import Centre, NetworkDenoiser, Precondition
from caminito.nn import Given
from caminito.process import EDM, VP, Chain
from caminito.training import TrainingConfig, denoising_loss, draw_times, weight_of

LINE = Centre("low", 0.7, 0.8)
PROCESSES = [EDM(), VP(), Chain.ddpm(steps=50)]


def zero(x, label, cond):
    """A network at its start."""
    return torch.zeros_like(x)


def pairs(n, seed=0):
    """Entries x0 ~ N(0, 1) and L with E[x0 L] = .7, E[L^2] = .8, as rows of 3."""
    chance = torch.Generator().manual_seed(seed)
    low = math.sqrt(0.8) * torch.randn(n, 3, generator=chance, dtype=torch.float64)
    rest = torch.randn(n, 3, generator=chance, dtype=torch.float64)
    return 0.7 / 0.8 * low + math.sqrt(1 - 0.49 / 0.8) * rest, low


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 1.0])
def test_the_line_is_least_squares_at_every_share_of_noise(share):
    x0, low = pairs(200_000)
    noised = math.sqrt(1 - share**2) * low + share * torch.randn(low.shape, dtype=torch.float64)
    level = torch.full((len(x0),), share, dtype=torch.float64)
    m, spread = LINE.of({"low": Given(noised, level=level)}, x0)
    slope = float((x0 * noised).mean() / noised.square().mean())
    assert torch.allclose(m, slope * noised, atol=0.02)
    assert float((x0 - m).std()) == pytest.approx(float(spread[0]), rel=5e-3)


def test_measured_on_data():
    line = Centre.measured("low", *pairs(200_000))
    assert line.product == pytest.approx(0.7, rel=0.01)
    assert line.square == pytest.approx(0.8, rel=0.01)
    assert line.explained == pytest.approx(0.49 / 0.8, rel=0.01)
    assert Centre.from_dict(line.to_dict()) == line


def test_absent_rows_have_no_centre_whatever_they_hold():
    low = torch.tensor([[1.0, 2.0, 3.0], [math.nan, 1.0, math.inf]])
    m, spread = LINE.of({"low": Given(low, present=torch.tensor([True, False]))}, low)
    assert torch.equal(m[1], torch.zeros(3))
    assert spread.tolist() == [pytest.approx(math.sqrt(1 - 0.49 / 0.8)), 1.0]
    assert torch.equal(m[0], 0.7 / 0.8 * low[0])
    for cond in (None, {"other": low}):
        m, spread = LINE.of(cond, low)
        assert torch.equal(m, torch.zeros_like(low))
        assert torch.equal(spread, torch.ones(2, dtype=torch.float64))
        assert torch.equal(LINE.spread(cond, 2), spread)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("kind", ["edm", "v"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_network_of_zeros_is_exact_for_normal_data(process, kind, share):
    x0, low = pairs(64)
    chance = torch.Generator().manual_seed(1)
    level = torch.full((64,), share, dtype=torch.float64)
    low = math.sqrt(1 - share**2) * low + share * torch.randn(low.shape, generator=chance, dtype=torch.float64)
    denoiser = NetworkDenoiser(zero, Precondition(kind), process, (3,), centre=LINE)
    for t in (0.1, 0.5, 0.9):
        t = torch.tensor(max(1.0, round(t * 50)) if process.is_discrete else t * process.t_max, dtype=torch.float64)
        alpha, sigma = process.kernel(t)
        x_t = process.noise(x0, t, torch.randn(x0.shape, generator=chance, dtype=torch.float64))
        # the joint normal of (x0, low, x_t) of one entry, by its covariance
        v, b = (1 - share**2) * 0.8 + share**2, math.sqrt(1 - share**2) * 0.7
        seen = torch.tensor([[v, float(alpha) * b], [float(alpha) * b, float(alpha**2 + sigma**2)]]).double()
        gain = torch.linalg.solve(seen, torch.tensor([b, float(alpha)], dtype=torch.float64))
        exact = gain[0] * low + gain[1] * x_t
        found = denoiser.mean(x_t, t, {"low": Given(low, level=level)})
        assert torch.allclose(found, exact, atol=1e-6), (kind, t)


def test_conditions_that_are_absent_leave_the_denoiser_without_a_centre_bit_for_bit():
    x_t = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    plain = NetworkDenoiser(zero, Precondition(), EDM(), (3,))
    centred = NetworkDenoiser(zero, Precondition(), EDM(), (3,), centre=LINE)
    absent = {"low": Given(torch.full((4, 3), math.nan), present=torch.zeros(4, dtype=torch.bool))}
    for cond in (None, absent):
        assert torch.equal(plain.mean(x_t, 2.0), centred.mean(x_t, 2.0, cond))


@pytest.mark.parametrize("spread", [0.1, 0.5, 1.0])
def test_the_weight_undoes_the_scale_of_the_network(spread):
    t = torch.tensor([0.01, 0.3, 3.0], dtype=torch.float64)
    d = torch.full((3,), spread, dtype=torch.float64)
    out = Precondition("edm").coefficients(EDM(), t, d).out
    assert torch.allclose(weight_of("edm", EDM(), t, d) * out**2, torch.ones(3, dtype=torch.float64))
    assert torch.allclose(Precondition("edm", spread).coefficients(EDM(), t).out, out)


def test_losses_of_rows_of_any_spread_are_alike_at_the_start():
    x0, low = pairs(50_000)
    low = torch.cat([low[:25_000], torch.zeros(25_000, 3, dtype=torch.float64)])
    given = Given(low, present=torch.arange(50_000) < 25_000)
    denoiser = NetworkDenoiser(zero, Precondition(), EDM(), (3,), centre=LINE)
    spread = denoiser.spread({"low": given}, 50_000)
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    t = EDM().time(-2 * torch.log(0.8 * spread))
    losses = denoising_loss(denoiser, x0, t, eps, cond={"low": given})
    assert float(losses[:25_000].mean()) == pytest.approx(1, rel=0.02)
    assert float(losses[25_000:].mean()) == pytest.approx(1, rel=0.02)


def test_noise_levels_follow_the_spread():
    config = TrainingConfig(steps=1, batch_size=64)
    half = torch.full((64,), 0.5, dtype=torch.float64)
    plain, scaled = (draw_times(EDM(), config, 0, 0, 64, spread=spread) for spread in (None, half))
    assert torch.allclose(EDM().logsnr(scaled), EDM().logsnr(plain) + 2 * math.log(2))
