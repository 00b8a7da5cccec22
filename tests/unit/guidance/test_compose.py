"""Several conditions at once, where the product of experts is known."""

import pytest
import torch

from caminito.denoiser import ClassDenoiser, GaussianDenoiser, MixtureDenoiser, given, without
from caminito.errors import ConfigError
from caminito.guidance import cfg, compose
from caminito.process import EDM, VP, Chain
from caminito.sampling import sample

VPS = VP()


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def product(shares_x, shares_y, process):
    """p(x) p(y) of two mixtures with components at -2 and 2."""
    ends = torch.tensor([-2.0, 2.0], dtype=torch.float64)
    means = torch.stack([torch.stack([a, b]) for a in ends for b in ends])
    weights = torch.tensor([p * q for p in shares_x for q in shares_y])
    return MixtureDenoiser(weights, means, torch.full((4,), 0.1), process)


@pytest.mark.parametrize("process", [VPS, EDM(80.0), Chain.ddpm("cosine")], ids=lambda p: type(p).__name__)
def test_two_experts_of_independent_parts_are_the_denoiser_of_their_product(process):
    base = product((0.5, 0.5), (0.5, 0.5), process)
    right, low = product((0.1, 0.9), (0.5, 0.5), process), product((0.5, 0.5), (0.8, 0.2), process)
    both = product((0.1, 0.9), (0.8, 0.2), process)
    for share in (0.02, 0.3, 0.8):
        t = max(1, round(share * process.t_max)) if process.is_discrete else share * process.t_max
        x = 3 * randn(40, 2) * float(process.kernel(t).scale) + float(process.kernel(t).std) * randn(40, 2, seed=1)
        assert torch.allclose(compose(base, [right, low]).mean(x, t), both.mean(x, t), atol=1e-8)


def test_experts_of_the_same_part_are_not_and_the_documentation_says_so():
    base = GaussianDenoiser(torch.zeros(1, dtype=torch.float64), 1.0, VPS)
    narrow = GaussianDenoiser(torch.zeros(1, dtype=torch.float64), 0.5, VPS)
    exact = GaussianDenoiser(torch.zeros(1, dtype=torch.float64), 1 / 3, VPS)  # 1 / (2 / .5 - 1)
    x = torch.ones(1, 1, dtype=torch.float64)
    assert float((compose(base, [narrow, narrow]).mean(x, 0.02) - exact.mean(x, 0.02)).abs()) < 1e-3
    assert float((compose(base, [narrow, narrow]).mean(x, 0.5) - exact.mean(x, 0.5)).abs()) > 0.01


def test_one_expert_of_the_same_network_is_cfg_and_a_negative_weight_leads_away():
    sides = [GaussianDenoiser(torch.tensor([s], dtype=torch.float64), 0.3, VPS) for s in (-1.0, 0.0, 1.0)]
    denoiser = ClassDenoiser(sides, torch.full((3,), 1 / 3))
    x, classes = randn(6, 1), [given(denoiser, {"y": torch.tensor([k])}) for k in range(3)]
    one = compose(without(denoiser), [classes[2]], [2.5])
    assert torch.allclose(one.mean(x, 0.5), cfg(denoiser, 2.5).mean(x, 0.5, {"y": torch.full((6,), 2)}), atol=1e-12)
    share = [
        float((sample(compose(without(denoiser), [classes[0]], [w]), (2000, 1)) < -0.5).double().mean())
        for w in (1.0, 0.0, -1.0)
    ]
    assert share[0] > 0.7 and share[0] > 1.5 * share[1] and share[1] > 2 * share[2]


def test_the_variance_is_that_of_the_base():
    base, other = (GaussianDenoiser(torch.full((2,), m, dtype=torch.float64), 1.0, VPS) for m in (0.0, 2.0))
    x = randn(5, 2)
    mean, var = compose(base, [other]).moments(x, 0.4)
    assert torch.allclose(mean, other.mean(x, 0.4)) and torch.equal(var, base.var(x, 0.4))


@pytest.mark.parametrize(("experts", "weights"), [(0, None), (2, [1.0]), (1, [float("nan")])])
def test_weights_that_are_not_one_for_each_expert_are_refused(experts, weights):
    base = GaussianDenoiser(torch.zeros(1), 1.0, VPS)
    with pytest.raises(ConfigError, match="a finite number for each"):
        compose(base, [base] * experts, weights)


def test_experts_of_another_process_are_refused():
    with pytest.raises(ConfigError, match="experts: expected denoisers of the process"):
        compose(GaussianDenoiser(torch.zeros(1), 1.0, VPS), [GaussianDenoiser(torch.zeros(1), 1.0, EDM(80.0))])
