"""Parallel tempering against known constants and weights, and the parts it is made of."""

import math

import pytest
import torch

from caminito.density import Normal, Target
from caminito.density.moves import Path
from caminito.density.tempering import parallel_tempering, respaced, swapped
from caminito.errors import ConfigError
from caminito.testing.targets import funnel, rings, two_modes


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def wide(dim, std):
    return Normal(torch.zeros(dim, dtype=torch.float64), std)


def run(target, std, n, seed=0, **options):
    border = Target(target.log_prob, target.dim)
    return parallel_tempering(border, wide(target.dim, std), n, chance(seed), **options)


def test_weights_and_constant_of_two_modes_within_four_standard_errors():
    target = two_modes(3).raised(11.0)
    draws = run(target, 2.0, 1000, columns=32, sweeps=64, charts=2, leaps=3, rounds=2)
    seen = draws.diagnostics
    assert draws.x.shape == (1000, 3)
    assert 0 < seen["log_evidence_se"] < 0.1
    assert abs(draws.log_evidence - 11.0) < 4 * seen["log_evidence_se"]
    size = min(1000, seen["arrivals"])  # of the draws, so many owe nothing to each other
    assert size > 100
    assert abs(float(target.shares(draws.x)[:, 0].mean()) - 2 / 3) < 4 * math.sqrt(2 / 9 / size)
    assert abs(float(draws.x.mean())) < 4 * math.sqrt(0.95 / size)


def test_rings_have_equal_weights_and_the_ladder_is_as_long_as_its_barrier():
    target = rings()
    draws = run(target, 5.0, 1000, columns=32, sweeps=48, charts=2, leaps=3, rounds=2)
    seen = draws.diagnostics
    size = min(1000, seen["arrivals"])
    assert (target.shares(draws.x).mean(0) - 0.25).abs().max() < 4 * math.sqrt(3 / 16 / size)
    assert abs(draws.log_evidence) < 4 * seen["log_evidence_se"]
    assert 1.2 < seen["barrier"] < 1.7 and seen["rungs"] == math.ceil(2 * seen["barrier"]) + 2
    assert seen["refused"] < 0.55


def test_the_neck_of_the_funnel_is_reached():
    draws = run(funnel(3), 10.0, 1000, columns=32, sweeps=64, charts=4, leaps=3, rounds=2)
    assert 2.6 < float(draws.x[:, 0].std()) < 3.4
    assert abs(draws.log_evidence) < 4 * draws.diagnostics["log_evidence_se"] + 0.05


def test_the_same_generator_gives_the_same_draws():
    target = two_modes(2)
    first, again, other = (
        run(target, 2.0, 50, seed, columns=8, sweeps=8, rounds=1, charts=1, leaps=2) for seed in (1, 1, 2)
    )
    torch.testing.assert_close(first.x, again.x, rtol=0, atol=0)
    assert first.diagnostics == again.diagnostics and first.log_evidence == again.log_evidence
    assert not torch.equal(first.x, other.x)
    border = Target(target.log_prob, 2)
    counted = parallel_tempering(border, wide(2, 2.0), 20, chance(), columns=8, sweeps=8, rounds=1, rungs=4, charts=1)
    assert counted.diagnostics["calls"] == border.calls and counted.diagnostics["evaluations"] == border.evaluations
    assert counted.diagnostics["rungs"] == 4


@pytest.mark.parametrize("options", [{"columns": 3}, {"sweeps": 0}, {"rounds": 0}, {"rungs": 2}, {"n": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        run(two_modes(2), 2.0, options.pop("n", 10), **options)


@pytest.mark.parametrize("first", [0, 1])
def test_swaps_leave_every_rung_unchanged(first):
    """Exact draws of N(0, 2^2)^(1-b) N(0, 1)^b at each rung: variances stay, and only pairs of this turn moved."""
    path = Path(Target(lambda x: -0.5 * x.square().sum(1), 1), wide(1, 2.0))
    betas = torch.tensor([0.0, 0.2, 0.6, 1.0], dtype=torch.float64)
    std = (betas + (1 - betas) / 4) ** -0.5
    n = 20_000
    begun = path.at(std[:, None, None] * torch.randn(4, n, 1, generator=chance(), dtype=torch.float64))
    points, order, expected = swapped(begun, betas, first, chance(1))
    variance = points.x[..., 0].square().mean(1)
    assert bool(((variance - std**2).abs() < 4 * std**2 * math.sqrt(2 / n)).all())
    torch.testing.assert_close(points.x, torch.gather(begun.x, 0, order[..., None]))
    torch.testing.assert_close(points.log_p, -0.5 * points.x[..., 0].square())
    assert bool((order.sort(0).values == torch.arange(4)[:, None]).all())
    if first:
        assert bool((order[[0, 3]] == torch.tensor([[0], [3]])).all())
    else:
        assert bool((order[:2] < 2).all())
    low = first
    assert float((order[low] != low).double().mean()) == pytest.approx(float(expected[low].mean()), abs=0.02)


def test_respacing_makes_refusals_alike_and_keeps_the_ends():
    betas = torch.tensor([0.0, 0.5, 0.6, 1.0], dtype=torch.float64)
    refused = torch.tensor([0.6, 0.1, 0.2], dtype=torch.float64)
    new, nearest = respaced(betas, refused, 4)
    torch.testing.assert_close(new, torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64), atol=1e-12, rtol=0)
    assert nearest[0] == 0 and nearest[2] == 1 and nearest[3] == 3
    longer, _ = respaced(betas, torch.zeros(3, dtype=torch.float64), 7)  # nothing refused: evenly between the old ones
    torch.testing.assert_close(longer[[0, 2, 4, 6]], betas)
