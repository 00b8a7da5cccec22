"""log p(x) along the probability flow: exact for Gaussians in the limit, of second order, in the units of x."""

import math

import pytest
import torch

from caminito._errors import ApproximateLikelihood, ConfigError, NonFiniteError
from caminito.denoiser import (
    Denoiser,
    EmpiricalDenoiser,
    GaussianDenoiser,
    MixtureDenoiser,
    NetworkDenoiser,
    Precondition,
    from_x0,
)
from caminito.nn import UNet
from caminito.process import EDM, VE, VP, Chain, Cosine, RectifiedFlow, SubVP
from caminito.sampling import log_prob

X = torch.tensor([[0.3], [-1.2], [2.0]], dtype=torch.float64)


def levels(process, low, high, steps):
    """Equal steps in log-SNR; the last time is not the data."""
    ends = [-2 * math.log(v) for v in (high, low)]
    times = process.time(torch.linspace(*ends, steps + 1, dtype=torch.float64))
    return times.clamp(max=process.t_max)


@pytest.mark.parametrize("process", [VP(), SubVP(), EDM(20.0, 1.0)], ids=lambda p: type(p).__name__)
def test_likelihood_of_a_gaussian_converges_with_second_order(process):
    """To the density of x / alpha at the last time of the grid: log p_t(alpha x) + log alpha."""
    denoiser = GaussianDenoiser(torch.tensor([0.5]), 0.3, process)
    errors = []
    for steps in (16, 32, 64):
        grid = levels(process, 0.05, 19.0, steps)
        alpha = process.kernel(grid[-1]).scale
        exact = denoiser.log_marginal(alpha * X, grid[-1]) + torch.log(alpha)
        errors.append(float((log_prob(denoiser, X, grid=grid) - exact).abs().max()))
    assert abs(math.log2(errors[1] / errors[2]) - 2) < 0.25, errors


def test_likelihood_of_a_mixture_is_its_density_up_to_the_last_halving_of_the_step():
    """The error of a second-order rule is a third of what halving the step changed; plus that of a normal start."""
    process = VE(0.01, 30.0)
    means, covs = torch.tensor([[1.0], [-1.0]]), torch.tensor([0.3, 0.1])
    denoiser = MixtureDenoiser(torch.tensor([0.25, 0.75]), means, covs, process)
    values = []
    for steps in (30, 60):
        grid = levels(process, 0.05, 29.0, steps)
        values.append(log_prob(denoiser, X, grid=grid))
    exact = denoiser.log_marginal(X, grid[-1])
    # third and fourth cumulants (below 2) over 6 sigma^3 and 24 sigma^4, for |z| < 3
    start = 2 * 27 / (6 * 29**3)
    assert bool(((values[1] - exact).abs() <= (values[1] - values[0]).abs().max() + start).all())


@pytest.mark.parametrize("process", [VP(), Cosine(), RectifiedFlow(), VE()], ids=lambda p: type(p).__name__)
def test_likelihood_of_gaussian_data_in_any_units(process):
    """Including processes whose signal is gone at the end. Scaling data by c subtracts d log c."""
    values = []
    for c in (1.0, 3.0):
        mean, var = c * torch.tensor([1.0, -0.5]), c**2 * torch.tensor([1.0, 0.5])
        denoiser = GaussianDenoiser(mean, var, process)
        x = c * torch.tensor([[0.3, 0.1], [1.5, -1.0]], dtype=torch.float64)
        exact = torch.distributions.Normal(mean.double(), var.double().sqrt()).log_prob(x).sum(1)
        got = log_prob(denoiser, x, steps=50)
        # Heun's step is h = log(80 / .002) / 50 = .21: h^2 / 12 of slopes of order one over the few units where D acts
        assert float((got - exact).abs().max()) < 5 * 0.21**2 / 12
        values.append(got)
    assert float((values[0] - values[1] - 2 * math.log(3)).abs().max()) < 5 * 0.21**2 / 12


def test_one_probe_of_signs_is_the_exact_trace_of_a_diagonal_jacobian():
    denoiser = GaussianDenoiser(torch.zeros(5), torch.tensor([0.1, 0.5, 1.0, 2.0, 3.0]), VP())
    x = torch.randn(4, 5, dtype=torch.float64)
    exact = log_prob(denoiser, x, steps=20, exact=True)
    assert torch.allclose(log_prob(denoiser, x, steps=20, exact=False, probes=1), exact, rtol=1e-12, atol=1e-12)


