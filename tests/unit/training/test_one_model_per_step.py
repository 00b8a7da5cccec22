"""T networks that predict the mean of x_(t-1), the same for the noise, one network with time: one loop."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from caminito._errors import ConfigError, ShapeError, TimeError
from caminito._random import Stream, normal, uniform
from caminito.denoiser import EmpiricalDenoiser, MixtureDenoiser, NetworkDenoiser, Precondition
from caminito.nn import PerStep, ResidualMLP
from caminito.process import VP, Chain, times
from caminito.sampling import Ancestral, sample
from caminito.training import TrainingConfig, averaged, fit_steps

THREE = Chain.ddpm([0.2, 0.5, 0.9])
STEPS = torch.arange(1, 4, dtype=torch.float64)
POINTS = torch.tensor([-1.2, 0.3, 1.4])


def labels(kind="previous", chain=THREE):
    return Precondition(kind).coefficients(chain, torch.arange(1, int(chain.t_max) + 1)).label


def test_previous_is_the_mean_of_the_bridge():
    """D = (m - ct x_t) / c0: a network that says c0 x0 + ct x_t, in units of x_(t-1), says x0; at t = 1, m is D."""
    for chain in (THREE, Chain([0.1, 1.4, 0.2], [0.3, 0.5, 0.4])):  # one that turns the sign
        exact = MixtureDenoiser(torch.tensor([0.4, 0.6]), torch.tensor([[1.0], [-2.0]]), 0.3, chain)
        for d in (1.0, 0.5):
            c = Precondition("previous", d).coefficients(chain, STEPS)
            x = normal(0, Stream.SAMPLE, 0, (3, 1), dtype=torch.float64)
            x0 = exact.mean(x, STEPS)
            alpha, sigma = chain.kernel(STEPS - 1)
            size = torch.copysign(torch.hypot(alpha * d, sigma), alpha)
            network = times(1 / size, chain.bridge(STEPS - 1, STEPS).mean(x0, x))
            assert torch.allclose(times(c.skip, x) + times(c.out, network), x0, rtol=1e-12, atol=1e-13)
            assert float(c.skip[0]) == 0 and float(c.out[0]) == pytest.approx(d, rel=1e-15)


def test_previous_is_asked_of_chains_whose_steps_tell_of_x0():
    with pytest.raises(ConfigError, match="VP has no steps, so nothing comes before"):
        NetworkDenoiser(nn.Identity(), Precondition("previous"), VP(), (1,))
    without_noise = Chain([0.1, 0.1, 0.1], [0.5, 0.0, 0.5])
    with pytest.raises(TimeError, match=r"previous: x0 cannot be told .* the step adds no noise"):
        Precondition("previous").coefficients(without_noise, torch.tensor(2.0))
    ends = Precondition("previous").coefficients(Chain.ddpm("cosine", steps=5, zero_snr=True), torch.arange(6))
    assert all(bool(torch.isfinite(c).all()) for c in ends)  # the signal may be gone at T, as long as it is not before
    assert (float(ends.skip[0]), float(ends.out[0])) == (1.0, 0.0)


class Constant(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x, label, cond=None):
        return self.value.expand_as(x)


def test_each_row_goes_to_the_network_of_its_step():
    network = PerStep([Constant(1.0), Constant(2.0), Constant(3.0)], labels())
    model = NetworkDenoiser(network, Precondition("x0"), THREE, (2,))
    t = torch.tensor([3.0, 1.0, 2.0, 2.0, 1.0], dtype=torch.float64)
    assert torch.equal(model.mean(torch.zeros(5, 2), t)[:, 0], t.float())
    model.mean(torch.zeros(5, 2), 2.0).sum().backward()
    assert [n.value.grad is not None for n in network.networks] == [False, True, False]


def test_networks_and_labels_must_fit():
    with pytest.raises(ConfigError, match="one for each of 2 networks, got shape \\(3,\\)"):
        PerStep([Constant(1.0), Constant(2.0)], labels())
    with pytest.raises(ConfigError, match="two that are the same"):
        PerStep([Constant(1.0), Constant(2.0)], [0.5, 0.5])
    network = PerStep([Constant(1.0), Constant(2.0)], [0.0, 1.0])
    with pytest.raises(ConfigError, match="takes no conditions"):
        network(torch.zeros(1, 1), torch.zeros(1), {"y": torch.zeros(1)})
    with pytest.raises(ShapeError, match="One number per row"):
        network(torch.zeros(2, 1), torch.zeros(1))


def draw(n, seed):
    return POINTS[(3 * uniform(seed, Stream.SAMPLE, 0, n)).long()][:, None]


def small():
    return ResidualMLP(1, width=32, depth=1)


WAYS = {
    "T networks, previous": ("previous", lambda: PerStep([small() for _ in range(3)], labels())),
    "T networks, eps": ("eps", lambda: PerStep([small() for _ in range(3)], labels("eps"))),
    "one network, previous": ("previous", small),
    "one network, eps": ("eps", small),
}


@pytest.mark.parametrize("way", WAYS)
def test_three_ways_to_say_one_thing_learn_the_same_denoiser(way):
    """T = 3, three points on the line: all come close to the exact E[x0 | x_t], on one loop and the same data.

    Measured in nats per item of what the bound loses: sum_t (SNR_(t-1) - SNR_t) / 2 |D - D*|^2, from t = 2 on.
    """
    torch.manual_seed(1)
    kind, network = WAYS[way]
    model = NetworkDenoiser(network(), Precondition(kind), THREE, (1,))
    config = TrainingConfig(
        steps=200, batch_size=128, learning_rate=2e-2, warmup=10, times="uniform", loss="vlb", precision="float32"
    )
    for progress in fit_steps(model, draw(3000, 0), config):
        pass
    exact = EmpiricalDenoiser(POINTS[:, None], THREE)
    held = draw(2000, 1)
    snr, lost, guess = torch.exp(THREE.logsnr(torch.arange(4))), 0.0, 0.0
    with averaged(progress.state), torch.no_grad():
        for t in (2, 3):
            x_t = THREE.noise(held, float(t), normal(9, Stream.NOISE, t, (2000, 1)))
            best = exact.mean(x_t, float(t))
            gain = float(snr[t - 1] - snr[t]) / 2
            lost += gain * float((model.mean(x_t, float(t)) - best).square().mean())
            guess += gain * float((held.mean() - best).square().mean())
        walks = [
            sample(d, 300, solver=Ancestral("small"), grid=torch.arange(3.0, -1, -1).double()) for d in (model, exact)
        ]
    assert lost < 0.02 and guess > 10 * lost
    assert float((walks[0] - walks[1]).square().mean().sqrt()) < 0.2  # the samples of one noise
