"""The line through a condition: least squares, and a denoiser that is exact before it has learnt anything."""

import math

import pytest
import torch

from caminito.denoiser import Centre, NetworkDenoiser, Precondition
from caminito.errors import ConditionError
from caminito.nn import Given
from caminito.process import EDM, VP, Chain
from caminito.training import TrainingConfig, denoising_loss, draw_times, fit, weight_of

LINE = Centre("low", (0.7,), (0.8,), (1.0,))  # of one channel
TURNING = Chain(drift=[0.2, 1.5, 0.3], noise=[0.3, 0.4, 0.5])  # alpha = .8, -.4, -.28
TIMES = {EDM(): [0.1, 0.5, 0.9], VP(): [0.1, 0.5, 0.9], Chain.ddpm(steps=50): [1, 25, 45], TURNING: [1, 2, 3]}


def zero(x, label, cond):
    """A network at its start."""
    return torch.zeros_like(x)


def pairs(n, seed=0):
    """Entries x0 ~ N(0, 1) and L with E[x0 L] = .7, E[L^2] = .8, as series of 3 points."""
    chance = torch.Generator().manual_seed(seed)
    low = math.sqrt(0.8) * torch.randn(n, 1, 3, generator=chance, dtype=torch.float64)
    rest = torch.randn(n, 1, 3, generator=chance, dtype=torch.float64)
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


def test_measured_on_data_channel_by_channel():
    one, two = pairs(100_000), pairs(100_000, seed=1)
    x0, low = (
        torch.cat([one[k], two[1 - k], torch.zeros_like(one[0])], 1) for k in (0, 1)
    )  # roles changed in the second
    line = Centre.measured("low", x0, low)
    assert line.product == pytest.approx((0.7, 0.7, 0), rel=0.01)
    assert line.square == pytest.approx((0.8, 1, 0), rel=0.01)
    assert line.variance == pytest.approx((1, 0.8, 0), rel=0.01)
    assert line.explained == pytest.approx((0.49 / 0.8 + 0.49) / 1.8, rel=0.01)
    m, spread = line.of({"low": low}, x0)
    assert torch.equal(m[:, 2], torch.zeros_like(m[:, 2]))
    assert float((x0 - m).square().mean()) == pytest.approx(line.least_spread**2, rel=0.01)
    assert torch.equal(spread, torch.full((100_000,), line.least_spread, dtype=torch.float64))
    assert Centre.from_dict(line.to_dict()) == line
    rows = Centre.measured("low", x0[:, :, 0], low[:, :, 0])  # a channel of no grid
    assert rows.product == pytest.approx(line.product, rel=0.02, abs=1e-9)


def test_absent_rows_have_no_centre_whatever_they_hold():
    low = torch.tensor([[[1.0, 2.0, 3.0]], [[math.nan, 1.0, math.inf]]])
    m, spread = LINE.of({"low": Given(low, present=torch.tensor([True, False]))}, low)
    assert torch.equal(m[1], torch.zeros(1, 3))
    assert spread.tolist() == [pytest.approx(math.sqrt(1 - 0.49 / 0.8)), 1.0]
    assert torch.equal(m[0], 0.7 / 0.8 * low[0])
    for cond in (None, {"other": low}):
        m, spread = LINE.of(cond, low)
        assert torch.equal(m, torch.zeros_like(low))
        assert torch.equal(spread, torch.ones(2, dtype=torch.float64))
        assert torch.equal(LINE.spread(cond, 2), spread)


@pytest.mark.parametrize("shape", [(3, 1, 3), (4, 1, 2), (4, 2, 3)])
def test_a_condition_of_another_shape_is_refused_by_name(shape):
    with pytest.raises(ConditionError, match=r"condition 'low': expected the shape of x, \(4, 1, 3\)"):
        LINE.of({"low": torch.zeros(shape)}, torch.zeros(4, 1, 3))