def test_probes_estimate_the_trace_without_bias():
    """Hutchinson's estimate is linear in the probes: its mean over probes is within standard errors of the trace."""
    a = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    denoiser = GaussianDenoiser(torch.zeros(6), a @ a.T / 6 + 0.1 * torch.eye(6), VP())
    x = torch.zeros(1, 6, dtype=torch.float64)
    exact = float(log_prob(denoiser, x, steps=3, exact=True))
    draws = torch.cat([log_prob(denoiser, x, steps=3, exact=False, probes=1, seed=k) for k in range(20)])
    assert abs(float(draws.mean()) - exact) < 5 * float(draws.std()) / math.sqrt(20)
    assert float(draws.std()) > 0


def test_likelihood_of_the_empirical_denoiser_is_that_of_its_widened_data():
    data = torch.tensor([[0.0], [1.0], [1.2]], dtype=torch.float64)
    process = EDM(20.0, 1.0)
    denoiser = EmpiricalDenoiser(data, process, bandwidth=0.3)
    values = []
    for steps in (25, 50):
        grid = levels(process, 0.05, 20.0, steps)
        values.append(log_prob(denoiser, X, grid=grid))
    exact = denoiser.log_marginal(X, grid[-1])
    # third cumulant (below 1) over 6 sigma^3 for |z| < 3; the error of the rule is a third of what halving changed
    start = 27 / (6 * 20**3)
    assert bool(((values[1] - exact).abs() <= (values[1] - values[0]).abs().max() + start).all())


def test_large_events_are_estimated_and_say_so():
    denoiser = GaussianDenoiser(torch.zeros(65), 1.0, VP())
    x = torch.zeros(1, 65)
    with pytest.warns(ApproximateLikelihood, match=r"65 entries.*4 probes.*exact=True"):
        value = log_prob(denoiser, x, steps=4)
    assert value.dtype == torch.float64


def test_a_chain_has_no_likelihood_by_ode():
    denoiser = GaussianDenoiser(torch.zeros(2), 1.0, Chain.ddpm("linear"))
    with pytest.raises(ConfigError, match=r"no probability-flow ODE.*continuous process"):
        log_prob(denoiser, torch.zeros(1, 2))


def ring(process, rows):
    """Eight Gaussians of standard deviation .1 on the unit circle, some of their points, and log p there."""
    angles = torch.arange(8, dtype=torch.float64) * (math.pi / 4)
    means = torch.stack([torch.cos(angles), torch.sin(angles)], 1)
    generator = torch.Generator().manual_seed(0)
    x = means[torch.randint(8, (rows,), generator=generator)]
    x = x + 0.1 * torch.randn(rows, 2, generator=generator, dtype=torch.float64)
    parts = torch.stack([torch.distributions.Normal(m, 0.1).log_prob(x).sum(1) for m in means], 1)
    return MixtureDenoiser(torch.full((8,), 1 / 8), means, 0.01, process), x, torch.logsumexp(parts, 1) - math.log(8)


@pytest.mark.parametrize("process", [VE(), VP(), RectifiedFlow()], ids=lambda p: type(p).__name__)
def test_adaptive_likelihood_of_eight_gaussians_to_a_hundred_thousandth_of_a_nat(process):
    """Of the density blurred by a fiftieth of their width, which is not their own to that precision."""
    denoiser, x, own = ring(process, 24)
    t = process.time(-2 * math.log(0.002))
    alpha = process.kernel(t).scale
    blurred = denoiser.log_marginal(alpha * x, t) + 2 * torch.log(alpha)
    assert float((log_prob(denoiser, x, method="dopri5") - blurred).abs().max()) < 1e-5
    assert float((blurred - own).abs().max()) > 1e-4


def test_adaptive_likelihood_with_a_tiny_blur_is_that_of_the_data_to_a_hundred_thousandth_of_a_nat():
    """The blur changes log p by (2e-5 / .1)^2 / 2 (|z|^2 - 2): below 1e-6 where |z| < 6."""
    denoiser, x, own = ring(VP(), 24)
    assert float((log_prob(denoiser, x, method="dopri5", sigma_min=2e-5) - own).abs().max()) < 1e-5


