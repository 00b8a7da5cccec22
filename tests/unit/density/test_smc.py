"""Sequential Monte Carlo and its moves, against densities whose constants, moments and weights are known."""

import math

import pytest
import torch

from caminito._weights import effective_size, systematic
from caminito.density import Normal, Target
from caminito.density.draws import tail_index
from caminito.density.moves import (
    Atlas,
    Path,
    from_atlas,
    from_reference,
    hamiltonian,
    tempered,
    transport,
)
from caminito.density.smc import anneal, next_beta, smc
from caminito.errors import ConfigError, NonFiniteError
from caminito.testing.targets import bananas, rings, two_modes

MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
ROOT = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.5, 0.0], [-2.0, 0.3, 0.2]], dtype=torch.float64)
INVERSE = torch.linalg.inv(ROOT)


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def wide(dim, std):
    return Normal(torch.zeros(dim, dtype=torch.float64), std)


def skewed(x):
    """exp(3) times a normal density with correlations."""
    inner = (x - MEAN) @ INVERSE.T
    return 3.0 - 0.5 * inner.square().sum(1) - 1.5 * math.log(2 * math.pi) - math.log(0.1)  # 0.1 = det ROOT


def test_constant_and_moments_of_a_normal_within_four_standard_errors():
    n, found = 1000, []
    for seed in range(2):
        draws = smc(Target(skewed, 3), wide(3, 4.0), n, chance(seed))
        assert draws.x.shape == (n, 3)
        found.append(draws.log_evidence)
        inner = INVERSE @ (draws.x - MEAN).T
        # resampling leaves fewer independent points than n: as many as have ancestors of their own, at least
        size = n * draws.diagnostics["ancestors"]
        assert inner.mean(1).abs().max() < 4 / math.sqrt(size)
        assert (inner @ inner.T / n - torch.eye(3)).abs().max() < 4 * math.sqrt(2 / size)
    found = torch.tensor(found)
    levels = draws.diagnostics["levels"]
    assert (found - 3.0).abs().max() < 4 * math.sqrt(levels * 0.25 / n)  # a level at ESS 0.8 n adds 0.25 / n
    assert found.std() > 0


def test_weights_of_two_modes_and_the_constant_from_a_reference_that_knows_neither():
    target = two_modes(8).raised(-7.5)
    n = 1000
    draws = smc(Target(target.log_prob, 8), wide(8, 2.0), n, chance(1))
    size = n * draws.diagnostics["ancestors"]
    assert abs(float(target.shares(draws.x)[:, 0].mean()) - 2 / 3) < 4 * math.sqrt(2 / 9 / size)
    assert abs(draws.log_evidence + 7.5) < 4 * math.sqrt(draws.diagnostics["levels"] * 0.25 / n)
    assert draws.diagnostics["thrown"] > 0.2  # modes 25 deviations apart exchange


def test_rings_have_equal_weights():
    target, n = rings(), 2000
    draws = smc(Target(target.log_prob, 2), wide(2, 5.0), n, chance(2))
    size = n * draws.diagnostics["ancestors"]
    assert (target.shares(draws.x).mean(0) - 0.25).abs().max() < 4 * math.sqrt(3 / 16 / size)
    angle = torch.atan2(draws.x[:, 1], draws.x[:, 0])
    assert torch.stack([angle.cos().mean(), angle.sin().mean()]).abs().max() < 4 * math.sqrt(0.5 / size)


def test_the_same_generator_gives_the_same_draws_and_another_gives_others():
    target = two_modes(2)
    first, again, other = (
        smc(Target(target.log_prob, 2), wide(2, 2.0), 51, chance(seed), sweeps=2) for seed in (3, 3, 4)
    )
    torch.testing.assert_close(first.x, again.x, rtol=0, atol=0)
    assert first.diagnostics == again.diagnostics and first.log_evidence == again.log_evidence
    assert first.x.shape == (51, 2) and not torch.equal(first.x, other.x)


def test_a_reference_that_is_too_narrow_shows_in_its_weights():
    def standard(x):
        return -0.5 * x.square().sum(1)

    narrow, good = (smc(Target(standard, 4), wide(4, std), 1000, chance()) for std in (0.2, 1.2))
    assert narrow.diagnostics["importance_ess"] < 0.1 < 0.7 < good.diagnostics["importance_ess"]
    assert narrow.diagnostics["tail_index"] > 0.5 > 0.2 > good.diagnostics["tail_index"]
    assert narrow.diagnostics["levels"] > good.diagnostics["levels"]
    assert abs(good.log_evidence - 2 * math.log(2 * math.pi)) < 0.1