@pytest.mark.parametrize("process", TIMES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("kind", ["edm", "v"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_network_of_zeros_is_exact_for_normal_data(process, kind, share):
    x0, low = pairs(64)
    chance = torch.Generator().manual_seed(1)
    level = torch.full((64,), share, dtype=torch.float64)
    low = math.sqrt(1 - share**2) * low + share * torch.randn(low.shape, generator=chance, dtype=torch.float64)
    denoiser = NetworkDenoiser(zero, Precondition(kind), process, (1, 3), centre=LINE)
    for t in TIMES[process]:
        t = torch.tensor(t if process.is_discrete else t * process.t_max, dtype=torch.float64)
        alpha, sigma = process.kernel(t)
        x_t = process.noise(x0, t, torch.randn(x0.shape, generator=chance, dtype=torch.float64))
        # the joint normal of (x0, low, x_t) of one entry, by its covariance
        v, b = (1 - share**2) * 0.8 + share**2, math.sqrt(1 - share**2) * 0.7
        seen = torch.tensor([[v, float(alpha) * b], [float(alpha) * b, float(alpha**2 + sigma**2)]]).double()
        gain = torch.linalg.solve(seen, torch.tensor([b, float(alpha)], dtype=torch.float64))
        exact = gain[0] * low + gain[1] * x_t
        found = denoiser.mean(x_t, t, {"low": Given(low, level=level)})
        assert torch.allclose(found, exact, atol=1e-6), (kind, t)


@pytest.mark.parametrize("kind", ["x0", "eps", "v", "flow", "edm", "previous"])
def test_whatever_the_network_predicts_it_is_that_of_the_rest(kind):
    """A denoiser of x0 - m, whose network says what the other one's says, plus m."""
    chain = Chain.ddpm("cosine", steps=10)
    x_t = torch.randn(4, 1, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, t = pairs(4)[1], torch.tensor([1.0, 4.0, 7.0, 10.0], dtype=torch.float64)
    d = LINE.least_spread
    centred = NetworkDenoiser(shown, Precondition(kind), chain, (1, 3), centre=LINE)
    plain = NetworkDenoiser(shown, Precondition(kind, d), chain, (1, 3))
    m = 0.7 / 0.8 * low
    moved = x_t - chain.kernel(t).scale[:, None, None] * m
    assert torch.allclose(centred.mean(x_t, t, {"low": low}), m + plain.mean(moved, t), rtol=1e-5, atol=1e-5)


def shown(x, label, cond):
    """A network that answers with what it is given."""
    return 0.5 * x + label[:, None, None]


def test_conditions_that_are_absent_leave_the_denoiser_without_a_centre_bit_for_bit():
    x_t = torch.randn(4, 1, 3, generator=torch.Generator().manual_seed(0))
    plain = NetworkDenoiser(shown, Precondition(), EDM(), (1, 3))
    centred = NetworkDenoiser(shown, Precondition(), EDM(), (1, 3), centre=LINE)
    absent = {"low": Given(torch.full((4, 1, 3), math.nan), present=torch.zeros(4, dtype=torch.bool))}
    for cond in (None, absent):
        assert torch.equal(plain.mean(x_t, 0.6), centred.mean(x_t, 0.6, cond))


@pytest.mark.parametrize("spread", [0.1, 0.5, 1.0])
def test_the_weight_undoes_the_scale_of_the_network(spread):
    t = torch.tensor([0.01, 0.3, 3.0], dtype=torch.float64)
    d = torch.full((3,), spread, dtype=torch.float64)
    out = Precondition("edm").coefficients(EDM(), t, d).out
    assert torch.allclose(weight_of("edm", EDM(), t, d) * out**2, torch.ones(3, dtype=torch.float64))
    assert torch.allclose(Precondition("edm", spread).coefficients(EDM(), t).out, out)


def test_losses_of_rows_of_any_spread_are_alike_at_the_start():
    x0, low = pairs(50_000)
    low = torch.cat([low[:25_000], torch.zeros_like(low[25_000:])])
    given = Given(low, present=torch.arange(50_000) < 25_000)
    denoiser = NetworkDenoiser(zero, Precondition(), EDM(), (1, 3), centre=LINE)
    spread = denoiser.spread({"low": given}, 50_000)
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    t = EDM().time(-2 * torch.log(0.8 * spread))
    losses = denoising_loss(denoiser, x0, t, eps, cond={"low": given})
    assert float(losses[:25_000].mean()) == pytest.approx(1, rel=0.02)
    assert float(losses[25_000:].mean()) == pytest.approx(1, rel=0.02)


def test_noise_levels_follow_the_spread_but_for_the_steps_of_a_chain():
    config = TrainingConfig(steps=1, batch_size=64)
    half = torch.full((64,), 0.5, dtype=torch.float64)
    plain, scaled = (draw_times(EDM(), config, 0, 0, 64, spread=spread) for spread in (None, half))
    assert torch.allclose(EDM().logsnr(scaled), EDM().logsnr(plain) + 2 * math.log(2))
    chain = Chain.ddpm("cosine", steps=10)
    plain, scaled = (draw_times(chain, config, 0, 0, 64, spread=spread) for spread in (None, half))
    assert torch.equal(plain, scaled)


def test_it_is_trained_and_measured_at_those_levels_and_weights(monkeypatch):
    x0, low = (each.float() for each in pairs(1024))
    config = TrainingConfig(steps=3, batch_size=256, validate_every=3, augmentation=0.6, precision="float32")
    told = {"low": Given(low, level=torch.zeros(1024))}
    net = torch.nn.Conv1d(1, 1, 1)
    torch.nn.init.zeros_(net.weight)
    torch.nn.init.zeros_(net.bias)
    network = _Alone(net)
    drawn = []
    true = fit.draw_times
    monkeypatch.setattr(fit, "draw_times", lambda *a, **k: drawn.append((k["spread"], true(*a, **k))) or drawn[-1][1])
    denoiser = NetworkDenoiser(network, Precondition(), EDM(), (1, 3), centre=LINE)
    steps = list(fit.fit_steps(denoiser, x0, config, cond=told, held_out=x0, held_out_cond=told))
    assert len(drawn) == 3
    spreads = torch.stack([spread for spread, _ in drawn])
    assert float(spreads.min()) > LINE.least_spread and float((spreads == 1).double().mean()) > 0.03
    assert spreads[0].unique().numel() > 160  # a level of its own in each row, and so a spread
    validation = steps[-1].validation
    held = float(denoiser.spread({"low": Given(low, level=torch.full((1024,), 0.3))}, 1024)[0])  # half of .6
    normal = torch.special.ndtri((torch.arange(8, dtype=torch.float64) + 0.5) / 8)  # the middles of eight shares
    expected = -2 * (config.time_mean + config.time_std * normal + math.log(held))
    assert validation.logsnr == pytest.approx(expected.tolist(), abs=0.01)  # the ladder has 4096 rungs
    # a network that says nothing yet loses the mean of squares of standard normals: 1, of variance 2 / count
    assert validation.mean == pytest.approx(1, abs=4 * math.sqrt(2 / (1024 * 3)))
    assert steps[0].loss == pytest.approx(1, abs=4 * math.sqrt(2 / (256 * 3)))


class _Alone(torch.nn.Module):
    """A network that is not told of anything."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, label, cond):
        return self.net(x)
