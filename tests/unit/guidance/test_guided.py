"""Guidance by two denoisers: its ends bit for bit, the published formulas, its cost, and what it must refuse."""

import itertools

import pytest
import torch

from caminito.denoiser import (
    ClassDenoiser,
    GaussianDenoiser,
    MixtureDenoiser,
    NetworkDenoiser,
    Precondition,
    ResidualVariance,
    from_x0,
)
from caminito.errors import ConfigError
from caminito.guidance import autoguide, cfg, clip, constrain, linear, projected, renoised_weakly, rescaled
from caminito.nn import Given, Label, Tokens, UNet
from caminito.process import EDM, VP, Chain, RectifiedFlow
from caminito.process import grid as grids
from caminito.sampling import DDIM, Ancestral, DPMpp2M, sample, trajectory

VPS = VP()


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes(process=VPS, count=3, dim=2):
    """A mixture of two Gaussians for each class."""
    parts = []
    for k in range(count):
        means = 3 * randn(2, dim, seed=k)
        parts.append(MixtureDenoiser(torch.tensor([0.3, 0.7]), means, torch.tensor([0.05, 0.2]), process))
    return ClassDenoiser(parts, torch.arange(1, count + 1) / (count * (count + 1) / 2))


class Counted(ClassDenoiser):
    """Counts its calls and the rows it was asked for."""

    def __init__(self, inner, mixes=True):
        self.__dict__.update(inner.__dict__)
        self.rows, self.calls, self.mixes = 0, 0, mixes

    @property
    def mixes_conditions(self):
        return self.mixes

    def moments(self, x_t, t, cond=None):
        self.rows, self.calls = self.rows + len(x_t), self.calls + 1
        return super().moments(x_t, t, cond)

    def mean(self, x_t, t, cond=None):
        self.rows, self.calls = self.rows + len(x_t), self.calls + 1
        return super().mean(x_t, t, cond)