def test_calls_and_evaluations_are_those_of_the_target():
    target = Target(skewed, 3)
    target.value(torch.zeros(5, 3, dtype=torch.float64))
    draws = smc(target, wide(3, 4.0), 100, chance())
    assert draws.diagnostics["calls"] == target.calls - 1
    assert draws.diagnostics["evaluations"] == target.evaluations - 5 == 100 * (target.calls - 1)


def test_half_of_the_space_is_half_of_the_constant():
    def half(x):
        return torch.where(x[:, 0] > 0, -0.5 * x.square().sum(1), -torch.inf)

    draws = smc(Target(half, 2), wide(2, 2.0), 2000, chance())
    assert bool((draws.x[:, 0] > 0).all())
    assert abs(draws.log_evidence - math.log(math.pi)) < 0.1
    assert abs(float(draws.x[:, 0].mean()) - math.sqrt(2 / math.pi)) < 0.08


@pytest.mark.parametrize(
    ("options", "word"),
    [({"ess": 1.0}, "ess"), ({"memory": 0.0}, "memory"), ({"charts": 0}, "charts"), ({"leaps": 0}, "leaps")],
)
def test_options_out_of_range_are_refused(options, word):
    with pytest.raises(ConfigError, match=word):
        smc(Target(skewed, 3), wide(3, 4.0), 50, chance(), **options)


def test_a_path_without_end_is_told(monkeypatch):
    monkeypatch.setattr("caminito.density.smc._LEVELS", 3)
    with pytest.raises(ConfigError, match="improper"):
        smc(Target(lambda x: x.sum(1), 2), wide(2, 1.0), 20, chance(), sweeps=1)


def test_too_few_points_or_none_in_the_support_are_refused():
    with pytest.raises(ConfigError, match="at least 10"):
        smc(Target(skewed, 3), wide(3, 4.0), 9, chance())
    nowhere = Target(lambda x: torch.where(x[:, 0] > 1e3, -x[:, 0], -torch.inf), 2)
    with pytest.raises(NonFiniteError, match="support"):
        smc(nowhere, wide(2, 1.0), 50, chance())


def test_levels_climb_to_one_and_leave_what_was_asked():
    path = Path(Target(skewed, 3), wide(3, 4.0))
    levels = list(anneal(path, 200, chance(), ess=0.6))
    betas = [level.beta for level in levels]
    assert betas[0] == 0 and betas[-1] == 1 and betas == sorted(set(betas))
    torch.testing.assert_close(levels[-1].points.log_p, skewed(levels[-1].points.x))
    ratio = levels[0].points.log_ratio
    assert effective_size(betas[1] * ratio) == pytest.approx(0.6 * 200, rel=0.01)
    assert next_beta(torch.zeros(10, dtype=torch.float64), 0.0, 0.9) == 1.0


def test_tail_index_of_known_weights():
    uniform = torch.rand(100_000, generator=chance(), dtype=torch.float64)
    for k in (0.3, 1.0):  # u^-k is Pareto with shape k
        assert tail_index(-k * uniform.log()) == pytest.approx(k, abs=0.1)
    assert math.isnan(tail_index(torch.zeros(10, dtype=torch.float64)))


def _fixed_atlas(dim, rungs):
    """Three charts that fit the target badly, on purpose: exactness must not depend on the fit."""
    centre = torch.randn(3, dim, generator=chance(8), dtype=torch.float64) * 2
    roots = torch.eye(dim, dtype=torch.float64) * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)[:, None, None]
    roots[:, -1, 0] = 0.4
    share = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    return Atlas(*(part.expand(rungs, *part.shape).contiguous() for part in (share, centre, roots @ roots.mT)))