@pytest.mark.parametrize("exact", [True, False])
def test_item_has_the_same_likelihood_in_any_batch_on_a_fixed_grid(exact):
    means, covs = torch.tensor([[1.0, 0.0, 0.3], [-1.0, 0.5, 0.0]]), torch.tensor([0.3, 0.1])
    denoiser = MixtureDenoiser(torch.tensor([0.25, 0.75]), means, covs, VP())
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    whole = log_prob(denoiser, x, steps=6, exact=exact)
    parts = [log_prob(denoiser, x[i : i + 3], steps=6, exact=exact, first=i) for i in (0, 3, 6)]
    assert torch.equal(torch.cat(parts), whole)


def test_item_has_the_same_adaptive_likelihood_in_any_batch_within_the_tolerance():
    means, covs = torch.tensor([[1.0, 0.0], [-1.0, 0.5]]), torch.tensor([0.3, 0.1])
    denoiser = MixtureDenoiser(torch.tensor([0.25, 0.75]), means, covs, VP())
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = log_prob(denoiser, x, method="dopri5", rtol=1e-4, atol=1e-4)
    parts = [log_prob(denoiser, x[i : i + 4], method="dopri5", rtol=1e-4, atol=1e-4) for i in (0, 4)]
    # some tens of steps, each to 1e-4
    assert torch.allclose(torch.cat(parts), whole, rtol=0, atol=2e-3)


@pytest.mark.parametrize("method", ["heun", "dopri5"])
def test_conditions_reach_their_rows(method):
    class Told(Denoiser):
        """N(centre, 1) given the centre."""

        process = VP()
        event_shape = (1,)

        def mean(self, x_t, t, cond=None):
            alpha, sigma = (float(c) for c in self.process.kernel(t))
            return cond["centre"] + alpha / (alpha**2 + sigma**2) * (x_t - alpha * cond["centre"])

    centre = torch.tensor([[0.0], [1.0], [-2.0]], dtype=torch.float64)
    got = log_prob(Told(), X, method=method, steps=200, cond={"centre": centre})
    exact = torch.distributions.Normal(centre, 1.0).log_prob(X).sum(1)
    # the end of the process is taken as N(0, 1), and is N(alpha centre, 1): alpha = .0066 of centre times x
    assert float((got - exact).abs().max()) < 0.0066 * 2 * 4.5


def test_likelihood_of_a_network_with_attention():
    """Products with the transposed Jacobian exist for every layer; the two rules agree on its density."""
    torch.manual_seed(0)
    network = UNet(2, 1, width=16, multipliers=(1,), blocks=1, attention=(0,), head_size=16)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05) if parameter.ndim > 1 else None
    denoiser = NetworkDenoiser(network, Precondition("v"), VP(), (1, 2, 2))
    x = torch.randn(2, 1, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    fixed = log_prob(denoiser, x, steps=32)
    adaptive = log_prob(denoiser, x, method="dopri5", rtol=1e-3, atol=1e-3)
    assert float((fixed - adaptive).abs().max()) < 0.05, (fixed, adaptive)
    assert not any(parameter.grad is not None for parameter in network.parameters())


def test_no_rows_have_no_likelihoods():
    denoiser = GaussianDenoiser(torch.zeros(2), 1.0, VP())
    for method in ("heun", "dopri5"):
        assert log_prob(denoiser, torch.zeros(0, 2), steps=2, method=method).shape == (0,)


class Stepped(Denoiser):
    """As a tree is: a number for each interval of x."""

    process = VP()

    def mean(self, x_t, t, cond=None):
        return x_t.detach().round()


def test_a_wrong_question_is_told_what_to_ask():
    denoiser, x = GaussianDenoiser(torch.zeros(2), 1.0, VP()), torch.zeros(1, 2)
    with pytest.raises(ConfigError, match="expected 'heun' or 'dopri5', got 'rk4'"):
        log_prob(denoiser, x, method="rk4")
    with pytest.raises(ConfigError, match="rtol, atol: expected numbers > 0"):
        log_prob(denoiser, x, method="dopri5", rtol=0.0)
    with pytest.raises(ConfigError, match="probes: expected a whole number >= 1"):
        log_prob(denoiser, x, exact=False, probes=0)
    with pytest.raises(ConfigError, match="mean is differentiable"):
        log_prob(Stepped(), x, steps=2)
    broken = from_x0(lambda y, t, cond: y / 0, VP())
    for method in ("heun", "dopri5"):
        with pytest.raises(NonFiniteError, match="finite"):
            log_prob(broken, x + 1, steps=2, method=method)