class Twice(torch.nn.Module):
    """A network that counts its rows, and is led by its label condition."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner = UNet(2, 1, width=32, multipliers=(1, 1), blocks=1, conditions={"y": Label(3)})
        with torch.no_grad():
            for part in self.inner.parameters():
                part.add_(0.05 * torch.randn_like(part))
        self.seen = []

    def forward(self, x, label, cond=None):
        self.seen.append(len(x))
        return self.inner(x, label, cond)


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_the_ends_of_the_scale_are_the_two_denoisers_bit_for_bit(scale):
    denoiser, x, y = classes(), randn(20, 2, seed=9), {"y": torch.arange(20) % 3}
    for t in (0.05, 0.5, 0.99):
        expected = denoiser.mean(x, t, y if scale else None)
        assert torch.equal(cfg(denoiser, scale).mean(x, t, y), expected)
        assert torch.equal(cfg(denoiser, lambda t, w=scale: torch.full_like(t, w)).mean(x, t, y), expected)


def test_the_ends_of_the_scale_of_a_network_are_the_network_bit_for_bit_and_cost_one_call():
    network = Twice()
    denoiser = NetworkDenoiser(network, Precondition("edm"), EDM(80.0), (1, 8, 8))
    x, y = randn(5, 1, 8, 8).float(), {"y": torch.tensor([0, 1, 2, 0, 1])}
    assert torch.equal(cfg(denoiser, 1).mean(x, 2.0, y), denoiser.mean(x, 2.0, y))
    assert torch.equal(cfg(denoiser, 0).mean(x, 2.0, y), denoiser.mean(x, 2.0))
    assert network.seen == [5, 5, 5, 5]
    assert not torch.equal(denoiser.mean(x, 2.0, y), denoiser.mean(x, 2.0))


def test_both_predictions_of_a_network_come_from_one_call_on_twice_the_rows():
    network = Twice()
    denoiser = NetworkDenoiser(network, Precondition("edm"), EDM(80.0), (1, 8, 8))
    x, y = randn(5, 1, 8, 8).float(), {"y": torch.tensor([0, 1, 2, 0, 1])}
    guided = cfg(denoiser, 2.5).mean(x, 2.0, y)
    assert network.seen == [10]
    strong, weak = denoiser.mean(x, 2.0, y), denoiser.mean(x, 2.0)
    assert torch.allclose(guided, weak + 2.5 * (strong - weak), atol=1e-5)
    assert float((strong - weak).detach().abs().max()) > 1e-3  # the test can fail


@pytest.mark.parametrize("mixes", [True, False])
def test_cfg_is_the_line_through_both_predictions(mixes):
    inner = classes()
    denoiser, x, y = Counted(inner, mixes), randn(20, 2, seed=9), {"y": torch.arange(20) % 3}
    strong, weak = inner.mean(x, 0.6, y), inner.mean(x, 0.6)
    for scale in (-1.0, 0.5, 3.0):
        assert torch.allclose(cfg(denoiser, scale).mean(x, 0.6, y), weak + scale * (strong - weak), atol=1e-12)
    assert denoiser.calls == (3 if mixes else 6)


def test_rows_with_times_of_their_own_are_guided_each_at_its_own():
    denoiser, x, y = classes(), randn(6, 2, seed=9), {"y": torch.tensor([0, 1, 2, 0, 1, 2])}
    t = torch.tensor([0.1, 0.2, 0.4, 0.6, 0.8, 0.95], dtype=torch.float64)
    guided = cfg(denoiser, 2.0, interval=(0.3, 2.0))
    together = guided.mean(x, t, y)
    apart = torch.cat([guided.mean(x[i : i + 1], t[i], {"y": y["y"][i : i + 1]}) for i in range(6)])
    assert torch.allclose(together, apart, atol=1e-12)
    plain = denoiser.mean(x, t, y)
    alpha, sigma = VPS.kernel(t)
    inside = (sigma / alpha > 0.3) & (sigma / alpha <= 2.0)
    assert inside.any() and not inside.all()
    assert torch.equal((together != plain).any(1), inside)


def test_an_interval_that_is_open_above_reaches_to_where_no_signal_is_left():
    flow = RectifiedFlow()
    denoiser = ClassDenoiser([GaussianDenoiser(torch.tensor([m]), 0.25, flow) for m in (-1.0, 1.0)], torch.ones(2) / 2)
    x, y = randn(3, 1), {"y": torch.ones(3).long()}
    for t, inside in ((1.0, True), (0.9, True), (0.2, False)):  # sigma / alpha is infinite, 9 and a quarter
        for interval in ((0.5, None), (0.5, float("inf"))):
            led = cfg(denoiser, 3.0, interval=interval).mean(x, t, y)
            assert torch.equal(led, cfg(denoiser, 3.0 if inside else 1.0).mean(x, t, y))
    closed = cfg(denoiser, 3.0, interval=(0.5, 10.0))
    assert not torch.allclose(closed.mean(x, 1.0, y), cfg(denoiser, 3.0).mean(x, 1.0, y))


def test_an_interval_costs_nothing_outside_it():
    denoiser = Counted(classes())
    grid = grids.karras(VPS, 24)
    levels = [float(s / a) for a, s in (VPS.kernel(t) for t in grid[:-1])]
    inside = sum(0.2 < level <= 2.0 for level in levels)
    assert 0 < inside < 24
    sample(
        cfg(denoiser, 3.0, interval=(0.2, 2.0)), (10, 2), grid=grid, solver=DPMpp2M(), cond={"y": torch.ones(10).long()}
    )
    assert denoiser.rows == 10 * 24 + 10 * inside
    assert denoiser.calls == 24


def test_a_negative_condition_is_what_samples_are_led_away_from():
    denoiser, x, y = classes(), randn(7, 2), {"y": torch.full((7,), 2)}
    other = {"y": torch.zeros(7, dtype=torch.long)}
    strong, weak = denoiser.mean(x, 0.6, y), denoiser.mean(x, 0.6, other)
    assert torch.allclose(cfg(denoiser, 2.0, null=other).mean(x, 0.6, y), 2 * strong - weak, atol=1e-12)


def test_only_the_mean_is_guided_and_the_variance_is_the_strong_ones():
    denoiser, x, y = classes(), randn(9, 2), {"y": torch.arange(9) % 3}
    mean, var = cfg(denoiser, 3.0).moments(x, 0.5, y)
    assert torch.equal(mean, cfg(denoiser, 3.0).mean(x, 0.5, y))
    assert torch.allclose(var, denoiser.var(x, 0.5, y))
    plain = from_x0(lambda x, t, cond: 0.9 * x, VPS)
    assert not cfg(plain, 3.0).knows_variance


@pytest.mark.parametrize("solver", [DDIM(), Ancestral("large"), Ancestral("posterior"), DPMpp2M()], ids=str)
def test_every_solver_walks_a_guided_denoiser_and_samples_depend_on_the_seed_alone(solver):
    denoiser = cfg(constrain(classes(), clip(-9.0, 9.0)), 2.0, interval=(0.1, 5.0))
    y = {"y": torch.arange(12) % 3}
    how = {"solver": solver, "steps": 12, "seed": 3, "dtype": torch.float64}
    whole = sample(denoiser, (12, 2), cond=y, **how)
    parts = sample(denoiser, (12, 2), cond=y, batch_size=5, **how)
    assert torch.allclose(whole, parts, atol=1e-9)
    assert torch.isfinite(whole).all()


def test_a_sharper_class_is_what_more_guidance_gives():
    sides = [GaussianDenoiser(torch.tensor([[-1.0], [1.0]][k]), 0.5, VPS) for k in range(2)]
    denoiser = ClassDenoiser(sides, torch.tensor([0.5, 0.5]))
    one = {"y": torch.ones(1, dtype=torch.long)}
    wrong = [float((sample(cfg(denoiser, w), (4000, 1), cond=one) < 0).double().mean()) for w in (0.5, 1.0, 1.4)]
    assert wrong[0] > 2 * wrong[1] > 4 * wrong[2] > 0


@pytest.mark.parametrize(
    "process", [VPS, EDM(80.0), RectifiedFlow(), Chain.ddpm("cosine", zero_snr=True)], ids=lambda p: type(p).__name__
)
@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_cfg_plus_plus_is_ddim_with_the_scale_that_takes_its_place(process, scale):
    denoiser = classes(process)
    grid = grids.trailing(process, 15) if process.is_discrete else grids.grid(process, 15)
    y, start = {"y": torch.arange(8) % 3}, randn(8, 2) * float(process.kernel(grid[0]).std)
    x = start
    for t, s in itertools.pairwise(grid):  # Chung et al. 2024, algorithm 2
        (alpha, sigma), (alpha_s, sigma_s) = process.kernel(t), process.kernel(s)
        weak, strong = denoiser.mean(x, t), denoiser.mean(x, t, y)
        x = alpha_s * (weak + scale * (strong - weak)) + sigma_s * (x - alpha * weak) / sigma
    *_, last = trajectory(cfg(denoiser, renoised_weakly(scale, process, grid)), start, grid, DDIM(), cond=y)
    assert torch.allclose(last.x, x, atol=1e-8)
    *_, plain = trajectory(cfg(denoiser, scale), start, grid, DDIM(), cond=y)
    assert float((plain.x - x).abs().max()) > 1e-2  # another rule


def test_autoguidance_leads_away_from_the_worse_denoiser():
    good = GaussianDenoiser(torch.zeros(2, dtype=torch.float64), 1.0, VPS)
    wide = GaussianDenoiser(torch.zeros(2, dtype=torch.float64), 4.0, VPS)
    x = randn(5, 2)
    expected = 3 * good.mean(x, 0.5) - 2 * wide.mean(x, 0.5)
    assert torch.allclose(autoguide(good, wide, 3.0).mean(x, 0.5), expected, atol=1e-12)
    assert torch.equal(autoguide(good, wide, 1.0).mean(x, 0.5), good.mean(x, 0.5))
    # of Gaussians of two widths it is again linear, and narrower than the good one
    spread = [float(sample(autoguide(good, wide, w), (4000, 2), steps=64).std()) for w in (1.0, 2.0)]
    assert spread[0] == pytest.approx(1, abs=0.03) and spread[1] < 0.9


def test_a_worse_denoiser_may_have_a_process_of_its_own_that_is_the_same():
    good = GaussianDenoiser(torch.zeros(2, dtype=torch.float64), 1.0, VP())
    wide = GaussianDenoiser(torch.zeros(2, dtype=torch.float64), 4.0, VP())
    x = randn(5, 2)
    assert torch.allclose(autoguide(good, wide, 2.0).mean(x, 0.5), 2 * good.mean(x, 0.5) - wide.mean(x, 0.5))


def test_autoguidance_gives_both_denoisers_the_condition():
    denoiser, worse, y = classes(), classes(count=3), {"y": torch.arange(6) % 3}
    x = randn(6, 2)
    assert torch.allclose(autoguide(denoiser, worse, 2.0).mean(x, 0.5, y), denoiser.mean(x, 0.5, y), atol=1e-12)


def test_rescaled_predictions_have_the_spread_of_the_strong_one():
    strong, weak, w = randn(4, 1, 6, 6), randn(4, 1, 6, 6, seed=1), torch.tensor(5.0, dtype=torch.float64)
    full, none = rescaled(1.0)(strong, weak, w), rescaled(0.0)(strong, weak, w)
    assert torch.allclose(none, linear(strong, weak, w))
    assert torch.allclose(full.flatten(1).std(1), strong.flatten(1).std(1))
    assert torch.allclose(full.flatten(1).mean(1), none.flatten(1).mean(1))
    half = rescaled(0.5)(strong, weak, w)
    assert torch.allclose(half, (full + none) / 2)


def test_projected_guidance_keeps_what_is_across_and_nothing_longer_than_the_norm():
    strong, weak, w = randn(4, 1, 6, 6), randn(4, 1, 6, 6, seed=1), torch.tensor(3.0, dtype=torch.float64)
    assert torch.allclose(projected(1.0)(strong, weak, w), linear(strong, weak, w), atol=1e-12)
    across = projected(0.0)(strong, weak, w) - strong
    assert float((across * strong).flatten(1).sum(1).abs().max()) < 1e-10
    assert float(across.abs().max()) > 0.1
    short = projected(1.0, norm=0.25)(strong, weak, w) - strong
    assert torch.allclose(short.flatten(1).norm(dim=1), torch.full((4,), 2 * 0.25, dtype=torch.float64))
    alone = projected(0.3, norm=2.0)(strong[:1], weak[:1], w)  # an item does not depend on its batch
    assert torch.allclose(alone, projected(0.3, norm=2.0)(strong, weak, w)[:1])


def test_conditions_of_every_kind_are_joined():
    torch.manual_seed(0)
    network = UNet(2, 1, width=32, multipliers=(1, 1), attention=(1,), conditions={"y": Label(3), "text": Tokens(4, 6)})
    with torch.no_grad():
        for part in network.parameters():
            part.add_(0.05 * torch.randn_like(part))
    denoiser = NetworkDenoiser(network, Precondition("edm"), EDM(80.0), (1, 8, 8))
    x = randn(3, 1, 8, 8).float()
    text = Given(
        torch.randn(3, 6, 4), torch.tensor([True, False, True]), torch.arange(6) < torch.tensor([[2], [6], [4]])
    )
    y = {"y": torch.tensor([0, 1, 2]), "text": text}
    strong = denoiser.mean(x, 1.0, y)
    for null in (None, {"y": torch.tensor([2, 2, 2])}, {"text": text}):
        weak = denoiser.mean(x, 1.0, null)
        found = cfg(denoiser, 4.0, null=null).mean(x, 1.0, y)
        assert torch.allclose(found, 4 * strong - 3 * weak, atol=1e-4)
        assert float((strong - weak).detach().abs().max()) > 1e-3


def test_a_measured_variance_does_not_hinder_one_call():
    network = Twice()
    inner = NetworkDenoiser(network, Precondition("edm"), EDM(80.0), (1, 8, 8))
    measured = ResidualVariance(inner, torch.tensor([-1.0, 1.0]), torch.full((2, 1), 0.25))
    mean, var = cfg(measured, 2.0).moments(randn(4, 1, 8, 8).float(), 1.0, {"y": torch.zeros(4).long()})
    assert network.seen == [8]
    assert mean.shape == var.shape == (4, 1, 8, 8)


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), "2", True])
def test_a_scale_that_is_no_finite_number_is_refused(scale):
    with pytest.raises(ConfigError, match="scale: expected a finite number"):
        cfg(classes(), scale)


def test_a_scale_function_that_gives_no_finite_number_is_refused():
    with pytest.raises(ConfigError, match="finite numbers"):
        cfg(classes(), lambda t: t * torch.nan).mean(randn(2, 2), 0.5, {"y": torch.zeros(2).long()})


@pytest.mark.parametrize("interval", [(1.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0)])
def test_an_interval_that_holds_nothing_is_refused(interval):
    with pytest.raises(ConfigError, match="interval: expected noise levels 0 <= low < high"):
        cfg(classes(), 2.0, interval=interval)


@pytest.mark.parametrize("make", [lambda: rescaled(1.5), lambda: projected(-0.1), lambda: projected(0.5, norm=0.0)])
def test_rules_refuse_what_is_out_of_range(make):
    with pytest.raises(ConfigError):
        make()


def test_a_worse_denoiser_of_another_process_is_refused():
    with pytest.raises(ConfigError, match="worse: expected a denoiser of the same process"):
        autoguide(GaussianDenoiser(torch.zeros(1), 1.0, VPS), GaussianDenoiser(torch.zeros(1), 1.0, EDM(80.0)), 2.0)


def test_a_mask_of_one_side_alone_is_joined_with_all_of_the_other():
    network = UNet(2, 1, width=32, multipliers=(1, 1), attention=(1,), conditions={"text": Tokens(4, 6)})
    torch.manual_seed(0)
    with torch.no_grad():
        for part in network.parameters():
            part.add_(0.05 * torch.randn_like(part))
    denoiser = NetworkDenoiser(network, Precondition("edm"), EDM(80.0), (1, 8, 8))
    x, tokens = randn(3, 1, 8, 8).float(), randn(3, 6, 4, seed=1).float()
    masked = Given(tokens, mask=torch.arange(6) < torch.tensor([[2], [1], [4]]))
    for told, null in (({"text": tokens}, {"text": masked}), ({"text": masked}, {"text": tokens})):
        found = cfg(denoiser, 4.0, null=null).mean(x, 1.0, told)
        expected = 4 * denoiser.mean(x, 1.0, told) - 3 * denoiser.mean(x, 1.0, null)
        assert torch.allclose(found, expected, atol=1e-4)