@pytest.mark.parametrize("kind", ["hamiltonian", "one leap", "reference", "atlas", "transport"])
def test_each_move_leaves_the_tempered_density_unchanged(kind):
    """Exact draws at two rungs, of N(0, 1.5^2) and of what lies half-way to a mixture: moments stay as they were."""
    n = 8_000

    def mixture(x):
        parts = torch.stack([-0.5 * (x - 1.5).square().sum(1), math.log(0.5) - 2 * (x + 1).square().sum(1)], 1)
        return torch.logsumexp(parts, 1)

    path, atlas = Path(Target(mixture, 2), wide(2, 1.5)), _fixed_atlas(2, 2)
    betas = torch.tensor([0.0, 0.6], dtype=torch.float64)
    seeds = path.at(path.reference.draw(20 * n, chance(5)))
    rows = systematic(
        0.6 * seeds.log_ratio, n, torch.rand((), generator=chance(6), dtype=torch.float64)
    )  # 0.3 of all weights are effective: exact to 1 / sqrt(n)
    begun = path.at(torch.stack([path.reference.draw(n, chance(7)), seeds.x[rows]]))
    points, moved = begun, chance(9)
    for _ in range(4):
        if kind in ("hamiltonian", "one leap"):
            step = torch.full((2, 1), 0.7, dtype=torch.float64)
            points, acceptance = hamiltonian(path, points, betas, atlas, step, 3 if kind != "one leap" else 1, moved)
        elif kind == "reference":
            points, acceptance = from_reference(path, points, betas, moved)
            assert bool((acceptance[0] == 1).all())
        else:
            throw = from_atlas if kind == "atlas" else transport
            points, acceptance = throw(path, points, betas, atlas, moved)
    assert 0.05 < float(acceptance[1].mean()) < 0.99
    assert (points.x != begun.x).any(-1).double().mean() > 0.2
    for statistic in (
        lambda p: p.x[..., 0],
        lambda p: p.x[..., 1],
        lambda p: p.x[..., 0] * p.x[..., 1],
        lambda p: p.x.square().sum(-1),
        lambda p: tempered(p, betas)[0],
        lambda p: (p.x.sum(-1) > 0.5).double(),
    ):
        gap = statistic(points).mean(1) - statistic(begun).mean(1)
        spread = statistic(begun).std(1)
        assert bool((gap.abs() < 4.5 * spread * math.sqrt(2 / n)).all()), (statistic(points).mean(1), gap)
    torch.testing.assert_close(points.log_p.reshape(-1), mixture(points.x.reshape(-1, 2)))


def test_transport_is_accepted_always_between_equal_modes_that_the_charts_know():
    target = two_modes(64, weights=(0.5, 0.5))
    centre = target.modes.expand(1, 2, 64).contiguous()
    cov = 0.05 * torch.eye(64, dtype=torch.float64).expand(1, 2, 64, 64)
    atlas = Atlas(torch.full((1, 2), 0.5, dtype=torch.float64), centre, cov.contiguous())
    path = Path(Target(target.log_prob, 64), wide(64, 2.0))
    begun = path.at(target.draw(200)[None])
    points, acceptance = transport(path, begun, torch.ones(1, dtype=torch.float64), atlas, chance())
    torch.testing.assert_close(acceptance, torch.ones_like(acceptance))
    torch.testing.assert_close(target.shares(points.x[0]), target.shares(begun.x[0]).flip(1))


def test_an_atlas_is_a_density_and_finds_the_parts_of_a_mixture():
    target = two_modes(3, variances=(0.05, 0.3))
    x = target.draw(3000)
    atlas = Atlas.around(x[None], 2, chance(3), rounds=30)
    order = atlas.centre[0, :, 0].argsort()
    torch.testing.assert_close(atlas.share[0, order], target.weights, atol=0.04, rtol=0)
    torch.testing.assert_close(atlas.centre[0, order], target.modes, atol=0.06, rtol=0)
    covs = torch.tensor([0.05, 0.3], dtype=torch.float64)[:, None, None] * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(atlas.cov[0, order], covs, atol=0.04, rtol=0)
    law = torch.distributions.MultivariateNormal(atlas.centre[0], scale_tril=atlas.root[0])
    expected = law.log_prob(x[:, None]) + atlas.share[0].log()
    torch.testing.assert_close(atlas.log_parts(x[None])[0], expected)
    again = Atlas.around(atlas.draw(20_000, chance(4)), 1, chance())
    mixed = Atlas.around(x[None], 1, chance())
    torch.testing.assert_close(again.cov, mixed.cov, atol=0.1, rtol=0)


def test_bent_modes_keep_their_weights():
    target, n = bananas(4), 600
    draws = smc(Target(target.log_prob, 4), wide(4, 6.0), n, chance(), charts=8)
    size = n * draws.diagnostics["ancestors"]
    gap = (target.shares(draws.x).mean(0) - target.weights).abs()
    assert bool((gap < 4 * torch.sqrt(target.weights * (1 - target.weights) / size)).all())
